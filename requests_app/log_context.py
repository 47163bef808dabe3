"""Which request the lines of a log are about, for the log format that says so (aibot/redaction.py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

current_request: ContextVar[str] = ContextVar("current_request", default="")


@contextmanager
def logs_about(request_id: str) -> Iterator[None]:
    """Have every line that this thread logs inside the block carry the id of this request."""
    token = current_request.set(request_id)
    try:
        yield
    finally:
        current_request.reset(token)

"""The state machine of a request: the transitions that are allowed, and the one function that makes them."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from requests_app.errors import TransitionRefused
from requests_app.models import Request, RequestEvent

Status = Request.Status

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELLED, Status.QUARANTINED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.QUARANTINED}),
    Status.QUARANTINED: frozenset({Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.CANCELLED: frozenset(),
}


def transition(
    *,
    request_id: str,
    sources: Iterable[Status],
    to: Status,
    actor: str,
    reason: str = "",
    fence: int | None = None,
    **fields: Any,
) -> bool:
    """Move a request from one of `sources` to `to`, set `fields` with it, and record who did it and why.

    Returns False, with nothing written, where the request is in none of the sources by now or, with the fencing token
    `fence`, where another worker has claimed it since: losing that race is an ordinary outcome. Raises
    TransitionRefused for a transition that is never allowed. Call inside a transaction where something else must
    happen together with it.
    """
    for source in sources:
        if to not in TRANSITIONS[source]:
            raise TransitionRefused(f"{source} → {to}")
    rows = Request.objects.filter(id=request_id)
    if fence is not None:
        rows = rows.filter(fence=fence)
    with transaction.atomic(savepoint=False):
        # One conditional UPDATE per source: the one that changes a row tells which status it was.
        for source in sources:
            if rows.filter(status=source).update(status=to, **fields):
                RequestEvent.objects.create(
                    request_id=request_id, from_status=source, to_status=to, actor=actor, reason=reason[:300]
                )
                return True
    return False

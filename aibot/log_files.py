"""What keeps logs small: refusals without tracebacks, and a disk that is full told once a minute."""

import sys
import time
from logging import Filter, Handler, LogRecord
from logging.handlers import RotatingFileHandler, WatchedFileHandler

REMIND_SECONDS = 60.0


class RefusalsInBrief(Filter):
    """Takes the traceback from what Django refuses for security's sake: anybody may cause thousands."""

    def filter(self, record: LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
        return True


class _SaysBriefly(Handler):
    """Reports a line that cannot be written in one line, instead of a traceback for each."""

    _said_at = float("-inf")  # on time.monotonic()

    def handleError(self, record: LogRecord) -> None:  # noqa: N802 — logging's own name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif time.monotonic() - self._said_at > REMIND_SECONDS:
            self._said_at = time.monotonic()
            name = getattr(self, "baseFilename", "The log")
            sys.stderr.write(f"{name} cannot be written: {error.strerror}.\n")


class ReopenedLog(_SaysBriefly, WatchedFileHandler):
    """LOG_FILE, which is opened again where it was renamed."""


class RotatedLog(_SaysBriefly, RotatingFileHandler):
    """The log of `make run`, which rotates itself."""

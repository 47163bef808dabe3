"""Redaction of secrets in everything that is logged or reported, tracebacks included."""

import html
import json
import logging
import re
from collections.abc import ItemsView
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from requests_app.log_context import current_request

HIDDEN = "[hidden]"
_API_TOKEN = re.compile("aibot_[0-9a-f]{64}")  # which the settings do not know
# PostgreSQL quotes the row that violates a constraint, 64 bytes of each column, and a column may contain a prompt.
_FAILING_ROW = re.compile(r"(Failing row contains ).*?\)\.?$", re.DOTALL | re.MULTILINE)


class RedactingFormatter(logging.Formatter):
    """Formats a record, then redacts every secret of the settings in the finished text.

    A secret may be in the arguments, in an exception's message or in a line of the traceback, and only the finished
    text has all of them.
    """

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, redacted: time (UTC), level, logger, process, message, and where there is
    one the request's id and the traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "request_id": current_request.get() or None,
            "message": redact(record.getMessage()),
            "traceback": redact(self.formatException(record.exc_info)) if record.exc_info else None,
        }
        return json.dumps({name: value for name, value in line.items() if value is not None}, ensure_ascii=False)


class ReportFilter(SafeExceptionReporterFilter):
    """Redacts Django's error reports by values too, not by names alone: REDIS_URL contains a password."""

    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return redact(cleansed) if isinstance(cleansed, str) else cleansed

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> ItemsView[str, Any]:
        """Return the variables of a stack frame; in production without values, which contain what users write."""
        variables = dict(super().get_traceback_frame_variables(request, tb_frame))
        return dict.fromkeys(variables, HIDDEN).items() if self.is_active(request) else variables.items()


class RedactingReporter(ExceptionReporter):
    """Redacts Django's finished error report: the exception's own message may quote a key."""

    def get_traceback_html(self) -> SafeString:
        return SafeString(redact(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        return SafeString(redact(super().get_traceback_text()))


def redact(text: str) -> str:
    """Return the text without any secret of the settings, keys of API tokens, and rows that database errors quote."""
    for secret in settings.SECRETS:
        for spelling in _spellings(secret):
            if spelling in text:
                text = text.replace(spelling, HIDDEN)
    text = _API_TOKEN.sub(HIDDEN, str(text)) if "aibot_" in text else text
    return _FAILING_ROW.sub(rf"\1{HIDDEN}", text) if "Failing row contains" in text else text


@cache
def _spellings(secret: str) -> tuple[str, ...]:
    """Return how a secret may be written: as it is, percent-encoded in a URL, and escaped in HTML."""
    return secret, quote(secret, safe=""), html.escape(secret)

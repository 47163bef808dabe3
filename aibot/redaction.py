"""Hiding secrets in everything that is logged or reported, tracebacks included."""

import html
import logging
import re
from collections.abc import ItemsView
from functools import cache
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

MASK = "[hidden]"
# PostgreSQL quotes the row that breaks a constraint, 64 bytes of each column, and a column may hold a prompt.
_FAILING_ROW = re.compile(r"(Failing row contains ).*?\)\.?$", re.DOTALL | re.MULTILINE)


class RedactingFormatter(logging.Formatter):
    """Formats a record, then masks every secret of the settings in the finished text.

    It works on the finished text because a secret may hide in the arguments, in an exception's
    message or in a stack frame, and only there are all of them in one place.
    """

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class ReportFilter(SafeExceptionReporterFilter):
    """Hides secrets in Django's error reports by their values too: REDIS_URL is no telling name, and has a password."""

    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return masked(cleansed) if isinstance(cleansed, str) else cleansed

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> ItemsView[str, Any]:
        """Name the variables of a frame; in production without their values, for they hold what people write."""
        variables = dict(super().get_traceback_frame_variables(request, tb_frame))
        return dict.fromkeys(variables, MASK).items() if self.is_active(request) else variables.items()


class MaskingReporter(ExceptionReporter):
    """Django's error report, masked once it is written: the exception's own words may quote a key."""

    def get_traceback_html(self) -> SafeString:
        return SafeString(masked(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        return SafeString(masked(super().get_traceback_text()))


def masked(text: str) -> str:
    """Return the text with a mask for each secret, and for each row that a database error quotes."""
    for secret in settings.SECRETS:
        for spelling in _spellings(secret):
            if spelling in text:
                text = text.replace(spelling, MASK)
    return _FAILING_ROW.sub(rf"\1{MASK}", text) if "Failing row contains" in text else text


@cache
def _spellings(secret: str) -> tuple[str, ...]:
    """Return how a secret may be written: as it is, within an address, and on a page."""
    return secret, quote(secret, safe=""), html.escape(secret)

"""Hiding secrets in everything that is logged or reported, tracebacks included."""

import logging
from typing import Any

from django.conf import settings
from django.views.debug import SafeExceptionReporterFilter

MASK = "[hidden]"


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


def masked(text: str) -> str:
    for secret in settings.SECRETS:
        if secret in text:
            text = text.replace(secret, MASK)
    return text

"""Hiding secrets in everything that is logged, tracebacks included."""

import logging

from django.conf import settings

MASK = "[hidden]"


class RedactingFormatter(logging.Formatter):
    """Formats a record, then masks every secret of the settings in the finished text.

    It works on the finished text because a secret may hide in the arguments, in an exception's
    message or in a stack frame, and only there are all of them in one place.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in settings.SECRETS:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

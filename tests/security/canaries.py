"""Secrets and a prompt that are easily found again, and where to search for them: tables, pages, logs, any encoding."""

import base64
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import quote

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from aibot.redaction import RedactingFormatter
from providers.registry import PROVIDERS
from providers.shipped import shipped_routes
from providers.types import Category

WORD = "canary-of-a-prompt"
PROMPT = f"{WORD} in a coal mine"
KEYS = {slug: f"canary-key-of-{slug}-0123456789" for slug in PROVIDERS}
ADMIN_KEYS = {
    slug: f"canary-admin-key-of-{slug}-0123456789" for slug, spec in PROVIDERS.items() if spec.account.admin_path
}
CALLBACK_SECRETS = {
    slug: f"whsec_{base64.b64encode(f'canary-of-callbacks-of-{slug}'.encode()).decode()}"
    for slug, spec in PROVIDERS.items()
    if spec.callback
}
SECRETS = {
    "SECRET_KEY": "canary-of-the-secret-key",
    "TELEGRAM_WEBHOOK_SECRET": "canary-of-the-webhook",
    "REDIS_URL": "redis://:canary-of-the-broker@localhost:6379/0",
}
# Every provider in every category of which a route is shipped, in the shipped order.
CHAINS = {
    category: list(dict.fromkeys(route.provider for route in shipped_routes() if route.category == category))
    for category in Category
}


@cache
def spellings(word: str) -> set[str]:
    """Return the word as it is, percent-encoded, in hexadecimal, and as it may appear inside base64."""
    content = word.encode()
    encoded = {base64.b64encode(b"\0" * shift + content).decode() for shift in range(3)}
    # The first and last characters depend on what surrounds the word.
    return {word, quote(word, safe=""), content.hex(), *(text[4:-4] for text in encoded)}


def is_in(word: str, text: str) -> bool:
    return any(spelling in text for spelling in spellings(word))


def found_in(text: str, words: list[str]) -> list[str]:
    """Return which of the words the text contains in any spelling."""
    return [word for word in words if is_in(word, text)]


def columns_with(words: list[str]) -> dict[str, set[str]]:
    """Return for each word that is found which columns of the database contain it, those without a model included."""
    found = defaultdict(set)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608 — a name of our own
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    for word in found_in(_text(value), words):
                        found[word].add(f"{table}.{column}")
    return dict(found)


def _text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


def admin_models() -> list[type[Model]]:
    """Return every model that has pages in the admin."""
    return [model for model in apps.get_models() if admin.site.is_registered(model)]


def admin_pages(client: Client) -> Iterator[tuple[str, str]]:
    """Yield the address and content of every list, of every row's page and of one history of each table."""
    for model in admin_models():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        addresses = [reverse(f"{name}_changelist")]
        rows = list(model._base_manager.all())
        addresses += [reverse(f"{name}_change", args=[row.pk]) for row in rows]
        # The history of a row looks the same for all rows of a table.
        addresses += [reverse(f"{name}_history", args=[row.pk]) for row in rows[:1]]
        for address in addresses:
            yield address, client.get(address, follow=True).content.decode()


class LogRecorder(logging.Handler):
    """Records every line as production's handler would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines: list[tuple[str, str]] = []  # the logger's name and its line

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, self.format(record)))

    @property
    def text(self) -> str:
        """Every line, also of the loggers whose level the settings raise."""
        return "\n".join(line for _, line in self.lines)

    @property
    def unpinned(self) -> str:
        """The lines of a process whose root logger is set to DEBUG while the other levels stay."""
        pinned = tuple(f"{name}." for name in settings.LOGGING["loggers"])
        return "\n".join(line for name, line in self.lines if not f"{name}.".startswith(pinned))


@contextmanager
def recorded_logs() -> Iterator[LogRecorder]:
    """Record every logger of the process at DEBUG, but for that of templates.

    These log each variable that they lack, with a traceback: of the admin's pages that is gigabytes.
    """
    log = LogRecorder()
    templates = logging.getLogger("django.template")
    loggers = [logging.root, *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    levels = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO if logger is templates else logging.DEBUG)
        logger.propagate = True
    logging.root.addHandler(log)
    try:
        yield log
    finally:
        logging.root.removeHandler(log)
        for logger, level, propagate in levels:
            logger.setLevel(level)
            logger.propagate = propagate

"""Where to look for a word that must not be there: the tables, the pages, the log, each in every spelling."""

import base64
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import quote

from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.urls import reverse

from aibot.redaction import RedactingFormatter
from providers.registry import PROVIDERS

WORD = "canary-of-a-prompt"
PROMPT = f"{WORD} in a coal mine"
KEYS = {slug: f"canary-key-of-{slug}-0123456789" for slug in PROVIDERS}
SECRETS = {
    "SECRET_KEY": "canary-of-the-secret-key",
    "TELEGRAM_WEBHOOK_SECRET": "canary-of-the-webhook",
    "REPLICATE_WEBHOOK_SECRET": "whsec_Y2FuYXJ5LW9mLXRoZS1ob29r",
    "REDIS_URL": "redis://:canary-of-the-broker@localhost:6379/0",
}


@cache
def spellings(word: str) -> set[str]:
    """Return the word as it is, percent-encoded, in hexadecimal, and as it may look inside base64."""
    content = word.encode()
    encoded = {base64.b64encode(b"\0" * shift + content).decode() for shift in range(3)}
    # The ends depend on what stands around the word.
    return {word, quote(word, safe=""), content.hex(), *(text[4:-4] for text in encoded)}


def is_in(word: str, text: str) -> bool:
    return any(spelling in text for spelling in spellings(word))


def found_in(text: str, words: list[str]) -> list[str]:
    """Return which of the words the text holds in any spelling."""
    return [word for word in words if is_in(word, text)]


def columns_with(words: list[str]) -> dict[str, set[str]]:
    """Return of each word that is found which columns of the database hold it, whether or not a model knows them."""
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


def admin_pages(client: Client) -> Iterator[tuple[str, str]]:
    """Return every list, every row's page and a history of each table, with their addresses."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        addresses = [reverse(f"{name}_changelist")]
        rows = list(model._base_manager.all())
        addresses += [reverse(f"{name}_change", args=[row.pk]) for row in rows]
        # Who has changed a row is shown in the same way for all rows of a table.
        addresses += [reverse(f"{name}_history", args=[row.pk]) for row in rows[:1]]
        for address in addresses:
            yield address, client.get(address, follow=True).content.decode()


class Log(logging.Handler):
    """Writes down every line as production's handler would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines: list[tuple[str, str]] = []  # the logger's name and what it said

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.name, self.format(record)))

    @property
    def text(self) -> str:
        """All that was said, by the loggers too whose level the settings keep up."""
        return "\n".join(line for _, line in self.lines)

    @property
    def unpinned(self) -> str:
        """What is said where somebody sets the root's level to DEBUG and leaves the other levels alone."""
        pinned = tuple(f"{name}." for name in settings.LOGGING["loggers"])
        return "\n".join(line for name, line in self.lines if not f"{name}.".startswith(pinned))


@contextmanager
def everybody_talks() -> Iterator[Log]:
    """Let every logger of the process say all that it has to say, and write it down."""
    log = Log()
    loggers = [logging.root, *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    levels = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    logging.root.addHandler(log)
    try:
        yield log
    finally:
        logging.root.removeHandler(log)
        for logger, level, propagate in levels:
            logger.setLevel(level)
            logger.propagate = propagate

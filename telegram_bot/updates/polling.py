"""Taking updates by asking for them, for machines that Telegram cannot reach."""

import logging
import time
from collections.abc import Sequence
from threading import Event
from typing import Any

from django.db import Error as AnyDatabaseError
from django.db import close_old_connections

from providers.db import give_back_connection
from telegram_bot.api.client import TelegramClient
from telegram_bot.api.errors import BotApiError, PollingConflict, SlowDown, TokenRefused
from telegram_bot.updates.ingest import ALLOWED_UPDATES, update_ingest

logger = logging.getLogger("telegram_bot.updates.polling")

MIN_PAUSE_SECONDS = 1
MAX_PAUSE_SECONDS = 30
UNHELD_SECONDS = 0.3  # a server that answers an empty poll sooner does not hold it open, so we pause ourselves
CONFLICT = (
    "Somebody else takes this bot's updates: another `manage.py bot` runs with the same token, or a webhook was set "
    "meanwhile. Stop the other one; this one keeps trying."
)


def poll(*, client: TelegramClient, stop: Event) -> None:
    """Take updates in until `stop` is set. Raises TokenRefused.

    Telegram is told that an update has arrived only by the next question, after the commit; one that is sent twice
    because this process died in between is one row.
    """
    offset: int | None = None
    pause_seconds = MIN_PAUSE_SECONDS
    last_trouble = ""
    while not stop.is_set():
        try:
            asked_at = time.monotonic()
            updates = client.updates(offset, ALLOWED_UPDATES)
            offset = _take_in(updates, offset)
        except TokenRefused:
            raise
        except (BotApiError, AnyDatabaseError) as error:
            trouble = _in_words(error)
            # Once each, not every few seconds for as long as it lasts.
            logger.log(logging.WARNING if trouble != last_trouble else logging.DEBUG, "%s", trouble)
            last_trouble = trouble
            stop.wait(error.retry_after if isinstance(error, SlowDown) else pause_seconds)
            pause_seconds = min(2 * pause_seconds, MAX_PAUSE_SECONDS)
        else:
            if last_trouble:
                logger.info("Updates arrive again.")
            last_trouble, pause_seconds = "", MIN_PAUSE_SECONDS
            if not updates and time.monotonic() - asked_at < UNHELD_SECONDS:
                stop.wait(UNHELD_SECONDS)


def _take_in(updates: Sequence[Any], offset: int | None) -> int | None:
    """Write these updates and return from where to ask next."""
    close_old_connections()
    for raw in updates:
        update_ingest(raw)
        offset = raw["update_id"] + 1
    give_back_connection()
    return offset


def _in_words(error: Exception) -> str:
    if isinstance(error, PollingConflict):
        return CONFLICT
    if isinstance(error, AnyDatabaseError):
        return f"Updates cannot be written ({type(error).__name__}); Telegram keeps them meanwhile."
    return f"No updates: {error} Trying again."

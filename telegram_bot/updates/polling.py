"""Long polling for updates, for machines that Telegram's webhook cannot reach."""

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
MIN_EMPTY_POLL_SECONDS = 0.3  # a server that answers an empty poll sooner does no long polling, so we pause
CONFLICT = (
    "Another consumer receives this bot's updates: another `manage.py bot` runs with the same token, or a webhook was "
    "set meanwhile. Stop the other one; this one keeps trying."
)


def poll(*, client: TelegramClient, stop: Event) -> None:
    """Receive and store updates until `stop` is set. Raises TokenRefused.

    At-least-once: an update is confirmed by the next poll, after its commit. One that is sent again because this
    process died in between is stored once. After an error the pause grows by exponential backoff.
    """
    offset: int | None = None
    pause_seconds = MIN_PAUSE_SECONDS
    last_problem = ""
    while not stop.is_set():
        try:
            polled_at = time.monotonic()
            updates = client.updates(offset, ALLOWED_UPDATES)
            offset = _store(updates, offset)
        except TokenRefused:
            raise
        except (BotApiError, AnyDatabaseError) as error:
            problem = _describe(error)
            # A warning once, not every few seconds for as long as it lasts.
            logger.log(logging.WARNING if problem != last_problem else logging.DEBUG, "%s", problem)
            last_problem = problem
            stop.wait(error.retry_after if isinstance(error, SlowDown) else pause_seconds)
            pause_seconds = min(2 * pause_seconds, MAX_PAUSE_SECONDS)
        else:
            if last_problem:
                logger.info("Updates arrive again.")
            last_problem, pause_seconds = "", MIN_PAUSE_SECONDS
            if not updates and time.monotonic() - polled_at < MIN_EMPTY_POLL_SECONDS:
                stop.wait(MIN_EMPTY_POLL_SECONDS)


def _store(updates: Sequence[Any], offset: int | None) -> int | None:
    """Store these updates and return the offset of the next poll."""
    close_old_connections()
    for raw in updates:
        update_ingest(raw)
        offset = raw["update_id"] + 1
    give_back_connection()
    return offset


def _describe(error: Exception) -> str:
    if isinstance(error, PollingConflict):
        return CONFLICT
    if isinstance(error, AnyDatabaseError):
        return f"Updates cannot be stored ({type(error).__name__}); Telegram keeps them meanwhile."
    return f"No updates: {error} Trying again."

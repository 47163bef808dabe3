"""The queue of a chat's unhandled updates: handled in order, by one worker at a time."""

import logging
import traceback
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import DatabaseError
from django.db.models.functions import Now

from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.api.errors import BotApiError, ChatUnreachable, NotReached, OutcomeUnsure, SlowDown, TokenRefused
from telegram_bot.chats import chat_set_reachable
from telegram_bot.content.rendering import MessagePart
from telegram_bot.delivery.retries import pause_seconds
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.statements import Claim, Ended, Known, chat_want, update_claim
from telegram_bot.turns import turns_release
from telegram_bot.updates.dispatcher import update_handle

logger = logging.getLogger("telegram_bot.updates.queue")

# Renewed before each update; handling one takes at most three calls of client.CALL_SECONDS, and a download where the
# user has sent a file.
LEASE_SECONDS = 60
MAX_TRIES = 6  # then an update is given up, and no longer delays those after it
MAX_PAUSE_SECONDS = 60  # a reply that must wait longer is not worth delaying the chat's other updates


def queue_drain(*, chat_id: int) -> int:
    """Handle a chat's due updates, oldest first, and return how many there were.

    Any number of workers may try at once: one holds the chat's lease, the others return. What arrives while the lease
    is being released is looked for by its owner, so it never has to wait for another wake-up.
    """
    holder, handled = uuid4(), 0
    claim = _claim_first(chat_id, holder)
    try:
        while claim.update is not None:
            outcome = _handle(claim.update, claim.known)
            handled += 1
            if outcome and claim.update.held_at:
                turns_release(chat_id=chat_id, sender_id=claim.update.sender_id, after=claim.update.pk)
            claim = update_end(claim.update, outcome, holder)
    except BaseException:
        with suppress(DatabaseError):
            TelegramChat.objects.filter(pk=chat_id, holder=holder).update(lease_until=None)
        raise
    return handled


def _claim_first(chat_id: int, holder: UUID) -> Claim:
    """Claim the chat and its oldest update; nothing where another worker owns the chat, or no update is due."""
    claim = _claim(chat_id, holder)
    if claim.is_held and not chat_want(chat_id=chat_id):
        claim = _claim(chat_id, holder)  # it was let go meanwhile
    return claim


def update_end(update: TelegramUpdate, outcome: str, holder: UUID) -> Claim:
    """Record how an update ended, and claim the chat's next one. Without an outcome it is tried again later."""
    assert update.chat_id is not None  # noqa: S101 — it was found by its chat
    if not outcome:
        return _claim(update.chat_id, holder, is_owner=True)
    logger.info("Update %s: %s", update.update_id, outcome)
    return _claim(update.chat_id, holder, is_owner=True, ended=Ended(update.pk, outcome[:200]))


def _claim(chat_id: int, holder: UUID, *, is_owner: bool = False, ended: Ended | None = None) -> Claim:
    return update_claim(
        chat_id=chat_id,
        holder=holder,
        lease_seconds=LEASE_SECONDS,
        download_seconds=client.UPLOAD_SECONDS,
        is_owner=is_owner,
        ended=ended,
    )


def _handle(row: TelegramUpdate, known: Known) -> str:
    """Handle one update; return its outcome, "" where it is tried again later.

    Its try was counted by the claim, so that an update that crashes its workers is given up at last.
    """
    if row.tries > MAX_TRIES:
        return "given up: it crashed every worker"
    try:
        return update_handle(row=row, known=known)
    except BotApiError as error:
        return _outcome_of_api_error(row, error)
    except Exception as error:  # noqa: BLE001 — one broken update must not block its chat for ever
        # The stack without the message, which may quote what a user wrote.
        stack = "".join(traceback.format_tb(error.__traceback__))
        logger.error("Update %s failed with %s:\n%s", row.update_id, type(error).__name__, stack)
        return _schedule_retry(row, error)


def _outcome_of_api_error(row: TelegramUpdate, error: BotApiError) -> str:
    """Return how an update ends whose reply could not be sent, "" where it is tried again."""
    if isinstance(error, OutcomeUnsure):
        return f"answered, perhaps: {error}"
    if isinstance(error, SlowDown | NotReached | TokenRefused):
        return _schedule_retry(row, error)
    if isinstance(error, ChatUnreachable) and row.chat_id is not None:
        chat_set_reachable(chat_id=row.chat_id, is_reachable=False)
    return f"not answered: {error}"


def _schedule_retry(row: TelegramUpdate, error: Exception) -> str:
    """Put the update off, or give it up and return in words that it is."""
    seconds = pause_seconds(error, row.tries)
    if row.tries >= MAX_TRIES or seconds > MAX_PAUSE_SECONDS:
        if not isinstance(error, BotApiError):
            _apologise(row)
        return f"given up: {error if isinstance(error, BotApiError) else type(error).__name__}"
    TelegramUpdate.objects.filter(pk=row.pk).update(next_at=Now() + timedelta(seconds=seconds))
    return ""


def _apologise(row: TelegramUpdate) -> None:
    """Tell the user, once and if possible, that nothing will follow: silence would look like a pause."""
    if row.kind == "message" and row.chat is not None and row.chat.telegram_id > 0:
        try:
            client.get_client().send(row.chat.telegram_id, MessagePart(texts.OTHER_FAILURE))
        except BotApiError as api_error:
            logger.info("The user could not be told: %s", api_error)

"""The queue of a chat's unhandled updates: handled in order, by one worker at a time."""

import logging
import traceback
from datetime import timedelta
from uuid import uuid4

from django.db.models import Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.api.errors import BotApiError, ChatUnreachable, NotReached, OutcomeUnsure, SlowDown, TokenRefused
from telegram_bot.chats import chat_set_reachable
from telegram_bot.content.rendering import MessagePart
from telegram_bot.delivery.retries import pause_seconds
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.updates.dispatcher import update_handle

logger = logging.getLogger("telegram_bot.updates.queue")

# Renewed before each update; handling one takes at most three calls of client.CALL_SECONDS, and a download where the
# user has sent a file.
LEASE_SECONDS = 60
DOWNLOADED = {"photo", "voice", "audio"}
MAX_TRIES = 6  # then an update is given up, and no longer delays those after it
MAX_PAUSE_SECONDS = 60  # a reply that must wait longer is not worth delaying the chat's other updates


def queue_drain(*, chat_id: int) -> int:
    """Handle a chat's due updates, oldest first, and return how many there were.

    Any number of workers may try at once: one holds the chat's lease, the others return. What arrives while the lease
    is being released is looked for afterwards, so it never has to wait for another wake-up.
    """
    handled = 0
    while (row := _next_due(chat_id)) is not None:
        claimed_chat = _claim(row, chat_id)
        if claimed_chat is None:
            break
        try:
            handled += _handle_due(row, claimed_chat)
        finally:
            claimed_chat.update(lease_until=None)
    return handled


def _claim(row: TelegramUpdate, chat_id: int) -> QuerySet[TelegramChat] | None:
    """Claim the chat's lease and return a query for its row that is empty once it is lost; None if another holds it."""
    holder = uuid4()
    free = TelegramChat.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), chat_id=chat_id)
    if not free.update(holder=holder, lease_until=_lease_end(row)):
        TelegramChat.objects.bulk_create([TelegramChat(chat_id=chat_id)], ignore_conflicts=True)
        if not free.update(holder=holder, lease_until=_lease_end(row)):
            return None
    return TelegramChat.objects.filter(chat_id=chat_id, holder=holder)


def _handle_due(first: TelegramUpdate, claimed_chat: QuerySet[TelegramChat]) -> int:
    """Handle the chat's updates from this one on, until none is due or the lease is lost."""
    handled = 0
    row: TelegramUpdate | None = first
    while row is not None:
        handled += _handle(row)
        row = _next_due(first.chat_id)
        if row is not None and not claimed_chat.update(lease_until=_lease_end(row)):
            break
    return handled


def _lease_end(row: TelegramUpdate) -> CombinedExpression:
    """Return until when the chat is owned by whoever handles this update: longer than that can take."""
    message = row.raw.get("message")
    has_file = isinstance(message, dict) and not DOWNLOADED.isdisjoint(message)
    return Now() + timedelta(seconds=LEASE_SECONDS + (client.UPLOAD_SECONDS if has_file else 0))


def _next_due(chat_id: int | None) -> TelegramUpdate | None:
    """Return the chat's oldest unhandled update; None where it must wait, for those after it wait too."""
    unhandled = TelegramUpdate.objects.filter(chat_id=chat_id, handled_at__isnull=True)
    row = unhandled.annotate(now=Now()).order_by("received_at", "update_id").first()
    if row is None or (row.next_at and row.next_at > row.now):
        return None
    return row


def _handle(row: TelegramUpdate) -> bool:
    """Handle one update. Returns False where another worker has handled it meanwhile."""
    # Counted first, so that an update that crashes its workers is given up at last.
    unchanged = TelegramUpdate.objects.filter(pk=row.pk, handled_at__isnull=True, tries=row.tries)
    if not unchanged.update(tries=row.tries + 1):
        return False
    row.tries += 1
    if row.tries > MAX_TRIES:
        update_end(row, "given up: it crashed every worker")
        return True
    try:
        update_end(row, update_handle(row=row))
    except BotApiError as error:
        _handle_api_error(row, error)
    except Exception as error:  # noqa: BLE001 — one broken update must not block its chat for ever
        # The stack without the message, which may quote what a user wrote.
        stack = "".join(traceback.format_tb(error.__traceback__))
        logger.error("Update %s failed with %s:\n%s", row.update_id, type(error).__name__, stack)
        _schedule_retry(row, error)
    return True


def _handle_api_error(row: TelegramUpdate, error: BotApiError) -> None:
    """End an update whose reply could not be sent, or schedule a retry."""
    if isinstance(error, OutcomeUnsure):
        update_end(row, f"answered, perhaps: {error}")
    elif isinstance(error, SlowDown | NotReached | TokenRefused):
        _schedule_retry(row, error)
    else:
        if isinstance(error, ChatUnreachable) and row.chat_id is not None:
            chat_set_reachable(chat_id=row.chat_id, is_reachable=False)
        update_end(row, f"not answered: {error}")


def _schedule_retry(row: TelegramUpdate, error: Exception) -> None:
    seconds = pause_seconds(error, row.tries)
    if row.tries >= MAX_TRIES or seconds > MAX_PAUSE_SECONDS:
        update_end(row, f"given up: {error if isinstance(error, BotApiError) else type(error).__name__}")
        if not isinstance(error, BotApiError):
            _apologise(row)
        return
    TelegramUpdate.objects.filter(pk=row.pk).update(next_at=Now() + timedelta(seconds=seconds))


def _apologise(row: TelegramUpdate) -> None:
    """Tell the user, once and if possible, that nothing will follow: silence would look like a pause."""
    if row.kind == "message" and row.chat_id is not None and row.chat_id > 0:
        try:
            client.get_client().send(row.chat_id, MessagePart(texts.OTHER_FAILURE))
        except BotApiError as api_error:
            logger.info("The user could not be told: %s", api_error)


def update_end(row: TelegramUpdate, outcome: str) -> None:
    """Record that an update is handled, and with which outcome."""
    TelegramUpdate.objects.filter(pk=row.pk).update(handled_at=Now(), outcome=outcome[:200], next_at=None)
    logger.info("Update %s: %s", row.update_id, outcome)

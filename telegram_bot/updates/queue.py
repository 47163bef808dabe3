"""The queue of a chat's unhandled updates: handled in order, by one worker at a time."""

import logging
import traceback
from datetime import timedelta
from uuid import uuid4

from django.db.models import Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from telegram_bot.api.errors import BotApiError, ChatUnreachable, NotReached, OutcomeUnsure, SlowDown, TokenRefused
from telegram_bot.chats import chat_set_reachable
from telegram_bot.delivery.retries import pause_seconds
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.updates.dispatcher import update_handle

logger = logging.getLogger("telegram_bot.updates.queue")

LEASE_SECONDS = 60  # renewed before each update; handling one takes at most three calls of client.CALL_SECONDS
MAX_TRIES = 6  # then an update is given up, and no longer delays those after it
MAX_PAUSE_SECONDS = 60  # a reply that must wait longer is not worth delaying the chat's other updates


def queue_drain(*, chat_id: int) -> int:
    """Handle a chat's due updates, oldest first, and return how many there were.

    Any number of workers may try at once: one holds the chat's lease, the others return. What arrives while the lease
    is being released is looked for afterwards, so it never has to wait for another wake-up.
    """
    handled = 0
    while (row := _next_due(chat_id)) is not None:
        claimed_chat = _claim(chat_id)
        if claimed_chat is None:
            break
        try:
            handled += _handle_due(row, claimed_chat)
        finally:
            claimed_chat.update(lease_until=None)
    return handled


def _claim(chat_id: int) -> QuerySet[TelegramChat] | None:
    """Claim the chat's lease and return a query for its row that is empty once it is lost; None if another holds it."""
    holder = uuid4()
    free = TelegramChat.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), chat_id=chat_id)
    if not free.update(holder=holder, lease_until=_lease_end()):
        TelegramChat.objects.bulk_create([TelegramChat(chat_id=chat_id)], ignore_conflicts=True)
        if not free.update(holder=holder, lease_until=_lease_end()):
            return None
    return TelegramChat.objects.filter(chat_id=chat_id, holder=holder)


def _handle_due(first: TelegramUpdate, claimed_chat: QuerySet[TelegramChat]) -> int:
    """Handle the chat's updates from this one on, until none is due or the lease is lost."""
    handled = 0
    row: TelegramUpdate | None = first
    while row is not None:
        handled += _handle(row)
        row = _next_due(first.chat_id)
        if row is not None and not claimed_chat.update(lease_until=_lease_end()):
            break
    return handled


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=LEASE_SECONDS)


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
        return
    TelegramUpdate.objects.filter(pk=row.pk).update(next_at=Now() + timedelta(seconds=seconds))


def update_end(row: TelegramUpdate, outcome: str) -> None:
    """Record that an update is handled, and with which outcome."""
    TelegramUpdate.objects.filter(pk=row.pk).update(handled_at=Now(), outcome=outcome[:200], next_at=None)
    logger.info("Update %s: %s", row.update_id, outcome)

"""A chat's unhandled updates, taken one after the other by one worker at a time."""

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

LEASE_SECONDS = 60  # renewed before each update; handling one takes three calls of client.CALL_SECONDS at the most
MAX_TRIES = 6  # then an update no longer holds back those that come after it
MAX_PAUSE_SECONDS = 60  # a reply that may be sent only after this is not worth holding a chat back for


def queue_drain(*, chat_id: int) -> int:
    """Handle what is due in a chat, oldest first, and return how many updates that were.

    Any number of workers may be enqueued for a chat: one holds its lease, the others leave at once. What arrives while
    the lease is being given back is looked for afterwards, so it never waits for another enqueue.
    """
    handled = 0
    while (row := _next_due(chat_id)) is not None:
        mine = _claim(chat_id)
        if mine is None:
            break
        try:
            handled += _drain(row, mine)
        finally:
            mine.update(lease_until=None)
    return handled


def _claim(chat_id: int) -> QuerySet[TelegramChat] | None:
    """Take the chat's lease and return its row, for as long as it is ours; None where another worker holds it."""
    holder = uuid4()
    free = TelegramChat.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), chat_id=chat_id)
    if not free.update(holder=holder, lease_until=_lease_end()):
        TelegramChat.objects.bulk_create([TelegramChat(chat_id=chat_id)], ignore_conflicts=True)
        if not free.update(holder=holder, lease_until=_lease_end()):
            return None
    return TelegramChat.objects.filter(chat_id=chat_id, holder=holder)


def _drain(first: TelegramUpdate, mine: QuerySet[TelegramChat]) -> int:
    """Handle the chat's updates from this one on, until nothing is due or the lease is lost."""
    handled = 0
    row: TelegramUpdate | None = first
    while row is not None:
        handled += _handle(row)
        row = _next_due(first.chat_id)
        if row is not None and not mine.update(lease_until=_lease_end()):
            break
    return handled


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=LEASE_SECONDS)


def _next_due(chat_id: int | None) -> TelegramUpdate | None:
    """Return the chat's oldest unhandled update, unless it has to wait: those after it wait with it."""
    unhandled = TelegramUpdate.objects.filter(chat_id=chat_id, handled_at__isnull=True)
    row = unhandled.annotate(now=Now()).order_by("received_at", "update_id").first()
    if row is None or (row.next_at and row.next_at > row.now):
        return None
    return row


def _handle(row: TelegramUpdate) -> bool:
    """Handle one update. Returns False where another worker has handled it since it was read."""
    # Counted first, so that an update that workers die of is given up one day.
    unchanged = TelegramUpdate.objects.filter(pk=row.pk, handled_at__isnull=True, tries=row.tries)
    if not unchanged.update(tries=row.tries + 1):
        return False
    row.tries += 1
    if row.tries > MAX_TRIES:
        update_end(row, "given up: nobody survived it")
        return True
    try:
        update_end(row, update_handle(row=row))
    except BotApiError as fault:
        _fault(row, fault)
    except Exception as error:  # noqa: BLE001 — one broken update must not hold its chat back for ever
        # The stack without the message: that may quote what somebody wrote.
        stack = "".join(traceback.format_tb(error.__traceback__))
        logger.error("Update %s failed with %s:\n%s", row.update_id, type(error).__name__, stack)
        _try_again(row, error)
    return True


def _fault(row: TelegramUpdate, fault: BotApiError) -> None:
    """Decide what becomes of an update whose reply could not be sent."""
    if isinstance(fault, OutcomeUnsure):
        update_end(row, f"answered, perhaps: {fault}")
    elif isinstance(fault, SlowDown | NotReached | TokenRefused):
        _try_again(row, fault)
    else:
        if isinstance(fault, ChatUnreachable) and row.chat_id is not None:
            chat_set_reachable(chat_id=row.chat_id, is_reachable=False)
        update_end(row, f"not answered: {fault}")


def _try_again(row: TelegramUpdate, error: Exception) -> None:
    seconds = pause_seconds(error, row.tries)
    if row.tries >= MAX_TRIES or seconds > MAX_PAUSE_SECONDS:
        update_end(row, f"given up: {error if isinstance(error, BotApiError) else type(error).__name__}")
        return
    TelegramUpdate.objects.filter(pk=row.pk).update(next_at=Now() + timedelta(seconds=seconds))


def update_end(row: TelegramUpdate, outcome: str) -> None:
    """Record that an update is handled, and with which outcome."""
    TelegramUpdate.objects.filter(pk=row.pk).update(handled_at=Now(), outcome=outcome[:200], next_at=None)
    logger.info("Update %s: %s", row.update_id, outcome)

"""A chat's unhandled updates, taken one after the other by one worker at a time."""

import logging
import traceback
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Now

from telegram_bot.application import update_handle
from telegram_bot.errors import ChatUnreachable, NotReached, OutcomeUnsure, SlowDown, TelegramFault, TokenRefused
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.people import chat_set_reachable
from telegram_bot.setbacks import pause_seconds

logger = logging.getLogger("telegram_bot.inbox")

LEASE_SECONDS = 60  # renewed before each update; handling one takes three calls of client.CALL_SECONDS at the most
MOST_TRIES = 6  # then an update no longer holds back those that come after it
LONGEST_PAUSE_SECONDS = 60  # a reply that may be sent only after this is not worth holding a chat back for


def inbox_drain(*, chat_id: int) -> int:
    """Handle what is due in a chat, oldest first, and return how many updates that were.

    Any number of workers may be rung for a chat: one holds its lease, the others leave at once. What arrives while
    the lease is being given back is looked for afterwards, so it never waits for another ring.
    """
    handled = 0
    while _next_due(chat_id) is not None:
        fence = _claim(chat_id)
        if fence is None:
            break
        try:
            handled += _drain(chat_id, fence)
        finally:
            TelegramChat.objects.filter(chat_id=chat_id, fence=fence).update(lease_until=None)
    return handled


def _claim(chat_id: int) -> int | None:
    """Take the chat's lease and return its fence; None where another worker holds it."""
    free = TelegramChat.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), chat_id=chat_id)
    lease = {"fence": F("fence") + 1, "lease_until": Now() + timedelta(seconds=LEASE_SECONDS)}
    if not free.update(**lease):
        TelegramChat.objects.bulk_create([TelegramChat(chat_id=chat_id)], ignore_conflicts=True)
        if not free.update(**lease):
            return None
    return TelegramChat.objects.values_list("fence", flat=True).get(chat_id=chat_id)


def _drain(chat_id: int, fence: int) -> int:
    handled = 0
    while (row := _next_due(chat_id)) is not None:
        mine = TelegramChat.objects.filter(chat_id=chat_id, fence=fence)
        if not mine.update(lease_until=Now() + timedelta(seconds=LEASE_SECONDS)):
            break
        _handle(row)
        handled += 1
    return handled


def _next_due(chat_id: int) -> TelegramUpdate | None:
    """Return the chat's oldest unhandled update, unless it has to wait: those after it wait with it."""
    unhandled = TelegramUpdate.objects.filter(chat_id=chat_id, handled_at__isnull=True)
    row = unhandled.annotate(now=Now()).order_by("received_at", "update_id").first()
    if row is None or (row.next_at and row.next_at > row.now):
        return None
    return row


def _handle(row: TelegramUpdate) -> None:
    # Counted first, so that an update that workers die of is given up one day.
    TelegramUpdate.objects.filter(pk=row.pk).update(tries=F("tries") + 1)
    row.tries += 1
    if row.tries > MOST_TRIES:
        _end(row, "given up: nobody survived it")
        return
    try:
        _end(row, update_handle(row=row))
    except TelegramFault as fault:
        _fault(row, fault)
    except Exception as error:  # noqa: BLE001 — one broken update must not hold its chat back for ever
        # The stack without the message: that may quote what somebody wrote.
        stack = "".join(traceback.format_tb(error.__traceback__))
        logger.error("Update %s failed with %s:\n%s", row.update_id, type(error).__name__, stack)
        _try_again(row, error)


def _fault(row: TelegramUpdate, fault: TelegramFault) -> None:
    """Decide what becomes of an update whose reply could not be sent."""
    if isinstance(fault, OutcomeUnsure):
        _end(row, f"answered, perhaps: {fault}")
    elif isinstance(fault, SlowDown | NotReached | TokenRefused):
        _try_again(row, fault)
    else:
        if isinstance(fault, ChatUnreachable) and row.chat_id is not None:
            chat_set_reachable(chat_id=row.chat_id, is_reachable=False)
        _end(row, f"not answered: {fault}")


def _try_again(row: TelegramUpdate, error: Exception) -> None:
    seconds = pause_seconds(error, row.tries)
    if row.tries >= MOST_TRIES or seconds > LONGEST_PAUSE_SECONDS:
        _end(row, f"given up: {error if isinstance(error, TelegramFault) else type(error).__name__}")
        return
    TelegramUpdate.objects.filter(pk=row.pk).update(next_at=Now() + timedelta(seconds=seconds))


def _end(row: TelegramUpdate, outcome: str) -> None:
    TelegramUpdate.objects.filter(pk=row.pk).update(handled_at=Now(), outcome=outcome[:200], next_at=None)
    logger.info("Update %s: %s", row.update_id, outcome)

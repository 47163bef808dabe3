"""Failed deliveries: which are tried again and when, which are given up. The sending itself is in the other modules."""

import logging
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from telegram_bot.api.errors import (
    BotApiError,
    CallRefused,
    ChatMoved,
    ChatUnreachable,
    EntitiesRefused,
    MediaForbidden,
    MessageGone,
    OutcomeUnsure,
    SlowDown,
    ThreadGone,
)
from telegram_bot.chats import chat_move, chat_set_reachable
from telegram_bot.content.files import FileMissing, FileUnavailable
from telegram_bot.delivery.claims import delivery_give_up
from telegram_bot.models import Delivery, DeliveryMethod, DeliveryState, GivenUp

logger = logging.getLogger("telegram_bot.delivery")

MAX_PAUSE_SECONDS = 300  # of the exponential backoff; Telegram may demand longer pauses
MAX_TRIES = 300  # while Telegram cannot be reached: a day of such pauses
MAX_TRIES_MISSING = 6  # of a file that this machine does not have, and another one may: a minute
MAX_TRIES_STORAGE = 12  # of a storage that refuses or fails: half an hour
MAX_TRIES_BUG = 6
REFUSALS = (CallRefused, EntitiesRefused, MediaForbidden, MessageGone, ThreadGone)  # a retry would meet them again


def record_placeholder_failure(*, delivery: Delivery, error: BotApiError) -> bool:
    """Record why a placeholder could not be sent. Returns whether the answer is to be sent as a new message instead.

    An overtaken sender records nothing: it would lead to a third placeholder, and to a second answer.
    """
    rows = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.PLACING, fence=delivery.fence)
    if isinstance(error, ChatUnreachable):
        chat_set_reachable(chat_id=delivery.chat_id, is_reachable=False)
    elif isinstance(error, ChatMoved):
        chat_move(chat=delivery.chat, new_telegram_id=error.new_chat_id)
        rows.update(next_at=Now(), error=str(error)[:200])
    elif isinstance(error, REFUSALS) or delivery.tries >= MAX_TRIES:
        logger.warning("%s gets no placeholder: %s", delivery, error)
        values = {"state": DeliveryState.PENDING, "method": DeliveryMethod.SEND, "next_at": None, "tries": 0}
        return bool(rows.update(**values, error=str(error)[:200]))
    else:
        seconds = pause_seconds(error, delivery.tries)
        rows.update(next_at=Now() + timedelta(seconds=seconds), error=str(error)[:200])
        logger.warning("The placeholder of %s is sent again in %.0f s: %s", delivery, seconds, error)
    return False


def record_delivery_failure(*, delivery: Delivery, error: Exception) -> bool:
    """Record why a claimed message could not be shown: it is tried again later, given up, or perhaps shown.

    Returns whether its claimer must show the words that take its place. Refusals are the ladder's, not for here.
    """
    rows = Delivery.objects.filter(pk=delivery.pk, fence=delivery.fence)
    is_unsure = isinstance(error, OutcomeUnsure) or not isinstance(error, BotApiError | FileUnavailable)
    if is_unsure and delivery.state == DeliveryState.SENDING:
        logger.warning("%s may not have arrived and is not sent again: %s", delivery, _words(error))
        rows.update(state=DeliveryState.UNCERTAIN, error=_words(error), next_at=None)
        delivery.state = DeliveryState.UNCERTAIN
    elif isinstance(error, ChatUnreachable):
        rows.update(state=DeliveryState.PENDING)  # nothing was sent, so it waits like the others
        chat_set_reachable(chat_id=delivery.chat_id, is_reachable=False)
    elif isinstance(error, ChatMoved):
        chat = chat_move(chat=delivery.chat, new_telegram_id=error.new_chat_id)
        rows.update(chat=chat, state=DeliveryState.PENDING, next_at=Now(), error=str(error)[:200])
    elif delivery.tries >= _max_tries(error):
        return delivery_give_up(delivery=delivery, reason=_reason(error), error=_words(error))
    else:
        seconds = pause_seconds(error, delivery.tries)
        next_at = Now() + timedelta(seconds=seconds)
        rows.update(state=DeliveryState.PENDING, next_at=next_at, error=_words(error))
        logger.warning("%s is tried again in %.0f s: %s", delivery, seconds, _words(error))
    return False


def record_delivery_bug(*, request_id: str, error: Exception) -> None:
    """Put off all due messages of a request whose delivery failed before any was claimed, or give them up."""
    for delivery in Delivery.objects.filter(request_id=request_id, state=DeliveryState.PENDING).exclude(
        next_at__gt=Now()
    ):
        rows = Delivery.objects.filter(pk=delivery.pk, fence=delivery.fence)
        if rows.update(fence=F("fence") + 1, tries=F("tries") + 1):
            delivery.refresh_from_db()
            record_delivery_failure(delivery=delivery, error=error)


def pause_seconds(error: Exception, tries: int) -> float:
    """Return the time until the next try: as long as Telegram demands, else exponential backoff."""
    if isinstance(error, SlowDown):
        return error.retry_after
    return min(2.0 ** min(tries, 10), MAX_PAUSE_SECONDS)


def _max_tries(error: Exception) -> int:
    if isinstance(error, FileMissing):
        return MAX_TRIES_MISSING
    if isinstance(error, FileUnavailable):
        return MAX_TRIES_STORAGE
    return MAX_TRIES if isinstance(error, BotApiError) else MAX_TRIES_BUG


def _reason(error: Exception) -> GivenUp:
    if isinstance(error, FileUnavailable):
        return GivenUp.FILE_LOST
    return GivenUp.NOT_SHOWN if isinstance(error, BotApiError) else GivenUp.BROKEN


def _words(error: Exception) -> str:
    """Return what may be stored and logged: the message of an unknown error may quote what a user wrote."""
    return (str(error) if isinstance(error, BotApiError | FileUnavailable) else type(error).__name__)[:200]

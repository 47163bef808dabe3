"""Failed deliveries: which are tried again and when, which are given up. The sending itself is in the other modules."""

import logging
from datetime import timedelta

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from telegram_bot.api.errors import (
    BotApiError,
    CallRefused,
    ChatMoved,
    ChatUnreachable,
    EntitiesRefused,
    MessageGone,
    SlowDown,
    ThreadGone,
)
from telegram_bot.chats import chat_move, chat_set_reachable
from telegram_bot.models import Delivery, DeliveryState

logger = logging.getLogger("telegram_bot.delivery")

MAX_PAUSE_SECONDS = 300  # of the exponential backoff; Telegram may demand longer pauses
MAX_TRIES = 300  # a day of such pauses
CLAIMED = {DeliveryState.PLACING, DeliveryState.SENDING}  # in these the claim has counted the try already
PERMANENT_ERRORS = (CallRefused, EntitiesRefused, MessageGone, ThreadGone)  # a retry would meet them again


def record_delivery_failure(*, delivery: Delivery, error: BotApiError) -> None:
    """Record why a message could not be shown, and schedule a retry or give the delivery up."""
    rows = Delivery.objects.filter(pk=delivery.pk)
    if delivery.state == DeliveryState.PLACING:
        # The sender may have counted as lost meanwhile, and another placeholder may have been sent. Then this failure
        # must not be recorded: it would lead to a third placeholder, and to a second answer.
        rows = rows.filter(state=DeliveryState.PLACING, tries=delivery.tries)
    if isinstance(error, ChatUnreachable):
        if delivery.state == DeliveryState.SENDING:
            rows.update(state=DeliveryState.PENDING)  # nothing was sent, so it waits like the others
        chat_set_reachable(chat_id=delivery.chat_id, is_reachable=False)
    elif isinstance(error, ChatMoved):
        chat_move(old_id=delivery.chat_id, new_id=error.new_chat_id)
        _schedule_retry(rows, delivery, error, seconds=0)
    elif delivery.state == DeliveryState.DELIVERED and isinstance(error, PERMANENT_ERRORS):
        logger.warning("%s was shown and cannot be shown again: %s", delivery, error)
    elif isinstance(error, PERMANENT_ERRORS) or delivery.tries >= MAX_TRIES:
        logger.error("%s is undeliverable: %s", delivery, error)
        if rows.update(state=DeliveryState.UNDELIVERABLE, error=str(error)[:200], next_at=None) and delivery.part == 0:
            # The further parts are useless without the first one.
            waiting = Delivery.objects.filter(request_id=delivery.request_id, state=DeliveryState.PENDING)
            waiting.update(state=DeliveryState.UNDELIVERABLE, error="the first part is undeliverable", next_at=None)
    else:
        _schedule_retry(rows, delivery, error, pause_seconds(error, delivery.tries))


def pause_seconds(error: Exception, tries: int) -> float:
    """Return the time until the next try: as long as Telegram demands, else exponential backoff."""
    if isinstance(error, SlowDown):
        return error.retry_after
    return min(2.0 ** min(tries, 10), MAX_PAUSE_SECONDS)


def _schedule_retry(rows: QuerySet[Delivery], delivery: Delivery, error: BotApiError, seconds: float) -> None:
    """Make a delivery due again later. One that was delivered and only repeated becomes pending with that."""
    rows.update(
        state=DeliveryState.PLACING if delivery.state == DeliveryState.PLACING else DeliveryState.PENDING,
        next_at=Now() + timedelta(seconds=seconds),
        tries=F("tries") + (0 if delivery.state in CLAIMED else 1),
        error=str(error)[:200],
    )
    logger.warning("%s is tried again in %.0f s: %s", delivery, seconds, error)

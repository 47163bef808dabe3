"""What becomes of a delivery when Telegram refuses it or cannot be reached."""

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
from telegram_bot.chats import chat_set_reachable
from telegram_bot.models import Delivery, TelegramChat

logger = logging.getLogger("telegram_bot.delivery")

State = Delivery.State

MAX_PAUSE_SECONDS = 300  # between two tries of our own; Telegram may ask for longer ones
MAX_TRIES = 300  # a day of such pauses
CLAIMED = {State.PLACING, State.SENDING}  # the claim has counted the try
FINAL = (CallRefused, EntitiesRefused, MessageGone, ThreadGone)  # trying again would change nothing


def record_delivery_failure(*, delivery: Delivery, fault: BotApiError) -> None:
    """Note why a message could not be shown, and when to try again, if ever."""
    rows = Delivery.objects.filter(pk=delivery.pk)
    if delivery.state == State.PLACING:
        # Its sender may have counted as lost meanwhile. Where another placeholder stands, this one's fate is nothing
        # to it: a third one would become a second answer.
        rows = rows.filter(state=State.PLACING, tries=delivery.tries)
    if isinstance(fault, ChatUnreachable):
        if delivery.state == State.SENDING:
            rows.update(state=State.PENDING)  # nothing was sent, so it waits like the others
        chat_set_reachable(chat_id=delivery.chat_id, is_reachable=False)
    elif isinstance(fault, ChatMoved):
        chat_move(old_id=delivery.chat_id, new_id=fault.new_chat_id)
        _wait(rows, delivery, fault, seconds=0)
    elif delivery.state == State.DELIVERED and isinstance(fault, FINAL):
        logger.warning("%s was shown and cannot be shown once more: %s", delivery, fault)
    elif isinstance(fault, FINAL) or delivery.tries >= MAX_TRIES:
        logger.error("%s is undeliverable: %s", delivery, fault)
        if rows.update(state=State.UNDELIVERABLE, error=str(fault)[:200], next_at=None) and delivery.part == 0:
            # What was to follow it would come out of nothing.
            waiting = Delivery.objects.filter(request_id=delivery.request_id, state=State.PENDING)
            waiting.update(state=State.UNDELIVERABLE, error="the first part is undeliverable", next_at=None)
    else:
        _wait(rows, delivery, fault, pause_seconds(fault, delivery.tries))


def pause_seconds(fault: Exception, tries: int) -> float:
    """Return how long to wait after this fault: as long as Telegram says, else longer with each try."""
    if isinstance(fault, SlowDown):
        return fault.retry_after
    return min(2.0 ** min(tries, 10), MAX_PAUSE_SECONDS)


def chat_move(*, old_id: int, new_id: int) -> None:
    """Follow a group that became a supergroup: what is still to be shown goes to its new id."""
    old = TelegramChat.objects.filter(chat_id=old_id).first()
    TelegramChat.objects.get_or_create(
        chat_id=new_id, defaults={"type": "supergroup", "model": old.model if old else None}
    )
    Delivery.objects.filter(chat_id=old_id, state__in=Delivery.UNFINISHED).update(chat_id=new_id)


def _wait(rows: QuerySet[Delivery], delivery: Delivery, fault: BotApiError, seconds: float) -> None:
    """Put a delivery off. One that is shown already, and was only to be shown once more, is due again with it."""
    rows.update(
        state=State.PLACING if delivery.state == State.PLACING else State.PENDING,
        next_at=Now() + timedelta(seconds=seconds),
        tries=F("tries") + (0 if delivery.state in CLAIMED else 1),
        error=str(fault)[:200],
    )
    logger.warning("%s waits %.0f s: %s", delivery, seconds, fault)

"""The placeholder: the message that a chat shows until the answer is ready, and that is then edited into the answer.

A message can be sent twice by accident, but an edit cannot show twice. So where Telegram has not confirmed a
placeholder, another one is sent: a stray ⏳ may remain, a second answer never.
"""

import logging
from datetime import timedelta

from django.db.models import F
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from providers.db import Lazily
from requests_app.delivery_backend import get_delivery_backend
from requests_app.dispatch import enqueue_on_commit
from requests_app.models import Request
from telegram_bot import texts
from telegram_bot.api.client import TelegramClient, get_client
from telegram_bot.api.errors import BotApiError, ThreadGone
from telegram_bot.content.rendering import MessagePart
from telegram_bot.delivery.retries import record_placeholder_failure
from telegram_bot.delivery.streaming import live_message_place
from telegram_bot.models import Delivery, DeliveryKind, DeliveryState, TelegramChat

logger = logging.getLogger("telegram_bot.delivery")

PLACE_TASK = "telegram_bot.tasks.place"
# After this the sender counts as lost. A call ends after client.CALL_SECONDS, and each is claimed anew.
PLACING_SECONDS = 12


def placeholder_prepare(
    *, request: Request, chat: TelegramChat, thread_id: int | None, reply_to: int | None
) -> Delivery:
    """Write the delivery of a new request's placeholder, claimed by the caller, who must send it at once.

    Call in the transaction that accepts the request.
    """
    return Delivery.objects.create(
        request=request,
        part=0,
        kind=DeliveryKind.RESULT,
        state=DeliveryState.PLACING,
        chat=chat,
        thread_id=thread_id,
        reply_to=reply_to,
        next_at=_sender_lost_at(),
        fence=1,
        tries=1,
    )


def placeholder_adopt(*, request_id: str, from_request_id: str) -> None:
    """Have a placeholder sent for a new request, where an earlier one has its message; nothing where it has none.

    Call in the transaction that accepts the request. Whichever worker is woken or looks sends it.
    """
    earlier = Delivery.objects.filter(request_id=from_request_id, part=0).first()
    if earlier is None:
        return
    Delivery.objects.create(
        request_id=request_id,
        part=0,
        kind=DeliveryKind.RESULT,
        state=DeliveryState.PLACING,
        chat_id=earlier.chat_id,
        thread_id=earlier.thread_id,
        reply_to=earlier.reply_to,
        next_at=Now(),
    )
    enqueue_on_commit(PLACE_TASK, request_id)


def placeholder_place(*, request_id: str) -> bool:
    """Claim and send a placeholder whose sender was lost. Returns whether this call has sent it."""
    due = Delivery.objects.filter(request_id=request_id, part=0, state=DeliveryState.PLACING, next_at__lte=Now())
    if not due.update(next_at=_sender_lost_at(), fence=F("fence") + 1, tries=F("tries") + 1):
        return False
    return placeholder_send(delivery=Delivery.objects.select_related("chat").get(request_id=request_id, part=0))


def placeholder_send(*, delivery: Delivery) -> bool:
    """Send the placeholder that the caller has claimed. Returns whether it is the one that becomes the answer.

    The request may have ended before the placeholder is sent; then this delivers the answer too.
    """
    try:
        client = get_client()
        message_id = _send(client, delivery)
    except BotApiError as error:
        if record_placeholder_failure(delivery=delivery, error=error):
            _deliver_if_ended(delivery.request_id)
        return False
    # Were this lost with the database's machine, another placeholder would be sent.
    rows = Delivery.objects.filter(Lazily(), pk=delivery.pk, state=DeliveryState.PLACING)
    if not rows.update(message_id=message_id, state=DeliveryState.PENDING, next_at=None, tries=0, error=""):
        _remove(client, delivery, message_id)
        return False
    if not live_message_place(delivery.request_id, delivery.chat.telegram_id, message_id):
        _deliver_if_ended(delivery.request_id)
    return True


def _sender_lost_at() -> CombinedExpression:
    return Now() + timedelta(seconds=PLACING_SECONDS)


def _deliver_if_ended(request_id: str) -> None:
    if Request.objects.filter(id=request_id).exclude(status__in=Request.OPEN).exists():
        get_delivery_backend().deliver(request_id)


def _send(client: TelegramClient, delivery: Delivery) -> int:
    part = MessagePart(texts.PLACEHOLDER)
    try:
        return client.send(delivery.chat.telegram_id, part, thread_id=delivery.thread_id, reply_to=delivery.reply_to)
    except ThreadGone:
        claimed = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.PLACING, fence=delivery.fence)
        if not claimed.update(thread_id=None, reply_to=None, next_at=_sender_lost_at()):
            raise
        return client.send(delivery.chat.telegram_id, part)


def _remove(client: TelegramClient, delivery: Delivery, message_id: int) -> None:
    """Delete a placeholder that was sent too late: another one is in the chat already."""
    try:
        client.delete(delivery.chat.telegram_id, message_id)
    except BotApiError as error:
        logger.info("A stray placeholder remains in a chat: %s", error)

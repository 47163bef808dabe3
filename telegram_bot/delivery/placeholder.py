"""The placeholder: the message that stands in a chat while its answer is made, and then becomes the answer.

A message can be sent twice by accident, but an edit cannot show twice. So whatever goes wrong before Telegram has
confirmed the placeholder, another one is placed: a stray ⏳ may remain, a second answer never.
"""

import logging
from datetime import timedelta

from django.db.models import F
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from requests_app.delivery_backend import get_delivery_backend
from requests_app.models import Request
from telegram_bot import texts
from telegram_bot.api.client import TelegramClient, get_client
from telegram_bot.api.errors import BotApiError, ThreadGone
from telegram_bot.content.rendering import MessagePart
from telegram_bot.delivery.retries import record_delivery_failure
from telegram_bot.models import Delivery

logger = logging.getLogger("telegram_bot.delivery")

State = Delivery.State

# After this a sender counts as lost. A call ends after client.CALL_SECONDS.
PLACING_SECONDS = 12


def placeholder_prepare(
    *, request: Request, chat_id: int, thread_id: int | None, reply_to: int | None
) -> Delivery | None:
    """Note that a request wants a placeholder in this chat, and that the caller will send it at once.

    Returns None where that was noted before. Call in the transaction that accepts the request: it holds the lock
    under which nobody else can accept the same one.
    """
    if Delivery.objects.filter(request=request, part=0).exists():
        return None
    return Delivery.objects.create(
        request=request,
        part=0,
        kind=Delivery.Kind.RESULT,
        state=State.PLACING,
        chat_id=chat_id,
        thread_id=thread_id,
        reply_to=reply_to,
        next_at=_sender_lost_at(),
        tries=1,
    )


def placeholder_place(*, request_id: str) -> bool:
    """Send a placeholder whose sender was lost, unless somebody else does. Returns whether this call has placed it."""
    due = Delivery.objects.filter(request_id=request_id, part=0, state=State.PLACING, next_at__lte=Now())
    if not due.update(next_at=_sender_lost_at(), tries=F("tries") + 1):
        return False
    return placeholder_send(delivery=Delivery.objects.get(request_id=request_id, part=0))


def placeholder_send(*, delivery: Delivery) -> bool:
    """Send the placeholder that the caller has noted or claimed. Returns whether it stands.

    The answer may be ready before the placeholder is: whoever comes second shows it.
    """
    try:
        client = get_client()
        message_id = _send(client, delivery)
    except BotApiError as fault:
        record_delivery_failure(delivery=delivery, fault=fault)
        return False
    rows = Delivery.objects.filter(pk=delivery.pk, state=State.PLACING)
    if not rows.update(message_id=message_id, state=State.PENDING, next_at=None, tries=0, error=""):
        _remove(client, delivery, message_id)
        return False
    if Request.objects.filter(id=delivery.request_id).exclude(status__in=Request.OPEN).exists():
        get_delivery_backend().deliver(delivery.request_id)
    return True


def _sender_lost_at() -> CombinedExpression:
    return Now() + timedelta(seconds=PLACING_SECONDS)


def _send(client: TelegramClient, delivery: Delivery) -> int:
    piece = MessagePart(texts.PLACEHOLDER)
    try:
        return client.send(delivery.chat_id, piece, thread_id=delivery.thread_id, reply_to=delivery.reply_to)
    except ThreadGone:
        return client.send(delivery.chat_id, piece)


def _remove(client: TelegramClient, delivery: Delivery, message_id: int) -> None:
    """Take back a placeholder that came too late: another one stands already."""
    try:
        client.delete(delivery.chat_id, message_id)
    except BotApiError as fault:
        logger.info("A stray placeholder remains in a chat: %s", fault)

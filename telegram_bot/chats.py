"""Rows of users, chats and topics, and whether the bot may write to a chat. Nothing is sent here."""

import re
from datetime import timedelta
from typing import Any

import telegram
from django.db import transaction
from django.db.models import Case, QuerySet, Value, When
from django.db.models.functions import Now

from requests_app.services.accounts import account_ensure
from requests_app.services.refunds import request_refund
from telegram_bot.bots import current_bot_id
from telegram_bot.models import Delivery, DeliveryState, TelegramChat, TelegramThread, TelegramUser

HANDLE_TASK = "telegram_bot.tasks.handle_chat"
UNREACHABLE = "the chat cannot be reached"
EXPIRED = "the chat could not be reached for a week"
MAX_REDELIVERY_DAYS = 7  # what is older is not delivered any more when a user unblocks the bot
# Bidirectional control characters: beside such a name an operator would read a number backwards.
BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def user_ensure(*, sender: telegram.User, known: TelegramUser | None = None) -> TelegramUser:
    """Return the row of this user, with their account; both are created on first use and kept up to date.

    `known` is the row, where it has just been read.
    """
    name = BIDI_CONTROLS.sub("", sender.full_name).strip()
    fields = {
        "username": (sender.username or "")[:64],
        "name": name[:128],
        "language": (sender.language_code or "")[:16],
    }
    bot_id = current_bot_id()
    user = known if known and (known.telegram_id, known.bot_id) == (sender.id, bot_id) else None
    if user is None:
        user = TelegramUser.objects.select_related("account").filter(telegram_id=sender.id, bot_id=bot_id).first()
    if user is None:
        account = account_ensure(key=f"telegram:{bot_id}:{sender.id}", name=name)
        defaults = {**fields, "account": account}
        return TelegramUser.objects.get_or_create(telegram_id=sender.id, bot_id=bot_id, defaults=defaults)[0]
    if any(getattr(user, field) != value for field, value in fields.items()):
        TelegramUser.objects.filter(pk=user.pk).update(**fields)
    return user


def chat_ensure(*, telegram_id: int, **defaults: Any) -> TelegramChat:
    """Return the row of a chat of this bot, by Telegram's id; it is written with `defaults` on first use."""
    chats = TelegramChat.objects.select_related("model")
    return chats.get_or_create(telegram_id=telegram_id, bot_id=current_bot_id(), defaults=defaults)[0]


def chat_seen(*, chat: TelegramChat, type: str) -> None:
    """Note that a user has written in a chat: it counts as reachable again."""
    if chat.type != type:
        TelegramChat.objects.filter(pk=chat.pk).update(type=type)
    if not chat.is_reachable:
        chat_set_reachable(chat_id=chat.pk, is_reachable=True)


@transaction.atomic
def chat_set_reachable(*, chat_id: int, is_reachable: bool) -> None:
    """Record whether the bot may write to a chat. Once it may again, undelivered messages become due.

    Those that are too old by then are given up, and cost nothing. The chat and its messages change together: a worker
    that is frozen in between must not put aside messages of a chat that has come back meanwhile.
    """
    TelegramChat.objects.filter(pk=chat_id).update(is_reachable=is_reachable)
    deliveries = Delivery.objects.filter(chat_id=chat_id)
    if not is_reachable:
        deliveries.filter(state__in=[DeliveryState.PLACING, DeliveryState.PENDING]).update(
            state=DeliveryState.UNDELIVERABLE, error=UNREACHABLE, next_at=None
        )
        return
    recent = Now() - timedelta(days=MAX_REDELIVERY_DAYS)
    waiting = deliveries.filter(state=DeliveryState.UNDELIVERABLE, error=UNREACHABLE)
    _give_up(waiting.filter(created_at__lt=recent))
    waiting.update(
        state=Case(
            When(part=0, message_id=None, then=Value(DeliveryState.PLACING)), default=Value(DeliveryState.PENDING)
        ),
        next_at=Now(),
        tries=0,
    )


def _give_up(deliveries: QuerySet[Delivery]) -> None:
    """Give back the credits of answers that are too old to be delivered now. What was read while streaming is paid."""
    unseen = deliveries.filter(part=0, shown_at__isnull=True)
    for request_id in list(unseen.values_list("request_id", flat=True)):
        request_refund(request_id=request_id, actor="system", reason=f"not shown: {EXPIRED}")
    deliveries.update(error=EXPIRED)


def chat_move(*, chat: TelegramChat, new_telegram_id: int) -> TelegramChat:
    """Follow a group that became a supergroup: unfinished deliveries go to its new chat, whose row is returned."""
    new = chat_ensure(telegram_id=new_telegram_id, type="supergroup", model_id=chat.model_id)
    Delivery.objects.filter(chat=chat, state__in=Delivery.UNFINISHED).update(chat=new)
    return new


def thread_ensure(*, chat_id: int, thread_id: int | None) -> TelegramThread:
    """Return the row of a topic, or of the whole of a chat without topics."""
    return TelegramThread.objects.get_or_create(chat_id=chat_id, thread_id=thread_id or 0)[0]


def conversation_begin(*, thread: TelegramThread, number: int) -> None:
    """Start the conversation of this number here: earlier turns are no longer sent with prompts. Idempotent."""
    TelegramThread.objects.filter(pk=thread.pk, conversation__lt=number).update(conversation=number)

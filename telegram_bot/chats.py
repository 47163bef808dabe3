"""Who writes to the bot, where, and whether the bot may write there."""

import re
from datetime import timedelta

import telegram
from django.db.models import Case, F, Value, When
from django.db.models.functions import Now

from requests_app.services.accounts import account_ensure
from telegram_bot.models import Delivery, TelegramChat, TelegramThread, TelegramUser

State = Delivery.State

UNREACHABLE = "the chat cannot be reached"
REVIVAL_DAYS = 7  # what could not be shown for longer than this stays unshown when a user comes back
# Signs that turn the direction of what follows them: an operator would read the number beside such a name backwards.
TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def user_ensure(*, sender: telegram.User) -> TelegramUser:
    """Return the row of this person, with their account; both are made on first sight and kept up to date."""
    name = TURNING.sub("", sender.full_name).strip()
    facts = {
        "username": (sender.username or "")[:64],
        "name": name[:128],
        "language": (sender.language_code or "")[:16],
    }
    user = TelegramUser.objects.select_related("account").filter(user_id=sender.id).first()
    if user is None:
        account = account_ensure(key=f"telegram:{sender.id}", name=name)
        return TelegramUser.objects.get_or_create(user_id=sender.id, defaults={**facts, "account": account})[0]
    if any(getattr(user, field) != value for field, value in facts.items()):
        TelegramUser.objects.filter(user_id=sender.id).update(**facts)
    return user


def chat_seen(*, chat_id: int, type: str) -> TelegramChat:
    """Return the row of a chat that somebody wrote in; the bot may write there again."""
    chat, _ = TelegramChat.objects.select_related("model").get_or_create(chat_id=chat_id, defaults={"type": type})
    if chat.type != type:
        TelegramChat.objects.filter(chat_id=chat_id).update(type=type)
    if not chat.is_reachable:
        chat_set_reachable(chat_id=chat_id, is_reachable=True)
    return chat


def chat_set_reachable(*, chat_id: int, is_reachable: bool) -> None:
    """Note whether the bot may write to a chat. What could not be shown meanwhile is shown when it may again."""
    TelegramChat.objects.filter(chat_id=chat_id).update(is_reachable=is_reachable)
    deliveries = Delivery.objects.filter(chat_id=chat_id)
    if not is_reachable:
        deliveries.filter(state__in=[State.PLACING, State.PENDING]).update(
            state=State.UNDELIVERABLE, error=UNREACHABLE, next_at=None
        )
        return
    recent = Now() - timedelta(days=REVIVAL_DAYS)
    deliveries.filter(state=State.UNDELIVERABLE, error=UNREACHABLE, created_at__gte=recent).update(
        state=Case(When(part=0, message_id=None, then=Value(State.PLACING)), default=Value(State.PENDING)),
        next_at=Now(),
        tries=0,
    )


def thread_ensure(*, chat_id: int, thread_id: int | None) -> TelegramThread:
    """Return the row of a topic, or of all of a chat without topics."""
    return TelegramThread.objects.get_or_create(chat_id=chat_id, thread_id=thread_id or 0)[0]


def conversation_begin(*, chat_id: int, thread_id: int | None) -> None:
    """Begin a new conversation here: what was said so far is no longer part of prompts."""
    thread = thread_ensure(chat_id=chat_id, thread_id=thread_id)
    TelegramThread.objects.filter(pk=thread.pk).update(conversation=F("conversation") + 1)

"""Moving the clock of one chat: leases expire, polls become due and searches end without any waiting."""

from datetime import timedelta
from typing import Any

from django.db.models import F, QuerySet

from providers.models import Attempt
from requests_app.models import Request
from telegram_bot.models import Delivery, TelegramChat, TelegramUpdate


def requests_of(chat_id: int) -> QuerySet[Request]:
    """Return the requests of a private chat, whose id is its user's."""
    return Request.objects.filter(user__telegram_user__telegram_id=chat_id)


def attempts_of(chat_id: int) -> QuerySet[Attempt]:
    return Attempt.objects.filter(caller_key__in=list(requests_of(chat_id).values_list("id", flat=True)))


def pass_time(chat_id: int, *, seconds: float) -> None:
    """Move everything of a private chat so many seconds into the past: these columns are the product's clock.

    Deadlines are not moved: how long the real work takes depends on the machine.
    """
    columns: list[tuple[QuerySet[Any], list[str]]] = [
        (requests_of(chat_id), ["created_at", "started_at", "completed_at", "lease_until", "next_at"]),
        (attempts_of(chat_id), ["created_at", "finished_at"]),
        (TelegramChat.objects.filter(telegram_id=chat_id), ["lease_until"]),
        (TelegramUpdate.objects.filter(chat__telegram_id=chat_id), ["received_at", "next_at"]),
        (Delivery.objects.filter(chat__telegram_id=chat_id), ["created_at", "delivered_at", "next_at"]),
    ]
    for rows, names in columns:
        rows.update(**{name: F(name) - timedelta(seconds=seconds) for name in names})

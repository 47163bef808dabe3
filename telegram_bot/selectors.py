"""Queries about the AI models and requests of a chat, and about the work that waits, that change nothing."""

from typing import NamedTuple

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Now

from providers.types import Category
from requests_app.models import Account, AIModel, Request
from telegram_bot.models import Delivery, TelegramChat, TelegramUpdate

MAX_COUNTED = 10_000  # rows; beyond, a number tells an operator nothing new


class Backlog(NamedTuple):
    """Work that waits for a worker."""

    rows: int  # at most MAX_COUNTED
    oldest_seconds: float  # for how long the oldest has been due; 0 where none waits


def updates_unhandled() -> Backlog:
    """Return the updates of chats that no worker has handled. One that is to be tried again later is not among them."""
    due = TelegramUpdate.objects.filter(Q(next_at=None) | Q(next_at__lte=Now()), handled_at=None, chat__isnull=False)
    return _backlog(due, "received_at")


def deliveries_unfinished() -> Backlog:
    """Return the ends of requests that are due to be shown in their chats, and are not."""
    due = Delivery.objects.filter(
        Q(next_at=None) | Q(next_at__lte=Now()), state__in=Delivery.UNFINISHED, request__completed_at__isnull=False
    )
    return _backlog(due, "request__completed_at")


def _backlog(due: QuerySet[TelegramUpdate] | QuerySet[Delivery], since: str) -> Backlog:
    moments = due.annotate(now=Now(), since=Greatest(since, Coalesce("next_at", since))).order_by("since")
    oldest = moments.values_list("now", "since").first()
    seconds = max(0.0, (oldest[0] - oldest[1]).total_seconds()) if oldest else 0.0
    return Backlog(due.order_by().values("pk")[:MAX_COUNTED].count(), seconds)


def model_for(chat: TelegramChat) -> AIModel | None:
    """Return the AI model that answers in this chat: the chosen one while it is enabled, else the first."""
    if chat.model and chat.model.enabled:
        return chat.model
    return AIModel.objects.filter(enabled=True).first()


def text_model_for(chosen: AIModel | None) -> AIModel | None:
    """Return the AI model that takes images and audio: the one that answers if it writes text, else the first such."""
    if chosen and chosen.category == Category.TEXT:
        return chosen
    return AIModel.objects.filter(enabled=True, category=Category.TEXT).first()


def newest_open_request(*, account: Account, chat_id: int) -> str:
    """Return the id of this user's newest open request in this chat, "" where there is none."""
    open_requests = Request.objects.filter(user=account, status__in=Request.OPEN, deliveries__chat_id=chat_id)
    return open_requests.order_by("-created_at").values_list("id", flat=True).first() or ""

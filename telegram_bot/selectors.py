"""Queries about the AI models and requests of a chat, and about the work that waits, that change nothing."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, Q, QuerySet, When
from django.db.models.functions import Coalesce, Now

from providers.db import Constant
from providers.types import Category
from requests_app.models import Account, AIModel, Request
from requests_app.selectors import longest_wait_seconds
from telegram_bot.models import Delivery, DeliveryState, TelegramChat, TelegramThread, TelegramUpdate

MAX_COUNTED = 10_000  # rows; beyond, a number tells an operator nothing new

# Of updates: prompts that wait, for now, while the others of their chat are handled.
HELD_BACK = Q(held_at__isnull=False, next_at__gt=Now())
# Of deliveries: the conditions of the indexes delivery_unfinished and delivery_not_confirmed, in their own words.
# Without them SQLite reads every delivery there is.
IS_UNFINISHED = Q(state__in=[Constant(state) for state in Delivery.UNFINISHED])
IS_NOT_CONFIRMED = Q(state__in=[Constant(state) for state in (DeliveryState.UNCERTAIN, DeliveryState.UNDELIVERABLE)])


@dataclass(frozen=True, slots=True)
class Backlog:
    """What users wait for since the moment in the column `since`, be it for a worker or for Telegram."""

    rows: QuerySet[Any]
    since: str

    def count(self) -> int:
        """Return how many rows wait, at most MAX_COUNTED. One query."""
        return self.rows.order_by().values("pk")[:MAX_COUNTED].count()

    def oldest_seconds(self) -> float:
        """Return for how long the oldest has waited; 0 where none waits. One query."""
        return longest_wait_seconds(self.rows, since=self.since)


def updates_unhandled() -> Backlog:
    """Return the updates of chats that are not handled, those included that are to be tried again later.

    Left out are those that are held back. Those that were wait since they are due.
    """
    waits_since = Case(When(held_at__isnull=False, then=Coalesce("next_at", "received_at")), default=F("received_at"))
    unhandled = TelegramUpdate.objects.filter(~HELD_BACK, handled_at=None, chat__isnull=False)
    return Backlog(unhandled.annotate(waits_since=waits_since), "waits_since")


def updates_held_back() -> QuerySet[TelegramUpdate]:
    """Return the prompts that wait for something: maintenance mode, their turn, their further parts."""
    return TelegramUpdate.objects.filter(HELD_BACK, handled_at=None)


def deliveries_unfinished() -> Backlog:
    """Return the ends of requests that their chats do not show, those included that are to be tried again later.

    A chat that cannot be reached waits for its user, and one that is shown once more waits for nothing.
    """
    ended = Delivery.objects.filter(request__completed_at__isnull=False)
    return Backlog(ended.filter(IS_UNFINISHED, delivered_at=None), "request__completed_at")


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


def newest_open_request(*, account: Account, thread: TelegramThread) -> str:
    """Return the id of this user's newest open request in this topic, "" where there is none."""
    unfinished = Request.objects.filter(user=account, completed_at__isnull=True)  # which has an index
    open_requests = unfinished.filter(status__in=Request.OPEN, conversation__startswith=thread.key_of(""))
    return open_requests.order_by("-created_at").values_list("id", flat=True).first() or ""

"""The bot's due work: updates, lost placeholders and deliveries that a worker finds in the database by itself."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import F, Min, Q
from django.db.models.functions import Now

from requests_app.delivery_backend import DELIVER_TASK
from requests_app.dispatch import CHAT
from requests_app.due_work import DueSource
from requests_app.models import Request
from telegram_bot.chats import HANDLE_TASK
from telegram_bot.delivery.placeholder import PLACE_TASK
from telegram_bot.models import Delivery, DeliveryState, TelegramChat, TelegramUpdate
from telegram_bot.selectors import IS_UNFINISHED


def telegram_sources() -> list[DueSource]:
    """Return the due work of this app."""
    return [
        DueSource(HANDLE_TASK, CHAT, chats_due),
        DueSource(PLACE_TASK, CHAT, placeholders_due),
        DueSource(DELIVER_TASK, CHAT, deliveries_due),
    ]


def chats_due(limit: int, grace: timedelta) -> Sequence[int]:
    """Return the chats whose updates nobody handles, the longest waiting first."""
    unhandled = TelegramUpdate.objects.filter(handled_at__isnull=True, chat_id__isnull=False)
    # A chat's updates are handled in order, so those after one that must wait wait too, unless it is held back.
    must_wait = unhandled.filter(next_at__gt=Now(), held_at=None).values("chat_id")
    claimed = TelegramChat.objects.filter(lease_until__gte=Now()).values("pk")
    due = unhandled.filter(Q(next_at__lte=Now()) | Q(next_at__isnull=True, received_at__lt=Now() - grace))
    chats = due.exclude(chat_id__in=claimed).exclude(chat_id__in=must_wait).order_by().values("chat_id")
    oldest_first = chats.annotate(oldest=Min("received_at")).order_by("oldest").values_list("chat_id", flat=True)
    return [chat_id for chat_id in oldest_first[:limit] if chat_id is not None]


def placeholders_due(limit: int, _: timedelta) -> Sequence[str]:
    """Return the requests whose placeholder's sender was lost, or is to try again."""
    due = Delivery.objects.filter(IS_UNFINISHED, state=DeliveryState.PLACING, next_at__lte=Now())
    return list(due.order_by("next_at").values_list("request_id", flat=True)[:limit])


def deliveries_due(limit: int, grace: timedelta) -> Sequence[str]:
    """Return the requests that have ended and of which a part waits to be shown."""
    due = Delivery.objects.filter(
        IS_UNFINISHED,
        Q(next_at__lte=Now()) | Q(next_at__isnull=True, request__completed_at__lt=Now() - grace),
        state=DeliveryState.PENDING,
    ).exclude(request__status__in=[*Request.OPEN, Request.Status.QUARANTINED])
    # Those that nobody has tried come first. An order by request would make SQLite read all deliveries in that order.
    first_due = due.order_by(F("next_at").asc(nulls_first=True), "pk").values_list("request_id", flat=True)[:limit]
    return list(dict.fromkeys(first_due))  # several parts of one answer may be due

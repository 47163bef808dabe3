"""The sweeper's part for the bot: a periodic reconciliation of updates and deliveries with what workers do."""

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from requests_app.delivery_backend import DELIVER_TASK
from requests_app.dispatch import enqueue
from requests_app.models import Request
from telegram_bot.models import Delivery, DeliveryState, TelegramChat, TelegramUpdate
from telegram_bot.updates.ingest import HANDLE_TASK

PLACE_TASK = "telegram_bot.tasks.place"
MAX_PER_SWEEP = 500
GRACE = timedelta(seconds=5)  # in which the first wake-up is still expected to arrive
UPDATE_RETENTION = timedelta(days=7)  # of handled updates; Telegram repeats one for a day


def sweep_telegram() -> int:
    """Enqueue updates, placeholders and deliveries that are due, and return how many. Delete old updates.

    Idempotent, and any number of sweepers may run: a second wake-up finds nothing to claim.
    """
    TelegramUpdate.objects.filter(handled_at__isnull=False, received_at__lt=Now() - UPDATE_RETENTION).delete()
    return _enqueue_updates() + _enqueue_placeholders() + _enqueue_deliveries()


def _enqueue_updates() -> int:
    claimed = TelegramChat.objects.filter(lease_until__gte=Now()).values("chat_id")
    waiting = TelegramUpdate.objects.filter(
        Q(next_at__lte=Now()) | Q(next_at__isnull=True, received_at__lt=Now() - GRACE),
        handled_at__isnull=True,
        chat_id__isnull=False,
    ).exclude(chat_id__in=claimed)
    chat_ids: list[Any] = list(waiting.order_by().values_list("chat_id", flat=True).distinct()[:MAX_PER_SWEEP])
    for chat_id in chat_ids:
        enqueue(HANDLE_TASK, chat_id)
    return len(chat_ids)


def _enqueue_placeholders() -> int:
    due = Delivery.objects.filter(state=DeliveryState.PLACING, next_at__lte=Now())
    ids = list(due.order_by("id").values_list("request_id", flat=True)[:MAX_PER_SWEEP])
    for request_id in ids:
        enqueue(PLACE_TASK, request_id)
    return len(ids)


def _enqueue_deliveries() -> int:
    # The sender died after its claim. The message may be in the chat, so it is not sent again.
    Delivery.objects.filter(state=DeliveryState.SENDING, next_at__lte=Now()).update(
        state=DeliveryState.UNCERTAIN, error="its sender was lost", next_at=None
    )
    due = Delivery.objects.filter(
        Q(next_at__lte=Now()) | Q(next_at__isnull=True, request__completed_at__lt=Now() - GRACE),
        state=DeliveryState.PENDING,
    ).exclude(request__status__in=[*Request.OPEN, Request.Status.QUARANTINED])
    ids = list(due.order_by("request_id").values_list("request_id", flat=True).distinct()[:MAX_PER_SWEEP])
    for request_id in ids:
        enqueue(DELIVER_TASK, request_id)
    return len(ids)

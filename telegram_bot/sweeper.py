"""The sweeper's part for the bot: a periodic reconciliation of deliveries, and retention. It wakes nobody."""

from datetime import timedelta

from django.db.models.functions import Now

from providers.db import delete_unlocked, update_unlocked
from telegram_bot.models import Delivery, DeliveryState, TelegramUpdate
from telegram_bot.selectors import IS_UNFINISHED
from telegram_bot.updates.held_back import updates_release

UPDATE_RETENTION = timedelta(days=7)  # of handled updates; Telegram repeats one for a day
MAX_PER_SWEEP = 1000


def sweep_telegram() -> int:
    """Mark deliveries whose sender was lost, end the wait for maintenance mode, delete old updates.

    Return how many rows were changed.

    Idempotent, and any number of sweepers may run. A row that somebody has locked is left to the next round.
    """
    return _mark_lost() + updates_release() + _delete_old()


def _mark_lost() -> int:
    """Give up further parts whose sender died after its claim: they may be in the chat, so they are not sent again."""
    lost = Delivery.objects.filter(IS_UNFINISHED, state=DeliveryState.SENDING, next_at__lte=Now())
    uncertain = {"state": DeliveryState.UNCERTAIN, "error": "its sender was lost", "next_at": None}
    return update_unlocked(lost.order_by("next_at")[:MAX_PER_SWEEP], **uncertain)


def _delete_old() -> int:
    old = TelegramUpdate.objects.filter(handled_at__isnull=False, received_at__lt=Now() - UPDATE_RETENTION)
    return delete_unlocked(old.order_by("received_at")[:MAX_PER_SWEEP])

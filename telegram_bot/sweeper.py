"""The sweeper's part for the bot: a periodic reconciliation of deliveries, and retention. It wakes nobody."""

from datetime import timedelta

from django.db.models.functions import Now

from telegram_bot.models import Delivery, DeliveryState, TelegramUpdate

UPDATE_RETENTION = timedelta(days=7)  # of handled updates; Telegram repeats one for a day


def sweep_telegram() -> int:
    """Mark deliveries whose sender was lost, delete old updates, and return how many rows were changed.

    Idempotent, and any number of sweepers may run.
    """
    # The sender died after its claim. The message may be in the chat, so it is not sent again.
    lost = Delivery.objects.filter(state=DeliveryState.SENDING, next_at__lte=Now()).update(
        state=DeliveryState.UNCERTAIN, error="its sender was lost", next_at=None
    )
    old = TelegramUpdate.objects.filter(handled_at__isnull=False, received_at__lt=Now() - UPDATE_RETENTION)
    return lost + old.delete()[0]

"""Prompts that are held back for the end of maintenance mode.

They are updates that are put off, so nothing is accepted or charged. What comes after them in their chat is handled.
"""

import logging

from django.db.models.functions import Now

from providers.db import update_unlocked
from requests_app.models import MaintenanceMode
from requests_app.services.maintenance import maintenance_mode
from telegram_bot import texts
from telegram_bot.api.errors import BotApiError, NotReached, SlowDown
from telegram_bot.delivery.retries import pause_seconds
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.models import HeldFor, TelegramUpdate
from telegram_bot.selectors import updates_held_back

logger = logging.getLogger("telegram_bot.updates.held_back")

LOOK_AGAIN_SECONDS = 600.0  # where no sweeper lets it go at the end
MAX_RELEASED = 1000  # in one round


def update_wait_for_maintenance(*, context: HandlerContext, mode: MaintenanceMode) -> None:
    """Hold a prompt back, and tell its chat why, once while any of its prompts waits. Idempotent.

    Where Telegram could not be asked to show the notice, the prompt is looked at again sooner.
    """
    context.hold_back(seconds=LOOK_AGAIN_SECONDS, held_for=HeldFor.MAINTENANCE)
    unhandled = TelegramUpdate.objects.filter(chat=context.chat, handled_at=None)
    if unhandled.filter(notice_at__isnull=False).exists():
        return
    try:
        context.answer(mode.notice or texts.MAINTENANCE)
    except (NotReached, SlowDown) as error:
        context.hold_back(seconds=pause_seconds(error, 1), held_for=HeldFor.MAINTENANCE)
        return
    except BotApiError as error:
        logger.info("A chat could not be told of the maintenance: %s", error)
    unhandled.filter(pk=context.update_pk).update(notice_at=Now())


def updates_release() -> int:
    """Let go of what is held back, where maintenance mode is over, and return how many. Idempotent."""
    if maintenance_mode() is not None:
        return 0
    # In an order that no index has: SQLite would use the one of all updates, and not that of the unhandled.
    held = updates_held_back().filter(held_for__in=["", HeldFor.MAINTENANCE])
    return update_unlocked(held.order_by("held_at")[:MAX_RELEASED], next_at=Now())

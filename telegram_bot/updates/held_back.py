"""Prompts that wait for the end of maintenance mode: updates that are put off, so nothing is accepted or charged.

The updates that came after one in its chat wait behind it, so each chat reads the notice once.
"""

import logging
from datetime import timedelta

from django.db.models.functions import Now

from providers.db import update_unlocked
from requests_app.models import MaintenanceMode
from requests_app.services.maintenance import maintenance_mode
from telegram_bot import texts
from telegram_bot.api.errors import BotApiError
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.models import TelegramUpdate
from telegram_bot.selectors import updates_held_back

logger = logging.getLogger("telegram_bot.updates.held_back")

LOOK_AGAIN = timedelta(minutes=10)  # where no sweeper lets it go at the end
MAX_RELEASED = 1000  # in one round


def update_hold_back(*, context: HandlerContext, mode: MaintenanceMode) -> None:
    """Put a prompt off, and tell its chat why. Repeating it tells nothing again."""
    row = TelegramUpdate.objects.filter(pk=context.update_pk)
    is_new = row.exclude(target=TelegramUpdate.HELD_BACK).update(target=TelegramUpdate.HELD_BACK) > 0
    # It counts no try: they are for updates that crash their workers.
    row.update(next_at=Now() + LOOK_AGAIN, tries=0)
    if not is_new:
        return
    try:
        context.answer(mode.notice or texts.MAINTENANCE)
    except BotApiError as error:
        logger.info("A chat could not be told of the maintenance: %s", error)


def updates_release() -> int:
    """Let go of what was held back, where maintenance mode is over, and return how many. Idempotent."""
    if maintenance_mode() is not None:
        return 0
    return update_unlocked(updates_held_back()[:MAX_RELEASED], target="", next_at=None)

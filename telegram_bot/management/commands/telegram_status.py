"""`manage.py telegram_status`: what Telegram sees of the bot, and what to do where updates do not arrive."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from telegram_bot.api.errors import BotApiError
from telegram_bot.bot_status import bot_status


class Command(BaseCommand):
    help = "Show the webhook as Telegram sees it. The exit code is 1 where something keeps updates away."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            status = bot_status()
        except BotApiError as error:
            raise CommandError(f"Telegram did not say: {error}") from error
        for line in status.lines():
            self.stdout.write(line)
        if status.problems:
            raise SystemExit(1)

"""`manage.py telegram_setup`: register the webhook, the commands and the descriptions with Telegram."""

from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from telegram_bot import texts
from telegram_bot.api.client import TelegramClient, get_client
from telegram_bot.api.errors import BotApiError
from telegram_bot.bot_status import bot_status, webhook_url
from telegram_bot.checks import SECRET_SHAPE
from telegram_bot.operator import operator_line
from telegram_bot.updates.ingest import ALLOWED_UPDATES


class Command(BaseCommand):
    help = "Register the webhook (where TELEGRAM_WEBHOOK_URL is set), the commands and the descriptions with Telegram."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--new-operator",
            action="store_true",
            help="Forget the chat to which alerts go, and print a link for another.",
        )

    def handle(self, *args: Any, new_operator: bool, **options: Any) -> None:
        try:
            client = get_client()
            self._set_webhook(client)
            for language, commands in texts.COMMANDS.items():
                client.set_commands(commands, language)
            for language, description in texts.DESCRIPTIONS.items():
                client.set_descriptions(description, texts.SHORT_DESCRIPTIONS[language], language)
            status = bot_status()
            operator = operator_line(anew=new_operator)
        except BotApiError as error:
            raise CommandError(f"Telegram was not set up: {error}") from error
        self.stdout.write("The commands and the descriptions are set. What Telegram sees now:")
        for line in status.lines():
            self.stdout.write(f"  {line}")
        self.stdout.write(operator)

    def _set_webhook(self, client: TelegramClient) -> None:
        if not settings.TELEGRAM_WEBHOOK_URL:
            self.stdout.write("TELEGRAM_WEBHOOK_URL is not set, so there is no webhook; run `manage.py bot` to poll.")
            return
        url = webhook_url(settings.TELEGRAM_WEBHOOK_URL)
        secret = settings.TELEGRAM_WEBHOOK_SECRET
        if not SECRET_SHAPE.fullmatch(secret):
            raise CommandError("Set TELEGRAM_WEBHOOK_SECRET to 1 to 256 letters, digits, _ and - first.")
        if urlsplit(url).scheme != "https":
            raise CommandError(f"Telegram calls https URLs only, and TELEGRAM_WEBHOOK_URL is {url}.")
        client.set_webhook(url, secret, ALLOWED_UPDATES)
        self.stdout.write("The webhook is set.")

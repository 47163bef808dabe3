"""`manage.py bot`: receive the bot's updates by long polling."""

import logging
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from requests_app.dispatch import flush
from telegram_bot.api.client import TelegramClient, get_client
from telegram_bot.api.errors import BotApiError, TokenRefused
from telegram_bot.operator import operator_line
from telegram_bot.updates.polling import poll

logger = logging.getLogger("telegram_bot.updates.polling")


class Command(BaseCommand):
    help = "Receive updates by polling, on a machine without a public address. A worker answers them."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, _stop_handler(stop))
        try:
            client = get_client()
            self._prepare(client, stop)
            poll(client=client, stop=stop)
        except TokenRefused as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        flush(timeout_seconds=3)

    def _prepare(self, client: TelegramClient, stop: threading.Event) -> None:
        """Print the bot's name and switch its webhook off, keeping pending updates."""
        while not stop.is_set():
            try:
                name = client.me().username
                client.remove_webhook()
            except TokenRefused:
                raise
            except BotApiError as error:
                logger.warning("Telegram does not respond: %s Trying again.", error)
                stop.wait(5)
            else:
                self.stdout.write(f"@{name} receives updates by polling. Ctrl-C stops it.")
                if self.stdout.isatty():  # a log that others read is no place for the link
                    self.stdout.write(operator_line())
                self.stdout.flush()
                return


def _stop_handler(stop: threading.Event) -> Any:
    def stop_now(*_: Any) -> None:
        # Once: a supervisor may signal twice, and the second must not interrupt the flush of the last wake-ups.
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt  # interrupts the poll that waits for updates

    return stop_now

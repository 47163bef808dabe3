"""Take the bot's updates by polling."""

import logging
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from requests_app.dispatch import flush
from telegram_bot.api.client import TelegramClient, get_client
from telegram_bot.api.errors import BotApiError, TokenRefused
from telegram_bot.updates.polling import poll

logger = logging.getLogger("telegram_bot.updates.polling")


class Command(BaseCommand):
    help = "Take Telegram's updates by polling, on a machine without a public address. A worker answers them."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopper(stop))
        try:
            client = get_client()
            self._begin(client, stop)
            poll(client=client, stop=stop)
        except TokenRefused as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        flush(timeout_seconds=3)

    def _begin(self, client: TelegramClient, stop: threading.Event) -> None:
        """Say who the bot is and switch its webhook off, without dropping what waits there."""
        while not stop.is_set():
            try:
                name = client.me().username
                client.remove_webhook()
            except TokenRefused:
                raise
            except BotApiError as error:
                logger.warning("Telegram does not answer: %s Trying again.", error)
                stop.wait(5)
            else:
                self.stdout.write(f"@{name} takes updates by polling. Ctrl-C ends it.")
                self.stdout.flush()
                return


def _stopper(stop: threading.Event) -> Any:
    def stop_now(*_: Any) -> None:
        # Once: whoever ends a group of processes may send this twice, and the last enqueued_now are leaving.
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt  # out of the poll that waits for updates

    return stop_now

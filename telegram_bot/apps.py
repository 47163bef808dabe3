"""The app's configuration; it registers the system checks."""

from django.apps import AppConfig
from django.core.checks import register

from telegram_bot.checks import check_deployed_secret, check_secret, check_token, check_url


class TelegramBotConfig(AppConfig):
    name = "telegram_bot"
    verbose_name = "Telegram"

    def ready(self) -> None:
        register(check_token, "telegram")
        register(check_url, "telegram")
        register(check_secret, "telegram")
        register(check_deployed_secret, "telegram", deploy=True)

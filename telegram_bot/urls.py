"""The URLs of Telegram's webhook: with and without the slash, because a POST cannot follow a redirect."""

from django.urls import path

from telegram_bot.updates.views import webhook

urlpatterns = [
    path("webhook/", webhook, name="telegram_webhook"),
    path("webhook", webhook),
]

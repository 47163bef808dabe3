"""The URL of Telegram's webhook."""

from django.urls import path

from telegram_bot.updates.views import webhook

urlpatterns = [path("webhook/", webhook, name="telegram_webhook")]

"""System checks of the Telegram settings."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 — Django's own name
from django.urls import reverse

SECRET_SHAPE = re.compile(r"[A-Za-z0-9_-]{1,256}")
TOKEN_SHAPE = re.compile(r"[0-9]+:[A-Za-z0-9_-]+")
SECRET_COMMAND = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"  # noqa: S105 — how to make one


def check_token(**_: Any) -> list[CheckMessage]:
    """W002: the token looks like one."""
    token = settings.TELEGRAM_BOT_TOKEN
    if not token or TOKEN_SHAPE.fullmatch(token):
        return []
    return [
        Warning(
            "TELEGRAM_BOT_TOKEN does not look like a bot's token.",
            hint="One looks like 123456789:letters-and-digits; @BotFather shows it.",
            id="telegram_bot.W002",
        )
    ]


def check_url(**_: Any) -> list[CheckMessage]:
    """W003: an address at which only a proxy that changes paths could find the webhook."""
    url, served = settings.TELEGRAM_WEBHOOK_URL, reverse("telegram_webhook").rstrip("/")
    path = urlsplit(url).path.rstrip("/")
    if not path or path.endswith(served):
        return []
    return [
        Warning(
            f"TELEGRAM_WEBHOOK_URL leads to {path}, and the webhook is at {served}/: is there a proxy that knows?",
            hint=f"Otherwise set it to https://your-host, or to https://your-host{served}/.",
            id="telegram_bot.W003",
        )
    ]


def check_secret(**_: Any) -> list[CheckMessage]:
    """E001: a webhook without a secret refuses everything. E002: Telegram accepts letters, digits, _ and - only."""
    secret = settings.TELEGRAM_WEBHOOK_SECRET
    if settings.TELEGRAM_WEBHOOK_URL and not secret:
        return [
            Error(
                "TELEGRAM_WEBHOOK_URL is set, but TELEGRAM_WEBHOOK_SECRET is not, so the webhook refuses every update.",
                hint=f"Set TELEGRAM_WEBHOOK_SECRET to what this prints: {SECRET_COMMAND}",
                id="telegram_bot.E001",
            )
        ]
    if secret and not SECRET_SHAPE.fullmatch(secret):
        return [
            Error(
                "TELEGRAM_WEBHOOK_SECRET contains characters that Telegram does not accept, or is too long.",
                hint=f"Use 1 to 256 letters, digits, _ and -, such as what this prints: {SECRET_COMMAND}",
                id="telegram_bot.E002",
            )
        ]
    return []


def check_deployed_secret(**_: Any) -> list[CheckMessage]:
    """W001: in production a bot without a webhook secret can only poll."""
    if not settings.TELEGRAM_BOT_TOKEN or settings.TELEGRAM_WEBHOOK_SECRET:
        return []
    return [
        Warning(
            "TELEGRAM_WEBHOOK_SECRET is not set, so the webhook refuses every update; only `manage.py bot` gets any.",
            hint=f"Set it to what this prints: {SECRET_COMMAND}",
            id="telegram_bot.W001",
        )
    ]

"""What Telegram sees of this bot: its webhook, what went wrong there, and what it may read in groups."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from providers.transport.deadlines import Deadline
from telegram_bot.api.client import BotIdentity, WebhookInfo, get_client
from telegram_bot.updates.ingest import ALLOWED_UPDATES

RECENT = timedelta(hours=1)  # Telegram repeats a failed call sooner, however long it has failed
SET_UP = "run `manage.py telegram_setup`"


@dataclass(frozen=True, slots=True)
class BotStatus:
    """The bot as Telegram knows it, beside what the settings say."""

    identity: BotIdentity
    webhook: WebhookInfo
    expected_url: str  # "" where updates are polled

    @property
    def problems(self) -> list[str]:
        """Return what keeps updates away, each with what to do about it."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        webhook, expected = self.webhook, self.expected_url
        if webhook.url != expected:
            if not expected:
                yield "TELEGRAM_WEBHOOK_URL is empty, and Telegram calls a webhook: `manage.py bot` removes it."
            elif not webhook.url:
                yield f"Telegram knows no webhook, so no update arrives: {SET_UP}."
            else:
                yield f"Telegram sends updates to another address than TELEGRAM_WEBHOOK_URL: {SET_UP}."
        elif expected and webhook.allowed_updates and set(ALLOWED_UPDATES) - set(webhook.allowed_updates):
            yield f"Telegram does not send all kinds of updates: {SET_UP}."
        is_recent = webhook.last_error_at is None or timezone.now() - webhook.last_error_at < RECENT
        if expected and webhook.last_error and webhook.pending and is_recent:
            yield (
                f"Telegram's last call failed ({webhook.last_error}), and {webhook.pending} updates wait there: "
                f"check that the address is reachable from the internet, its certificate, and what the proxy answers."
            )

    def lines(self) -> Iterator[str]:
        """Yield the report for a terminal."""
        webhook = self.webhook
        yield f"@{self.identity.username}"
        yield f"Updates go to  {webhook.url or 'nobody: they wait until they are polled'}"
        yield f"Waiting there  {webhook.pending}"
        if webhook.last_error:
            when = f"{webhook.last_error_at:%Y-%m-%d %H:%M:%S} UTC: " if webhook.last_error_at else ""
            yield f"Last error     {when}{webhook.last_error}"
        if self.identity.reads_groups:
            yield "In groups      every message is delivered to the bot; it reacts to commands, mentions and replies"
        else:
            yield (
                "In groups      only commands and replies to the bot are delivered, mentions are not, except where it "
                "is an administrator: Group Privacy is on (to change it: @BotFather, /setprivacy, then add the bot to "
                "the group again)"
            )
        yield from (f"Problem        {problem}" for problem in self.problems)


def bot_status(*, deadline: Deadline | None = None) -> BotStatus:
    """Ask Telegram, in two calls. Raises BotApiError."""
    client = get_client()
    return BotStatus(
        client.ask_me(deadline=deadline),
        client.webhook_info(deadline=deadline),
        webhook_url(settings.TELEGRAM_WEBHOOK_URL),
    )


def webhook_url(setting: str) -> str:
    """Return the URL for updates: the setting as it was typed, with the webhook's path where it has none."""
    if not setting or urlsplit(setting).path.strip("/"):
        return setting
    return setting.rstrip("/") + reverse("telegram_webhook")

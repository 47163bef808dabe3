"""The channels to the operator: the log, e-mail, and the chat that was claimed by the link of `telegram_setup`."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.core.mail import send_mail

from aibot.redaction import redact
from telegram_bot.operator import has_operator, operator_tell

logger = logging.getLogger("aibot.alerts")

Channel = Callable[[str, str], None]


def channels_in_use() -> list[str]:
    """Return the names of the channels that the settings and the operator have opened."""
    names = [LOG]
    if settings.ALERT_EMAIL:
        names.append(MAIL)
    if settings.TELEGRAM_BOT_TOKEN and has_operator():
        names.append(CHAT)
    return names


def channel_send(channel: str, *, title: str, text: str) -> bool:
    """Send a message by a channel and return whether it was taken. Raises nothing; repeating it sends it again.

    A call of the Bot API has a deadline; of mail settings.EMAIL_TIMEOUT bounds each wait for the server, not the whole.
    """
    try:
        CHANNELS[channel](redact(title), redact(text))
    except Exception as error:  # noqa: BLE001 — what one channel raises must not silence the others
        logger.warning("An alert was not taken by %s: %s: %s", channel, type(error).__name__, error)
        return False
    return True


def _to_log(title: str, text: str) -> None:
    logger.warning("%s – %s", title, text)


def _by_mail(title: str, text: str) -> None:
    host = next(iter(settings.ALLOWED_HOSTS), "aibot").lstrip(".")
    send_mail(f"[{host}] {title}", f"{title}\n\n{text}\n", None, settings.ALERT_EMAIL)


def _by_chat(title: str, text: str) -> None:
    operator_tell(f"{title}\n\n{text}")


LOG, MAIL, CHAT = "log", "mail", "chat"
CHANNELS: dict[str, Channel] = {LOG: _to_log, MAIL: _by_mail, CHAT: _by_chat}

"""The ways to the operator: e-mail, and the chat that was claimed by the link of `manage.py telegram_setup`."""

import logging
from collections.abc import Callable
from smtplib import SMTPException
from typing import NamedTuple

from django.conf import settings
from django.core.mail import send_mail

from aibot.redaction import redact
from telegram_bot.api.errors import BotApiError
from telegram_bot.operator import has_operator, operator_tell

logger = logging.getLogger("aibot.alerts")

Channel = Callable[[str, str], None]


class Notified(NamedTuple):
    """What came of a message."""

    is_taken: bool  # by a channel; also where there is none but the log
    is_smooth: bool  # every channel took it


def operator_notify(title: str, text: str) -> Notified:
    """Send a message by every channel there is, and log it.

    A call of the Bot API has a deadline; of mail settings.EMAIL_TIMEOUT bounds each wait for the server, not the whole.
    Of a channel's errors those of the network are caught; settings that no mail can be made with raise ValueError.
    """
    title, text = redact(title), redact(text)
    logger.warning("%s – %s", title, text)
    taken = [_is_taken(channel, title, text) for channel in _channels()]
    return Notified(any(taken) or not taken, all(taken))


def _channels() -> list[Channel]:
    channels: list[Channel] = []
    if settings.ALERT_EMAIL:
        channels.append(_by_mail)
    if settings.TELEGRAM_BOT_TOKEN and has_operator():
        channels.append(_by_chat)
    return channels


def _is_taken(channel: Channel, title: str, text: str) -> bool:
    try:
        channel(title, text)
    except (BotApiError, OSError, SMTPException) as error:
        logger.warning("An alert was not taken %s: %s", channel.__name__.strip("_").replace("_", " "), error)
        return False
    return True


def _by_mail(title: str, text: str) -> None:
    host = next(iter(settings.ALLOWED_HOSTS), "aibot").lstrip(".")
    send_mail(f"[{host}] {title}", f"{title}\n\n{text}\n", None, settings.ALERT_EMAIL)


def _by_chat(title: str, text: str) -> None:
    operator_tell(f"{title}\n\n{text}")

"""The channels to the operator: the log, e-mail, and the chat that was claimed by the link of `telegram_setup`."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.core.mail import send_mail

from aibot.redaction import redact
from providers.models import ProviderConfig
from telegram_bot.keyboards import route_keyboard
from telegram_bot.operator import has_operator, operator_tell

logger = logging.getLogger("aibot.alerts")

MAX_BUTTONS = 8  # below a message


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel tells."""

    title: str
    text: str
    remedy: str = ""  # what buttons do, where the channel has any, to these routes
    routes: Sequence[int] = ()


Channel = Callable[[Message], None]


def channels_in_use() -> list[str]:
    """Return the names of the channels that the settings and the operator have opened."""
    names = [LOG]
    if settings.ALERT_EMAIL:
        names.append(MAIL)
    if settings.TELEGRAM_BOT_TOKEN and has_operator():
        names.append(CHAT)
    return names


def channel_send(channel: str, message: Message) -> bool:
    """Send a message by a channel and return whether it was taken. Raises nothing; repeating it sends it again.

    A call of the Bot API has a deadline; of mail settings.EMAIL_TIMEOUT bounds each wait for the server, not the whole.
    """
    try:
        CHANNELS[channel](replace(message, title=redact(message.title), text=redact(message.text)))
    except Exception as error:  # noqa: BLE001 — what one channel raises must not silence the others
        logger.warning("An alert was not taken by %s: %s: %s", channel, type(error).__name__, error)
        return False
    return True


def _to_log(message: Message) -> None:
    logger.warning("%s – %s", message.title, message.text)


def _by_mail(message: Message) -> None:
    host = next(iter(settings.ALLOWED_HOSTS), "aibot").lstrip(".")
    body = f"{message.title}\n\n{message.text}\n"
    send_mail(f"[{host}] {message.title}", body, None, settings.ALERT_EMAIL)


def _by_chat(message: Message) -> None:
    routes = ProviderConfig.objects.filter(pk__in=message.routes).order_by("category", "priority")[:MAX_BUTTONS]
    operator_tell(f"{message.title}\n\n{message.text}", route_keyboard(message.remedy, routes) if routes else None)


LOG, MAIL, CHAT = "log", "mail", "chat"
CHANNELS: dict[str, Channel] = {LOG: _to_log, MAIL: _by_mail, CHAT: _by_chat}

"""The operator's chat, to which alerts go. It is claimed once, by a link that only who has the server can see."""

import hashlib
import secrets

from django.db import DatabaseError

from telegram_bot.api.client import get_client
from telegram_bot.bots import current_bot_id
from telegram_bot.content.rendering import MessagePart
from telegram_bot.models import TelegramBot, TelegramChat

PREFIX = "operator-"  # of what the link has /start say


def operator_link(*, anew: bool = False) -> str:
    """Return a link by which the operator's chat is claimed, "" where it is claimed already.

    Each call makes a new link, and the one before is void. With `anew` the chat that was claimed is forgotten first.
    Raises BotApiError.
    """
    bot = TelegramBot.objects.filter(pk=current_bot_id())
    if anew:
        bot.update(operator_chat=None)
    code = secrets.token_urlsafe(24)
    if not bot.filter(operator_chat=None).update(operator_code=_hash(code)):
        return ""
    return f"https://t.me/{get_client().me().username}?start={PREFIX}{code}"


def operator_line(*, anew: bool = False) -> str:
    """Return what a terminal says of the operator's chat, with a new link where it is not claimed.

    Raises BotApiError.
    """
    try:
        link = operator_link(anew=anew)
    except DatabaseError:
        return "No link to claim the operator's chat: the database has no answer, or no tables yet."
    if not link:
        return "Alerts go to the operator's chat; `manage.py telegram_setup --new-operator` chooses another."
    return f"To get alerts in your own chat, open this link once; do not share it: {link}"


def operator_claim(*, chat: TelegramChat, start_parameter: str) -> bool:
    """Make a private chat the operator's, where it brings the code of the link; it is then void."""
    code = start_parameter.removeprefix(PREFIX)
    if code == start_parameter or chat.telegram_id < 0:
        return False
    bot = TelegramBot.objects.filter(pk=chat.bot_id, operator_chat=None, operator_code=_hash(code))
    return bot.update(operator_chat=chat, operator_code="") > 0


def has_operator() -> bool:
    """Return whether the operator's chat is claimed."""
    return TelegramBot.objects.filter(pk=current_bot_id(), operator_chat__isnull=False).exists()


def operator_tell(text: str) -> None:
    """Send a message to the operator's chat, where there is one. Raises BotApiError."""
    chat = TelegramChat.objects.filter(operated_bot=current_bot_id()).first()
    if chat is not None:
        get_client().send(chat.telegram_id, MessagePart(text))


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()

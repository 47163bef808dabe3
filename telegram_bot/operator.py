"""The operator's chat, to which alerts go. It is claimed once, by a link that only who has the server can see."""

import secrets

from django.db import DatabaseError
from django.utils.crypto import constant_time_compare, salted_hmac
from telegram import InlineKeyboardMarkup

from telegram_bot.api.client import get_client
from telegram_bot.bots import current_bot_id
from telegram_bot.content.rendering import MessagePart
from telegram_bot.models import TelegramBot, TelegramChat

PREFIX = "operator-"  # of what the link has /start say


def operator_link(*, anew: bool = False) -> str:
    """Return the link by which the operator's chat is claimed, "" where it is claimed already.

    It stays the same until it is used. With `anew` the chat that was claimed is forgotten first, and a link that was
    shown before is void. Idempotent without `anew`. Raises BotApiError.
    """
    rows = TelegramBot.objects.filter(pk=current_bot_id())
    if anew:
        rows.update(operator_chat=None, operator_salt=secrets.token_urlsafe(16))
    rows.filter(operator_chat=None, operator_salt="").update(operator_salt=secrets.token_urlsafe(16))
    bot = rows.get()
    if bot.operator_chat_id is not None:
        return ""
    return f"https://t.me/{get_client().me().username}?start={PREFIX}{_code(bot)}"


def operator_line(*, anew: bool = False) -> str:
    """Return what a terminal says of the operator's chat, with the link where it is not claimed.

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
    """Make a private chat the operator's, where it brings the code of the link, which is then void.

    Returns whether it is the operator's now. Idempotent: of the chat that has claimed it, any code is true.
    """
    code = start_parameter.removeprefix(PREFIX)
    if code == start_parameter or chat.telegram_id < 0:
        return False
    bot = TelegramBot.objects.get(pk=chat.bot_id)
    if bot.operator_chat_id is not None:
        return bot.operator_chat_id == chat.pk
    if not bot.operator_salt or not constant_time_compare(code, _code(bot)):
        return False
    unclaimed = TelegramBot.objects.filter(pk=bot.pk, operator_chat=None, operator_salt=bot.operator_salt)
    return unclaimed.update(operator_chat=chat, operator_salt="") > 0


def has_operator() -> bool:
    """Return whether the operator's chat is claimed."""
    return TelegramBot.objects.filter(pk=current_bot_id(), operator_chat__isnull=False).exists()


def is_operators(chat: TelegramChat) -> bool:
    """Return whether a chat is the operator's."""
    return TelegramBot.objects.filter(pk=chat.bot_id, operator_chat=chat).exists()


def operator_tell(text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    """Send a message to the operator's chat, where there is one. Raises BotApiError."""
    chat = TelegramChat.objects.filter(operated_bot=current_bot_id()).first()
    if chat is not None:
        get_client().send(chat.telegram_id, MessagePart(text), keyboard=keyboard)


def _code(bot: TelegramBot) -> str:
    """Return the code of the link. Who reads the database alone cannot make it."""
    return salted_hmac(PREFIX, f"{bot.pk}:{bot.operator_salt}", algorithm="sha256").hexdigest()[:32]

"""The table of handlers, and the way from an update to one of them."""

import logging
from collections.abc import Callable

import telegram
from telegram.constants import ChatMemberStatus, ChatType

from telegram_bot.chats import chat_seen, chat_set_reachable, user_ensure
from telegram_bot.handlers.balance import balance
from telegram_bot.handlers.cancel import cancel
from telegram_bot.handlers.context import HandlerContext, topic_of
from telegram_bot.handlers.fallbacks import unknown_button, unknown_command, unsupported
from telegram_bot.handlers.model_choice import model_choose, model_menu
from telegram_bot.handlers.new import new
from telegram_bot.handlers.prompt import picture, prompt, recording
from telegram_bot.handlers.start import help, start  # noqa: A004 — the command's name
from telegram_bot.keyboards import CHOOSE_MODEL, press_of
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates.filters import address_of, reason_to_ignore

logger = logging.getLogger("telegram_bot.updates.dispatcher")

Handler = Callable[[HandlerContext], str]

COMMANDS: dict[str, Handler] = {
    "start": start,
    "new": new,
    "cancel": cancel,
    "model": model_menu,
    "balance": balance,
    "help": help,
}
BUTTONS: dict[str, Handler] = {
    CHOOSE_MODEL: model_choose,
}
GONE = {ChatMemberStatus.BANNED, ChatMemberStatus.LEFT}


def update_handle(*, row: TelegramUpdate) -> str:
    """Do what an update asks for, and return in words what was done or why nothing was.

    Handling an update twice is harmless, save that a command may be answered twice. Raises BotApiError.
    """
    button = row.raw.get("callback_query")
    if isinstance(button, dict):
        # PTB insists on it and nobody here needs it; test servers leave it out.
        button.setdefault("chat_instance", "")
    try:
        update = telegram.Update.de_json(row.raw, None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        logger.warning("Update %s cannot be read: %s", row.update_id, type(error).__name__)
        return f"ignored: cannot be read ({type(error).__name__})"
    if update.message:
        return _message(update.update_id, update.message)
    if update.callback_query:
        return _button(update.update_id, update.callback_query)
    if update.my_chat_member:
        return _membership(update.my_chat_member)
    return f"ignored: {row.kind}"


def _message(update_id: int, message: telegram.Message) -> str:
    reason = reason_to_ignore(message)
    if reason:
        return f"ignored: {reason}"
    address = address_of(message)
    if address is None:
        return "ignored: meant for somebody else"
    handler = _handler_for(message, address.command)
    if handler is unknown_command and not address.is_certain:
        return "ignored: a command that may be another bot's"
    if handler in (picture, recording, unsupported) and _is_later_in_album(update_id, message):
        return "ignored: belongs to an album that was answered"
    sound = _sound_of(message)
    assert message.from_user is not None  # noqa: S101 — reason_to_ignore() has seen to it
    context = HandlerContext(
        update_id=update_id,
        user=user_ensure(sender=message.from_user),
        chat=chat_seen(chat_id=message.chat.id, type=message.chat.type),
        thread_id=topic_of(message),
        message_id=message.message_id,
        text=address.text,
        image_file_id=message.photo[-1].file_id if message.photo else "",
        audio_file_id=sound.file_id if sound else "",
    )
    return handler(context)


def _sound_of(message: telegram.Message) -> telegram.Voice | telegram.Audio | None:
    return message.voice or message.audio


def _handler_for(message: telegram.Message, command: str) -> Handler:
    if command:
        return COMMANDS.get(command, unknown_command)
    if message.photo:
        return picture
    if _sound_of(message):
        return recording
    return prompt if message.text is not None else unsupported


def _is_later_in_album(update_id: int, message: telegram.Message) -> bool:
    """Tell whether this is not the first picture of an album, which arrives as one update for each picture."""
    if message.media_group_id is None:
        return False
    earlier = TelegramUpdate.objects.filter(update_id__range=(update_id - 20, update_id - 1), chat_id=message.chat.id)
    return earlier.filter(raw__message__media_group_id=message.media_group_id).exists()


def _button(update_id: int, query: telegram.CallbackQuery) -> str:
    if query.message is None:
        return "ignored: a button outside of a chat"
    press = press_of(query.data)
    message = query.message
    context = HandlerContext(
        update_id=update_id,
        user=user_ensure(sender=query.from_user),
        chat=chat_seen(chat_id=message.chat.id, type=message.chat.type),
        thread_id=topic_of(message) if isinstance(message, telegram.Message) else None,
        message_id=message.message_id,
        callback_id=query.id,
        press=press,
    )
    return BUTTONS.get(press.action if press else "", unknown_button)(context)


def _membership(change: telegram.ChatMemberUpdated) -> str:
    """Note that the bot was blocked or removed, or that it may write again."""
    if change.chat.type == ChatType.CHANNEL:
        return "ignored: a channel"
    is_reachable = change.new_chat_member.status not in GONE
    chat_seen(chat_id=change.chat.id, type=change.chat.type)
    chat_set_reachable(chat_id=change.chat.id, is_reachable=is_reachable)
    return "reachable" if is_reachable else "not reachable any more"

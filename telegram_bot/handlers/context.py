"""What every handler is given: the update, who sent it and where, and a way to answer."""

from dataclasses import dataclass, field

import telegram

from telegram_bot.api.client import get_client
from telegram_bot.content.rendering import MessagePart
from telegram_bot.keyboards import Press
from telegram_bot.models import TelegramChat, TelegramUser


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """One message or one pressed button."""

    update_id: int
    user: TelegramUser
    chat: TelegramChat
    thread_id: int | None  # the topic, where the chat has topics
    message_id: int  # the message itself, or the one whose button was pressed
    text: str = field(default="", repr=False)  # the prompt, or what follows the command
    image_file_id: str = ""  # Telegram's id of the picture that came with it
    audio_file_id: str = ""  # the same of a voice message, or of another sound
    callback_id: str = ""  # of a pressed button
    press: Press | None = None

    @property
    def reply_to(self) -> int | None:
        """The message to answer to where several people talk at once."""
        return None if self.chat.chat_id > 0 else self.message_id

    def answer(self, text: str, keyboard: telegram.InlineKeyboardMarkup | None = None) -> None:
        """Send a message to where this came from."""
        get_client().send(
            self.chat.chat_id, MessagePart(text), thread_id=self.thread_id, reply_to=self.reply_to, keyboard=keyboard
        )


def topic_of(message: telegram.Message) -> int | None:
    """Return the topic of a message. Replies outside of topics carry a thread id too, which nobody can write to."""
    return message.message_thread_id if message.is_topic_message else None

"""The argument of every handler: what the update says, who sent it and where, and a method to answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import telegram
from django.db.models.functions import Coalesce, Now

from requests_app.models import AIModel, Request
from telegram_bot.api.client import get_client
from telegram_bot.api.errors import BotApiError
from telegram_bot.chats import thread_ensure
from telegram_bot.content.references import Reference
from telegram_bot.content.rendering import MessagePart
from telegram_bot.keyboards import ButtonPress
from telegram_bot.models import HeldFor, TelegramChat, TelegramThread, TelegramUpdate, TelegramUser
from telegram_bot.selectors import model_for

logger = logging.getLogger("telegram_bot.handlers")

NOTHING = "-"  # noted where there is nothing to act on


@dataclass(frozen=True, slots=True)
class Part:
    """One of the messages of a prompt."""

    update_pk: int
    message_id: int
    text: str = field(repr=False)
    units: int  # of the message's own text, as Telegram counts
    image_file_id: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file as its sender describes it."""

    file_id: str
    name: str = ""
    size: int = 0  # bytes; 0: not told


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """One message, or one pressed button."""

    update_pk: int  # of the update's row
    user: TelegramUser
    chat: TelegramChat
    thread_id: int | None  # the topic, where the chat has topics
    message_id: int  # the message itself, or the one whose button was pressed
    text: str = field(default="", repr=False)  # the prompt, or the command's arguments
    image_file_id: str = ""  # Telegram's id of the image
    audio_file_id: str = ""  # of the voice message or audio file
    document: Document | None = None
    album_id: str = ""  # Telegram's, where the image is one of several
    sent_at: int = 0  # by Telegram's clock, in seconds since 1970
    units: int = 0  # of the message's own text, as Telegram counts
    parts: tuple[Part, ...] = ()  # all messages that belong to it, in order, where it may have several
    reference: Reference | None = None  # what the message is about, with the files of that
    callback_id: str = ""  # of a pressed button
    press: ButtonPress | None = None
    known_thread: TelegramThread | None = None  # where it was read with the update
    known_model: AIModel | None = None  # the one that answers, where it was read with the update
    held_for: str = ""  # why it was held back when it was last looked at
    is_behind: bool = False  # an earlier prompt of the user waits for its turn
    noted_target: str = ""  # what an earlier handling of this update has chosen to act on

    @property
    def thread(self) -> TelegramThread:
        """The row of the topic, or of the whole of a chat without topics."""
        return self.known_thread or thread_ensure(chat_id=self.chat.pk, thread_id=self.thread_id)

    @property
    def intake_key(self) -> str:
        """What names this update where a request is accepted for it."""
        return f"telegram:{self.update_pk}"

    @property
    def is_accepted(self) -> bool:
        """Whether a request was accepted for this update when it was handled before. One query."""
        return Request.objects.filter(intake_key=self.intake_key).exists()

    @property
    def conversation_key(self) -> str:
        """The key by which requests name the conversation that a prompt belongs to."""
        return self.thread.key_of(self.conversation_number)

    @property
    def conversation_number(self) -> int:
        """The conversation that a prompt belongs to: the one in which it began to wait, or else the current one."""
        number, _, _ = self.noted_target.partition("/")
        return int(number) if number else self.thread.conversation

    @property
    def model(self) -> AIModel | None:
        """The AI model that answers: the one that did when the prompt began to wait, or else the chat's current one."""
        return self.known_model or model_for(self.chat)

    @property
    def reply_to(self) -> int | None:
        """The message to reply to: in a group, where several users write at once."""
        return None if self.chat.telegram_id > 0 else self.message_id

    def answer(self, text: str, keyboard: telegram.InlineKeyboardMarkup | None = None) -> None:
        """Send a message to the chat and topic from which this came."""
        get_client().send(
            self.chat.telegram_id,
            MessagePart(text),
            thread_id=self.thread_id,
            reply_to=self.reply_to,
            keyboard=keyboard,
        )

    def choose(self, find: Callable[[], str]) -> str:
        """Return what this update acts on, "" for nothing: what `find` returns the first time, and that for ever.

        Telegram's answer to the reply decides whether a handler runs again, and what it reads may have changed by then:
        a second run must not cancel a second request. The choice is committed before anything follows from it.
        """
        noted = self.noted_target
        if not noted:
            row = TelegramUpdate.objects.filter(pk=self.update_pk)
            noted = find() or NOTHING
            if not row.filter(target="").update(target=noted):
                noted = row.values_list("target", flat=True).first() or noted
        return "" if noted == NOTHING else noted

    def hold_back(self, *, seconds: float, held_for: HeldFor) -> None:
        """Have this prompt handled again later, and let what comes after it in its chat pass. Idempotent.

        Unless it is for maintenance mode, it stays in its conversation, and with its AI model. It counts no try: they
        are for updates that crash their workers.
        """
        noted = {} if held_for == HeldFor.MAINTENANCE else {"target": self.place}
        TelegramUpdate.objects.filter(pk=self.update_pk).update(
            held_at=Coalesce("held_at", Now()),
            held_for=held_for,
            next_at=Now() + timedelta(seconds=seconds),
            tries=0,
            **noted,
        )

    @property
    def place(self) -> str:
        """What is noted of a prompt that waits: its conversation and its AI model."""
        model = self.model
        return f"{self.conversation_number}/{model.pk if model else ''}"

    def acknowledge(self) -> None:
        """Have the pressed button stop spinning, if Telegram still takes it."""
        try:
            get_client().answer_button(self.callback_id)
        except BotApiError as error:
            logger.info("A button was not acknowledged: %s", error)


def topic_of(message: telegram.Message) -> int | None:
    """Return the topic of a message. Replies outside of topics have a thread id too, but one that cannot be sent to."""
    return message.message_thread_id if message.is_topic_message else None

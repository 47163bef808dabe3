"""What a message is about beside its own words: another that it replies to, a part of that, or where it comes from."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import telegram

MAX_REFERRED = 8_000  # characters of it that go into a prompt


class Author(Enum):
    """Who has written it, as the model that reads the prompt is told."""

    BOT = "of yours"
    SENDER = "of mine"
    OTHER = "of somebody else"


@dataclass(frozen=True, slots=True)
class Reference:
    """Another message, with its text and the files that can be read."""

    author: Author
    text: str = field(default="", repr=False)
    is_part: bool = False  # of the text: what its sender has marked
    is_forwarded: bool = False  # it is the message itself
    image_file_id: str = ""  # Telegram's
    audio_file_id: str = ""

    @property
    def words(self) -> str:
        """How a prompt begins that is about it; nothing where it has no text."""
        if not self.text:
            return ""
        if self.is_forwarded:
            opening = f"I forward this message {self.author.value}:"
        else:
            opening = f"I reply to this {'part of a ' if self.is_part else ''}message {self.author.value}:"
        text = self.text if len(self.text) <= MAX_REFERRED else f"{self.text[:MAX_REFERRED]}…"
        return opening + "\n" + "\n".join(f"> {line}" for line in text.splitlines())


def reference_of(message: telegram.Message, *, bot_id: int) -> Reference | None:
    """Return what a message refers to; None where it stands for itself.

    In a topic every message replies to the one that has opened the topic, which says nothing.
    """
    if message.forward_origin:
        return Reference(_author_of_origin(message, bot_id), _text_of(message), is_forwarded=True)
    replied, external = message.reply_to_message, message.external_reply
    part = message.quote.text if message.quote else ""
    if replied and not replied.forum_topic_created:
        author = _author(replied.from_user if not replied.sender_chat else None, message, bot_id)
        return Reference(author, part or _text_of(replied), is_part=bool(part), **_files_in(replied))
    if external:
        return Reference(Author.OTHER, part, is_part=bool(part), **_files_in(external))
    return None


def prompt_about(reference: Reference | None, prompt: str) -> str:
    """Return a prompt for a model that writes, with what it is about before it."""
    if reference is None or not reference.text:
        return prompt
    return reference.words if reference.is_forwarded else f"{reference.words}\n\n{prompt}".rstrip()


def description_with(reference: Reference | None, prompt: str) -> str:
    """Return a prompt for a model that makes what is described, with the words that are referred to, and no others."""
    if reference is None or not reference.text or reference.is_forwarded:
        return prompt
    return f"{prompt}\n\n{reference.text[:MAX_REFERRED]}".strip()


def _author(user: telegram.User | None, message: telegram.Message, bot_id: int) -> Author:
    if user is None:
        return Author.OTHER
    if user.id == bot_id:
        return Author.BOT
    return Author.SENDER if message.from_user and user.id == message.from_user.id else Author.OTHER


def _author_of_origin(message: telegram.Message, bot_id: int) -> Author:
    origin = message.forward_origin
    return _author(origin.sender_user if isinstance(origin, telegram.MessageOriginUser) else None, message, bot_id)


def _text_of(message: telegram.Message) -> str:
    return message.text or message.caption or ""


def _files_in(message: telegram.Message | telegram.ExternalReplyInfo) -> dict[str, Any]:
    audio = message.voice or message.audio
    return {
        "image_file_id": message.photo[-1].file_id if message.photo else "",
        "audio_file_id": audio.file_id if audio else "",
    }

"""What a message is about beside its own words: another that it replies to, a part of that, or where it comes from."""

from dataclasses import dataclass, field, replace
from enum import Enum

import telegram

from telegram_bot.content.rendering import is_visible

MAX_OF_BOT = 500  # characters of an answer of the bot's, which its conversation has already
MIN_ROOM = 200  # characters for less than which nothing is quoted
UNREADABLE_FILE = "(a file that cannot be read here)"
UNREADABLE_FILES = ("document", "video", "video_note", "sticker", "animation")


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
    has_unreadable_file: bool = False

    def without_files(self) -> "Reference":
        """Return it with files that cannot be read where it had some that can."""
        has_files = bool(self.image_file_id or self.audio_file_id or self.has_unreadable_file)
        return replace(self, image_file_id="", audio_file_id="", has_unreadable_file=has_files)

    def words(self, *, room: int) -> str:
        """Return how a prompt begins that is about it, in at most so many characters; it may be nothing."""
        text = self.text if is_visible(self.text) else UNREADABLE_FILE if self.has_unreadable_file else ""
        if not text or room < MIN_ROOM:
            return ""
        if self.is_forwarded:
            opening = f"I forward this message {self.author.value}:\n"
        else:
            opening = f"I reply to this {'part of a ' if self.is_part else ''}message {self.author.value}:\n"
        if self._is_known:
            text = _shortened(text, MAX_OF_BOT)
        return opening + _shortened("\n".join(f"> {line}" for line in text.split("\n")), room - len(opening))

    @property
    def _is_known(self) -> bool:
        return self.author is Author.BOT and not self.is_part and not self.is_forwarded


def reference_of(message: telegram.Message, *, bot_id: int) -> Reference | None:
    """Return what a message refers to; None where it stands for itself.

    What was spoken is not about a message: nobody can tell its words from an accidental press of the button. In a group
    a reply to the bot is how one speaks to it, and a comment below a channel's post always replies to that: they are
    about it where its sender has marked a part of it.
    """
    if message.voice or message.audio:
        return None
    if message.forward_origin:
        return Reference(_author_of(message.forward_origin, message, bot_id), _text_of(message), is_forwarded=True)
    replied, external = message.reply_to_message, message.external_reply
    part = message.quote.text if message.quote and (external or message.quote.is_manual) else ""
    if replied and not replied.forum_topic_created:
        author = _author_of(replied.forward_origin or replied, message, bot_id)
        is_of_bot = replied.from_user is not None and replied.from_user.id == bot_id
        is_address = replied.is_automatic_forward or (is_of_bot and message.chat.type != "private")
        if is_address and not part:
            return None
        return _reference(replied, author, part, _text_of(replied))
    if external:
        return _reference(external, _author_of(external.origin, message, bot_id), part, "")
    return None


def prompt_about(reference: Reference | None, prompt: str, *, limit: int) -> str:
    """Return a prompt for a model that writes, with what it is about before it, in at most `limit` characters.

    The prompt itself is never cut. What was spoken in the other message follows it later, as its transcript.
    """
    if reference is None:
        return prompt
    if reference.audio_file_id:
        return f"{prompt}\n\nI reply to this voice message {reference.author.value}:".lstrip()
    if reference.is_forwarded:
        return reference.words(room=limit) or prompt
    if not prompt and not is_visible(reference.text):
        return ""  # of a file that cannot be read there is nothing to say
    return f"{reference.words(room=limit - len(prompt) - 2)}\n\n{prompt}".strip()


def description_with(reference: Reference | None, prompt: str, *, limit: int) -> str:
    """Return a prompt for a model that makes what is described, with the words that are referred to, and no others."""
    room = limit - len(prompt) - 2
    if reference is None or reference.is_forwarded or reference.author is Author.BOT or room < MIN_ROOM:
        return prompt
    return f"{prompt}\n\n{reference.text[:room]}".strip() if is_visible(reference.text) else prompt


def _reference(
    source: telegram.Message | telegram.ExternalReplyInfo, author: Author, part: str, text: str
) -> Reference:
    audio = source.voice or source.audio
    return Reference(
        author,
        part or text,
        is_part=bool(part),
        image_file_id=source.photo[-1].file_id if source.photo else "",
        audio_file_id=audio.file_id if audio else "",
        has_unreadable_file=any(getattr(source, name, None) for name in UNREADABLE_FILES),
    )


def _author_of(source: telegram.Message | telegram.MessageOrigin, message: telegram.Message, bot_id: int) -> Author:
    if isinstance(source, telegram.Message):
        user = None if source.sender_chat else source.from_user
    else:
        user = source.sender_user if isinstance(source, telegram.MessageOriginUser) else None
    if user is None:
        return Author.OTHER
    if user.id == bot_id:
        return Author.BOT
    return Author.SENDER if message.from_user and user.id == message.from_user.id else Author.OTHER


def _text_of(message: telegram.Message) -> str:
    return message.text or message.caption or ""


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

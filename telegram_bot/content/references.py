"""What a message is about beside its own words: another that it replies to, a part of that, or where it comes from."""

from dataclasses import dataclass, field, replace
from enum import Enum

import telegram

from telegram_bot.content.described import described
from telegram_bot.content.rendering import is_visible

MIN_ROOM = 200  # characters for less than which nothing is quoted
LOST = "reference_lost"  # set on a message by the parser where what it refers to could not be read
UNREADABLE = "(something that cannot be read here)"
OTHER_FILES = ("document", "video", "video_note", "sticker", "animation")


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
    has_unreadable: bool = False  # something else than these

    def without_files(self) -> "Reference":
        """Return it where its files cannot be used."""
        is_lost = self.has_unreadable or bool(self.image_file_id or self.audio_file_id)
        return replace(self, image_file_id="", audio_file_id="", has_unreadable=is_lost)

    def words(self, *, room: int) -> str:
        """Return how a prompt begins that is about it, in at most so many characters; it may be nothing."""
        lines = self.text.splitlines() if is_visible(self.text) else []
        if self.has_unreadable:
            lines.append(UNREADABLE)
        if not lines or room < MIN_ROOM:
            return ""
        verb = "forward" if self.is_forwarded else "reply to"
        opening = f"I {verb} this {'part of a ' if self.is_part else ''}message {self.author.value}:\n"
        return opening + _shortened("\n".join(f"> {line}" for line in lines), room - len(opening))


def reference_of(message: telegram.Message, *, bot_id: int, is_address: bool) -> Reference | None:
    """Return what a message refers to; None where it stands for itself.

    What was spoken is not about a message: nobody can tell its words from an accidental press of the button. Where one
    speaks to the bot by replying to it (`is_address`), only what was marked, and a picture, is what the message is
    about. So it is with a comment below a channel's post, which always replies to that, without the picture.
    """
    if message.voice or message.audio:
        return None
    if message.forward_origin:
        text = _text_of(message) or described(message)
        return Reference(_author_of(message.forward_origin, message, bot_id), text, is_forwarded=True)
    replied, external = message.reply_to_message, message.external_reply
    part = message.quote.text if message.quote and (external or message.quote.is_manual) else ""
    if replied and not replied.forum_topic_created:
        author = _author_of(replied.forward_origin or replied, message, bot_id)
        if part or not (is_address or replied.is_automatic_forward):
            return _reference(replied, author, part, _text_of(replied))
        return Reference(author, image_file_id=_image_of(replied)) if is_address and replied.photo else None
    if external:
        return _reference(external, _author_of(external.origin, message, bot_id), part, "")
    is_lost = message.reply_to_story is not None or LOST in message.api_kwargs
    return Reference(Author.OTHER, has_unreadable=True) if is_lost else None


def prompt_about(reference: Reference | None, prompt: str, *, limit: int) -> str:
    """Return a prompt for a model that writes, with what it is about, in at most `limit` characters.

    The prompt itself is never cut, and what is forwarded is the prompt. What was spoken in the other message follows
    later, as its transcript.
    """
    if reference is None:
        return prompt
    if reference.is_forwarded:
        words = reference.words(room=2 * limit)
        return words if words and len(words) <= limit else prompt
    closing = f"I reply to this recording {reference.author.value}:" if reference.audio_file_id else ""
    if not (prompt or closing or is_visible(reference.text)):
        return ""  # of what cannot be read there is nothing to say
    if len(prompt) + len(closing) + 2 > limit:
        closing = ""
    words = reference.words(room=limit - len(prompt) - len(closing) - 4)
    return "\n\n".join(filter(None, [words, prompt, closing]))


def room_beside(reference: Reference | None, *, limit: int) -> int:
    """Return how long a prompt may be, of at most `limit` characters, that may be cut instead of what it is about."""
    words = reference.words(room=limit // 2) if reference else ""
    return limit - (max(len(words), MIN_ROOM) + 4 if words else 0)


def description_with(reference: Reference | None, prompt: str, *, limit: int) -> str:
    """Return a prompt for a model that makes what is described, with the words that are referred to.

    What is said of a picture that is to be changed describes no change.
    """
    if reference is None or reference.is_forwarded or reference.image_file_id or not is_visible(reference.text):
        return prompt
    if not prompt and reference.has_unreadable:
        return ""
    room = limit - len(prompt) - 2
    return "\n\n".join(filter(None, [prompt, reference.text[:room] if room >= MIN_ROOM else ""]))


def _reference(
    source: telegram.Message | telegram.ExternalReplyInfo, author: Author, part: str, text: str
) -> Reference:
    audio, text = source.voice or source.audio, text or described(source)
    has_other = any(getattr(source, name, None) for name in OTHER_FILES)
    return Reference(
        author,
        part or text,
        is_part=bool(part),
        image_file_id=_image_of(source),
        audio_file_id=audio.file_id if audio else "",
        has_unreadable=has_other or not (part or text or source.photo or audio),
    )


def _image_of(source: telegram.Message | telegram.ExternalReplyInfo) -> str:
    return source.photo[-1].file_id if source.photo else ""


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

"""Filters: whether a message is meant for the bot, and its command and text."""

import re
from dataclasses import dataclass, field

from telegram import Message, MessageEntity
from telegram.constants import ChatType

from telegram_bot.api.client import get_client
from telegram_bot.content.parsing import is_service


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What a message asks of the bot."""

    command: str  # "start", or "" for a prompt
    text: str = field(repr=False)  # the prompt, or the command's arguments
    is_ambiguous: bool = False  # a command in a group, without a bot's name: it may be meant for another bot
    is_address: bool = False  # in a group nothing but its reply to the bot says that it is meant for that


def reason_to_ignore(message: Message) -> str:
    """Return why the bot must ignore this message, or "" where it must not."""
    if message.chat.type == ChatType.CHANNEL:
        return "a channel's post"
    if message.from_user is None or message.sender_chat:
        return "written in the name of a chat"
    if message.from_user.is_bot or message.via_bot:
        return "written by a bot"
    if message.text is None and is_service(message):
        return "a service message"
    return ""


def parse_message(message: Message) -> ParsedMessage | None:
    """Return a message's command and text; None where it is not meant for the bot.

    In a private chat everything is meant for the bot; in a group commands, mentions and replies to it are, but nothing
    that is forwarded. Nobody commands by that.
    """
    is_private = message.chat.type == ChatType.PRIVATE
    text = message.text or message.caption or ""
    if message.forward_origin:
        return ParsedMessage("", text) if is_private else None
    match = COMMAND.match(text) if message.text else None
    if match:
        name, _, bot = match[0].partition("@")
        if bot and bot.lower() != _username():
            return None
        arguments = text[match.end() :].strip()
        return ParsedMessage(name[1:].lower(), arguments, is_ambiguous=not is_private and not bot)
    mention = _mention_in(message)
    if is_private or mention:
        return ParsedMessage("", text.replace(mention, "").strip() if mention else text)
    return ParsedMessage("", text, is_address=True) if _is_reply_to_bot(message) else None


# As Telegram recognises commands; "/etc/hosts" is none.
COMMAND = re.compile(r"/[A-Za-z0-9_]{1,32}(@[A-Za-z0-9_]+)?(?=\s|$)")
MENTIONS: list[str | None] = [MessageEntity.MENTION, MessageEntity.TEXT_MENTION]


def _mention_in(message: Message) -> str:
    """Return the text by which the message mentions the bot, "" where it does not."""
    if message.chat.type == ChatType.PRIVATE:
        return ""
    mentions = {**message.parse_entities(MENTIONS), **message.parse_caption_entities(MENTIONS)}
    for entity, mention in mentions.items():
        if entity.type == MessageEntity.MENTION and mention.lower() == f"@{_username()}":
            return mention
        if entity.user and entity.user.id == get_client().me().id:
            return mention
    return ""


def _is_reply_to_bot(message: Message) -> bool:
    replied = message.reply_to_message
    # In a topic every message replies to the one that opened the topic, which may be the bot's.
    if replied is None or replied.from_user is None or replied.forum_topic_created:
        return False
    return replied.from_user.id == get_client().me().id


def _username() -> str:
    return get_client().me().username.lower()

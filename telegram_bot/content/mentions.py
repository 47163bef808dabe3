"""Mentions: `@names` that a model writes must not notify the members of a group."""

import re

from telegram import MessageEntity

from telegram_bot.content.rendering import MAX_ENTITIES, MessagePart, units_of

# What Telegram takes for one, and a little more (td, MessageEntity.cpp, match_mentions, read in November 2026).
MENTION = re.compile(r"(?<!\w)@[A-Za-z0-9_]{2,32}\b", re.ASCII)
# In these Telegram looks for no mention.
LITERAL = (MessageEntity.CODE, MessageEntity.PRE, MessageEntity.TEXT_LINK)


def without_mentions(part: MessagePart) -> MessagePart:
    """Return the same text in which each `@name` is code, so that it is a word like any other.

    Where there are more of them than a message may have entities, all of it is code. Idempotent.
    """
    found = [_as_code(part.text, match.start(), match.end()) for match in MENTION.finditer(part.text)]
    literal = [entity for entity in part.entities if entity.type in LITERAL]
    names = [name for name in found if not any(_overlap(name, entity) for entity in literal)]
    if not names:
        return part
    entities = sorted([*part.entities, *names], key=lambda entity: (entity.offset, -entity.length))
    if len(entities) > MAX_ENTITIES:
        entities = names if len(names) <= MAX_ENTITIES else [_as_code(part.text, 0, len(part.text))]
    return MessagePart(part.text, tuple(entities))


def _as_code(text: str, start: int, end: int) -> MessageEntity:
    return MessageEntity(MessageEntity.CODE, units_of(text[:start]), units_of(text[start:end]))


def _overlap(first: MessageEntity, second: MessageEntity) -> bool:
    return first.offset < second.offset + second.length and second.offset < first.offset + first.length

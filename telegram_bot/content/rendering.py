"""Rendering of Markdown as Telegram shows it: plain text with entities, in parts that fit into one message each.

Entities instead of a parse mode: no markup is left that Telegram could refuse, and the length is known exactly.
Offsets and lengths count UTF-16 code units, as Telegram's do.
"""

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import telegram
from telegramify_markdown import MessageEntity as Span
from telegramify_markdown import RenderConfig, convert, utf16_len

MAX_UNITS = 4096  # UTF-16 code units of a message's text
MAX_ENTITIES = 100  # Telegram silently drops those beyond
PARTIAL_SUFFIX = " …"  # at the end of a partial answer
# Models write links of any scheme; others than these could open chats or run scripts.
SAFE_LINKS = ("https://", "http://")
INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # Unicode categories; Telegram refuses a message of nothing else as empty


@dataclass(frozen=True, slots=True)
class MessagePart:
    """The text of one message."""

    text: str = field(repr=False)
    entities: tuple[telegram.MessageEntity, ...] = field(default=(), repr=False)

    @property
    def plain(self) -> "MessagePart":
        """The same text without formatting."""
        return MessagePart(self.text)


def message_parts(markdown: str) -> list[MessagePart]:
    """Return an answer in parts of one message each, none of them blank; an answer without visible text has none."""
    text, spans = _converted(markdown)
    units = _unit_offsets(text)
    parts = []
    start = 0
    while start < len(text):
        max_end = min(_end_by_length(units, start, MAX_UNITS), _end_by_entities(text, units, spans, start))
        end = _split_point(text, start, max_end)
        if _is_visible(text[start:end]):
            parts.append(_part(text, units, spans, start, end))
        start = end
    return parts


def partial_message(markdown: str) -> MessagePart | None:
    """Return what one message shows of a partial answer; None while there is nothing visible."""
    # Conversion may shorten a text but hardly lengthens it, so what lies far beyond the limit need not be converted.
    text, spans = _converted(markdown[: 2 * MAX_UNITS])
    units = _unit_offsets(text)
    end = _split_point(text, 0, _end_by_length(units, 0, MAX_UNITS - utf16_len(PARTIAL_SUFFIX)))
    if not _is_visible(text[:end]):
        return None
    part = _part(text, units, spans, 0, end)
    return MessagePart(part.text + PARTIAL_SUFFIX, part.entities)


def _plain_config() -> RenderConfig:
    """Return a configuration that renders headings as bold lines, without the emoji that the library prepends."""
    config = RenderConfig.isolated()
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.unordered_list_item = "•"
    return config


CONFIG = _plain_config()


def _converted(markdown: str) -> tuple[str, list[Span]]:
    # A partial answer may end inside a surrogate pair; half of one cannot be sent.
    valid = markdown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text, spans = convert(valid, config=CONFIG)
    return text, sorted(filter(_is_allowed, spans), key=lambda span: (span.offset, -span.length))


def _is_allowed(span: Span) -> bool:
    if span.type == "text_link":
        return (span.url or "").lower().startswith(SAFE_LINKS)
    return span.type not in {"custom_emoji", "text_mention"}


def _unit_offsets(text: str) -> list[int]:
    """Return for each character, and for the end, how many UTF-16 code units precede it."""
    return [0, *accumulate(2 if ord(character) > 0xFFFF else 1 for character in text)]


def _end_by_length(units: list[int], start: int, max_units: int) -> int:
    """Return the latest end of a part that begins at `start` and is not too long."""
    return bisect_right(units, units[start] + max_units) - 1


def _end_by_entities(text: str, units: list[int], spans: list[Span], start: int) -> int:
    """Return the latest end of a part that begins at `start` and has not too many entities."""
    inside = [span for span in spans if span.offset + span.length > units[start]]
    if len(inside) <= MAX_ENTITIES:
        return len(text)
    # Where the first one too many begins at `start` already, the part is shown without those beyond the limit.
    end = bisect_right(units, inside[MAX_ENTITIES].offset) - 1
    return end if end > start else len(text)


def _split_point(text: str, start: int, max_end: int) -> int:
    """Return where a part that begins at `start` should end: after a line, after a word, or at `max_end`."""
    if max_end >= len(text):
        return len(text)
    for separator in ("\n", " "):
        position = text.rfind(separator, start, max_end)
        # A part that is less than half full reads worse than a split line.
        if position > start + (max_end - start) // 2:
            return position + 1
    return max_end


def _part(text: str, units: list[int], spans: list[Span], start: int, end: int) -> MessagePart:
    """Return text[start:end] without surrounding whitespace, with the entities clipped to it."""
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    first, last = units[start], units[end]
    entities: list[telegram.MessageEntity] = []
    for span in spans:
        offset, stop = max(span.offset, first), min(span.offset + span.length, last)
        if offset < stop:
            fields: dict[str, Any] = {**span.to_dict(), "offset": offset - first, "length": stop - offset}
            entities.append(telegram.MessageEntity(**fields))
    return MessagePart(text[start:end], tuple(entities[:MAX_ENTITIES]))


def _is_visible(text: str) -> bool:
    return any(unicodedata.category(character) not in INVISIBLE for character in text)

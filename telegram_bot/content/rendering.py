"""Markdown to what Telegram shows: plain text with entities, in pieces that fit into a message.

Entities instead of a parse mode: there is no markup left that Telegram could refuse, and the length is known exactly.
Offsets and lengths count UTF-16 units, as Telegram's do.
"""

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import telegram
from telegramify_markdown import MessageEntity as Span
from telegramify_markdown import RenderConfig, convert, utf16_len

MAX_UNITS = 4096  # of a message's text
MAX_ENTITIES = 100  # Telegram silently drops those beyond
GROWING = " …"  # stands at the end of an answer that still grows
# Models write links of any kind; only these lead where they say.
SAFE_LINKS = ("https://", "http://")
INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # Unicode categories; a message of nothing else is refused as empty


@dataclass(frozen=True, slots=True)
class MessagePart:
    """What one message shows."""

    text: str = field(repr=False)
    entities: tuple[telegram.MessageEntity, ...] = field(default=(), repr=False)

    @property
    def plain(self) -> "MessagePart":
        """The same without its formatting."""
        return MessagePart(self.text)


def message_parts(markdown: str) -> list[MessagePart]:
    """Return an answer in pieces of one message each, none of them blank; an answer without a visible sign has none."""
    text, spans = _converted(markdown)
    units = _unit_offsets(text)
    pieces = []
    start = 0
    while start < len(text):
        latest = min(_fitting(units, start, MAX_UNITS), _uncrowded(text, units, spans, start))
        end = _cut(text, start, latest)
        if _is_visible(text[start:end]):
            pieces.append(_piece(text, units, spans, start, end))
        start = end
    return pieces


def partial_message(markdown: str) -> MessagePart | None:
    """Return what to show of an answer that still grows, in one message; None while there is nothing to see."""
    # Converting may shorten a text but hardly lengthens it, so what lies far beyond the limit need not be converted.
    text, spans = _converted(markdown[: 2 * MAX_UNITS])
    units = _unit_offsets(text)
    end = _cut(text, 0, _fitting(units, 0, MAX_UNITS - utf16_len(GROWING)))
    if not _is_visible(text[:end]):
        return None
    piece = _piece(text, units, spans, 0, end)
    return MessagePart(piece.text + GROWING, piece.entities)


def _without_ornaments() -> RenderConfig:
    """Render headings as bold lines: the library's pictures before them are not the model's words."""
    config = RenderConfig.isolated()
    symbol = config.markdown_symbol
    symbol.heading_level_1 = symbol.heading_level_2 = symbol.heading_level_3 = symbol.heading_level_4 = ""
    symbol.unordered_list_item = "•"
    return config


CONFIG = _without_ornaments()


def _converted(markdown: str) -> tuple[str, list[Span]]:
    # A stream may be cut inside a pair of surrogates; a half of one cannot be sent.
    sound = markdown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text, spans = convert(sound, config=CONFIG)
    return text, sorted(filter(_is_harmless, spans), key=lambda span: (span.offset, -span.length))


def _is_harmless(span: Span) -> bool:
    if span.type == "text_link":
        return (span.url or "").lower().startswith(SAFE_LINKS)
    return span.type not in {"custom_emoji", "text_mention"}


def _unit_offsets(text: str) -> list[int]:
    """Return for each character, and for the end, how many UTF-16 units lie before it."""
    return [0, *accumulate(2 if ord(character) > 0xFFFF else 1 for character in text)]


def _fitting(units: list[int], start: int, most_units: int) -> int:
    """Return the latest end of a piece from `start` on that is not too long."""
    return bisect_right(units, units[start] + most_units) - 1


def _uncrowded(text: str, units: list[int], spans: list[Span], start: int) -> int:
    """Return the latest end of a piece from `start` on that does not hold too many entities."""
    inside = [span for span in spans if span.offset + span.length > units[start]]
    if len(inside) <= MAX_ENTITIES:
        return len(text)
    # Where even the first one too many begins at the very start, the piece is shown without those beyond the limit.
    crowded = bisect_right(units, inside[MAX_ENTITIES].offset) - 1
    return crowded if crowded > start else len(text)


def _cut(text: str, start: int, latest: int) -> int:
    """Return where a piece from `start` on should end: at a line's end, at a space, or where it must."""
    if latest >= len(text):
        return len(text)
    for sign in ("\n", " "):
        position = text.rfind(sign, start, latest)
        # A piece that is less than half full reads worse than a torn line.
        if position > start + (latest - start) // 2:
            return position + 1
    return latest


def _piece(text: str, units: list[int], spans: list[Span], start: int, end: int) -> MessagePart:
    """Return text[start:end] without blank edges, and the entities' shares in it."""
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    first, last = units[start], units[end]
    entities: list[telegram.MessageEntity] = []
    for span in spans:
        offset, stop = max(span.offset, first), min(span.offset + span.length, last)
        if offset < stop:
            facts: dict[str, Any] = {**span.to_dict(), "offset": offset - first, "length": stop - offset}
            entities.append(telegram.MessageEntity(**facts))
    return MessagePart(text[start:end], tuple(entities[:MAX_ENTITIES]))


def _is_visible(text: str) -> bool:
    return any(unicodedata.category(character) not in INVISIBLE for character in text)

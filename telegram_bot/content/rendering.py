"""Rendering of Markdown as Telegram shows it: plain text with entities, in parts that fit into one message each.

Entities instead of a parse mode: no markup is left that Telegram could refuse, and the length is known exactly.
Offsets and lengths count UTF-16 code units, as Telegram's do.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

import telegram

from telegram_bot.content.conversion import FormattedText, Span, convert

MAX_UNITS = 4096  # UTF-16 code units of a message's text
MAX_ENTITIES = 100  # Telegram silently drops those beyond
PARTIAL_SUFFIX = " …"  # at the end of a partial answer
CACHED_ANSWERS = 16
# Unicode categories, and letters that show nothing. Telegram refuses a message of nothing but most of these as empty.
INVISIBLE = {"Cc", "Cf", "Me", "Mn", "Zl", "Zp", "Zs"}
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"

# Which formatting a message with too much of it does without, the least useful kind first. Code and links stay: one
# would lose its indentation and the other its address.
DROPPED_FIRST = ("italic", "underline", "bold", "code", "strikethrough", "blockquote", "spoiler")
SEPARATORS = ("\n\n", "\n", " ")  # where a part may end, the best first
MAX_CLUSTER = 16  # characters that are drawn as one, such as a letter with its accents or a family of emoji
JOINER, REGIONAL, SKIN_TONES = "\u200d", range(0x1F1E6, 0x1F200), range(0x1F3FB, 0x1F400)

MAX_TAIL = 1000  # characters at the end of a growing text that are searched for unfinished markup
# At the end of a growing text: what may become markup with the next characters.
GROWING_TAILS = (
    re.compile(r"(?:^|\n)[ \t>]*(?:`{3,}|~{3,})[^\n`]*\s*\Z"),  # the beginning of code without a line of it yet
    re.compile(r"(?:^|\n)\|[^\n]*(?:\n[|:\- \t]*)?\Z"),  # a row of a table, or its header without the rule below
    re.compile(r"(?:^|\n)[ \t>]*(?:[-+*]|#{1,6}|\d{1,9}[.)]?|[-=:]+)?[ \t]*\Z"),  # the marker of a list or heading
    re.compile(r"<[A-Za-z/]?[\w-]{0,10}\Z|&#?\w{0,10}\Z|\\\Z"),
)
GROWING_LINK = re.compile(r"(?<![\w\])])!?\[([^\[\]\n]{0,500})(?:\](?:\([^()\n]{0,2000})?)?\Z")  # its text is group 1


@dataclass(frozen=True, slots=True)
class MessagePart:
    """The text of one message."""

    text: str = field(repr=False)
    entities: tuple[telegram.MessageEntity, ...] = field(default=(), repr=False)

    @property
    def plain(self) -> "MessagePart":
        """The same text without formatting."""
        return MessagePart(self.text)


@dataclass(frozen=True, slots=True)
class RenderedAnswer:
    """A whole answer as it is shown. Immutable, so it can be kept and shared between threads."""

    parts: tuple[MessagePart, ...]  # of one message each, none of them blank


def render_answer(markdown: str) -> RenderedAnswer:
    """Return a whole answer as it is shown, in time linear in its length. Without visible text it has no parts."""
    markdown = _encodable(markdown)
    formatted = convert(markdown)
    if not is_visible(formatted.text) and is_visible(markdown.replace("`", "")):
        formatted = FormattedText(markdown)
    return RenderedAnswer(tuple(_split(formatted, MAX_UNITS)))


def message_parts(markdown: str) -> list[MessagePart]:
    """Return an answer in parts of one message each, none of them blank; an answer without visible text has none.

    The last few answers of this process are kept, so that each look at the same one costs no conversion.
    """
    return list(_kept_answer(markdown, MAX_UNITS).parts)


@lru_cache(maxsize=CACHED_ANSWERS)
def _kept_answer(markdown: str, _max_units: int) -> RenderedAnswer:
    return render_answer(markdown)


def partial_message(markdown: str) -> MessagePart | None:
    """Return what one message shows of a partial answer; None while there is nothing visible.

    The cost is bounded by a message's size. What the text has opened at its end is shown as if it were closed, and
    what may yet become markup is not shown, so that words keep their place and formatting while the text grows.
    """
    # Conversion may shorten a text but hardly lengthens it, so what lies far beyond the limit need not be converted.
    beginning = _without_growing_tail(_encodable(markdown[: 2 * MAX_UNITS]))
    max_units = MAX_UNITS - len(PARTIAL_SUFFIX)
    part = next(_split(convert(beginning, is_partial=True), max_units), None)
    return MessagePart(part.text + PARTIAL_SUFFIX, part.entities) if part else None


def units_of(text: str) -> int:
    """Return the length of a text as Telegram counts it, in UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _encodable(text: str) -> str:
    """Return a text without lone surrogates: a partial answer may end inside a pair, half of which cannot be sent."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_growing_tail(markdown: str) -> str:
    for tail in GROWING_TAILS:
        if match := tail.search(markdown, max(0, len(markdown) - MAX_TAIL)):
            markdown = markdown[: match.start()]
    markdown = markdown.rstrip("*_~`")
    match = GROWING_LINK.search(markdown, max(0, len(markdown) - MAX_TAIL))
    if match and not match[1].isdigit():
        markdown = markdown[: match.start()] + match[1]
    return markdown


def _split(formatted: FormattedText, max_units: int) -> Iterator[MessagePart]:
    """Yield a text in parts of at most `max_units`, none of them blank, each with the formatting of its piece."""
    text, spans = formatted.text, formatted.spans
    units = _unit_offsets(text)
    active: list[Span] = []  # spans that reach into the current part
    begun = 0  # how many spans have been active
    start = 0
    while start < len(text):
        max_end = bisect_right(units, units[start] + max_units) - 1
        active = [span for span in active if span.end > start]
        while begun < len(spans) and spans[begun].start < max_end:
            active.append(spans[begun])
            begun += 1
        max_end = _end_by_entities(active, start, max_end)
        end = _split_point(text, start, max_end)
        if is_visible(text[start:end]):
            yield _part(text, units, active, start, end)
        start = end


def _unit_offsets(text: str) -> Sequence[int]:
    """Return for each character, and for the end, how many UTF-16 code units precede it."""
    if text.isascii():
        return range(len(text) + 1)
    return [0, *accumulate(2 if ord(character) > 0xFFFF else 1 for character in text)]


def _end_by_entities(spans: list[Span], start: int, max_end: int) -> int:
    """Return the latest end of a part that begins at `start` and has not too many entities that cannot be dropped."""
    kept = [span for span in spans if span.kind not in DROPPED_FIRST]
    if len(kept) <= MAX_ENTITIES:
        return max_end
    return max(start + 1, min(max_end, kept[MAX_ENTITIES].start))


def _split_point(text: str, start: int, max_end: int) -> int:
    """Return where a part should end: after a paragraph, a line or a word, else between two visible characters."""
    if max_end >= len(text):
        return len(text)
    # A part that is less than half full reads worse than a split line.
    least = start + (max_end - start) // 2
    for separator in SEPARATORS:
        position = text.rfind(separator, least, max_end)
        if position > least:
            return position + len(separator)
    end = max_end
    while end > max(start + 1, max_end - MAX_CLUSTER) and _is_joined(text, end):
        end -= 1
    return max_end if _is_joined(text, end) else end


def _is_joined(text: str, position: int) -> bool:
    """Return whether the characters before and after a position are drawn as one."""
    before, after = text[position - 1], text[position]
    return (
        JOINER in {before, after}
        or unicodedata.category(after)[0] == "M"
        or ord(after) in SKIN_TONES
        or (ord(before) in REGIONAL and ord(after) in REGIONAL)
    )


def _part(text: str, units: Sequence[int], spans: list[Span], start: int, end: int) -> MessagePart:
    """Return text[start:end] without surrounding whitespace, with the formatting clipped to it.

    Code keeps its indentation: of a block that the part begins or ends in, only newlines are removed.
    """
    blocks = [span for span in spans if span.kind == "pre" and span.end > start and span.start < end]
    first_block, last_block = (blocks[0].start, blocks[-1].end) if blocks else (end, start)
    while start < first_block and text[start].isspace():
        start += 1
    while start > first_block and text[start] == "\n":
        start += 1
    while end > last_block and text[end - 1].isspace():
        end -= 1
    while end <= last_block and text[end - 1] == "\n":
        end -= 1
    first = units[start]
    clipped = (
        Span(span.kind, max(span.start, start), min(span.end, end), span.url, span.language)
        for span in spans
        if span.start < end and span.end > start
    )
    visible = [span for span in clipped if text[span.start : span.end].strip()]
    entities = tuple(
        telegram.MessageEntity(
            span.kind,
            units[span.start] - first,
            units[span.end] - units[span.start],
            url=span.url,
            language=span.language,
        )
        for span in _most_useful(visible)
    )
    return MessagePart(text[start:end], entities)


def _most_useful(spans: list[Span]) -> list[Span]:
    """Return at most as many spans as a message may have, in order. Of the last kind dropped, the first ones stay."""
    excess = len(spans) - MAX_ENTITIES
    for kind in DROPPED_FIRST:
        if excess <= 0:
            break
        dropped = {number for number, span in enumerate(spans) if span.kind == kind}
        dropped = set(sorted(dropped)[-excess:])
        spans = [span for number, span in enumerate(spans) if number not in dropped]
        excess -= len(dropped)
    return spans[:MAX_ENTITIES]


def is_visible(text: str) -> bool:
    """Tell whether a text shows anything: blanks, fillers, and marks of no width or on nothing, do not."""
    return any(unicodedata.category(each) not in INVISIBLE and each not in FILLERS for each in text)

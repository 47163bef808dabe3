"""Conversion of Markdown into plain text and the formatting of its spans, as Telegram can show them.

No word is lost: where Telegram has no formatting for something, words take its place, such as the address of a link
that leads to no web page. Offsets count characters here; rendering.py turns them into Telegram's UTF-16 code units.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from urllib.parse import urlsplit

from markdown_it.common.normalize_url import normalizeLink
from markdown_it.token import Token

from telegram_bot.content.formulas import formula_text
from telegram_bot.content.markdown import STYLE_OF_TAG, parse

BULLET, RULE = "•", "———"
CHECKBOXES = {True: "☑", False: "☐"}
SPLITTABLE = {*STYLE_OF_TAG.values()}  # these may not contain code, so they end before it and go on after it
CODE_BLOCKS = {"fence", "code_block", "formula_block", "table_open"}  # they stand at the left, also in a list
LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")
MAX_URL_CHARACTERS = 2000
MAX_COLUMN_WIDTH = 40  # wider cells are not aligned: padding all rows to them would multiply the text
STYLE_OF_TOKEN = {"strong": "bold", "em": "italic", "s": "strikethrough"}


@dataclass(frozen=True, slots=True)
class Span:
    """The formatting of text[start:end]."""

    kind: str  # as MessageEntity.type
    start: int
    end: int
    url: str | None = field(default=None, repr=False)
    language: str | None = None


@dataclass(frozen=True, slots=True)
class FormattedText:
    """A text with its formatting."""

    text: str = field(repr=False)
    spans: tuple[Span, ...] = field(default=(), repr=False)  # in order of their start, outer ones first


def convert(markdown: str, *, is_partial: bool = False) -> FormattedText:
    """Return what a Markdown text shows, in time linear in its length. The text may be blank. Thread-safe."""
    return _Converter().convert(parse(markdown, is_partial=is_partial))


def web_url(address: str) -> str | None:
    """Return the URL of a link's address, None where Telegram would drop it or it is not what it seems.

    Telegram takes hosts with a dot only. User information before the host imitates another host.
    """
    if len(address) > MAX_URL_CHARACTERS or "\\" in address or any(character.isspace() for character in address):
        return None
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not ("." in host.strip(".") or ":" in host):
        return None
    url = normalizeLink(address)
    return url if url.isascii() and url.isprintable() else None


@dataclass(slots=True)
class _Style:
    """A formatting that is open."""

    kind: str  # empty where the same one is open already
    start: int
    address: str = ""
    title: str = ""
    chunk: int = 0  # number of the first chunk of a link's text
    closing: str = ""  # bracket after it


class _Converter:
    """Writes the text of tokens, and remembers what is open at its end."""

    def __init__(self, *, has_spans: bool = True) -> None:
        self._has_spans = has_spans  # otherwise all is in words, as a table needs it
        self._chunks: list[str] = []
        self._length = 0
        self._spans: list[Span] = []
        self._styles: list[_Style] = []
        self._last_line = 0  # of the source, after the block before
        self._markers: list[str] = []  # of list items that have no content yet
        self._item_map = [0, 0]  # lines of the last item's marker
        self._list_depth = 0
        self._quote_depth = 0
        self._indent = ""  # of further lines of the same block
        self._blocks: dict[str, Callable[[Token], None]] = {
            "paragraph_open": self._open_block,
            "heading_open": self._open_heading,
            "heading_close": self._close_heading,
            "inline": lambda token: self._inline(token.children or []),
            "fence": self._fence,
            "code_block": self._fence,
            "formula_block": lambda token: self._block_of_code(token, formula_text(token.content)),
            "definition": self._definition,
            "hr": self._rule,
            "bullet_list_open": self._open_list,
            "ordered_list_open": self._open_list,
            "bullet_list_close": self._close_list,
            "ordered_list_close": self._close_list,
            "list_item_open": self._open_item,
            "list_item_close": self._close_item,
            "blockquote_open": self._open_quote,
            "blockquote_close": self._close_quote,
        }

    def convert(self, tokens: list[Token]) -> FormattedText:
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if token.type == "table_open":
                position = self._table(tokens, position)
            elif write := self._blocks.get(token.type):
                write(token)
            position += 1
        text = "".join(self._chunks)
        # An inner formatting ends first, so of two with the same range the outer one is the later.
        spans = (span for span in reversed(self._spans) if text[span.start : span.end].strip())
        return FormattedText(
            text, tuple(sorted((_trimmed(text, span) for span in spans), key=lambda span: (span.start, -span.end)))
        )

    # Text and formatting

    def _write(self, text: str) -> None:
        self._chunks.append(text)
        self._length += len(text)

    def _open(self, kind: str, address: str = "", title: str = "") -> None:
        is_open = any(style.kind == kind for style in self._styles)
        self._styles.append(_Style("" if is_open else kind, self._length, address, title, len(self._chunks)))

    def _close(self) -> None:
        style = self._styles.pop()
        if style.kind:
            self._add_span(style.kind, style.start)

    def _add_span(self, kind: str, start: int, url: str | None = None, language: str | None = None) -> None:
        if self._has_spans and self._length > start:
            self._spans.append(Span(kind, start, self._length, url, language))

    def _opaque(self, kind: str, text: str, language: str | None = None) -> None:
        """Write code, as text alone within a link."""
        if any(style.kind == "text_link" for style in self._styles):
            self._write(text)
            return
        styles = [style for style in self._styles if style.kind in SPLITTABLE]
        for style in styles:
            self._add_span(style.kind, style.start)
        start = self._length
        self._write(text)
        self._add_span(kind, start, language=language)
        for style in styles:
            style.start = self._length

    # Blocks

    def _open_block(self, token: Token) -> None:
        """Begin a line, after an empty one where the source has one, with the bullets of the items that begin here."""
        first, last = token.map or (self._last_line, self._last_line)
        if self._length:
            self._write("\n\n" if first > self._last_line else "\n")
        self._last_line = last
        if self._quote_depth and not any(style.kind == "blockquote" for style in self._styles):
            self._open("blockquote")
        depth = self._list_depth - len(self._markers)
        if self._markers or token.type not in CODE_BLOCKS:
            self._write("  " * depth + "".join(f"{marker} " for marker in self._markers))
        self._markers.clear()
        self._indent = "  " * self._list_depth

    def _open_heading(self, token: Token) -> None:
        self._open_block(token)
        self._open("bold")
        self._open("underline" if token.tag == "h1" else "bold")

    def _close_heading(self, _token: Token) -> None:
        self._close()
        self._close()

    def _fence(self, token: Token) -> None:
        """Write a block of code. An info string that says more than the language is a line before it."""
        info = token.info.strip()
        language = info.partition(" ")[0]
        is_language = LANGUAGE.fullmatch(language) is not None
        code = token.content.rstrip("\n")
        caption = "" if is_language and language == info and code.strip() else info
        self._block_of_code(token, code, language if is_language else "", caption)

    def _block_of_code(self, token: Token, code: str, language: str = "", caption: str = "") -> None:
        has_marker = bool(self._markers)
        self._open_block(token)
        if caption:
            self._write(caption)
        if has_marker or caption:
            self._write("\n")
        self._opaque("pre", code, language or None)

    def _definition(self, token: Token) -> None:
        self._open_block(token)
        self._write(token.content)

    def _rule(self, token: Token) -> None:
        self._open_block(token)
        self._write(RULE)

    def _open_list(self, _token: Token) -> None:
        self._list_depth += 1

    def _close_list(self, _token: Token) -> None:
        self._list_depth -= 1

    def _open_item(self, token: Token) -> None:
        """Keep an item's marker for its first line. Numbers stay as they are written."""
        marker = f"{token.info}{token.markup}" if token.info else BULLET
        if "checked" in token.meta:
            checkbox = CHECKBOXES[bool(token.meta["checked"])]
            marker = f"{marker} {checkbox}" if token.info else checkbox
        self._markers.append(marker)
        first_line = token.map[0] if token.map else self._last_line
        self._item_map = [first_line, first_line + 1]

    def _close_item(self, _token: Token) -> None:
        if self._markers:
            self._open_block(Token("paragraph_open", "p", 1, map=self._item_map))

    def _open_quote(self, _token: Token) -> None:
        self._quote_depth += 1

    def _close_quote(self, _token: Token) -> None:
        self._quote_depth -= 1
        if self._quote_depth == 0 and self._styles:
            self._close()

    def _table(self, tokens: list[Token], start: int) -> int:
        """Write a table as aligned text, with all its links in words, and return the position of its end."""
        rows: list[list[list[str]]] = []
        position = start
        while tokens[position].type != "table_close":
            token = tokens[position]
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(_words(token.children or []).split("\n"))
            position += 1
        self._block_of_code(tokens[start], _aligned(rows))
        return position

    # Inline content

    def _inline(self, tokens: list[Token]) -> None:
        for token in tokens:
            kind = token.type
            if kind in {"text", "text_special"}:
                self._write(token.content)
            elif kind in {"softbreak", "hardbreak"}:
                self._write(f"\n{self._indent}")
            elif kind == "code_inline":
                self._opaque("code", token.content)
            elif kind == "formula":
                self._opaque("code", formula_text(token.content))
            elif kind == "link_open":
                self._open_link(token)
            elif kind == "link_close":
                self._close_link()
            elif kind == "image":
                self._image(token)
            elif token.nesting > 0:
                self._open(STYLE_OF_TOKEN.get(token.tag) or STYLE_OF_TAG[token.tag])
            elif token.nesting < 0:
                self._close()

    def _open_link(self, token: Token) -> None:
        address, title = str(token.attrGet("href") or ""), str(token.attrGet("title") or "")
        has_url = self._has_spans and web_url(address) is not None
        self._open("text_link" if has_url else "words", address, title)
        self._styles[-1].closing = token.meta.get("closing", "")
        self._write("[" if self._styles[-1].closing else "")

    def _close_link(self) -> None:
        style = self._styles.pop()
        self._write(style.closing)
        label = "".join(self._chunks[style.chunk :]).strip()
        if not label:
            self._write(style.address)
        if style.kind == "text_link":
            self._add_span("text_link", style.start, web_url(style.address))
        elif label:
            self._write_address(label, style.address)
        self._write_title(style.title)

    def _write_title(self, title: str) -> None:
        if title.strip():
            self._write(f" ({title})")

    def _write_address(self, label: str, address: str) -> None:
        if address and label not in {address, address.removeprefix("mailto:"), address.removeprefix("tel:")}:
            self._write(f" ({address})")

    def _image(self, token: Token) -> None:
        address, title = str(token.attrGet("src") or ""), str(token.attrGet("title") or "")
        label = _words(token.children or []).strip()
        url = web_url(address) if self._has_spans else None
        start = self._length
        self._write(label or address)
        if url and not any(style.kind == "text_link" for style in self._styles):
            self._add_span("text_link", start, url)
        elif label:
            self._write_address(label, address)
        self._write_title(title)


def _words(tokens: list[Token]) -> str:
    """Return inline content as text alone."""
    converter = _Converter(has_spans=False)
    converter._inline(tokens)
    return "".join(converter._chunks)


def _trimmed(text: str, span: Span) -> Span:
    """Return a span without whitespace at its ends. The indentation of code stays, also within a quotation."""
    start, end = span.start, span.end
    while span.kind not in {"pre", "blockquote"} and text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    return span if (start, end) == (span.start, span.end) else Span(span.kind, start, end, span.url, span.language)


def _aligned(rows: list[list[list[str]]]) -> str:
    """Return the rows of a table, whose cells have one or several lines each, with a rule below the first one."""
    columns = zip_longest(*rows, fillvalue=[""])
    cell_widths = ((_width(line) for cell in column for line in cell) for column in columns)
    widths = [max((width for width in widths if width <= MAX_COLUMN_WIDTH), default=0) for widths in cell_widths]
    lines = []
    for number, row in enumerate(rows):
        for cells in zip_longest(*row, fillvalue=""):
            padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=False))
            lines.append(" | ".join(padded).rstrip())
        if number == 0:
            lines.append("-|-".join("-" * width for width in widths))
    return "\n".join(lines)


def _width(text: str) -> int:
    """Return how many columns a text takes in a monospace font."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in {"Mn", "Me", "Cf"} for character in text)

"""Parsing of Markdown as chat models write it: CommonMark, without the rules that would swallow what is no markup.

Differences to CommonMark, each because an answer is read in a chat and must arrive whole:

- HTML is text. Only the few tags that Telegram can show become formatting, and `<br>` a line break.
- `*` between operands is an operator (`5*3*2`, `a**b`), and one in a bare URL belongs to it.
- Scripts without spaces between words (Chinese, Japanese, Korean, Thai) may have emphasis within a sentence.
- A line of `=` or `-` makes no heading of the line above it, `+` is no bullet, and excess table cells are kept.
- Definitions of links and footnotes stay visible. Formulas of LaTeX are opaque, so their `_` and `*` stay.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote, list_block, reference, table
from markdown_it.rules_block.table import escapedSplit, getLine
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, backtick, link
from markdown_it.rules_inline.state_inline import Delimiter
from markdown_it.token import Token

# Beyond these levels markup is text: the parser recurses, and drops what is nested deeper than its own limit.
MAX_BLOCK_LEVEL = 40
MAX_LEVEL = 60

# How far a closing tag or the end of a formula is looked for, so that unclosed ones cost linear time.
MAX_TAG_CHARACTERS = 4000
MAX_FORMULA_CHARACTERS = 2000
MAX_FORMULA_LINES = 60

# Of environments that the parser hands to its rules.
IS_PARTIAL, IS_GROWING, FOOTNOTES = "is_partial", "is_growing", "footnotes"

STYLE_OF_TAG = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
}
LINE_BREAK = re.compile(r"<br\s{0,9}/?>", re.IGNORECASE)
STYLE_TAG = re.compile(rf"<({'|'.join(STYLE_OF_TAG)}|code)>")
LINK_TAG = re.compile(r'<a href="([^"<>\s]{1,2000})">')
URL_IN_BRACKETS = re.compile(r"<(https?://[^\s<>]{1,2000})>")

SCHEME_BEFORE_COLON = re.compile(r"(?:^|[^A-Za-z0-9+.-])(?:https?|ftp|tg|wss?)$")
URL_CHARACTERS = re.compile(r"[^\s<>\[\]\\`|\"]+")
AFTER_URL, MAX_AFTER_URL = ".,;:!?)'*_~", 8  # what may follow on it at its end
EMPHASIS_RUN = re.compile(r"\*+|_+|~+")
RECENT_DELIMITERS = 64

FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,100})\]")
FOOTNOTE_DEFINITION = re.compile(r"^[ >]{0,9}\[\^([^\]\s]{1,100})\]:", re.MULTILINE)
LINK_DEFINITION = re.compile(r"\[[^\[\]]{1,200}\]:[ \t]*<?(?:https?://|mailto:)")

FORMULA_DELIMITERS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
# Pandoc's rule, so that amounts of money are none; and something in it must look like a formula.
DOLLAR_FORMULA = re.compile(r"\$(?!\s|[\d.,]+\s+\w\w)([^$\n`]{1,300}?)(?<![\s\\])\$(?!\w)")
LOOKS_LIKE_FORMULA = re.compile(r"\\[A-Za-z]|[\^_{}=]|^[A-Za-z]$")

STAR_ARGUMENT = re.compile(r"\*{1,2}[a-z_]*args\b(?![*_])")  # of Python, as in `f(*args, **kwargs)`
DUNDER = re.compile(r"__([a-z0-9_]+?)__(?![A-Za-z0-9_])")
DUNDERS = {name for kind in (type, object, int, dict, list, str) for name in dir(kind) if name.startswith("__")} | {
    *("__all__", "__await__", "__call__", "__debug__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__aiter__"),
    *("__anext__", "__file__", "__future__", "__get__", "__getattr__", "__main__", "__match_args__", "__missing__"),
    *("__next__", "__package__", "__path__", "__post_init__", "__set__", "__slots__", "__version__", "__wrapped__"),
}

# Ranges of scripts that are written without spaces between words, and of their punctuation.
UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x9FFF),  # CJK with its punctuation, Kana
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFFEF),  # full-width forms
    (0x20000, 0x3FFFF),
)
SPACE, PUNCTUATION, UNSPACED_LETTER, WORD = range(4)


class _Parser(MarkdownIt):
    """A parser that keeps every link as it is written; what becomes of it is decided where it is shown."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 — the library's name
        return True

    def normalizeLink(self, url: str) -> str:  # noqa: N802
        return url


def parse(markdown: str, *, is_partial: bool = False) -> list[Token]:
    """Return the tokens of a Markdown text, in time linear in its length.

    A partial text is the beginning of a growing one: what its last paragraph has opened counts as closed at its end.
    Thread-safe: the parser is set up once and not changed by parsing.
    """
    environment = {IS_PARTIAL: is_partial, FOOTNOTES: set(FOOTNOTE_DEFINITION.findall(markdown))}
    return _parser().parse(markdown, environment)


@cache
def _parser() -> MarkdownIt:
    parser = _Parser("zero", {"maxNesting": MAX_LEVEL, "tasklists": True})
    parser.enable(["code", "fence", "hr", "heading", "newline", "escape", "image", "entity"])
    parser.enable(["table", "blockquote", "list", "reference", "backticks", "strikethrough", "emphasis", "link"])
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.at("blockquote", _blockquote, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.block.ruler.at("list", _list, {"alt": ["paragraph", "reference", "blockquote"]})
    parser.block.ruler.at("reference", _reference)
    parser.block.ruler.before("table", "formula", _formula_block, {"alt": ["paragraph", "reference", "list"]})
    inline = parser.inline.ruler
    inline.at("backticks", _backticks)
    inline.at("strikethrough", _emphasis)
    inline.at("emphasis", _emphasis)
    inline.at("link", _link)
    inline.before("escape", "formula", _formula)
    inline.before("escape", "html", _html)
    inline.before("escape", "url", _url)
    inline.before("link", "footnote", _footnote)
    parser.inline.ruler2.after("balance_pairs", "close_open", _close_open)
    parser.core.ruler.at("inline", _inlines)
    return parser


def _inlines(state: StateCore) -> None:
    """Parse the inline content of all blocks; mark the last one, which a partial text may still be growing."""
    inlines = [token for token in state.tokens if token.type == "inline"]
    for number, token in enumerate(inlines, start=1):
        state.env[IS_GROWING] = state.env.get(IS_PARTIAL, False) and number == len(inlines)
        token.children = token.children or []
        state.md.inline.parse(token.content, state.md, state.env, token.children)


# Blocks


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table, and put cells beyond the header's number, which GFM drops, into the last column."""
    first = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    columns, cells, last_cell, line = 0, 0, None, -1
    for token in state.tokens[first:]:
        if token.type == "tr_open" and token.map:
            cells, line = 0, token.map[0]
        elif token.type == "inline":
            cells, last_cell = cells + 1, token
        elif token.type == "thead_close":
            columns = cells
        elif token.type == "tr_close" and last_cell:
            row = escapedSplit(getLine(state, line).strip())
            row = row[bool(row and row[0] == "") :]
            row = row[:-1] if row and row[-1] == "" else row
            if columns and len(row) > columns:
                last_cell.content = " | ".join(cell.strip() for cell in row[columns - 1 :])
    return True


def _blockquote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    return state.level < MAX_BLOCK_LEVEL and blockquote(state, start, end, silent)


def _list(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    is_plus = state.src.startswith("+", state.bMarks[start] + state.tShift[start])
    return not is_plus and state.level < MAX_BLOCK_LEVEL and list_block(state, start, end, silent)


def _reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse the definition of a link. Unlike in HTML it stays visible: it may be all that says where something is."""
    position = state.bMarks[start] + state.tShift[start]
    if not LINK_DEFINITION.match(state.src, position) or not reference(state, start, end, silent):
        return False
    token = state.push("definition", "", 0)
    token.map = [start, state.line]
    token.content = state.getLines(start, state.line, state.blkIndent, keepLastLF=False).strip()
    return True


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    r"""Parse a formula between lines that begin and end with `$$`, or with `\[` and `\]`."""
    if state.is_code_block(start):
        return False
    first = getLine(state, start).strip()
    closing = FORMULA_DELIMITERS.get(first[:2])
    if closing is None or closing == "\\)":
        return False
    lines = [first[2:]]
    line = start
    while not (lines[-1].endswith(closing) and (line > start or lines[-1])):
        line += 1
        is_inside = line < min(end, start + MAX_FORMULA_LINES) and not state.isEmpty(line)
        if not is_inside or state.sCount[line] < state.blkIndent:
            return False
        lines.append(getLine(state, line).strip())
    content = "\n".join(lines)[: -len(closing)].strip()
    if not content or closing in content:
        return False
    if not silent:
        state.line = line + 1
        token = state.push("formula_block", "", 0)
        token.map = [start, state.line]
        token.content = content
    return True


# Inline content


def _formula(state: StateInline, silent: bool) -> bool:
    """Parse a formula. One that follows on a word is none: it is an escaped bracket, or a second amount of money."""
    if state.src[state.pos] not in "$\\" or (state.pos > 0 and _kind(state.src[state.pos - 1]) == WORD):
        return False
    content, end = "", -1
    start = state.pos + 2
    if closing := FORMULA_DELIMITERS.get(state.src[state.pos : start]):
        end = state.src.find(closing, start, min(state.posMax, start + MAX_FORMULA_CHARACTERS))
        content = state.src[start:end] if end >= 0 else ""
        end += len(closing)
    elif (match := DOLLAR_FORMULA.match(state.src, state.pos, state.posMax)) and LOOKS_LIKE_FORMULA.search(match[1]):
        content, end = match[1], match.end()
    if not content.strip():
        return False
    if not silent:
        state.push("formula", "", 0).content = content.strip()
    state.pos = end
    return True


def _html(state: StateInline, silent: bool) -> bool:
    """Parse a line break, a tag that Telegram can show, or a URL in angle brackets; every other `<` is text."""
    if state.src[state.pos] != "<":
        return False
    if match := LINE_BREAK.match(state.src, state.pos, state.posMax):
        if not silent:
            state.push("hardbreak", "br", 0)
        state.pos = match.end()
        return True
    if match := URL_IN_BRACKETS.match(state.src, state.pos, state.posMax):
        if not silent:
            state.append_pending(match[1])
        state.pos = match.end()
        return True
    if match := STYLE_TAG.match(state.src, state.pos, state.posMax):
        return _html_element(state, silent, match.end(), match[1], "")
    if state.linkLevel == 0 and (match := LINK_TAG.match(state.src, state.pos, state.posMax)):
        return _html_element(state, silent, match.end(), "a", match[1])
    return False


def _html_element(state: StateInline, silent: bool, start: int, tag: str, href: str) -> bool:
    closing = f"</{tag}>"
    if state.html_terminator_last(closing) < start:
        return False
    end = state.src.find(closing, start, min(state.posMax, start + MAX_TAG_CHARACTERS))
    # Of two opening tags the closing one belongs to the second; the first is text, as in "the <b> tag".
    if end <= start or state.src.find(state.src[state.pos : start], start, end) >= 0:
        return False
    if silent:
        state.pos = end + len(closing)
        return True
    if tag == "code":
        state.push("code_inline", "code", 0).content = state.src[start:end].replace("\n", " ")
    else:
        max_position = state.posMax
        state.pos, state.posMax = start, end
        state.push("link_open" if href else "style_open", tag, 1).attrs = {"href": href}
        state.linkLevel += bool(href)
        state.md.inline.tokenize(state)
        state.linkLevel -= bool(href)
        state.push("link_close" if href else "style_close", tag, -1)
        state.posMax = max_position
    state.pos = end + len(closing)
    return True


def _url(state: StateInline, silent: bool) -> bool:
    """Parse the rest of a bare URL as text: the `_` and `*` in it are no markup, unless they end an emphasis."""
    position = state.pos
    if not state.src.startswith("://", position):
        return False
    if not SCHEME_BEFORE_COLON.search(state.src[max(0, position - 8) : position]):
        return False
    match = URL_CHARACTERS.match(state.src, position + 3, state.posMax)
    if match is None:
        return False
    end = match.end()
    for run in EMPHASIS_RUN.finditer(state.src, position + 3, end):
        rest = state.src[run.end() : min(end, run.end() + MAX_AFTER_URL)]
        is_last = not rest.strip(AFTER_URL) or _kind(rest[0]) == UNSPACED_LETTER
        if is_last and _count_open(state.delimiters, run[0]) > 0:
            end = run.start()
            break
    if not silent:
        state.append_pending(state.src[position:end])
    state.pos = end
    return True


def _count_open(delimiters: list[Delimiter], run: str) -> int:
    """Return how many recent delimiters of the same kind as `run` have opened an emphasis that is not closed yet."""
    count = 0
    for item in delimiters[-RECENT_DELIMITERS:]:
        if item.marker == ord(run[0]):
            if item.close and count > 0:
                count -= 1
            elif item.open:
                count += 1
    return count


def _footnote(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("[^", state.pos) or not state.env[FOOTNOTES]:
        return False
    match = FOOTNOTE.match(state.src, state.pos, state.posMax)
    if match is None or match[1] not in state.env[FOOTNOTES]:
        return False
    if not silent:
        state.append_pending(f"[{match[1]}]")
    state.pos = match.end()
    return True


def _link(state: StateInline, silent: bool) -> bool:
    """Parse a link. One that leads to no web page and follows on a word is code, as in `list[i](x)`."""
    start, first = state.pos, len(state.tokens)
    if state.src[start] != "[":
        return False
    is_call = start > 0 and (state.src[start - 1] in ")]" or _kind(state.src[start - 1]) == WORD)
    if is_call and "](http" not in state.src[start : start + 500]:
        return False
    if not link(state, silent):
        return False
    if not silent:
        source = state.src[start : state.pos]
        opening = next(token for token in state.tokens[first:] if token.type == "link_open")
        if source.endswith("]"):
            opening.attrs.pop("title", None)  # its definition shows it
            # The brackets of a citation such as [1] are part of how it reads.
            opening.meta["closing"] = "" if "][" in source else "]"
    return True


def _backticks(state: StateInline, silent: bool) -> bool:
    """Parse a code span; the last one of a growing text need not be closed yet."""
    if state.src[state.pos] != "`":
        return False
    if silent or not state.env.get(IS_GROWING):
        return backtick(state, silent)
    start = state.pos
    backtick(state, silent=True)
    end, state.pos = state.pos, start
    if state.src[start:end].strip("`") or end >= state.posMax:
        return backtick(state, silent)
    state.push("code_inline", "code", 0).content = state.src[end : state.posMax].replace("\n", " ")
    state.pos = state.posMax
    return True


def _emphasis(state: StateInline, silent: bool) -> bool:
    """Collect the delimiters of bold, italic and struck text; the library then pairs them as CommonMark says."""
    marker = state.src[state.pos]
    if silent or marker not in "*_~":
        return False
    name = (STAR_ARGUMENT if marker == "*" else DUNDER).match(state.src, state.pos, state.posMax)
    if name and (marker == "*" or name[0] in DUNDERS):
        state.append_pending(name[0])
        state.pos = name.end()
        return True
    end = state.pos
    while end < state.posMax and state.src[end] == marker:
        end += 1
    length = end - state.pos
    if marker == "~" and length != 2:
        state.append_pending(marker * length)
        state.pos = end
        return True
    can_open, can_close = _flanking(state.src, state.pos, end)
    for _ in range(1 if marker == "~" else length):
        state.push("text", "", 0).content = "~~" if marker == "~" else marker
        state.delimiters.append(
            Delimiter(
                marker=ord(marker),
                length=0 if marker == "~" else length,
                token=len(state.tokens) - 1,
                end=-1,
                open=can_open,
                close=can_close,
            )
        )
    state.pos = end
    return True


def _flanking(source: str, start: int, end: int) -> tuple[bool, bool]:
    """Return whether the delimiters source[start:end] may open and may close an emphasis."""
    previous = source[start - 1] if start else " "
    following = source[end] if end < len(source) else " "
    before, after = _kind(previous), _kind(following)
    is_left = after != SPACE and (after != PUNCTUATION or before != WORD)
    is_right = before != SPACE and (before != PUNCTUATION or after != WORD)
    if source[start] == "_":
        return is_left and (not is_right or before == PUNCTUATION), is_right and (not is_left or after == PUNCTUATION)
    if previous == "^" or (previous == "/" and following in "/."):  # z^*, src/*/tests, src/*.py
        return False, False
    second = source[end + 1 : end + 2]
    is_operator = after in {WORD, PUNCTUATION} and _ends_operand(source, start)
    # x *= 2, x *- 2, */5, */*
    is_no_opener = (
        following == "=" or (following in "+-" and second.isspace()) or (following == "/" and not second.isalpha())
    )
    is_inside_word = before == after == WORD and not _is_initial(source, start, end)
    # 2*(a) and 2*-a are products, but **word**(note) and **word**-word are not.
    has_number = previous.isdigit() or previous == ")"
    is_factor = (following == "(" and is_operator and (has_number or end - start == 1)) or (
        following in "+-" and (has_number or second.isdigit())
    )
    can_open = is_left and not is_operator and not is_no_opener
    return can_open, is_right and not is_inside_word and not is_factor and previous != "/"


def _ends_operand(source: str, end: int) -> bool:
    """Return whether what ends at `end` can be multiplied: a word, a number, a closing bracket, or `x!`, `x'`, `5%`."""
    if end and source[end - 1] in "\"'!%°′":
        end -= 1
    return end > 0 and (source[end - 1] in ")]}" or _kind(source[end - 1]) == WORD)


def _is_initial(source: str, start: int, end: int) -> bool:
    """Return whether the closing delimiters are those of an acronym's letter, as in `**L**ight`."""
    if end - start != 2 or not source[end].islower():
        return False
    first = start
    while first > max(0, start - 5) and source[first - 1].isupper():
        first -= 1
    is_opened = first < start and source.endswith("**", 0, first)
    return is_opened and (first == 2 or (source[first - 3] != "*" and _kind(source[first - 3]) != WORD))


@lru_cache(maxsize=4096)
def _kind(character: str) -> int:
    """Return what a delimiter's neighbour is. Combining marks count as the letters that they belong to."""
    if character.isspace():
        return SPACE
    code = ord(character)
    if any(first <= code <= last for first, last in UNSPACED):
        return UNSPACED_LETTER
    return PUNCTUATION if unicodedata.category(character)[0] in "PS" else WORD


def _close_open(state: StateInline) -> None:
    """Close what a growing text has opened, so that its last words do not change between markup and formatting."""
    if not state.env.get(IS_GROWING):
        return
    delimiters = state.delimiters
    unclosed = list(_unclosed(delimiters))
    for number in reversed(unclosed):
        opener = delimiters[number]
        state.push("text", "", 0).content = "~~" if opener.marker == ord("~") else chr(opener.marker)
        opener.end = len(delimiters)
        delimiters.append(Delimiter(opener.marker, opener.length, len(state.tokens) - 1, -1, open=False, close=True))


def _unclosed(delimiters: list[Delimiter]) -> Iterable[int]:
    """Yield the numbers of the delimiters that open an emphasis and are not within another one."""
    number = 0
    while number < len(delimiters):
        if delimiters[number].end >= 0:
            number = delimiters[number].end
        elif delimiters[number].open:
            yield number
        number += 1

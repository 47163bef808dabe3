"""What is delivered is what the model wrote: no letter, digit or operator outside of markup is lost or reordered.

PROOF_EXAMPLES=5000 runs that many new examples of each property.
"""

import os
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from telegram_bot.content.rendering import MAX_ENTITIES, MAX_UNITS, MessagePart, message_parts, partial_message
from tests.fakes.telegram import units_of

EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "0"))
PROPERTY = settings(
    max_examples=EXAMPLES or 200,
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@dataclass(frozen=True)
class Sample:
    """A piece of an answer, and what a chat shows of it."""

    markdown: str
    shown: str


def visible(text: str) -> str:
    """Return a text without whitespace, which layout may change."""
    return "".join(text.split())


def rebuilt(part: MessagePart, *, has_languages: bool = False) -> str:
    """Return a part's text with what its entities say: the address after each link, the language before code."""
    encoded = part.text.encode("utf-16-le")
    inserted = [(entity.offset + entity.length, f"⟨{unquote(entity.url)}⟩") for entity in part.entities if entity.url]
    if has_languages:
        inserted += [(entity.offset, f" {entity.language} ") for entity in part.entities if entity.language]
    pieces, end = [], 0
    for offset, text in sorted(inserted):
        pieces += [encoded[2 * end : 2 * offset].decode("utf-16-le"), text]
        end = offset
    return "".join(pieces) + encoded[2 * end :].decode("utf-16-le")


def assert_entities_are_valid(part: MessagePart) -> None:
    """Check Telegram's rules: what lies within what, in UTF-16 units, and that no entity is blank."""
    assert part.text.strip()
    assert units_of(part.text) <= MAX_UNITS
    assert len(part.entities) <= MAX_ENTITIES
    encoded = part.text.encode("utf-16-le")
    open_until: list[tuple[int, str]] = []
    previous = 0
    for entity in part.entities:
        end = entity.offset + entity.length
        assert 0 <= previous <= entity.offset < end <= len(encoded) // 2
        previous = entity.offset
        covered = encoded[2 * entity.offset : 2 * end].decode("utf-16-le")
        assert covered.strip()
        assert covered == covered.rstrip()
        assert entity.type in {"pre", "blockquote"} or covered == covered.lstrip()
        open_until = [(outer_end, kind) for outer_end, kind in open_until if outer_end > entity.offset]
        for outer_end, kind in open_until:
            assert end <= outer_end, "entities overlap"
            assert kind not in {"pre", "code", entity.type}
            assert entity.type not in {"pre", "code"} or kind == "blockquote"
            assert kind != "text_link" or entity.type != "blockquote"
        open_until.append((end, entity.type))


# Inline content. Separated by spaces, so what a piece shows does not depend on its neighbours.

LATIN = st.text("abcxyzäßÉ019", min_size=1, max_size=6)
CJK = st.text("中文后重点かなカ한국ไท", min_size=1, max_size=5)
RTL = st.text("שלוםمرحبا٣٥", min_size=1, max_size=6)
OTHER = st.sampled_from(["हिन्दी", "😀", "👩‍👩‍👧", "é", "naïve", "x²", "½", "𝔘𝔫𝔦", "\u202bعربي\u202c", "🇩🇪"])
words = st.one_of(LATIN, CJK, RTL, OTHER)
phrases = st.lists(words, min_size=1, max_size=4).map(" ".join)
operands = st.sampled_from(["2", "37", "x", "n!", "f(y)", "(a)", "a[i]", "50%", "x'", "ب", "3.5"])
operators = st.sampled_from(["*", "**", "+", "-", "/", "=", "<", ">", "^", "%", "|", "||", "&&", "~", "*-", "//", "=="])


def joined(separator: str) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(operators, operands), min_size=1, max_size=5)
    return st.tuples(operands, pairs).map(
        lambda drawn: separator.join([drawn[0], *(text for pair in drawn[1] for text in pair)])
    )


def literally(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Sample]:
    return texts.map(lambda text: Sample(text, text))


def marked(opening: str, closing: str) -> st.SearchStrategy[Sample]:
    return phrases.map(lambda text: Sample(f"{opening}{text}{closing}", text))


PATHS = st.text("abz019/._-*~", max_size=12).map(lambda path: f"https://e.example/{path}".rstrip("*~_") + "z")
links = st.tuples(phrases, PATHS).map(lambda link: Sample(f"[{link[0]}]({link[1]})", f"{link[0]}⟨{link[1]}⟩"))
addresses = st.sampled_from(["mailto:a@b.example", "docs/x.md", "#part", "tg://user?id=1", "https://u:p@h.example/"])
other_links = st.tuples(phrases, addresses).map(
    lambda link: Sample(f"[{link[0]}]({link[1]})", f"{link[0]} ({link[1]})")
)
code_spans = st.text("ab*_<>&[]()|$\\ =+09中م", min_size=1, max_size=12).filter(str.strip)
LITERALS = r"""
List<String>
<div>
</p>
<T, U>
vector<int>&
a<b
x > y
snake_case_name
__init__
C#
@name
100%
5 * 3 * 2
$5 and $10
*/*
src/*/t/*.py
x && y || z
||n||
~5
a_b
f(*args, **kwargs)
char* s
<b>
&c
AT&T
C:\Users
[1]
[^abc]
#tag
R&D;
z^*y^*
""".strip().splitlines()
pieces = st.one_of(
    literally(phrases),
    literally(joined("")),
    literally(joined(" ")),
    literally(st.sampled_from(LITERALS)),
    literally(PATHS),
    *(marked(tag, tag) for tag in ("**", "*", "_", "__", "~~", "***")),
    *(marked(f"<{tag}>", f"</{tag}>") for tag in ("b", "i", "u", "s", "strong", "em", "del", "code")),
    marked('<a href="https://e.example/q">', "</a>").map(
        lambda sample: Sample(sample.markdown, f"{sample.shown}⟨https://e.example/q⟩")
    ),
    links,
    other_links,
    code_spans.map(lambda code: Sample(f"`{code}`", code)),
    st.sampled_from("*_`#<[]\\|~+-").map(lambda mark: Sample(f"x\\{mark}", f"x{mark}")),
    st.sampled_from([("&lt;", "<"), ("&amp;", "&"), ("&#65;", "A")]).map(lambda pair: Sample(*pair)),
    CJK.map(lambda text: Sample(f"**{text}：**{text}", f"{text}：{text}")),
    CJK.map(lambda text: Sample(f"{text}**“{text}”**{text}", f"{text}“{text}”{text}")),
    st.just(Sample("x<br>y", "x y")),
)


def sentence(samples: list[Sample]) -> Sample:
    # The first word begins no block, whatever follows it.
    return Sample(
        " ".join(["w", *(sample.markdown for sample in samples)]),
        " ".join(["w", *(sample.shown for sample in samples)]),
    )


sentences = st.lists(pieces, min_size=1, max_size=5).map(sentence)
lines = st.text("ab01 \t*_<>#=+-/|[]()$\\中م😀`", max_size=30).filter(lambda line: "```" not in line)
codes = st.lists(lines, min_size=1, max_size=8).map("\n".join).filter(str.strip)


def fence(code: str) -> Sample:
    return Sample(f"````python\n{code}\n````", code)


def items(drawn: list[Sample], marker: str) -> Sample:
    numbers = [marker.format(number) for number in range(1, len(drawn) + 1)]
    shown = ["•" if number == "-" else number for number in numbers]
    return Sample(
        "\n".join(f"{number} {sample.markdown}" for number, sample in zip(numbers, drawn, strict=True)),
        " ".join(f"{number} {sample.shown}" for number, sample in zip(shown, drawn, strict=True)),
    )


def quoted(drawn: Sample) -> Sample:
    return Sample("\n".join(f"> {line}" for line in drawn.markdown.split("\n")), drawn.shown)


def indented(drawn: tuple[Sample, str]) -> Sample:
    """A list item that contains code."""
    first, code = drawn
    lines_of_code = code.replace("\t", " ").split("\n")
    markdown = "\n".join(f"   {line}" for line in ["````", *lines_of_code, "````"])
    return Sample(f"1. {first.markdown}\n{markdown}\n2. end", f"1. {first.shown} {code} 2. end")


blocks = st.one_of(
    sentences,
    sentences.map(lambda sample: Sample(f"## {sample.markdown}", sample.shown)),
    st.lists(sentences, min_size=1, max_size=4).map(lambda drawn: items(drawn, "-")),
    st.lists(sentences, min_size=1, max_size=4).map(lambda drawn: items(drawn, "{}.")),
    sentences.map(quoted),
    codes.map(fence),
    st.tuples(sentences, codes).map(indented),
    st.just(Sample("---", "———")),
    st.just(Sample("text[^1]\n\n[^1]: note", "text[1] [1]: note")),
)
# Lists one after the other would be one list with other numbers; a sentence between them is what models write.
documents = st.lists(st.tuples(blocks, sentences), min_size=1, max_size=8).map(
    lambda pairs: Sample(
        "\n\n".join(block.markdown for pair in pairs for block in pair),
        "\n\n".join(block.shown for pair in pairs for block in pair),
    )
)


@PROPERTY
@given(documents)
def test_an_answer_is_shown_as_it_was_written(document):
    parts = message_parts(document.markdown)

    for part in parts:
        assert_entities_are_valid(part)
    assert visible(" ".join(map(rebuilt, parts))) == visible(document.shown)


# Anything at all, joined without regard to meaning. The words contain no names of tags or of LaTeX.

FRAGMENTS = [
    "**", "*", "_", "__", "~~", "`", "``", "```\n", "```py\n", "\n", "\n\n", "> ", "- ", "# ", "|",
    "---\n", "|---|---|\n", "| q7 | wörd |\n", "1. ", "23) ", "[", "](", "](u/v)",
    "](http://h.example/w)", "]", "(", ")", "https://e.example/x_y*w*", "<div>", "List<Tq>", "<",
    ">", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\", "+ ", "= ", "===\n", "5*3*2", "q**w**r",
    "    ", "\t", "😀", "👩‍👩‍👧", "^", "[^7]", "\n[^7]: ", "&", "中文：", "后", "“", "مرحبا", "שלום",
    "हिन्दी", " ", "wq", "Zed", "q7", "%", "/", "~", "'", "!", "![", "<br>", "\u202e", "x" * 900,
]  # fmt: skip
OPERATORS = set("+=<%/")  # those that are never markup; `<` begins a line break or the brackets of a URL
anything = st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)


def kept(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text.replace("<br>", " ").replace("<https://", "https://"))
    return [character for character in text if character.isalnum() or character in OPERATORS]


@PROPERTY
@given(anything)
@example("> `q7`")
@example("| q7 | w |\n|---|---|\n| Zed | wq | 5 | 7 |\n")
@example(">" * 300 + "q7\n\n" + "- " * 300 + "Zed")
@example("![" * 300 + "q7" + "](u/v)" * 300)
@example("```q7 = 1\nZed\n```")
@example("***q7***8 **w** ***")
def test_no_letter_digit_or_operator_is_lost_whatever_an_answer_looks_like(markdown):
    parts = message_parts(markdown)

    for part in parts:
        assert_entities_are_valid(part)
    shown = iter(kept(" ".join(rebuilt(part, has_languages=True) for part in parts)))
    missing = [character for character in kept(markdown) if character not in shown]
    assert not missing


@PROPERTY
@given(anything, st.integers(0, 400))
def test_telegram_accepts_the_partial_message_of_any_beginning(markdown, length):
    partial = partial_message(markdown[:length])

    if partial is not None:
        assert_entities_are_valid(partial)
        assert partial.text.endswith(" …")

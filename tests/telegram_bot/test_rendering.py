"""Rendering of Markdown: text and entities that Telegram accepts, in messages that are not too long."""

import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from telegram import MessageEntity

from telegram_bot.content import rendering
from telegram_bot.content.conversion import FormattedText, convert
from telegram_bot.content.rendering import (
    MAX_ENTITIES,
    MAX_UNITS,
    MessagePart,
    message_parts,
    partial_message,
    render_answer,
)
from tests.fakes.telegram import units_of

# Markup, unclosed markup, characters of one and of two code units, lone surrogates, and long runs without a space.
MARKUP = ["**bold**", "_it_", "`code`", "**", "```py\nx = 1\n```", "```", "[a](https://a.b)", "[a](", "> quote\n"]
BLOCKS = ["# Title\n", "- item\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "\n\n", "$x^2$", "~~no~~", "||spoiler||"]
CHARACTERS = ["😀", "👩‍👩‍👧", "é", "\u200b", " ", "\t", "\\", "<b>", "&amp;", "١٢٣", "\ud83d", "\x07"]
RUNS = ["word ", "x" * 700, "語" * 300]
fragments = st.sampled_from([*MARKUP, *BLOCKS, *CHARACTERS, *RUNS])
markdowns = st.lists(fragments, max_size=60).map("".join)


def assert_telegram_accepts(part: MessagePart) -> None:
    assert part.text.strip()
    assert units_of(part.text) <= MAX_UNITS
    assert len(part.entities) <= MAX_ENTITIES
    encoded = part.text.encode("utf-16-le")
    for entity in part.entities:
        assert entity.offset >= 0
        assert entity.length > 0
        assert 2 * (entity.offset + entity.length) <= len(encoded)
        encoded[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")


def covered(part: MessagePart, entity: MessageEntity) -> str:
    """Return the text that an entity formats."""
    encoded = part.text.encode("utf-16-le")
    return encoded[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")


@settings(max_examples=300, deadline=None)
@given(markdowns)
@example("**a** " * 150)
@example("[a](tg://user?id=1) [b](javascript:alert(1))")
def test_telegram_accepts_every_part_of_any_answer(markdown):
    for part in message_parts(markdown):
        assert_telegram_accepts(part)


@settings(max_examples=300, deadline=None)
@given(markdowns)
def test_telegram_accepts_the_partial_message_of_any_answer(markdown):
    partial = partial_message(markdown)
    if partial is not None:
        assert_telegram_accepts(partial)
        assert partial.text.endswith("…")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["word ", "line\n", "x" * 900, "😀" * 500, "\n\n"]), max_size=40).map("".join))
def test_nothing_visible_is_lost_or_repeated_between_parts(plain):
    together = "".join(part.text for part in message_parts(plain))

    assert "".join(together.split()) == "".join(plain.split())


@pytest.mark.parametrize("markdown", ["", " \n\t", "\u200b\u200d", "```\n```"])
def test_an_answer_without_visible_text_has_no_part(markdown):
    assert message_parts(markdown) == []
    assert partial_message(markdown) is None


def test_markup_becomes_entities_counted_in_utf16_units():
    (part,) = message_parts("😀 **bold** and `code`")

    assert part.text == "😀 bold and code"
    assert [(entity.type, entity.offset, entity.length) for entity in part.entities] == [
        ("bold", 3, 4),
        ("code", 12, 4),
    ]


def test_a_heading_is_a_bold_line_without_an_emoji_before_it():
    (part,) = message_parts("# Plan\n\n- one\n- two")

    assert part.text.splitlines()[0] == "Plan"
    assert MessageEntity.BOLD in {entity.type for entity in part.entities}


def test_only_web_links_remain():
    (part,) = message_parts("[a](https://example.org) [b](tg://user?id=1) [c](javascript:x) ![d](tg://emoji?id=5)")

    assert [entity.url for entity in part.entities if entity.type == "text_link"] == ["https://example.org"]
    assert {entity.type for entity in part.entities} == {"text_link"}
    assert part.text == "a b (tg://user?id=1) c (javascript:x) d (tg://emoji?id=5)"


def test_a_long_answer_is_split_at_the_end_of_a_line():
    parts = message_parts("\n".join(["A line of thirty-odd characters."] * 400))

    assert len(parts) == 4
    assert all(part.text.endswith("characters.") and part.text.startswith("A line") for part in parts)


def test_a_code_block_continues_in_the_next_message():
    parts = message_parts("```python\n" + "print('hello')\n" * 500 + "```")

    assert len(parts) == 2
    assert [[entity.type for entity in part.entities] for part in parts] == [["pre"], ["pre"]]


def test_a_partial_message_shows_the_beginning_and_that_more_follows():
    partial = partial_message("**half open " + "word " * 2000)

    assert partial is not None
    assert units_of(partial.text) <= MAX_UNITS
    assert partial.text.endswith(" …")


def test_a_surrogate_pair_that_a_stream_has_split_is_joined_or_replaced():
    assert message_parts("\ud83d\ude00!")[0].text == "😀!"
    assert message_parts("torn \ud83d")[0].text == "torn \ufffd"


def test_a_messages_text_is_not_in_its_repr():
    assert "canary" not in repr(message_parts("**canary** [canary](https://canary.example)"))


# Words of the answer.


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("Use List<String>", "Use List<String>"),
        ("Use the <div> tag", "Use the <div> tag"),
        ("Use the <b> tag", "Use the <b> tag"),
        ("<p>Paragraph</p>", "<p>Paragraph</p>"),
        ("H<sub>2</sub>O", "H<sub>2</sub>O"),
        ("Line<br>break<br/>here", "Line\nbreak\nhere"),
        ("5*3*2 = 30", "5*3*2 = 30"),
        ("5 * 3 * 2 = 30", "5 * 3 * 2 = 30"),
        ("a**b**c and (a)*(b)*(c)", "a**b**c and (a)*(b)*(c)"),
        ("2 *3*4 and x *p*q", "2 *3*4 and x *p*q"),
        ("The <b> tag: <b>x</b>", "The <b> tag: x"),
        ("f(*args, **kwargs), g(*args, **kwargs)", "f(*args, **kwargs), g(*args, **kwargs)"),
        ("__init__ calls __new__", "__init__ calls __new__"),
        ("src/*/tests/*.py and */*", "src/*/tests/*.py and */*"),
        ("https://e.x/a_b_c*d*", "https://e.x/a_b_c*d*"),
        ("**https://e.x/a_b**", "https://e.x/a_b"),
        ("src/*.py and https://e.x/a*.b", "src/*.py and https://e.x/a*.b"),
        ("**中：**文 https://e.x/*_0_/z", "中：文 https://e.x/*_0_/z"),
        ("a || b || c, ||n||", "a || b || c, ||n||"),
        ("x\n=\ny", "x\n=\ny"),
        ("+ 3\n+ 4", "+ 3\n+ 4"),
        ("3. c\n7. g", "3. c\n7. g"),
        ("[m](mailto:a@b.c)", "m (mailto:a@b.c)"),
        ("[a@b.c](mailto:a@b.c)", "a@b.c"),
        ("[guide](docs/start.md)", "guide (docs/start.md)"),
        ("[](docs/start.md)", "docs/start.md"),
        ("[x](javascript:alert(1))", "x (javascript:alert(1))"),
        ("[bank](https://bank.example@evil.example/)", "bank (https://bank.example@evil.example/)"),
        ("[here](http://localhost:8000/)", "here (http://localhost:8000/)"),  # Telegram drops hosts without a dot
        ("matrix[i](j) and @name", "matrix[i](j) and @name"),
        ("text[^1]\n\n[^1]: A note", "text[1]\n\n[1]: A note"),
        ("[^abc] is a class", "[^abc] is a class"),
        ("see [1]\n\n[1]: https://e.x/p", "see [1]\n\n[1]: https://e.x/p"),
        ("```x = 1\ny = 2\n```", "x = 1\ny = 2"),
        ("$5 and $10, or 10$", "$5 and $10, or 10$"),
        ("$5 or `_$` and $10 for a_b$", "$5 or _$ and $10 for a_b$"),
        ("$x_1*y_2*z$", "x_1*y_2*z"),
        ("f\\(x\\) and \\*", "f(x) and *"),
        ("- [ ] open\n- [x] done", "☐ open\n☑ done"),
    ],
)
def test_no_word_or_operator_is_lost(markdown, shown):
    (part,) = message_parts(markdown)

    assert part.text == shown


@pytest.mark.parametrize("markdown", ["[]()", "```\n \n``` <!-- -->", "[](<>)"])
def test_an_answer_whose_conversion_is_blank_is_sent_as_it_is(markdown):
    (part,) = message_parts(markdown)

    assert part.text.strip()


@pytest.mark.parametrize(
    ("markdown", "shown", "bold"),
    [
        ("**中文：**后", "中文：后", ["中文："]),
        ("这是**“重点”**内容", "这是“重点”内容", ["“重点”"]),
        ("**단어**를 **쓰다**", "단어를 쓰다", ["단어", "쓰다"]),
        ("**S**pecific, **M**easurable", "Specific, Measurable", ["S", "M"]),
        ("**اسم:** قيمة", "اسم: قيمة", ["اسم:"]),
        ("**a `b` c**", "a b c", ["a", "c"]),  # bold may not contain code
        ("<b>a</b> and <strong>b</strong>", "a and b", ["a", "b"]),
    ],
)
def test_bold_is_on_the_words_that_were_marked(markdown, shown, bold):
    (part,) = message_parts(markdown)

    assert part.text == shown
    assert [covered(part, entity) for entity in part.entities if entity.type == "bold"] == bold


def test_cells_of_a_table_keep_the_addresses_of_their_links_and_those_beyond_the_header():
    (part,) = message_parts("| a | 中 |\n|---|---|\n| [x](https://a.b/c) | 2 | 3 |\n| y | z<br>w |")

    assert part.text.splitlines() == [
        "a                 | 中",
        "------------------|------",
        "x (https://a.b/c) | 2 | 3",
        "y                 | z",
        "                  | w",
    ]
    assert [entity.type for entity in part.entities] == ["pre"]


def test_code_within_a_list_item_stands_on_lines_of_its_own():
    (part,) = message_parts("1. One\n2. Two\n   ```py\n   if x:\n       y\n   ```\n3. Three")

    assert part.text == "1. One\n2. Two\nif x:\n    y\n3. Three"
    assert [(covered(part, entity), entity.language) for entity in part.entities] == [("if x:\n    y", "py")]


def test_a_formula_is_in_unicode_only_where_nothing_is_lost():
    assert message_parts(r"\(\alpha + x^2 = \frac{1}{2}\)")[0].text == "α + x² = ½"
    assert message_parts(r"\(\= x\)")[0].text == r"\= x"
    assert message_parts(r"\(\color{red} x\)")[0].text == r"\color{red} x"
    assert message_parts("$$\na\n- b\n= c\n$$")[0].text == "a\n- b\n= c"


# Code across parts.


def test_code_keeps_its_indentation_and_language_in_each_part():
    function = "    def f(self):\n        x = 1234567890123\n        y = 2\n        z = 3\n        return x + y + z\n\n"
    parts = message_parts(f"```python\n{function * 300}```")

    assert len(parts) > 2
    assert "\n\n".join(part.text for part in parts) == (function * 300).rstrip()
    for part in parts:
        assert part.text.startswith("    def f(self):")  # cut at a blank line
        (entity,) = part.entities
        assert (entity.type, entity.language, covered(part, entity)) == ("pre", "python", part.text)


def test_the_indentation_of_the_first_line_of_code_stays():
    (part,) = message_parts("```\n    x = 1\n```")

    assert part.text == covered(part, part.entities[0]) == "    x = 1"


def test_code_without_a_blank_line_is_cut_at_the_end_of_a_line():
    parts = message_parts("```\n" + "    indented = True\n" * 500 + "```")

    assert all(part.text.startswith("    indented") and part.text.endswith("= True") for part in parts)


def test_a_character_of_several_code_points_is_not_cut():
    parts = message_parts("a" * (MAX_UNITS - 2) + "👩‍👩‍👧" * 3)

    assert [part.text for part in parts] == ["a" * (MAX_UNITS - 2), "👩‍👩‍👧" * 3]


# Many entities, and the cost.


def test_of_too_many_entities_the_least_useful_kinds_are_dropped():
    links = "[a](https://e.x/p) " * 40
    (part,) = message_parts("_i_ " * 50 + "**b** " * 50 + links + "~~s~~ " * 20)

    kinds = Counter(str(entity.type) for entity in part.entities)
    assert kinds == {"bold": 40, "text_link": 40, "strikethrough": 20}
    assert part.text.count("i") == 50


def test_many_code_spans_take_no_more_messages_than_their_text_needs():
    parts = message_parts("see `name` here: " * 690)

    assert len(parts) == 3
    assert [len(part.entities) for part in parts] == [MAX_ENTITIES] * 3


def test_links_are_not_dropped():
    parts = message_parts("[a](https://e.x/p) " * 150)

    assert [len(part.entities) for part in parts] == [100, 50]


def test_conversion_takes_time_linear_in_the_length():
    def seconds(count: int) -> float:
        answer = "word `code` **bold** 5*3 " * count + "\n\n- item\n> quote\n" * (count // 10)
        begun = time.process_time()
        render_answer(answer)
        return time.process_time() - begun

    seconds(10)
    # Quadratic would be 16 times; the least of three, because other processes disturb the caches.
    assert min(seconds(6000) / seconds(1500) for _ in range(3)) < 9


@pytest.fixture
def converted(monkeypatch) -> list[str]:
    """The texts that were converted."""
    texts: list[str] = []

    def record(markdown: str, **options: bool) -> FormattedText:
        texts.append(markdown)
        return convert(markdown, **options)

    monkeypatch.setattr(rendering, "convert", record)
    return texts


def test_an_answer_is_converted_once_however_often_it_is_looked_at(converted):
    answer = f"Only this test has {time.monotonic_ns()}."

    assert message_parts(answer) == message_parts(answer)
    assert converted == [answer]


def test_the_cost_of_a_partial_message_is_bounded_by_a_messages_size(converted):
    partial_message("word " * 100_000)

    assert [len(text) <= 2 * MAX_UNITS for text in converted] == [True]


# A growing answer.

ANSWER = """## A plan

This is **very important** and *rather* short, see [the guide](https://e.example/guide/start) and `some code`.

1. **First**: do `this` – or ~~that~~.
2. Second, 5*3*2 = 30
   ```python
   def f(x):
       return x * 2
   ```

- one **bold `code` in it**
- two words

> quoted **text**

中文：**重点**内容。

The end."""


def test_words_keep_their_place_while_an_answer_grows():
    (final,) = message_parts(ANSWER)
    beginnings = [ANSWER[:length] for length in range(1, len(ANSWER) + 1)]
    partials = [part.text.removesuffix(" …") for text in beginnings if (part := partial_message(text))]

    flickers = [text for text in partials if not final.text.startswith(text.rstrip())]
    assert len(flickers) <= len(beginnings) // 100, flickers


def test_what_a_growing_answer_has_opened_is_formatted_already():
    part = partial_message("text **bold and `co")

    assert part is not None
    assert [(str(entity.type), covered(part, entity)) for entity in part.entities] == [
        ("bold", "bold and"),
        ("code", "co"),
    ]


def test_code_that_is_not_closed_yet_is_code():
    part = partial_message("Look:\n```py\nif x:\n    y")

    assert part is not None
    assert (part.text, covered(part, part.entities[0])) == ("Look:\nif x:\n    y …", "if x:\n    y")

"""Rendering of Markdown: text and entities that Telegram accepts, in messages that are not too long."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from telegram import MessageEntity

from telegram_bot.content.rendering import MAX_ENTITIES, MAX_UNITS, MessagePart, message_parts, partial_message
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


def test_a_long_answer_is_split_at_the_end_of_a_line():
    parts = message_parts("\n".join(["A line of thirty-odd characters."] * 400))

    assert len(parts) == 4
    assert all(part.text.endswith("characters.") and part.text.startswith("A line") for part in parts)


def test_a_code_block_continues_in_the_next_message():
    parts = message_parts("```python\n" + "print('hello')\n" * 500 + "```")

    assert len(parts) == 2
    assert [[entity.type for entity in part.entities] for part in parts] == [["pre"], ["pre"]]


def test_more_entities_than_a_message_may_have_go_into_the_next_one():
    parts = message_parts("**a** b " * 250)

    assert [len(part.entities) for part in parts] == [100, 100, 50]


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

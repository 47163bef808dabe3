"""Markdown becomes text and entities that Telegram takes, in messages that are not too long."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from telegram import MessageEntity

from telegram_bot.content.rendering import MAX_ENTITIES, MAX_UNITS, MessagePart, message_parts, partial_message
from tests.fakes.telegram import units_of

# Markup, half-open markup, characters of one and of two units, halves of characters, and long runs without a space.
MARKUP = ["**bold**", "_it_", "`code`", "**", "```py\nx = 1\n```", "```", "[a](https://a.b)", "[a](", "> quote\n"]
BLOCKS = ["# Title\n", "- item\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "\n\n", "$x^2$", "~~no~~", "||spoiler||"]
CHARACTERS = ["😀", "👩‍👩‍👧", "é", "\u200b", " ", "\t", "\\", "<b>", "&amp;", "١٢٣", "\ud83d", "\x07"]
RUNS = ["word ", "x" * 700, "語" * 300]
fragments = st.sampled_from([*MARKUP, *BLOCKS, *CHARACTERS, *RUNS])
markdowns = st.lists(fragments, max_size=60).map("".join)


def assert_telegram_takes(piece: MessagePart) -> None:
    assert piece.text.strip()
    assert units_of(piece.text) <= MAX_UNITS
    assert len(piece.entities) <= MAX_ENTITIES
    encoded = piece.text.encode("utf-16-le")
    for entity in piece.entities:
        assert entity.offset >= 0
        assert entity.length > 0
        assert 2 * (entity.offset + entity.length) <= len(encoded)
        encoded[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")


@settings(max_examples=300, deadline=None)
@given(markdowns)
@example("**a** " * 150)
@example("[a](tg://user?id=1) [b](javascript:alert(1))")
def test_every_piece_of_any_answer_is_one_that_telegram_takes(markdown):
    for piece in message_parts(markdown):
        assert_telegram_takes(piece)


@settings(max_examples=300, deadline=None)
@given(markdowns)
def test_every_frame_of_any_answer_is_one_that_telegram_takes(markdown):
    frame = partial_message(markdown)
    if frame is not None:
        assert_telegram_takes(frame)
        assert frame.text.endswith("…")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["word ", "line\n", "x" * 900, "😀" * 500, "\n\n"]), max_size=40).map("".join))
def test_nothing_visible_is_lost_or_repeated_between_pieces(plain):
    together = "".join(piece.text for piece in message_parts(plain))

    assert "".join(together.split()) == "".join(plain.split())


@pytest.mark.parametrize("markdown", ["", " \n\t", "\u200b\u200d", "```\n```"])
def test_an_answer_without_a_visible_sign_has_no_piece(markdown):
    assert message_parts(markdown) == []
    assert partial_message(markdown) is None


def test_markup_becomes_entities_counted_in_utf16_units():
    (piece,) = message_parts("😀 **bold** and `code`")

    assert piece.text == "😀 bold and code"
    assert [(entity.type, entity.offset, entity.length) for entity in piece.entities] == [
        ("bold", 3, 4),
        ("code", 12, 4),
    ]


def test_a_heading_is_a_bold_line_without_a_picture_before_it():
    (piece,) = message_parts("# Plan\n\n- one\n- two")

    assert piece.text.splitlines()[0] == "Plan"
    assert MessageEntity.BOLD in {entity.type for entity in piece.entities}


def test_links_lead_to_the_web_or_nowhere():
    (piece,) = message_parts("[a](https://example.org) [b](tg://user?id=1) [c](javascript:x) ![d](tg://emoji?id=5)")

    assert [entity.url for entity in piece.entities if entity.type == "text_link"] == ["https://example.org"]
    assert {entity.type for entity in piece.entities} == {"text_link"}


def test_a_long_answer_is_cut_at_the_end_of_a_line():
    pieces = message_parts("\n".join(["A line of thirty-odd characters."] * 400))

    assert len(pieces) == 4
    assert all(piece.text.endswith("characters.") and piece.text.startswith("A line") for piece in pieces)


def test_a_code_block_goes_on_in_the_next_message():
    pieces = message_parts("```python\n" + "print('hello')\n" * 500 + "```")

    assert len(pieces) == 2
    assert [[entity.type for entity in piece.entities] for piece in pieces] == [["pre"], ["pre"]]


def test_more_entities_than_a_message_may_hold_go_into_the_next_one():
    pieces = message_parts("**a** b " * 250)

    assert [len(piece.entities) for piece in pieces] == [100, 100, 50]


def test_a_frame_shows_the_beginning_and_that_more_comes():
    frame = partial_message("**half open " + "word " * 2000)

    assert frame is not None
    assert units_of(frame.text) <= MAX_UNITS
    assert frame.text.endswith(" …")


def test_a_pair_of_surrogates_that_a_stream_has_torn_is_joined_or_replaced():
    assert message_parts("\ud83d\ude00!")[0].text == "😀!"
    assert message_parts("torn \ud83d")[0].text == "torn \ufffd"


def test_what_a_message_says_stays_out_of_its_repr():
    assert "canary" not in repr(message_parts("**canary** [canary](https://canary.example)"))

"""In a group the `@names` that a model writes notify nobody, and no letter is changed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telegram_bot.api.client import get_client
from telegram_bot.content.mentions import without_mentions
from telegram_bot.content.rendering import MAX_ENTITIES, MessagePart, render_answer
from tests.telegram_bot.updates import GROUP_ID

NAME = re.compile(r"(?:(?<=^)|(?<=[^A-Za-z0-9_]))@([A-Za-z0-9_]{2,32})(?![A-Za-z0-9_])")


def literal(markdown: str) -> tuple[str, list[str]]:
    """Return the text that is shown, and what of it Telegram reads literally."""
    (part,) = render_answer(markdown).parts
    shown = without_mentions(part)
    units = shown.text.encode("utf-16-le")
    return shown.text, [
        units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")
        for entity in shown.entities
        if entity.type in ("code", "pre", "text_link")
    ]


@pytest.mark.parametrize(
    ("markdown", "names"),
    [
        ("Ask @everyone and @admin_1!", ["@everyone", "@admin_1"]),
        ("😀 **@bold_one** – @зов @ok_1", ["@bold_one", "@ok_1"]),
        ("`@code` and [@linked](https://example.com/)", ["@code", "@linked"]),
        ("```\n@Override\n```", ["@Override"]),
        ("me@example.com, a@b, 1 @ 2", []),
        ("@@twice (@bracketed)", ["@twice", "@bracketed"]),
        ("Hello", []),
    ],
)
def test_names_become_code_and_nothing_else_does(markdown, names):
    assert literal(markdown)[1] == names


def test_more_names_than_entities_make_the_whole_text_code():
    text = " ".join(f"@name_{number}" for number in range(MAX_ENTITIES + 1))

    assert literal(text) == (text, [text])


def test_names_are_worth_more_than_formatting():
    markdown = "**a** " * 60 + "@somebody " * 60

    _, names = literal(markdown)

    assert names == ["@somebody"] * 60


@given(st.text(alphabet="@ab_ .`*[]()é😀\n", max_size=200))
def test_no_name_is_left_that_telegram_would_find(markdown):
    for part in render_answer(markdown).parts:
        shown = without_mentions(part)
        assert shown.text == part.text
        assert len(shown.entities) <= MAX_ENTITIES
        assert without_mentions(shown) == shown
        for match in NAME.finditer(shown.text):
            start = len(shown.text[: match.start()].encode("utf-16-le")) // 2
            assert any(
                entity.offset < start + len(match[0]) and start < entity.offset + entity.length
                for entity in shown.entities
                if entity.type in ("code", "pre", "text_link")
            )


@pytest.mark.django_db
def test_in_a_group_but_not_in_a_private_chat(fake, settings):
    fake.chat(GROUP_ID)
    part = MessagePart("Hello @everyone")
    client = get_client()
    for chat_id in (GROUP_ID, 42):
        client.edit(chat_id, client.send(chat_id, MessagePart("…")), part)
        client.send(chat_id, part)

    shown = {chat_id: [message.entities for message in fake.chat(chat_id).messages] for chat_id in (GROUP_ID, 42)}
    assert shown[42] == [[], []]
    assert [[entity["type"] for entity in entities] for entities in shown[GROUP_ID]] == [["code"], ["code"]]

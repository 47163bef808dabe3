"""The transcript of a stream: the same text however it is cut, in linear time, and its last words are always shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.backends import base
from providers.backends.base import Transcript
from providers.backends.openai import OpenAIText
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import valid_unicode
from providers.types import Access, Category, Prompt
from tests.fakes.http_server import FakeServer, stream

# Any character, halves of characters and NUL among them, as a model may write them.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud83d\udc24\0 \n"))


@given(st.lists(ANY_TEXT))
def test_the_text_is_the_same_however_it_is_cut(deltas: list[str]) -> None:
    seen: list[str] = []
    transcript = Transcript(seen.append)

    for delta in deltas:
        transcript.add(delta)
        assert transcript.text.encode().decode() == transcript.text
    transcript.end()

    whole = valid_unicode("".join(deltas))
    assert transcript.text == whole
    assert seen[-1:] == ([whole] if whole.strip() else [])


def test_a_long_answer_is_looked_at_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SHOW_SECONDS", 3600)  # all of it within one moment
    characters = 0

    def count(text: str) -> None:
        nonlocal characters
        characters += len(text)

    transcript = Transcript(count)
    for _ in range(40_000):
        transcript.add("abc ")
    transcript.end()

    assert characters < 20 * 160_000


def test_a_slow_answer_is_shown_with_every_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SHOW_SECONDS", 0)
    seen: list[str] = []
    transcript = Transcript(seen.append)

    transcript.add("A long beginning. " * 100)
    for _ in range(5):
        transcript.add("x")

    assert len(seen) == 6


def test_what_came_last_is_shown_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SHOW_SECONDS", 3600)
    seen: list[str] = []
    transcript = Transcript(seen.append)

    transcript.add("A long beginning. " * 100)
    transcript.add("The end.")
    assert len(seen) == 1
    transcript.end()
    transcript.end()

    assert [text[-8:] for text in seen] == ["inning. ", "The end."]


def test_a_provider_shows_the_last_words_of_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SHOW_SECONDS", 3600)
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in ("A long beginning. " * 100, "The end.")]
    events = [b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks]
    seen: list[str] = []
    server = FakeServer()
    server.will(stream([*events, b"data: [DONE]\n\n"]))

    provider = OpenAIText(Access("key", server.url))
    result = provider.run(
        Prompt(Category.TEXT, "Hello"), timeout_seconds=30, deadline=Deadline.after(60), on_text=seen.append
    )
    server.close()

    assert seen[-1] == result.text
    assert result.text.endswith("The end.")

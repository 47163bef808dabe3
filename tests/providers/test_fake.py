"""The in-memory twin behaves as the real providers do."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from providers import registry
from providers.backends import fake
from providers.errors import RateLimited
from providers.types import Access, Category, Prompt, TextResult

PROMPT = Prompt(Category.TEXT, "Say something", model="fake-1")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    fake.forget()


def ask(key: str = "one", **more: object) -> TextResult:
    provider = registry.provider_class(Category.TEXT, "openai")(Access(key, "https://example.com"))
    return provider.run(PROMPT, timeout_seconds=1, deadline=time.monotonic() + 1, **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    vendor = replace(registry.VENDORS["openai"], backends={Category.TEXT: "providers.backends.fake.FakeText"})
    monkeypatch.setattr(registry, "VENDORS", {**registry.VENDORS, "openai": vendor})
    registry.provider_class.cache_clear()
    yield
    registry.provider_class.cache_clear()


def test_it_plays_its_script_and_then_says_hello() -> None:
    fake.play("one", "First", RateLimited("slow down", status=429), lambda prompt: prompt.text.upper())
    assert ask().text == "First"
    with pytest.raises(RateLimited) as caught:
        ask()
    assert caught.value.provider == "fake"
    assert ask().text == "SAY SOMETHING"
    assert ask().text == "Hello!"
    assert fake.calls("one") == [PROMPT] * 4


def test_each_key_has_its_own_script() -> None:
    fake.play("one", "from one")
    fake.play("two", "from two")
    assert (ask("two").text, ask("one").text) == ("from two", "from one")
    assert len(fake.calls("two")) == 1


def test_it_streams_word_by_word() -> None:
    fake.play("one", "One two three")
    seen: list[str] = []
    ask(on_text=seen.append)
    assert seen == ["One", "One two", "One two three"]

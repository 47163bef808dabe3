"""A long system prompt is kept in the cache of the models that want to be told; a short one is not."""

import pytest

from providers.registry import provider_class
from providers.types import Access, Category, Prompt
from tests.contracts.openapi import contract_of

LONG = "Be brief. " * 1_600
MARKED = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize(
    ("slug", "model", "path", "place"),
    [
        ("anthropic", "claude-haiku-5-5", "/v1/messages", lambda body: body["system"]),
        (
            "openrouter",
            "~anthropic/claude-haiku-latest",
            "/chat/completions",
            lambda body: body["messages"][0]["content"],
        ),
    ],
)
def test_only_a_long_system_prompt_is_marked(slug, model, path, place):
    provider = provider_class(Category.TEXT, slug)(Access("key", "http://127.0.0.1:1"))
    for system, expected in ((LONG, MARKED), (LONG[:-1], LONG[:-1])):
        body = provider.build(Prompt(Category.TEXT, "Hello", system=system, model=model), stream=False).json
        assert place(body) == expected
        assert contract_of(slug).request_errors("POST", path, body) == []


def test_models_that_cache_by_themselves_are_told_nothing():
    for slug, model in (("openrouter", "openai/gpt-6-luna"), ("openai", "gpt-6-luna")):
        provider = provider_class(Category.TEXT, slug)(Access("key", "http://127.0.0.1:1"))
        body = provider.build(Prompt(Category.TEXT, "Hello", system=LONG, model=model), stream=False).json
        assert body["messages"][0]["content"] == LONG

"""A field of ours that a model refuses is left out, once told; what the operator has set is not."""

import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from providers.backends import optional_fields
from providers.errors import RequestRejected
from providers.registry import provider_class
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Overrides, Prompt
from tests.contracts.text import sample
from tests.fakes.http_server import FakeServer, answer
from tests.providers.answers import PNG

PROMPT = Prompt(Category.TEXT, "Say hello", model="gpt-4.1-mini")


@pytest.fixture(autouse=True)
def _afresh(monkeypatch) -> None:
    monkeypatch.setattr(optional_fields, "_refused", {})


def refusal(message: str, param: str | None = None) -> Any:
    return answer({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}, 400)


def ask(server: FakeServer, slug: str = "openai", prompt: Prompt = PROMPT) -> Any:
    provider = provider_class(prompt.category, slug)(Access("key", server.url))
    return provider.run(prompt, timeout_seconds=20.0, deadline=Deadline.after(40))


@pytest.mark.parametrize(
    ("slug", "words", "param", "field"),
    [
        ("openai", "Unrecognized request argument supplied: reasoning_effort", None, "reasoning_effort"),
        ("openai", "Unsupported parameter.", "reasoning_effort", "reasoning_effort"),
        ("openrouter", "Reasoning is not supported by this model", None, "reasoning"),
        ("anthropic", "This model does not support the effort parameter.", None, "output_config"),
    ],
)
def test_it_is_left_out_and_from_then_on(server, slug, words, param, field):
    good = answer(sample(slug, "answer"))
    server.will(refusal(words, param), good, good)

    ask(server, slug)
    ask(server, slug)

    assert [field in request.json for request in server.received] == [True, False, False]


def test_a_server_may_name_the_value_that_it_refuses():
    """As vLLM does for models of speech that are not Whisper."""
    assert re.search(optional_fields.NAMED_BY["response_format"], "Currently do not support verbose_json for qwen3_asr")


def test_a_limit_goes_on_by_its_other_name(server):
    good = answer(sample("openai", "answer"))
    server.will(refusal("Unsupported parameter: 'max_completion_tokens'. Use 'max_tokens' instead."), good)

    ask(server)

    assert server.received[1].json["max_tokens"] == PROMPT.max_output_tokens
    assert "max_completion_tokens" not in server.received[1].json


def test_another_model_is_asked_as_before(server):
    good = answer(sample("openai", "answer"))
    server.will(refusal("no reasoning_effort here"), good, good)

    ask(server)
    ask(server, prompt=replace(PROMPT, model="gpt-6"))

    assert "reasoning_effort" in server.received[2].json


@pytest.mark.parametrize(
    "prompt", [PROMPT, replace(PROMPT, overrides=Overrides(extra_body={"reasoning_effort": "high"}))]
)
def test_a_refusal_that_stays_is_met_twice_at_most_and_what_the_operator_has_set_is_kept(server, prompt):
    server.will(refusal("reasoning_effort must be one of none"))

    with pytest.raises(RequestRejected):
        ask(server, prompt=prompt)

    assert len(server.received) == (1 if prompt.overrides.extra_body else 2)
    assert optional_fields._refused == {}


def test_any_other_refusal_is_met_once(server):
    server.will(refusal("messages: too short"))

    with pytest.raises(RequestRejected):
        ask(server)

    assert len(server.received) == 1


def test_an_images_quality(server):
    image = {"data": [{"b64_json": base64.b64encode(PNG).decode()}]}
    server.will(
        refusal("Invalid value: 'medium'. Supported values are: 'standard' and 'hd'.", "quality"), answer(image)
    )

    assert ask(server, prompt=Prompt(Category.IMAGE, "A cat", model="dall-e-3")).content == PNG
    assert "quality" not in server.received[1].json

"""The providers' own clients as the oracle: what they read in a replayed answer is what our chain reads in it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from django.db import connection  # noqa: F401 — the condition below names it

from providers.models import Attempt
from tests.fakes.http_server import FakeServer
from tests.providers.answers import load_answers, play, step_of

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor == 'postgresql'", reason="it is about bytes, whatever the database"),
]

SECONDS = 5.0  # the longest silence of an answer is shorter
TEXTS = [entry for entry in load_answers() if entry["category"] == "TEXT"]
MORE = "we take what the client refuses or overlooks"
LESS = "we refuse what the client takes"
OTHER = "we read another text"
# Where we differ, which is right: an answer that was paid for is not thrown away for its framing,
DIFFERENCES = dict.fromkeys(
    (
        "azure-stream-rogue-chunk",
        "stream-empty-data",
        "mistral-stream-thinking-list",
        "mistral-plain-thinking-list",
        "latin1-in-json",
        "openai-sse-done-two-spaces-stream",
        "openai-sse-single-newlines-stream",
        "openai-json-for-stream-stream",
        "openai-choices-null-stream",
        "openai-content-parts-plain",
        "openai-content-parts-stream",
        "openai-content-parts-output-text-plain",
        "openai-content-parts-untyped-plain",
        "openai-z-json-as-sse-plain",
        "anthropic-a-no-event-names-stream",
    ),
    MORE,
)
# half of one, or a refusal, is none,
DIFFERENCES |= dict.fromkeys(
    (
        "finish-error-plain",
        "anthropic-refusal-plain",
        "anthropic-pause-turn-plain",
        "openai-sse-no-done-no-finish-stream",
        "openai-sse-error-then-json-stream",
        "openai-finish-filter-plain",
        "openai-finish-filter-stream",
        "openai-finish-network-error-plain",
        "openai-finish-network-error-stream",
        "openai-finish-insufficient-stream",
    ),
    LESS,
)
# and thoughts, half characters and what stands behind a byte order mark are read as people would.
DIFFERENCES |= dict.fromkeys(
    ("stream-bom", "openai-think-tags-plain", "openai-think-tags-stream", "openai-cut-surrogate-nul-plain"), OTHER
)

Read = tuple[str, dict[str, int]]  # the text, and the counts of its usage


def read_by_sdk(entry: dict[str, Any], server: FakeServer) -> Read | None:
    """Return what the provider's client reads, None where it raises."""
    server.will(step_of(entry, server))
    try:
        return _anthropic(entry, server) if entry["provider"] == "anthropic" else _openai(entry, server)
    except (
        openai.OpenAIError,
        anthropic.AnthropicError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        AssertionError,
    ):
        return None


def _openai(entry: dict[str, Any], server: FakeServer) -> Read:
    client = openai.OpenAI(api_key="a-key", base_url=server.url, max_retries=0, timeout=SECONDS)
    ask = {"model": "m", "messages": [{"role": "user", "content": "Say hello"}]}
    if entry["mode"] != "stream":
        answer = client.chat.completions.create(**ask)
        return answer.choices[0].message.content or "", _counts(answer.usage)
    text, counts = "", {}
    for chunk in client.chat.completions.create(**ask, stream=True):
        text += "".join(choice.delta.content or "" for choice in chunk.choices[:1])
        counts = _counts(chunk.usage) or counts
    return text, counts


def _anthropic(entry: dict[str, Any], server: FakeServer) -> Read:
    client = anthropic.Anthropic(api_key="a-key", base_url=server.url, max_retries=0, timeout=SECONDS)
    ask: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Say hello"}]}
    if entry["mode"] != "stream":
        message = client.messages.create(**ask)
    else:
        with client.messages.stream(**ask) as stream:
            message = stream.get_final_message()
    text = "".join(block.text for block in message.content if block.type == "text")
    return text, _counts(message.usage)


def _counts(usage: Any) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
    read = {name: getattr(usage, name, None) for name in names}
    return {name: count for name, count in read.items() if isinstance(count, int)}


def disagreements(entry: dict[str, Any], server: FakeServer, settings: Any) -> Iterator[str]:
    ours = play(entry, server, settings)
    usage = Attempt.objects.get(caller_key=entry["id"]).usage
    theirs = read_by_sdk(entry, server)
    text, counts = theirs or ("", {})
    if not isinstance(text, str) or not text.strip():  # a client may pass on a list of parts
        if ours["state"] == "OK":
            yield MORE
        return
    if ours["state"] != "OK":
        yield LESS
    elif ours["text"] != text:
        yield OTHER
    for name, count in counts.items():
        if count and name in usage and Decimal(usage[name]) != count:
            yield f"we read {usage[name]} {name}, the client {count}"


@pytest.mark.parametrize("entry", TEXTS, ids=lambda entry: entry["id"])
def test_we_read_what_the_providers_client_reads(entry, server: FakeServer, settings):
    assert list(disagreements(entry, server, settings)) == [
        words for name, words in DIFFERENCES.items() if name == entry["id"]
    ]

"""What every text provider must do. A provider's test file is a class with its body, its usage and its error table."""

import base64
import json
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import pytest

from providers.backends.base import TextProvider
from providers.errors import ContentRefused, OutcomeUnknown, ProviderError, Unsupported
from providers.transport.deadlines import Deadline
from providers.types import Attachment, Call, Category, OnText, Prompt, TextResult, Turn, Usage
from tests.contracts.base import ProviderContract
from tests.contracts.openapi import STREAM, contract_of, has_contract
from tests.fakes.http_server import FakeServer, Step, answer, stream

SAMPLES = Path(__file__).parent.parent / "samples"
SYSTEM = "You are the canary that sings in the system prompt."
QUESTION, REPLY = "An earlier canary question, “marked” & <tagged>?", "An earlier canary reply."
HISTORY = (Turn("user", QUESTION), Turn("assistant", REPLY))
TEXT = "What is the capital of Peru,\nthe country of canaries? Ответь кратко 🐤"
# The conversation above as OpenAI-compatible APIs take it.
MESSAGES = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": REPLY},
    {"role": "user", "content": TEXT},
]
IMAGE = Attachment("image/jpeg", b"\xff\xd8\xff a small image")
IMAGE_BASE64 = base64.b64encode(IMAGE.content).decode()

# Usage blocks from which no count can be read.
INVALID_USAGE = (None, [], "many", {}, {"prompt_tokens": -1, "input_tokens": "x", "cost": "NaN", "usd_spent": True})
# Bodies with an answer's field in which there is no text, in the shapes of both APIs in use.
WITHOUT_TEXT = (
    {"choices": [], "content": []},
    {"choices": [None], "content": [None]},
    {"choices": "x", "content": "x"},
    {"choices": [{"message": {"content": ""}}], "content": [{"type": "text", "text": ""}]},
    {"choices": [{"message": {"content": 7}}], "content": 7},
)


def sample(slug: str, name: str) -> Any:
    """Return a sample as parsed JSON."""
    return json.loads((SAMPLES / slug / f"{name}.json").read_text(encoding="utf-8"))


def event_bytes(event: Any) -> bytes:
    """Return one entry of a stream sample as it is sent."""
    if isinstance(event, str):
        return f"{event}\n\n".encode() if event.startswith(":") else f"data: {event}\n\n".encode()
    # Anthropic names its events after their type.
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


class TextProviderContract(ProviderContract):
    """Behaviours common to all text providers."""

    category = Category.TEXT
    body: ClassVar[dict[str, Any]]  # what the prompt below becomes
    stream_fields: ClassVar[dict[str, Any]]  # what is added for a stream
    usage: ClassVar[Usage]  # of answer.json, without `raw`
    samples: ClassVar[str] = ""  # the folder under tests/samples; "": the slug
    stream_error: ClassVar[type[ProviderError]] = OutcomeUnknown  # what the error in stream_error.json means
    documents_streams: ClassVar[bool] = True  # does its OpenAPI document describe the chunks of a stream?

    # --- Helpers for the providers' own tests ---

    def sample(self, name: str) -> Any:
        return sample(self.samples or self.slug, name)

    def events(self, name: str = "stream") -> list[bytes]:
        return [event_bytes(event) for event in self.sample(name)]

    def prompt(self, **fields: Any) -> Prompt:
        return Prompt(
            **{
                "category": Category.TEXT,
                "text": TEXT,
                "history": HISTORY,
                "system": SYSTEM,
                "max_output_tokens": 900,
                "model": self.model,
                **fields,
            }
        )

    def build(self, provider: TextProvider, prompt: Prompt) -> Call:
        return provider.build(prompt, stream=False)

    def body_of(self, **fields: Any) -> Any:
        """Return the body that such a prompt becomes."""
        return self.build(self.provider(), self.prompt(**fields)).json

    def run(self, server: FakeServer, *, on_text: OnText | None = None, **fields: Any) -> TextResult:
        return self.provider(server).run(
            self.prompt(**fields), timeout_seconds=20.0, deadline=Deadline.after(40), on_text=on_text
        )

    def refusal_saying(self, words: str) -> Any:
        """Return the body of a 200 in which the model refuses in these words."""
        return {"choices": [{"message": {"role": "assistant", "content": None, "refusal": words}}]}

    def steps_with(self, message: str) -> Iterator[Step]:
        yield from super().steps_with(message)
        yield answer(self.refusal_saying(message))
        yield stream([event_bytes(self.error_body(message))])

    def assert_usage(self, usage: Usage) -> None:
        for name in ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reported_cost"):
            assert getattr(usage, name) == getattr(self.usage, name), name
        assert usage.raw
        json.dumps(dict(usage.raw))  # any JSON column takes it

    # --- The request ---

    def test_it_sends_the_key_and_the_conversation_as_documented(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        self.run(server)
        (request,) = server.received
        assert (request.method, request.path) == ("POST", self.path)
        assert request.headers[self.auth[0].lower()] == self.auth[1]
        assert request.headers["content-type"] == "application/json"
        assert request.json == self.body

    def test_it_sends_only_the_text_where_there_is_nothing_else(self) -> None:
        body = self.body_of(system="", history=())
        assert body["messages"] == [{"role": "user", "content": TEXT}]
        assert "system" not in body

    def test_it_refuses_what_it_cannot_read_before_anything_is_sent(self, server: FakeServer) -> None:
        for content_type in ("audio/x-unheard-of", "image/tiff", "application/pdf"):
            with pytest.raises(Unsupported) as caught:
                self.run(server, attachments=(Attachment(content_type, b"?"),))
            assert caught.value.provider == self.slug
        assert server.connections == 0

    def test_requests_and_samples_keep_the_openapi_document(self) -> None:
        if not has_contract(self.slug) or not self.openapi_path:
            pytest.skip("the provider publishes no such document")
        contract, path, provider = contract_of(self.slug), self.openapi_path, self.provider()
        attachments = (IMAGE,) if IMAGE.content_type in provider.image_types else ()
        for prompt in (self.prompt(), self.prompt(system="", history=(), attachments=attachments)):
            for is_streamed in (True, False):
                assert contract.request_errors("POST", path, provider.build(prompt, stream=is_streamed).json) == []
        assert contract.request_errors("POST", path, {"model": self.model, "messages": "none"})
        for name in ("answer", "refusal", "blank"):
            assert contract.response_errors("POST", path, 200, self.sample(name)) == [], name
        for chunk in self.documented_chunks() if self.documents_streams else ():
            assert contract.response_errors("POST", path, 200, chunk, STREAM) == [], chunk

    def documented_chunks(self) -> Iterable[Any]:
        """Return the events of stream.json as the OpenAPI document describes them."""
        return [event for event in self.sample("stream") if not isinstance(event, str)]

    # --- The answer ---

    def test_it_returns_the_text_and_what_was_used(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        result = self.run(server)
        assert (result.text, result.model) == ("Lima.", self.sample("answer")["model"])
        self.assert_usage(result.usage)

    def test_it_streams_the_text_as_it_grows_to_the_same_result(self, server: FakeServer) -> None:
        server.will(stream(self.events()))
        seen: list[str] = []
        result = self.run(server, on_text=seen.append)
        assert server.received[0].json == {**self.body, **self.stream_fields}
        assert seen == ["Li", "Lima."]
        assert (result.text, result.model) == ("Lima.", self.sample("answer")["model"])
        self.assert_usage(result.usage)

    def test_it_keeps_an_answer_whose_usage_is_invalid(self) -> None:
        provider = self.provider()
        for invalid in INVALID_USAGE:
            usage = provider.parse_usage({**self.sample("answer"), "usage": invalid, "meta": {"usage": invalid}})
            assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (None, 0, None), invalid
            assert usage.reported_cost is None, invalid

    # --- What is no answer ---

    def test_a_blank_answer_is_a_failure_that_was_paid_for(self, server: FakeServer) -> None:
        error = self.failure(server, answer(self.sample("blank")))
        assert type(error) is OutcomeUnknown
        assert error.usage is not None
        assert error.usage.output_tokens == self.usage.output_tokens

    def test_a_refusal_in_an_answer_is_a_refusal_that_was_paid_for(self, server: FakeServer) -> None:
        error = self.failure(server, answer(self.sample("refusal")))
        assert type(error) is ContentRefused
        assert error.maybe_paid  # the model has worked
        assert error.usage is not None
        assert error.usage.input_tokens == self.usage.input_tokens

    def test_a_body_without_text_is_no_answer(self) -> None:
        provider = self.provider()
        for body in WITHOUT_TEXT:
            with pytest.raises(OutcomeUnknown):
                provider.parse_text(body)

    def test_a_stream_that_does_not_say_why_it_stops_is_no_answer(self, server: FakeServer) -> None:
        provider = self.provider()
        events = self.sample("stream")
        unfinished = takewhile(lambda event: isinstance(event, str) or not provider.is_finished(event), events)
        seen: list[str] = []
        error = self.failure(server, stream([event_bytes(event) for event in unfinished]), on_text=seen.append)
        assert type(error) is OutcomeUnknown
        assert seen  # the next provider starts afresh

    def test_a_stream_that_says_why_and_ends_in_order_needs_no_end_marker(self, server: FakeServer) -> None:
        server.will(stream(self.events()[:-1]))
        assert self.run(server, on_text=len).text

    def test_an_error_in_a_stream_is_no_answer_and_may_have_been_paid(self, server: FakeServer) -> None:
        seen: list[str] = []
        error = self.failure(server, stream(self.events("stream_error")), on_text=seen.append)
        assert type(error) is self.stream_error
        assert seen == ["Li"]
        assert error.maybe_paid

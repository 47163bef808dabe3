"""Anthropic: the request, the usage and the error table."""

from typing import Any

import pytest

from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.types import Usage
from tests.contracts.base import KEY
from tests.contracts.text import HISTORY, IMAGE, IMAGE_BASE64, SYSTEM, TEXT, TextProviderContract, event_bytes
from tests.fakes.http_server import FakeServer, answer, stream


class TestAnthropic(TextProviderContract):
    slug = "anthropic"
    model = "claude-haiku-5-5"
    path = "/v1/messages"
    openapi_path = "/v1/messages"
    auth = ("x-api-key", KEY)
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 900,
        "system": SYSTEM,
        "messages": [
            {"role": "user", "content": HISTORY[0].text},
            {"role": "assistant", "content": HISTORY[1].text},
            {"role": "user", "content": TEXT},
        ],
        "output_config": {"effort": "low"},
    }
    stream_fields = {"stream": True}
    # 40 tokens, 8 written to the cache and 16 read from it come on top of each other.
    usage = Usage(input_tokens=40, cached_input_tokens=16, cache_write_tokens=8, output_tokens=24)
    stream_error = ServerFault

    def error_body(self, message: str) -> Any:
        return {"type": "error", "error": {"type": "unheard_of", "message": message}, "request_id": "req_1"}

    def refusal_saying(self, words: str) -> Any:
        return {"content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": words}}

    @staticmethod
    def error(error_type: str, message: str = "Details.", **more: Any) -> dict[str, Any]:
        return {"type": "error", "error": {"type": error_type, "message": message, **more}, "request_id": "req_1"}

    @pytest.mark.parametrize(
        ("status", "error_type", "expected"),
        [
            (400, "invalid_request_error", RequestRejected),
            (401, "authentication_error", AccessDenied),
            (402, "billing_error", AccessDenied),
            (403, "permission_error", AccessDenied),
            (404, "not_found_error", ModelGone),
            (409, "conflict_error", ServerFault),
            (413, "request_too_large", RequestRejected),
            (429, "rate_limit_error", RateLimited),
            (500, "api_error", OutcomeUnknown),
            (504, "timeout_error", OutcomeUnknown),
            (529, "overloaded_error", ServerFault),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, error_type: str, expected: type[ProviderError]) -> None:
        error = self.assert_means(server, status, self.error(error_type), expected)
        assert (error.code, error.excerpt) == (error_type, "Details.")
        in_stream = self.failure(server, stream([event_bytes(self.error(error_type))]), on_text=len)
        assert type(in_stream) is expected
        assert not in_stream.maybe_paid or expected is OutcomeUnknown  # nothing had been said yet

    @pytest.mark.parametrize(
        "message",
        [
            "Your credit balance is too low to access the Anthropic API.",
            "This organization has reached its monthly spend limit.",
        ],
    )
    def test_a_bad_request_may_mean_that_no_credit_is_left(self, server: FakeServer, message: str) -> None:
        self.assert_means(server, 400, self.error("invalid_request_error", message), AccessDenied)

    def test_a_429_may_mean_a_spend_limit(self, server: FakeServer) -> None:
        body = self.error("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"})
        assert self.assert_means(server, 429, body, AccessDenied).code == "enforced_spend_limit_reached"

    def test_a_refusal_says_why(self, server: FakeServer) -> None:
        error = self.failure(server, answer(self.sample("refusal")))
        assert error.excerpt == "This asks for an attack."

    def test_a_stream_may_end_with_a_refusal(self, server: FakeServer) -> None:
        events = self.sample("stream")
        events[-2]["delta"]["stop_reason"] = "refusal"
        error = self.failure(server, stream([event_bytes(event) for event in events]), on_text=len)
        assert type(error) is ContentRefused

    def test_text_cut_short_by_the_token_limit_is_an_answer(self, server: FakeServer) -> None:
        server.will(answer({**self.sample("answer"), "stop_reason": "max_tokens"}))
        assert self.run(server).text == "Lima."

    def test_all_text_blocks_are_joined(self, server: FakeServer) -> None:
        blocks = [{"type": "text", "text": "Li"}, {"type": "tool_use", "text": "no"}, {"type": "text", "text": "ma."}]
        server.will(answer({**self.sample("answer"), "content": blocks}))
        assert self.run(server).text == "Lima."

    def test_the_version_is_sent(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        self.run(server)
        assert server.received[0].headers["anthropic-version"] == "2023-06-01"
        assert "origin" not in server.received[0].headers

    def test_an_image_is_sent_as_a_block(self) -> None:
        data = {"type": "base64", "media_type": "image/jpeg", "data": IMAGE_BASE64}
        content = self.body_of(attachments=(IMAGE,))["messages"][-1]["content"]
        assert content == [{"type": "image", "source": data}, {"type": "text", "text": TEXT}]

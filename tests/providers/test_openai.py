"""OpenAI: the request, the usage and the error table."""

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
from tests.contracts.text import IMAGE, IMAGE_BASE64, MESSAGES, TEXT, TextProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestOpenAI(TextProviderContract):
    slug = "openai"
    model = "gpt-6-luna"
    path = "/v1/chat/completions"
    openapi_path = "/chat/completions"
    body = {
        "model": "gpt-6-luna",
        "messages": MESSAGES,
        "max_completion_tokens": 900,
        "reasoning_effort": "low",
    }
    stream_fields = {"stream": True, "stream_options": {"include_usage": True}}
    usage = Usage(input_tokens=20, cached_input_tokens=32, output_tokens=31)  # 52 prompt tokens, 32 of them cached

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, "invalid_prompt", ContentRefused),
            (400, "moderation_blocked", ContentRefused),
            (400, "content_policy_violation", ContentRefused),
            (400, "context_length_exceeded", RequestRejected),
            (400, "unsupported_parameter", RequestRejected),
            (400, "unsupported_value", RequestRejected),
            (401, "invalid_api_key", AccessDenied),
            (403, "unsupported_country_region_territory", AccessDenied),
            (404, "model_not_found", ModelGone),
            (429, "credit_balance_exhausted", AccessDenied),
            (429, "organization_spend_limit_exceeded", AccessDenied),
            (429, "project_spend_limit_exceeded", AccessDenied),
            (429, "organization_usage_limit_exceeded", AccessDenied),
            (429, "insufficient_quota", AccessDenied),
            (429, "rate_limit_exceeded", RateLimited),
            (429, "slow_down", RateLimited),
            (500, None, OutcomeUnknown),
            (502, None, OutcomeUnknown),
            (504, None, OutcomeUnknown),
            (503, "server_is_overloaded", ServerFault),
            (503, "slow_down", ServerFault),
        ],
    )
    def test_error_table(
        self, server: FakeServer, status: int, code: str | None, expected: type[ProviderError]
    ) -> None:
        body = {"error": {"message": "Details.", "type": "invalid_request_error", "param": None, "code": code}}
        error = self.assert_means(server, status, body, expected)
        assert error.code == (code or "invalid_request_error")
        assert error.excerpt == "Details."

    def test_an_exhausted_quota_may_be_named_by_the_type_only(self, server: FakeServer) -> None:
        body = {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": None}}
        self.assert_means(server, 429, body, AccessDenied)

    def test_text_cut_short_by_the_token_limit_is_an_answer(self, server: FakeServer) -> None:
        body = self.sample("answer")
        body["choices"][0]["finish_reason"] = "length"
        server.will(answer(body))
        assert self.run(server).text == "Lima."

    def test_a_content_in_parts_is_joined(self, server: FakeServer) -> None:
        body = self.sample("answer")
        thought = {"type": "thinking", "thinking": [{"type": "text", "text": "no"}]}
        body["choices"][0]["message"]["content"] = [
            thought,
            {"type": "text", "text": "Li"},
            {"type": "text", "text": "ma."},
        ]
        server.will(answer(body))
        assert self.run(server).text == "Lima."

    def test_an_image_is_sent_as_a_data_url(self) -> None:
        content = self.body_of(attachments=(IMAGE,))["messages"][-1]["content"]
        assert content == [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{IMAGE_BASE64}"}},
            {"type": "text", "text": TEXT},
        ]

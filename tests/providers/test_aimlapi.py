"""AIMLAPI: the request, the usage and the error table."""

from decimal import Decimal

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
from tests.contracts.text import MESSAGES, TextProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestAimlapi(TextProviderContract):
    slug = "aimlapi"
    model = "deepseek/deepseek-v4-flash"
    path = "/v1/chat/completions"
    openapi_path = "/v1/chat/completions"
    body = {
        "model": "deepseek/deepseek-v4-flash",
        "messages": MESSAGES,
        "max_tokens": 900,
        "reasoning_effort": "low",
    }
    documents_streams = False  # its schema demands a finish reason in each chunk
    stream_fields = {"stream": True, "stream_options": {"include_usage": True}}
    usage = Usage(
        input_tokens=40, cached_input_tokens=10, output_tokens=12, reported_cost=Decimal("0.000038")
    )  # 50 prompt tokens, 10 of them cached

    @pytest.mark.parametrize(
        ("status", "message", "expected"),
        [
            (400, "body validation error", RequestRejected),
            (400, "Role 'system' is not allowed for this model", RequestRejected),
            (400, "Your request was rejected by the safety system", ContentRefused),
            (500, "Upstream: content policy violation", ContentRefused),
            (401, "Invalid or expired API key", AccessDenied),
            (403, "You've run out of credits", AccessDenied),
            (403, "Your plan does not allow this", AccessDenied),
            (404, "Cannot POST /v1/chat/completion", ModelGone),
            (404, "Model not found", ModelGone),
            (400, "Model some/thing does not exist", ModelGone),
            (429, "Too many requests", RateLimited),
            (429, "Free tier: 10 requests per hour", RateLimited),
            (500, "Internal error", OutcomeUnknown),
            (500, "Model is under maintenance", ServerFault),
            (500, "Request failed with status code 400", RequestRejected),
            (500, "Model not found upstream", ModelGone),
            (502, "Bad gateway", OutcomeUnknown),
            (503, "Maintenance", ServerFault),
            (504, "Generation timeout", OutcomeUnknown),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, message: str, expected: type[ProviderError]) -> None:
        body = {
            "message": message,
            "path": "/v1/chat/completions",
            "requestId": "c1a7",
            "statusCode": str(status),
            "timestamp": "2026-11-23T10:00:00.000Z",
        }
        error = self.assert_means(server, status, body, expected)
        assert error.code == str(status)
        assert error.excerpt == message

    def test_success_is_a_201(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer"), 201))
        assert self.run(server).text == "Lima."

    def test_the_reported_cost_is_read_from_its_digits(self, server: FakeServer) -> None:
        body = b'{"choices":[{"message":{"content":"x"}}],"meta":{"usage":{"usd_spent":0.1000000000000000055}}}'
        server.will(answer(body))
        usage = self.run(server).usage
        assert usage.reported_cost == Decimal("0.1000000000000000055")
        assert usage.raw == {"meta": {"usage": {"usd_spent": "0.1000000000000000055"}}}

    def test_the_effort_is_sent_only_to_models_that_know_it(self) -> None:
        assert "reasoning_effort" not in self.body_of(model="mistralai/mistral-nemo")

    def test_details_without_a_message_are_the_message(self, server: FakeServer) -> None:
        error = self.assert_means(server, 400, {"statusCode": 400, "meta": [{"path": "max_tokens"}]}, RequestRejected)
        assert '"path": "max_tokens"' in error.excerpt

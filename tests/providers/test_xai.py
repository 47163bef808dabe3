"""xAI: the request, the usage and the error table."""

from decimal import Decimal
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
    Unsupported,
)
from providers.types import Attachment, Usage
from tests.contracts.text import MESSAGES, TextProviderContract
from tests.fakes.http_server import FakeServer


class TestXai(TextProviderContract):
    slug = "xai"
    model = "grok-4.7"
    path = "/v1/chat/completions"
    openapi_path = "/v1/chat/completions"
    body = {
        "model": "grok-4.7",
        "messages": MESSAGES,
        "max_completion_tokens": 900,
        "reasoning_effort": "low",
    }
    stream_fields = {"stream": True, "stream_options": {"include_usage": True}}
    # 32 prompt tokens, 6 of them cached; 9 visible and 94 reasoning tokens; 6,730,000 ticks.
    usage = Usage(input_tokens=26, cached_input_tokens=6, output_tokens=103, reported_cost=Decimal("0.000673"))

    def error_body(self, message: str) -> Any:
        return {"code": "A code of the provider's own", "error": message}

    @pytest.mark.parametrize(
        ("status", "text", "expected"),
        [
            (400, "Incorrect API key provided: sk****nop. You can obtain an API key from console.x.ai.", AccessDenied),
            (400, "Argument not supported on this model: stop", RequestRejected),
            (422, "Failed to deserialize the JSON body into the target type", RequestRejected),
            (401, "Missing or invalid bearer token", AccessDenied),
            (403, "Content violates usage guidelines.", ContentRefused),
            (403, "Failed check: SAFETY_CHECK_TYPE_BIO", ContentRefused),
            (403, "I can't help with that", ContentRefused),
            (403, "I can’t help with that", ContentRefused),
            (403, "Your team has run out of credits", AccessDenied),
            (403, "The API key is blocked", AccessDenied),
            (404, "The model grok-2 does not exist", ModelGone),
            (429, "Your team has used all available credits or reached its monthly spending limit", AccessDenied),
            (429, "Your team has reached its monthly spending limit", AccessDenied),
            (429, "Too many requests per second", RateLimited),
            (500, "Internal error", OutcomeUnknown),
            (502, "Bad gateway", OutcomeUnknown),
            (503, "The service is currently unavailable", ServerFault),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, text: str, expected: type[ProviderError]) -> None:
        code = "The caller does not have permission to execute the specified operation"
        error = self.assert_means(server, status, {"code": code, "error": text}, expected)
        assert error.code == code[:64]
        nested = {"error": {"code": "permission-denied", "message": text}}
        assert self.assert_means(server, status, nested, expected).code == "permission-denied"

    def test_the_ends_of_a_masked_key_are_hidden_too(self, server: FakeServer) -> None:
        error = self.assert_means(
            server, 400, {"code": "c", "error": "Incorrect API key provided: sk****nop. See console."}, AccessDenied
        )
        assert error.excerpt == "Incorrect API key provided: […] See console."

    def test_the_effort_is_not_sent_to_a_model_that_does_not_reason(self) -> None:
        assert "reasoning_effort" not in self.body_of(model="grok-4.20-non-reasoning")

    def test_it_reads_jpeg_and_png_only(self) -> None:
        self.provider().check(self.prompt(attachments=(Attachment("image/png", b"?"),)))
        with pytest.raises(Unsupported):
            self.provider().check(self.prompt(attachments=(Attachment("image/webp", b"?"),)))

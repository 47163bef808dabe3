"""Groq: the request, the usage and the error table."""

import pytest

from providers.errors import AccessDenied, ModelGone, ProviderError, RateLimited, RequestRejected, ServerFault
from providers.types import Usage
from tests.contracts.text import MESSAGES, TextProviderContract
from tests.fakes.http_server import FakeServer


class TestGroq(TextProviderContract):
    slug = "groq"
    model = "openai/gpt-oss-20b"
    path = "/openai/v1/chat/completions"
    body = {
        "model": "openai/gpt-oss-20b",
        "messages": MESSAGES,
        "max_completion_tokens": 900,
    }
    stream_fields = {"stream": True, "stream_options": {"include_usage": True}}
    usage = Usage(input_tokens=20, cached_input_tokens=32, output_tokens=31)

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, "model_decommissioned", ModelGone),
            (404, "model_not_found", ModelGone),
            (401, "invalid_api_key", AccessDenied),
            (413, "request_too_large", RequestRejected),
            (429, "rate_limit_exceeded", RateLimited),
            (498, None, RateLimited),
            (503, None, ServerFault),
        ],
    )
    def test_error_table(
        self, server: FakeServer, status: int, code: str | None, expected: type[ProviderError]
    ) -> None:
        body = {"error": {"message": "Details.", "type": "invalid_request_error", "code": code}}
        self.assert_means(server, status, body, expected)

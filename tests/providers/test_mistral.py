"""Mistral: the request, the usage and the error table."""

from typing import Any

import pytest

from providers.errors import AccessDenied, ModelGone, ProviderError, RateLimited, RequestRejected, ServerFault
from providers.types import Usage
from tests.contracts.text import MESSAGES, TextProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestMistral(TextProviderContract):
    slug = "mistral"
    model = "mistral-medium-latest"
    path = "/v1/chat/completions"
    body = {
        "model": "mistral-medium-latest",
        "messages": MESSAGES,
        "max_tokens": 900,
    }
    stream_fields = {"stream": True}
    usage = Usage(input_tokens=20, cached_input_tokens=32, output_tokens=31)

    def error_body(self, message: str) -> Any:
        return {"object": "error", "message": message, "type": "unheard_of", "param": None, "code": None}

    @pytest.mark.parametrize(
        ("status", "kind", "code", "expected"),
        [
            (400, "invalid_model", "1500", ModelGone),
            (400, "invalid_request_error", "unknown_model", ModelGone),
            (401, "authentication_error", None, AccessDenied),
            (422, "invalid_request_error", None, RequestRejected),
            (429, "rate_limited", "1300", RateLimited),
            (503, "invalid_request_error", None, ServerFault),  # "Service tier capacity exceeded for this model."
        ],
    )
    def test_error_table(
        self, server: FakeServer, status: int, kind: str, code: str | None, expected: type[ProviderError]
    ) -> None:
        body = {"object": "error", "message": "Details.", "type": kind, "param": None, "code": code}
        self.assert_means(server, status, body, expected)

    def test_an_invalid_model_may_be_named_in_the_message_only(self, server: FakeServer) -> None:
        body = {"object": "error", "message": "Invalid model: mistral-tiny", "type": "invalid_request_error"}
        self.assert_means(server, 400, body, ModelGone)
        # A flat error is one in a 200 and in a stream as well.
        assert type(self.failure(server, answer({**body, "code": "1500"}))) is ModelGone

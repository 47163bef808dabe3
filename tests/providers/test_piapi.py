"""PiAPI: the request, the usage and the error table."""

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
from tests.contracts.text import MESSAGES, TextProviderContract
from tests.fakes.http_server import FakeServer, answer, stream


class TestPiapi(TextProviderContract):
    slug = "piapi"
    model = "gpt-5.2"
    path = "/v1/chat/completions"
    openapi_path = "/v1/chat/completions"
    body = {
        "model": "gpt-5.2",
        "messages": MESSAGES,
        "max_tokens": 900,
    }
    stream_fields = {"stream": True}
    usage = Usage(input_tokens=48, output_tokens=9)

    @pytest.mark.parametrize(
        ("status", "message", "expected"),
        [
            (400, "invalid parameters", RequestRejected),
            (400, "task_type is unknown", RequestRejected),
            (401, "invalid api key", AccessDenied),
            (403, "forbidden key", AccessDenied),
            (402, "payment required", AccessDenied),
            (400, "not enough credits", AccessDenied),
            (500, "account balance is zero", AccessDenied),
            (429, "user quota is exceeded", AccessDenied),
            (400, "insufficient", AccessDenied),
            (400, "you need 3 more points", AccessDenied),
            (403, "this model needs the Creator plan or higher", ModelGone),
            (404, "404 page not found", ModelGone),
            (429, "too many requests", RateLimited),
            (400, "maximum concurrency reached", RateLimited),
            (500, "do request failed", OutcomeUnknown),
            (500, "cannot reach the endpoint", OutcomeUnknown),
            (502, "bad gateway", OutcomeUnknown),
            (503, "service unavailable", ServerFault),
            (504, "gateway time-out", OutcomeUnknown),
            (400, "prompt may contain sensitive words", ContentRefused),
            (400, "blocked by moderation", ContentRefused),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, message: str, expected: type[ProviderError]) -> None:
        nested = {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
        envelope = {"code": status, "message": message, "data": None}
        for body in (nested, envelope, message):
            error = self.assert_means(server, status, body, expected)
            assert error.excerpt == message

    @pytest.mark.parametrize(
        ("code", "message", "expected"),
        [
            (401, "invalid api key", AccessDenied),
            (402, "payment required", AccessDenied),
            (429, "too many requests", RateLimited),
            (500, "failed", OutcomeUnknown),
            (10000, "not enough credits", AccessDenied),
            (10000, "failed", OutcomeUnknown),
        ],
    )
    def test_an_envelope_may_hold_an_error_in_a_200(
        self, server: FakeServer, code: int, message: str, expected: type[ProviderError]
    ) -> None:
        body: dict[str, Any] = {"code": code, "message": message, "data": None}
        assert type(self.failure(server, answer(body))) is expected

    def test_blank_keep_alives_in_a_stream_are_skipped(self, server: FakeServer) -> None:
        chunks = [chunk for event in self.events() for chunk in (b"\n", b"data: \n\n", event)]
        server.will(stream(chunks))
        assert self.run(server, on_text=len).text == "Lima."

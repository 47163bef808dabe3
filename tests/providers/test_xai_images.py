"""xAI's pictures: the order, the bill in ticks, the error table."""

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
from providers.types import Category, MediaResult, OutputOptions, Usage
from tests.contracts.media import PICTURE, PICTURE_BASE64, WANTED, MediaProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestXaiImage(MediaProviderContract):
    vendor = "xai"
    category = Category.IMAGE
    model = "grok-imagine-image"
    path = "/v1/images/generations"
    contract_path = "/v1/images/generations"
    output_options = OutputOptions(aspect_ratio="16:9")
    body = {
        "model": "grok-imagine-image",
        "prompt": WANTED,
        "n": 1,
        "response_format": "b64_json",
        "resolution": "1k",
        "aspect_ratio": "16:9",
    }
    answer = {
        "data": [{"b64_json": PICTURE_BASE64, "mime_type": "image/jpeg"}],
        "usage": {"cost_in_usd_ticks": 200000000},
    }
    result = MediaResult(content=PICTURE, usage=Usage(images=1, reported_cost=Decimal("0.02")))

    def error_body(self, message: str) -> dict[str, str]:
        return {"code": "unheard-of", "error": message}

    def test_an_older_form_has_an_address_of_data(self, server: FakeServer) -> None:
        address = f"data:image/jpeg;base64,{PICTURE_BASE64}"
        server.will(answer({**self.answer, "data": [{"b64_json": address, "mime_type": "image/jpeg"}]}))
        self.assert_result(self.run(server), self.result)

    def test_a_blocked_prompt_is_a_refusal_with_a_bill(self, server: FakeServer) -> None:
        error = self.failure(server, answer({**self.answer, "data": [], "block_reason": "moderation"}))
        assert type(error) is ContentRefused
        assert error.maybe_paid
        assert error.usage is not None
        assert error.usage.reported_cost == Decimal("0.02")

    @pytest.mark.parametrize(
        ("status", "text", "expected"),
        [
            (400, "Incorrect API key provided: […]. You can obtain a key from the console.", AccessDenied),
            (400, "Argument not supported: size", RequestRejected),
            (422, "Failed to deserialize the JSON body", RequestRejected),
            (401, "Missing or invalid bearer token", AccessDenied),
            (403, "Content violates usage guidelines.", ContentRefused),
            (403, "Failed check: SAFETY_CHECK_TYPE_CSAM", ContentRefused),
            (403, "I can't help with that.", ContentRefused),
            (403, "The caller does not have permission to execute the specified operation", AccessDenied),
            (404, "The model does not exist", ModelGone),
            (429, "Your team has used all available credits or reached its monthly spending limit.", AccessDenied),
            (429, "Too many requests", RateLimited),
            (500, "Internal error", OutcomeUnknown),
            (503, "The service is overloaded", ServerFault),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, text: str, expected: type[ProviderError]) -> None:
        self.assert_means(server, status, {"code": "some-code", "error": text}, expected)

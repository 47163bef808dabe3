"""OpenAI's pictures: the order, the bill in tokens, the error table."""

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
from providers.types import Category, MediaResult, OutputOptions, Usage
from tests.contracts.media import PICTURE, PICTURE_BASE64, WANTED, MediaProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestOpenAIImage(MediaProviderContract):
    vendor = "openai"
    category = Category.IMAGE
    model = "gpt-image-2.6-flare"
    path = "/v1/images/generations"
    contract_path = "/images/generations"
    output_options = OutputOptions(aspect_ratio="3:2")
    body = {
        "model": "gpt-image-2.6-flare",
        "prompt": WANTED,
        "n": 1,
        "size": "1536x1024",
        "quality": "medium",
        "output_format": "png",
    }
    answer = {
        "created": 1764000000,
        "output_format": "png",
        "data": [{"b64_json": PICTURE_BASE64}],
        "usage": {
            "input_tokens": 21,
            "output_tokens": 439,
            "total_tokens": 460,
            "input_tokens_details": {"text_tokens": 21, "image_tokens": 0},
        },
    }
    result = MediaResult(content=PICTURE, usage=Usage(input_tokens=21, output_tokens=439))

    @pytest.mark.parametrize(("ratio", "size"), [("", "1024x1024"), ("1:1", "1024x1024"), ("2:3", "1024x1536")])
    def test_a_ratio_is_a_size(self, server: FakeServer, ratio: str, size: str) -> None:
        server.will(self.answered())
        self.run(server, output_options=OutputOptions(aspect_ratio=ratio))
        assert server.received[0].json["size"] == size

    def test_a_ratio_without_a_size_is_not_ordered(self, server: FakeServer) -> None:
        with pytest.raises(Unsupported, match="16:9"):
            self.run(server, output_options=OutputOptions(aspect_ratio="16:9"))
        assert server.connections == 0

    @pytest.mark.parametrize("usage", [None, [], {}, {"input_tokens": -1, "output_tokens": 3}, {"input_tokens": 3}])
    def test_without_tokens_a_picture_is_billed(self, server: FakeServer, usage: Any) -> None:
        server.will(answer({**self.answer, "usage": usage}))
        self.assert_result(self.run(server), MediaResult(content=PICTURE, usage=Usage(images=1)))

    @pytest.mark.parametrize(
        "data", [[], [{}], [{"b64_json": "%"}], [{"b64_json": None}], [{"url": "https://x.example"}]]
    )
    def test_an_answer_without_a_picture_is_a_failure_with_a_bill(self, server: FakeServer, data: Any) -> None:
        error = self.failure(server, answer({**self.answer, "data": data}))
        assert type(error) is OutcomeUnknown
        assert error.usage is not None
        assert error.usage.output_tokens == 439

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, "moderation_blocked", ContentRefused),
            (400, "content_policy_violation", ContentRefused),
            (400, "invalid_prompt", ContentRefused),
            (400, "unsupported_parameter", RequestRejected),
            (400, "unsupported_value", RequestRejected),
            (400, "invalid_value", RequestRejected),
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
        body = {"error": {"message": "Details.", "type": "image_generation_user_error", "param": None, "code": code}}
        error = self.assert_means(server, status, body, expected)
        assert error.excerpt == "Details."

    def test_an_organization_that_was_not_verified_is_for_the_operator(self, server: FakeServer) -> None:
        message = "Your organization must be verified to use the model `gpt-image-2.6-flare`."
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
        error = self.assert_means(server, 403, body, AccessDenied)
        assert message in str(error)

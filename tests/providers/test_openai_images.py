"""OpenAI's images: the request, the usage in tokens. The error table is that of its text."""

from typing import Any

import pytest

from providers.errors import AccessDenied, ContentRefused, OutcomeUnknown
from providers.types import Category, MediaResult, OutputOptions, Overrides, Usage
from tests.contracts.media import DESCRIPTION, IMAGE, IMAGE_BASE64, MediaProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestOpenAIImage(MediaProviderContract):
    slug = "openai"
    category = Category.IMAGE
    model = "gpt-image-2.6-flare"
    path = "/v1/images/generations"
    openapi_path = "/images/generations"
    output_options = OutputOptions(aspect_ratio="3:2")
    unsupported = OutputOptions(aspect_ratio="16:9")
    body = {
        "model": "gpt-image-2.6-flare",
        "prompt": DESCRIPTION,
        "n": 1,
        "size": "1536x1024",
        "quality": "medium",
        "output_format": "png",
    }
    answer = {
        "created": 1764000000,
        "output_format": "png",
        "data": [{"b64_json": IMAGE_BASE64}],
        "usage": {
            "input_tokens": 21,
            "output_tokens": 439,
            "total_tokens": 460,
            "input_tokens_details": {"text_tokens": 21, "image_tokens": 0},
        },
    }
    result = MediaResult(content=IMAGE, usage=Usage(images=1, input_tokens=21, output_tokens=439))

    @pytest.mark.parametrize(("ratio", "size"), [("", "1024x1024"), ("1:1", "1024x1024"), ("2:3", "1024x1536")])
    def test_an_aspect_ratio_becomes_a_size(self, ratio: str, size: str) -> None:
        assert self.body_of(OutputOptions(aspect_ratio=ratio))["size"] == size

    @pytest.mark.parametrize("usage", [None, [], {}, {"input_tokens": -1, "output_tokens": 3}, {"input_tokens": 3}])
    def test_without_tokens_the_usage_is_one_image(self, server: FakeServer, usage: Any) -> None:
        server.will(answer({**self.answer, "usage": usage}))
        self.assert_result(self.run(server), MediaResult(content=IMAGE, usage=Usage(images=1)))

    @pytest.mark.parametrize("data", [[], [{}], [{"b64_json": "%"}], [{"b64_json": None}], [{"url": None}]])
    def test_an_answer_without_an_image_is_a_failure_that_was_paid_for(self, server: FakeServer, data: Any) -> None:
        error = self.failure(server, answer({**self.answer, "data": data}))
        assert type(error) is OutcomeUnknown
        assert error.usage is not None
        assert error.usage.output_tokens == 439

    def test_its_errors_are_those_of_its_text(self, server: FakeServer) -> None:
        self.assert_errors_like(Category.TEXT)
        body = {"error": {"message": "Details.", "type": "image_generation_user_error", "code": "moderation_blocked"}}
        assert self.assert_means(server, 400, body, ContentRefused).excerpt == "Details."

    def test_an_organization_that_was_not_verified_is_for_the_operator(self, server: FakeServer) -> None:
        message = "Your organization must be verified to use the model `gpt-image-2.6-flare`."
        body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
        assert message in str(self.assert_means(server, 403, body, AccessDenied))

    @pytest.mark.parametrize(
        ("fields", "output_tokens"),
        [
            ({}, 439),
            ({"output_options": OutputOptions(aspect_ratio="3:2")}, 659),
            ({"overrides": Overrides({"quality": "high"})}, 1756),
            ({"overrides": Overrides({"quality": "auto", "size": "auto"})}, 55372),
        ],
    )
    def test_what_it_uses_at_most_follows_from_what_is_asked(self, fields: dict[str, Any], output_tokens: int) -> None:
        prompt = self.prompt(**{"output_options": OutputOptions(), "text": "Привет", **fields})
        usage = self.provider().used_at_most(prompt)
        assert (usage.images, usage.input_tokens, usage.output_tokens) == (1, 13, output_tokens)

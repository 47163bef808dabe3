"""xAI's images: the request, the cost in ticks. The error table is that of its text."""

from decimal import Decimal

from providers.errors import ContentRefused
from providers.types import Category, MediaResult, OutputOptions, Usage
from tests.contracts.media import DESCRIPTION, IMAGE, IMAGE_BASE64, MediaProviderContract
from tests.fakes.http_server import FakeServer, answer


class TestXaiImage(MediaProviderContract):
    slug = "xai"
    category = Category.IMAGE
    model = "grok-imagine-image"
    path = "/v1/images/generations"
    openapi_path = "/v1/images/generations"
    output_options = OutputOptions(aspect_ratio="16:9")
    body = {
        "model": "grok-imagine-image",
        "prompt": DESCRIPTION,
        "n": 1,
        "response_format": "b64_json",
        "resolution": "1k",
        "aspect_ratio": "16:9",
    }
    answer = {
        "data": [{"b64_json": IMAGE_BASE64, "mime_type": "image/jpeg"}],
        "usage": {"cost_in_usd_ticks": 200000000},
    }
    result = MediaResult(content=IMAGE, usage=Usage(images=1, reported_cost=Decimal("0.02")))

    def error_body(self, message: str) -> dict[str, str]:
        return {"code": "unheard-of", "error": message}

    def test_without_an_aspect_ratio_none_is_sent(self) -> None:
        assert "aspect_ratio" not in self.body_of(OutputOptions())

    def test_an_image_may_come_as_a_data_url(self, server: FakeServer) -> None:
        address = f"data:image/jpeg;base64,{IMAGE_BASE64}"
        server.will(answer({**self.answer, "data": [{"b64_json": address, "mime_type": "image/jpeg"}]}))
        self.assert_result(self.run(server), self.result)

    def test_a_blocked_prompt_is_a_refusal_that_was_paid_for(self, server: FakeServer) -> None:
        error = self.failure(server, answer({**self.answer, "data": [], "block_reason": "moderation"}))
        assert type(error) is ContentRefused
        assert error.maybe_paid
        assert error.usage is not None
        assert error.usage.reported_cost == Decimal("0.02")

    def test_its_errors_are_those_of_its_text(self, server: FakeServer) -> None:
        self.assert_errors_like(Category.TEXT)
        self.assert_means(server, 403, self.error_body("Content violates usage guidelines."), ContentRefused)

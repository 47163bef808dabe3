"""OpenRouter's images and speech, which its OpenAPI document does not describe. The error table is that of its text."""

from decimal import Decimal
from typing import Any

from providers.errors import ContentRefused, RateLimited
from providers.types import Category, MediaResult, OutputOptions, Usage
from tests.contracts.media import AUDIO, DESCRIPTION, IMAGE, IMAGE_BASE64, MediaProviderContract
from tests.fakes.http_server import FakeServer, answer


class OpenRouterContract(MediaProviderContract):
    slug = "openrouter"

    def error_body(self, message: str) -> Any:
        return {"error": {"code": "unheard_of", "message": message}}

    def test_its_errors_are_those_of_its_text(self, server: FakeServer) -> None:
        self.assert_errors_like(Category.TEXT)
        body = {"error": {"code": 403, "message": "Flagged.", "metadata": {"reasons": ["violence"]}}}
        self.assert_means(server, 403, body, ContentRefused)

    def test_an_error_may_come_inside_a_200(self, server: FakeServer) -> None:
        error = self.failure(server, answer({"error": {"code": 429, "message": "Slow down."}}))
        assert type(error) is RateLimited


class TestOpenRouterImage(OpenRouterContract):
    category = Category.IMAGE
    model = "bytedance-seed/seedream-4.5"
    path = "/api/v1/images"
    output_options = OutputOptions(aspect_ratio="16:9")
    body = {"model": model, "prompt": DESCRIPTION, "n": 1, "aspect_ratio": "16:9"}
    answer = {
        "created": 1748372400,
        "data": [{"b64_json": IMAGE_BASE64, "media_type": "image/png"}],
        "usage": {"completion_tokens": 4175, "cost": 0.04, "prompt_tokens": 0, "total_tokens": 4175},
    }
    result = MediaResult(content=IMAGE, usage=Usage(images=1, reported_cost=Decimal("0.04")))

    def test_without_an_aspect_ratio_none_is_sent(self) -> None:
        assert "aspect_ratio" not in self.body_of(OutputOptions())


class TestOpenRouterSpeech(OpenRouterContract):
    category = Category.AUDIO
    model = "mistralai/voxtral-mini-tts-2603"
    path = "/api/v1/audio/speech"
    output_options = OutputOptions(voice="en_paul_neutral")
    body = {"model": model, "input": DESCRIPTION, "response_format": "mp3", "voice": "en_paul_neutral"}
    answer = AUDIO
    answer_type = "audio/mpeg"
    result = MediaResult(content=AUDIO, usage=Usage(characters=len(DESCRIPTION)))

    def test_without_a_voice_none_is_sent(self) -> None:
        assert "voice" not in self.body_of(OutputOptions())

    def test_it_keeps_the_id_by_which_the_cost_can_be_looked_up(self, server: FakeServer) -> None:
        server.will(answer(AUDIO, content_type="audio/mpeg", X_Generation_Id="gen-tts-1"))
        result = self.run(server)
        assert isinstance(result, MediaResult)
        assert result.usage.raw == {"generation_id": "gen-tts-1"}

    def test_an_empty_file_is_no_audio(self, server: FakeServer) -> None:
        assert self.failure(server, answer(b"", content_type="audio/mpeg")).maybe_paid

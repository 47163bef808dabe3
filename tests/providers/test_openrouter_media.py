"""OpenRouter's pictures and speech. Its machine-readable contract at hand describes neither path."""

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
)
from providers.types import Category, MediaResult, OutputOptions, Usage
from tests.contracts.media import PICTURE, PICTURE_BASE64, SOUND, WANTED, MediaProviderContract
from tests.fakes.http_server import FakeServer, answer


class OpenRouterContract(MediaProviderContract):
    vendor = "openrouter"

    def error_body(self, message: str) -> Any:
        return {"error": {"code": "unheard_of", "message": message}}

    @pytest.mark.parametrize(
        ("status", "error_type", "expected"),
        [
            (400, "invalid_request", RequestRejected),
            (400, "invalid_prompt", RequestRejected),
            (400, "content_policy_violation", ContentRefused),
            (400, "refusal", ContentRefused),
            (401, "authentication", AccessDenied),
            (402, "payment_required", AccessDenied),
            (403, "permission_denied", AccessDenied),
            (404, "not_found", ModelGone),
            (408, "timeout", OutcomeUnknown),
            (524, "timeout", OutcomeUnknown),
            (413, "payload_too_large", RequestRejected),
            (429, "rate_limit_exceeded", RateLimited),
            (500, "server", OutcomeUnknown),
            (502, "provider_unavailable", OutcomeUnknown),
            (529, "provider_overloaded", ServerFault),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, error_type: str, expected: type[ProviderError]) -> None:
        body = {"error": {"code": status, "message": "Details.", "metadata": {"error_type": error_type}}}
        assert self.assert_means(server, status, body, expected).excerpt == "Details."

    def test_a_moderation_lists_its_reasons(self, server: FakeServer) -> None:
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
    body = {"model": model, "prompt": WANTED, "n": 1, "aspect_ratio": "16:9"}
    answer = {
        "created": 1748372400,
        "data": [{"b64_json": PICTURE_BASE64, "media_type": "image/png"}],
        "usage": {"completion_tokens": 4175, "cost": 0.04, "prompt_tokens": 0, "total_tokens": 4175},
    }
    result = MediaResult(content=PICTURE, usage=Usage(images=1, reported_cost=Decimal("0.04")))


class TestOpenRouterSpeech(OpenRouterContract):
    category = Category.AUDIO
    model = "mistralai/voxtral-mini-tts-2603"
    path = "/api/v1/audio/speech"
    output_options = OutputOptions(voice="en_paul_neutral")
    body = {"model": model, "input": WANTED, "response_format": "mp3", "voice": "en_paul_neutral"}
    answer = SOUND
    answer_type = "audio/mpeg"
    result = MediaResult(content=SOUND, usage=Usage(characters=len(WANTED)))

    def test_it_keeps_the_id_by_which_the_bill_can_be_asked_for(self, server: FakeServer) -> None:
        server.will(answer(SOUND, content_type="audio/mpeg", X_Generation_Id="gen-tts-1"))
        result = self.run(server)
        assert isinstance(result, MediaResult)
        assert result.usage.raw == {"generation_id": "gen-tts-1"}

"""ElevenLabs: the order, the sound, what it took, the error table in the shapes of all its years."""

from typing import Any, ClassVar

import pytest

from providers.errors import (
    AccessDenied,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.types import Category, MediaResult, OutputOptions, Usage
from tests.contracts.media import SOUND, WANTED, MediaProviderContract
from tests.contracts.openapi import contract_of
from tests.contracts.text import KEY
from tests.fakes.http_server import FakeServer, answer


class TestElevenLabs(MediaProviderContract):
    vendor = "elevenlabs"
    category = Category.AUDIO
    model = "eleven_v4_turbo"
    path = "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb?output_format=mp3_44100_128"
    auth = ("xi-api-key", KEY)
    contract_path = "/v1/text-to-speech/{voice_id}"
    output_options = OutputOptions(voice="JBFqnCBsd6RMkjVDRZzb", language="ru")
    body: ClassVar[dict[str, Any]] = {"text": WANTED, "model_id": "eleven_v4_turbo", "language_code": "ru"}
    answer = SOUND
    answer_type = "audio/mpeg"
    result = MediaResult(content=SOUND, usage=Usage(characters=len(WANTED)))

    def error_body(self, message: str) -> Any:
        return {"detail": {"type": "unheard_of", "code": "unheard_of", "message": message, "status": "unheard_of"}}

    def test_it_tells_how_many_credits_it_took(self, server: FakeServer) -> None:
        server.will(answer(SOUND, content_type="audio/mpeg", character_cost=17))
        result = self.run(server)
        assert isinstance(result, MediaResult)
        assert result.usage.raw == {"character-cost": "17"}

    def test_a_model_that_finds_the_language_by_itself_is_not_told(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server, model="eleven_multilingual_v2")
        assert "language_code" not in server.received[0].json

    def test_a_voice_is_no_part_of_the_path(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server, output_options=OutputOptions(voice="../v1/x?y=#z"))
        assert server.received[0].path.startswith("/v1/text-to-speech/..%2Fv1%2Fx%3Fy%3D%23z?output_format=")

    def test_json_in_place_of_a_sound_is_no_answer(self, server: FakeServer) -> None:
        error = self.failure(server, answer({"detail": {"code": "system_busy", "message": "Later."}}))
        assert type(error) is RateLimited

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, "text_too_long", RequestRejected),
            (400, "max_character_limit_exceeded", RequestRejected),
            (400, "invalid_parameters", RequestRejected),
            (400, "unsupported_model", ModelGone),
            (400, "invalid_output_format", RequestRejected),
            (400, "invalid_voice_settings", RequestRejected),
            (401, "unauthorized", AccessDenied),
            (401, "invalid_api_key", AccessDenied),
            (401, "missing_api_key", AccessDenied),
            (401, "quota_exceeded", AccessDenied),
            (402, "insufficient_credits", AccessDenied),
            (401, "detected_unusual_activity", AccessDenied),
            (402, "paid_plan_required", ModelGone),
            (403, "subscription_required", ModelGone),
            (403, "feature_not_available", ModelGone),
            (403, "voice_access_denied", ModelGone),
            (403, "model_access_denied", ModelGone),
            (403, "insufficient_permissions", AccessDenied),
            (404, "voice_not_found", ModelGone),
            (404, "model_not_found", ModelGone),
            (429, "concurrent_limit_exceeded", RateLimited),
            (429, "too_many_concurrent_requests", RateLimited),
            (429, "rate_limit_exceeded", RateLimited),
            (429, "system_busy", RateLimited),
            (500, "internal_error", OutcomeUnknown),
            (503, "service_unavailable", ServerFault),
            (503, "maintenance", ServerFault),
        ],
    )
    @pytest.mark.parametrize("field", ["code", "status"])
    def test_error_table(
        self, server: FakeServer, status: int, code: str, expected: type[ProviderError], field: str
    ) -> None:
        body = {"detail": {"type": "some_error", field: code, "message": "Details.", "request_id": "r", "param": None}}
        error = self.assert_means(server, status, body, expected)
        assert error.excerpt == "Details."
        assert error.code == code

    def test_a_422_lists_its_fields(self, server: FakeServer) -> None:
        body = {"detail": [{"loc": ["body", "text"], "msg": "field required", "type": "value_error.missing"}]}
        assert contract_of("elevenlabs").response_errors("POST", self.contract_path, 422, body) == []
        assert self.assert_means(server, 422, body, RequestRejected).excerpt == "field required"

    def test_a_detail_may_be_a_word(self, server: FakeServer) -> None:
        error = self.assert_means(server, 404, {"detail": "Not Found"}, ModelGone)
        assert error.excerpt == "Not Found"

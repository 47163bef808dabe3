"""ElevenLabs: the request, the audio, the credits, the error table in the shapes of all its years."""

from typing import Any, ClassVar

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
from tests.contracts.base import KEY
from tests.contracts.media import AUDIO, DESCRIPTION, MediaProviderContract
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, answer


class TestElevenLabs(MediaProviderContract):
    slug = "elevenlabs"
    category = Category.AUDIO
    model = "eleven_v4_turbo"
    path = "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb?output_format=mp3_44100_128"
    auth = ("xi-api-key", KEY)
    openapi_path = "/v1/text-to-speech/{voice_id}"
    output_options = OutputOptions(voice="JBFqnCBsd6RMkjVDRZzb", language="ru")
    body: ClassVar[dict[str, Any]] = {"text": DESCRIPTION, "model_id": "eleven_v4_turbo", "language_code": "ru"}
    answer = AUDIO
    answer_type = "audio/mpeg"
    result = MediaResult(content=AUDIO, usage=Usage(characters=len(DESCRIPTION)))

    def error_body(self, message: str) -> Any:
        return {"detail": {"type": "unheard_of", "code": "unheard_of", "message": message, "status": "unheard_of"}}

    def test_it_keeps_how_many_credits_were_used(self, server: FakeServer) -> None:
        server.will(answer(AUDIO, content_type="audio/mpeg", character_cost=17))
        result = self.run(server)
        assert isinstance(result, MediaResult)
        assert result.usage.raw == {"character-cost": "17"}
        assert result.usage.credits == 17

    def test_a_model_that_detects_the_language_itself_is_sent_none(self) -> None:
        assert "language_code" not in self.body_of(self.output_options, model="eleven_multilingual_v2")

    @pytest.mark.parametrize(
        ("voice", "part"), [("../v1/x?y=#z", "..%2Fv1%2Fx%3Fy%3D%23z"), ("", "21m00Tcm4TlvDq8ikWAM")]
    )
    def test_a_voice_is_one_part_of_the_path(self, voice: str, part: str) -> None:
        call = self.provider().build(self.prompt(output_options=OutputOptions(voice=voice)))
        assert call.path == f"/v1/text-to-speech/{part}?output_format=mp3_44100_128"

    def test_an_empty_file_is_no_audio(self, server: FakeServer) -> None:
        assert self.failure(server, answer(b"", content_type="audio/mpeg")).maybe_paid

    def test_json_instead_of_audio_is_an_error(self, server: FakeServer) -> None:
        error = self.failure(server, answer({"detail": {"code": "system_busy", "message": "Later."}}))
        assert type(error) is RateLimited

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, "text_too_long", RequestRejected),
            (400, "max_character_limit_exceeded", RequestRejected),
            (400, "invalid_parameters", RequestRejected),
            (400, "bad_prompt", ContentRefused),
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
    def test_error_table(self, server: FakeServer, status: int, code: str, expected: type[ProviderError]) -> None:
        for field in ("code", "status"):
            body = {"detail": {"type": "some_error", field: code, "message": "Details.", "request_id": "r"}}
            error = self.assert_means(server, status, body, expected)
            assert (error.excerpt, error.code) == ("Details.", code)

    def test_a_422_lists_its_fields(self, server: FakeServer) -> None:
        body = {"detail": [{"loc": ["body", "text"], "msg": "field required", "type": "value_error.missing"}]}
        assert contract_of("elevenlabs").response_errors("POST", self.openapi_path, 422, body) == []
        assert self.assert_means(server, 422, body, RequestRejected).excerpt == "field required"

    def test_a_detail_may_be_text(self, server: FakeServer) -> None:
        error = self.assert_means(server, 404, {"detail": "Not Found"}, ModelGone)
        assert error.excerpt == "Not Found"

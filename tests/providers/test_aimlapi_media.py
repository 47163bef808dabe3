"""AIMLAPI's images, videos, speech and music: 201s, costs in dollars or credits, outputs of three shapes."""

from decimal import Decimal
from typing import Any

import pytest

from providers.errors import ContentRefused, OutcomeUnknown, ProviderError, RequestRejected, ServerFault
from providers.types import Category, Job, MediaResult, OutputOptions, UnknownPolicy, Usage
from tests.contracts.media import (
    AUDIO,
    DESCRIPTION,
    IMAGE,
    IMAGE_BASE64,
    JobProviderContract,
    MediaProviderContract,
)
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, answer

FILE = "https://cdn.aimlapi.com/alpaca/1d/x?Expires=1764000000&Signature=abc%3D"
JOB_ID = "60ac7c34-3224-4b14-8e7d-0aa0db708325:klingai/video-v3"
ESCAPED_JOB_ID = "60ac7c34-3224-4b14-8e7d-0aa0db708325%3Aklingai%2Fvideo-v3"


class AimlapiContract(MediaProviderContract):
    slug = "aimlapi"
    status = 201

    def error_body(self, message: str) -> Any:
        return {"message": message, "path": "/v1/x", "requestId": "r", "statusCode": "499", "timestamp": "now"}

    def test_its_errors_are_those_of_its_text(self, server: FakeServer) -> None:
        self.assert_errors_like(Category.TEXT)
        body = {"message": "Upstream: rejected by content policy", "path": "/v1/x", "statusCode": "500"}
        self.assert_means(server, 500, body, ContentRefused)


class TestAimlapiImage(AimlapiContract):
    category = Category.IMAGE
    model = "flux/schnell"
    path = "/v1/images/generations"
    openapi_path = "/v1/images/generations"
    output_options = OutputOptions(aspect_ratio="16:9")
    unsupported = OutputOptions(aspect_ratio="21:9")
    body = {"model": "flux/schnell", "prompt": DESCRIPTION, "image_size": "landscape_16_9"}
    answer = {"data": [{"url": FILE}], "meta": {"usage": {"credits_used": 91000, "usd_spent": 0.0455}}}
    result = MediaResult(url=FILE, usage=Usage(images=1, reported_cost=Decimal("0.0455")))

    def test_an_image_is_square_by_default(self) -> None:
        assert self.body_of(OutputOptions())["image_size"] == "square_hd"

    def test_an_image_may_come_in_the_answer(self, server: FakeServer) -> None:
        server.will(answer({"data": [{"url": None, "b64_json": IMAGE_BASE64}]}, 201))
        self.assert_result(self.run(server), MediaResult(content=IMAGE, usage=Usage(images=1)))

    def test_a_cost_in_credits_is_converted_to_dollars(self, server: FakeServer) -> None:
        server.will(answer({"data": [{"url": FILE}], "meta": {"usage": {"credits_used": 91000}}}, 201))
        self.assert_result(self.run(server), self.result)

    def test_an_answer_without_an_image_is_a_failure_that_was_paid_for(self, server: FakeServer) -> None:
        error = self.failure(server, answer({**self.answer, "data": [{"url": "nowhere"}]}, 201))
        assert error.usage is not None
        assert error.usage.reported_cost == Decimal("0.0455")


class AimlapiJobContract(AimlapiContract, JobProviderContract):
    result = Job(JOB_ID)
    job_id = JOB_ID

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return {**self.answer, "status": status, **fields}

    def failed(self, message: str) -> dict[str, Any]:
        return self.state("error", error={"name": "Error", "message": message})

    def test_a_200_without_a_status_is_read_by_the_error_table(self, server: FakeServer) -> None:
        body = {"message": "Upstream: rejected by content policy", "path": "/v2/x", "statusCode": "500"}
        assert type(self.failure(server, answer(body))) is ContentRefused
        assert not self.poll_failure(server, body).ends_job


class TestAimlapiVideo(AimlapiJobContract):
    category = Category.VIDEO
    model = "klingai/video-v3-standard-turbo-text-to-video"
    path = "/v2/video/generations"
    openapi_path = "/v2/video/generations"
    poll_path = f"/v2/video/generations?generation_id={ESCAPED_JOB_ID}"
    poll_openapi_path = "/v2/video/generations"
    output_options = OutputOptions(seconds=10, aspect_ratio="9:16")
    body = {"model": model, "prompt": DESCRIPTION, "duration": 10, "aspect_ratio": "9:16"}
    answer = {"id": JOB_ID, "status": "queued", "video": None, "error": None}

    def test_a_video_of_luma_has_a_resolution_and_defaults(self) -> None:
        model = "luma/ray-3.2"
        body = {
            "model": model,
            "prompt": DESCRIPTION,
            "duration": 5,
            "aspect_ratio": "16:9",
            "resolution": "540p",
        }
        self.assert_request(self.path, body, self.openapi_path, model=model, output_options=OutputOptions())

    @pytest.mark.parametrize("status", ["queued", "generating"])
    def test_a_job_goes_on(self, server: FakeServer, status: str) -> None:
        assert self.poll(server, self.state(status)) == Job(JOB_ID)

    def test_a_finished_job_has_the_video_and_its_cost(self, server: FakeServer) -> None:
        body = self.state("completed", video={"url": FILE}, meta={"usage": {"credits_used": 1_960_000}})
        usage = Usage(seconds=Decimal(10), reported_cost=Decimal("0.98"))
        self.assert_result(self.poll(server, body), MediaResult(url=FILE, usage=usage))

    @pytest.mark.parametrize("video", [None, {}, [], "x", {"url": None}, {"url": "ftp://x"}])
    def test_a_finished_job_without_a_video_ends(self, server: FakeServer, video: Any) -> None:
        error = self.poll_failure(server, self.state("completed", video=video))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    @pytest.mark.parametrize(
        ("message", "expected"),
        [
            ("The prompt was rejected by content policy", ContentRefused),
            ("flagged as NSFW", ContentRefused),
            ("the model is under maintenance", ServerFault),
            ("400 Bad Request", RequestRejected),
            ("something broke", ServerFault),
        ],
    )
    def test_a_failed_job_says_why(self, server: FakeServer, message: str, expected: type[ProviderError]) -> None:
        error = self.poll_failure(server, self.failed(message))
        assert type(error) is expected
        assert error.ends_job

    def test_finished_and_failed_jobs_keep_the_openapi_document(self) -> None:
        finished = self.state("completed", video={"url": FILE}, meta={"usage": {"credits_used": 1_960_000}})
        for body in (finished, self.failed("It broke.")):
            assert contract_of("aimlapi").response_errors("GET", self.openapi_path, 200, body) == []

    def test_a_lost_submission_stops_the_chain(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.STOP


class TestAimlapiSpeech(AimlapiContract):
    category = Category.AUDIO
    model = "inworld/tts-1-5-mini"
    path = "/v1/tts"
    openapi_path = "/v1/tts"
    output_options = OutputOptions(voice="Olivia")
    body = {"model": model, "text": DESCRIPTION, "format": "mp3", "voice": "Olivia"}
    answer = {"audio": FILE, "meta": {"usage": {"credits_used": 4000, "usd_spent": 0.002}}}
    result = MediaResult(url=FILE, usage=Usage(characters=len(DESCRIPTION), reported_cost=Decimal("0.002")))

    @pytest.mark.parametrize(
        ("model", "voice", "fields"),
        [
            ("elevenlabs/eleven_multilingual_v2", "", {"output_format": "mp3_44100_128", "stream": False}),
            ("minimax/speech-2.8-turbo", "", {"audio_setting": {"format": "mp3"}}),
        ],
    )
    def test_each_maker_names_the_format_in_its_own_way(self, model: str, voice: str, fields: dict[str, Any]) -> None:
        body = {"model": model, "text": DESCRIPTION, **fields}
        self.assert_request(self.path, body, self.openapi_path, model=model, output_options=OutputOptions(voice=voice))

    def test_minimax_has_a_setting_for_the_voice(self) -> None:
        body = self.body_of(self.output_options, model="minimax/speech-2.8-turbo")
        assert body["voice_setting"] == {"voice_id": "Olivia"}
        assert "voice" not in body

    def test_older_models_wrap_the_address(self, server: FakeServer) -> None:
        server.will(answer({**self.answer, "audio": {"url": FILE}}, 201))
        self.assert_result(self.run(server), self.result)

    def test_some_models_answer_with_the_audio_and_the_cost_in_the_headers(self, server: FakeServer) -> None:
        headers = {"x_aimlapi_usd_spent": "0.002", "x_aimlapi_credits_used": 4000}
        server.will(answer(AUDIO, 201, "audio/mpeg", **headers))
        self.assert_result(self.run(server), MediaResult(content=AUDIO, usage=self.result.usage))

    def test_an_empty_file_is_no_audio(self, server: FakeServer) -> None:
        assert self.failure(server, answer(b"", 201, content_type="audio/mpeg")).maybe_paid


class TestAimlapiMusic(AimlapiJobContract):
    category = Category.AUDIO
    model = "elevenlabs/eleven_music"
    path = "/v2/generate/audio"
    openapi_path = "/v2/generate/audio"
    poll_path = f"/v2/generate/audio?generation_id={ESCAPED_JOB_ID}"
    poll_openapi_path = "/v2/generate/audio"
    status = 200  # the only one in the document here; any 2xx is a success
    output_options = OutputOptions(seconds=20)
    body = {"model": model, "prompt": DESCRIPTION, "music_length_ms": 20_000}
    answer = {"id": JOB_ID, "status": "queued", "audio_file": None, "error": None}

    def test_minimax_writes_the_lyrics_itself(self) -> None:
        model = "minimax/music-2.6"
        body = {"model": model, "prompt": DESCRIPTION, "lyrics_optimizer": True}
        self.assert_request(self.path, body, self.openapi_path, model=model)

    @pytest.mark.parametrize(("seconds", "used"), [(20, 20), (None, 30)])
    def test_a_finished_job_has_the_music_and_its_cost(
        self, server: FakeServer, seconds: int | None, used: int
    ) -> None:
        usage = {"credits_used": 120_000, "usd_spent": 0.06}
        body = self.state("completed", audio_file={"url": FILE}, meta={"usage": usage})
        found = self.poll(server, body, output_options=OutputOptions(seconds=seconds))
        expected = Usage(seconds=Decimal(used), reported_cost=Decimal("0.06"))
        self.assert_result(found, MediaResult(url=FILE, usage=expected))

    def test_a_finished_job_keeps_the_openapi_document(self) -> None:
        body = self.state("completed", audio_file={"url": FILE}, meta={"usage": {"credits_used": 120_000}})
        assert contract_of("aimlapi").response_errors("GET", self.openapi_path, 200, body) == []

"""AIMLAPI's pictures, films and speech: 201s, bills in dollars or credits, outputs of three shapes, the error table."""

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
    Unsupported,
)
from providers.types import Category, Job, MediaResult, OutputOptions, UnknownPolicy, Usage
from tests.contracts.media import PICTURE, PICTURE_BASE64, SOUND, WANTED, JobProviderContract, MediaProviderContract
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, answer

FILE = "https://cdn.aimlapi.com/alpaca/1d/x?Expires=1764000000&Signature=abc%3D"
JOB_ID = "60ac7c34-3224-4b14-8e7d-0aa0db708325:klingai/video-v3"


class AimlapiContract(MediaProviderContract):
    vendor = "aimlapi"
    status = 201

    def error_body(self, message: str) -> Any:
        return {"message": message, "path": "/v1/x", "requestId": "r", "statusCode": "499", "timestamp": "now"}

    @pytest.mark.parametrize(
        ("status", "message", "expected"),
        [
            (400, "Body validation error: image_size", RequestRejected),
            (400, "The prompt was flagged by the safety system", ContentRefused),
            (500, "Upstream: rejected by content policy", ContentRefused),
            (500, "Upstream answered 400 Bad Request", RequestRejected),
            (500, "The model is under maintenance", ServerFault),
            (500, "Model x/y not found", ModelGone),
            (401, "Unauthorized", AccessDenied),
            (403, "You have run out of credits", AccessDenied),
            (404, "Cannot POST /v1/images", ModelGone),
            (429, "Too many requests", RateLimited),
            (500, "Internal server error", OutcomeUnknown),
            (502, "Bad gateway", OutcomeUnknown),
            (503, "Service unavailable", ServerFault),
            (504, "Generation timeout", OutcomeUnknown),
        ],
    )
    def test_error_table(self, server: FakeServer, status: int, message: str, expected: type[ProviderError]) -> None:
        body = {"message": message, "path": "/v1/x", "statusCode": str(status), "timestamp": "now"}
        assert self.assert_means(server, status, body, expected).excerpt == message


class TestAimlapiImage(AimlapiContract):
    category = Category.IMAGE
    model = "flux/schnell"
    path = "/v1/images/generations"
    contract_path = "/v1/images/generations"
    output_options = OutputOptions(aspect_ratio="16:9")
    body = {"model": "flux/schnell", "prompt": WANTED, "image_size": "landscape_16_9"}
    answer = {"data": [{"url": FILE}], "meta": {"usage": {"credits_used": 91000, "usd_spent": 0.0455}}}
    result = MediaResult(url=FILE, usage=Usage(images=1, reported_cost=Decimal("0.0455")))

    def test_a_picture_may_come_in_the_answer(self, server: FakeServer) -> None:
        server.will(answer({"data": [{"url": None, "b64_json": PICTURE_BASE64}]}, 201))
        self.assert_result(self.run(server), MediaResult(content=PICTURE, usage=Usage(images=1)))

    def test_credits_are_money(self, server: FakeServer) -> None:
        server.will(answer({"data": [{"url": FILE}], "meta": {"usage": {"credits_used": 91000}}}, 201))
        self.assert_result(self.run(server), self.result)

    def test_an_answer_without_a_picture_is_a_failure_with_a_bill(self, server: FakeServer) -> None:
        error = self.failure(server, answer({**self.answer, "data": [{"url": "nowhere"}]}, 201))
        assert error.usage is not None
        assert error.usage.reported_cost == Decimal("0.0455")

    def test_a_ratio_without_a_size_is_not_ordered(self, server: FakeServer) -> None:
        with pytest.raises(Unsupported, match="21:9"):
            self.run(server, output_options=OutputOptions(aspect_ratio="21:9"))
        assert server.connections == 0


class AimlapiVideoContract(AimlapiContract, JobProviderContract):
    category = Category.VIDEO
    path = "/v2/video/generations"
    contract_path = "/v2/video/generations"
    answer = {"id": JOB_ID, "status": "queued", "video": None, "error": None}
    result = Job(JOB_ID)
    job_id = JOB_ID
    poll_path = "/v2/video/generations?generation_id=60ac7c34-3224-4b14-8e7d-0aa0db708325%3Aklingai%2Fvideo-v3"
    poll_contract_path = "/v2/video/generations"

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return {**self.answer, "status": status, **fields}

    def failed(self, words: str) -> dict[str, Any]:
        return self.state("error", error={"name": "Error", "message": words})


class TestAimlapiKling(AimlapiVideoContract):
    model = "klingai/video-v3-standard-turbo-text-to-video"
    output_options = OutputOptions(seconds=10, aspect_ratio="9:16")
    body = {"model": model, "prompt": WANTED, "duration": 10, "aspect_ratio": "9:16"}

    @pytest.mark.parametrize("status", ["queued", "generating"])
    def test_a_job_goes_on(self, server: FakeServer, status: str) -> None:
        assert self.poll(server, self.state(status)) == Job(JOB_ID)

    def test_a_finished_job_brings_the_film_and_the_bill(self, server: FakeServer) -> None:
        body = self.state("completed", video={"url": FILE}, meta={"usage": {"credits_used": 1_960_000}})
        assert contract_of("aimlapi").response_errors("GET", self.contract_path, 200, body) == []
        usage = Usage(seconds=Decimal(10), reported_cost=Decimal("0.98"))
        self.assert_result(self.poll(server, body), MediaResult(url=FILE, usage=usage))

    @pytest.mark.parametrize("video", [None, {}, [], "x", {"url": None}, {"url": "ftp://x"}])
    def test_a_finished_job_without_a_film_ends(self, server: FakeServer, video: Any) -> None:
        error = self.poll_failure(server, self.state("completed", video=video))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("The prompt was rejected by content policy", ContentRefused),
            ("flagged as NSFW", ContentRefused),
            ("the model is under maintenance", ServerFault),
            ("400 Bad Request", RequestRejected),
            ("something broke", ServerFault),
        ],
    )
    def test_a_job_that_failed(self, server: FakeServer, words: str, expected: type[ProviderError]) -> None:
        body = self.failed(words)
        assert contract_of("aimlapi").response_errors("GET", self.contract_path, 200, body) == []
        error = self.poll_failure(server, body)
        assert type(error) is expected
        assert error.ends_job

    def test_a_lost_order_stops_the_chain(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.STOP


class TestAimlapiLuma(AimlapiVideoContract):
    model = "luma/ray-3.2"
    body = {"model": model, "prompt": WANTED, "duration": 5, "aspect_ratio": "16:9", "resolution": "540p"}


class AimlapiSpeechContract(AimlapiContract):
    category = Category.AUDIO
    path = "/v1/tts"
    contract_path = "/v1/tts"
    answer = {"audio": FILE, "meta": {"usage": {"credits_used": 4000, "usd_spent": 0.002}}}
    result = MediaResult(url=FILE, usage=Usage(characters=len(WANTED), reported_cost=Decimal("0.002")))


class TestAimlapiInworld(AimlapiSpeechContract):
    model = "inworld/tts-1-5-mini"
    output_options = OutputOptions(voice="Olivia")
    body = {"model": model, "text": WANTED, "format": "mp3", "voice": "Olivia"}

    def test_older_models_wrap_the_address(self, server: FakeServer) -> None:
        server.will(answer({**self.answer, "audio": {"url": FILE}}, 201))
        self.assert_result(self.run(server), self.result)

    def test_some_answer_with_the_sound_and_a_bill_in_the_headers(self, server: FakeServer) -> None:
        headers = {"x_aimlapi_usd_spent": "0.002", "x_aimlapi_credits_used": 4000}
        server.will(answer(SOUND, 201, "audio/mpeg", **headers))
        self.assert_result(self.run(server), MediaResult(content=SOUND, usage=self.result.usage))


class TestAimlapiElevenLabs(AimlapiSpeechContract):
    model = "elevenlabs/eleven_multilingual_v2"
    body = {"model": model, "text": WANTED, "output_format": "mp3_44100_128", "stream": False}


class TestAimlapiMinimax(AimlapiSpeechContract):
    model = "minimax/speech-2.8-turbo"
    body = {"model": model, "text": WANTED, "audio_setting": {"format": "mp3"}}


class AimlapiMusicContract(AimlapiContract, JobProviderContract):
    category = Category.AUDIO
    path = "/v2/generate/audio"
    contract_path = "/v2/generate/audio"
    status = 200  # the only one that the document knows here; any 2xx is a success
    answer = {"id": JOB_ID, "status": "queued", "audio_file": None, "error": None}
    result = Job(JOB_ID)
    job_id = JOB_ID
    poll_path = "/v2/generate/audio?generation_id=60ac7c34-3224-4b14-8e7d-0aa0db708325%3Aklingai%2Fvideo-v3"
    poll_contract_path = "/v2/generate/audio"

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return {**self.answer, "status": status, **fields}

    def failed(self, words: str) -> dict[str, Any]:
        return self.state("error", error={"name": "Error", "message": words})

    def test_a_finished_piece_comes_with_its_bill(self, server: FakeServer) -> None:
        usage = {"credits_used": 120_000, "usd_spent": 0.06}
        body = self.state("completed", audio_file={"url": FILE}, meta={"usage": usage})
        assert contract_of("aimlapi").response_errors("GET", self.contract_path, 200, body) == []
        used = Usage(seconds=Decimal(self.output_options.seconds or 30), reported_cost=Decimal("0.06"))
        self.assert_result(self.poll(server, body), MediaResult(url=FILE, usage=used))


class TestAimlapiElevenMusic(AimlapiMusicContract):
    model = "elevenlabs/eleven_music"
    output_options = OutputOptions(seconds=20)
    body = {"model": model, "prompt": WANTED, "music_length_ms": 20_000}


class TestAimlapiMinimaxMusic(AimlapiMusicContract):
    model = "minimax/music-2.6"
    body = {"model": model, "prompt": WANTED, "lyrics_optimizer": True}

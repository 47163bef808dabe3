"""PiAPI's tasks: the envelope with its own code, states in any capitals, outputs by family, the error table."""

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
from providers.types import Category, Job, MediaResult, OutputOptions, UnknownPolicy, Usage
from tests.contracts.base import KEY
from tests.contracts.media import DESCRIPTION, JobProviderContract
from tests.fakes.http_server import FakeServer, answer

TASK_ID = "49638cd2-4689-4f33-9336-164a8f6b1111"
FILE = "https://img.theapi.app/temp/x"


def envelope(status: str, *, error: str | None = "", **fields: Any) -> dict[str, Any]:
    """A task in its envelope. `error` is an object with an empty text on success, too."""
    task = {
        "task_id": TASK_ID,
        "status": status,
        "output": None,
        "meta": {"usage": {"type": "point", "frozen": 0, "consume": 15000}},
        "error": {"code": 10000 if error else 0, "message": error or "", "raw_message": "", "detail": None},
        **fields,
    }
    return {"code": 200, "message": "success", "data": task}


class PiapiContract(JobProviderContract):
    slug = "piapi"
    path = "/api/v1/task"
    auth = ("X-API-Key", KEY)
    openapi_path = "/api/v1/task"
    answer = envelope("pending")
    result = Job(TASK_ID)
    job_id = TASK_ID
    poll_path = f"/api/v1/task/{TASK_ID}"
    poll_openapi_path = "/api/v1/task/{task_id}"

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return envelope(status, **fields)

    def error_body(self, message: str) -> Any:
        return {"code": 499, "message": message, "data": None}

    def test_its_errors_are_those_of_its_text(self) -> None:
        self.assert_errors_like(Category.TEXT)


class TestPiapiImage(PiapiContract):
    category = Category.IMAGE
    model = "Qubico/flux1-schnell"
    output_options = OutputOptions(aspect_ratio="16:9")
    unsupported = OutputOptions(aspect_ratio="21:9")
    body = {
        "model": model,
        "task_type": "txt2img",
        "input": {"prompt": DESCRIPTION, "width": 1024, "height": 576, "batch_size": 1},
        "config": {"service_mode": "public"},
    }

    @pytest.mark.parametrize("status", ["pending", "staged", "processing", "Pending", "Staged", "Processing", ""])
    def test_a_task_goes_on(self, server: FakeServer, status: str) -> None:
        assert self.poll(server, envelope(status)) == Job(TASK_ID)

    @pytest.mark.parametrize("status", ["completed", "Completed"])
    @pytest.mark.parametrize(
        "output",
        [
            {"image_url": FILE},
            {"image_url": "", "image_urls": [FILE]},
            {"image_urls": None, "temporary_image_urls": [FILE, f"{FILE}-2"]},
        ],
    )
    def test_a_finished_task_has_its_image_in_one_of_several_fields(
        self, server: FakeServer, status: str, output: Any
    ) -> None:
        result = self.poll(server, envelope(status, output=output))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(images=1)))
        assert isinstance(result, MediaResult)
        assert result.usage.raw["consume"] == 15000

    @pytest.mark.parametrize("output", [None, {}, [], "x", {"seed": FILE}])
    def test_a_finished_task_without_an_image_ends(self, server: FakeServer, output: Any) -> None:
        error = self.poll_failure(server, envelope("completed", output=output))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    @pytest.mark.parametrize(
        ("message", "expected"),
        [
            ("the prompt contains sensitive words", ContentRefused),
            ("NSFW content detected", ContentRefused),
            ("blocked by moderation", ContentRefused),
            ("failure to pass the risk control system", ContentRefused),
            ("insufficient credits", AccessDenied),
            ("task failed: internal error", ServerFault),
            ("", ServerFault),
        ],
    )
    def test_a_task_that_failed(self, server: FakeServer, message: str, expected: type[ProviderError]) -> None:
        for status in ("failed", "Failed"):
            error = self.poll_failure(server, envelope(status, error=message))
            assert type(error) is expected
            assert error.ends_job

    @pytest.mark.parametrize(
        ("status", "message", "expected"),
        [
            (400, "invalid parameter: width", RequestRejected),
            (400, "insufficient credits", AccessDenied),
            (403, "this task needs the Creator plan", ModelGone),
            (400, "the number of concurrent tasks has reached the limit", RateLimited),
            (429, "too many requests", RateLimited),
            (500, "internal error", OutcomeUnknown),
            (503, "service unavailable", ServerFault),
        ],
    )
    def test_the_envelopes_code_counts_where_http_says_200(
        self, server: FakeServer, status: int, message: str, expected: type[ProviderError]
    ) -> None:
        for data in (None, {"task_id": TASK_ID, "status": "pending"}):
            body = {"code": status, "message": message, "data": data}
            assert self.assert_means(server, status, body, expected).excerpt == message
            assert type(self.failure(server, answer(body, 200))) is expected

    def test_a_page_without_an_envelope_is_read_by_its_status(self, server: FakeServer) -> None:
        error = self.failure(server, answer("404 page not found", 404, content_type="text/plain"))
        assert type(error) is ModelGone

    def test_an_old_zero_is_a_success_where_there_is_a_task(self, server: FakeServer) -> None:
        server.will(answer({**envelope("pending"), "code": 0}))
        assert self.run(server) == Job(TASK_ID)


class TestPiapiVideo(PiapiContract):
    category = Category.VIDEO
    model = "kling"
    output_options = OutputOptions(seconds=10, aspect_ratio="9:16")
    body = {
        "model": "kling",
        "task_type": "video_generation",
        "input": {
            "prompt": DESCRIPTION,
            "version": "3.0",
            "duration": 10,
            "aspect_ratio": "9:16",
            "mode": "std",
            "enable_audio": False,
        },
        "config": {"service_mode": "public"},
    }

    @pytest.mark.parametrize(
        "output",
        [
            {"video_url": FILE},
            {"video_urls": [FILE]},
            {"video_raw": {"url": FILE, "duration": 10}},
            {"works": [{"video": {"resource_without_watermark": FILE}}]},
        ],
    )
    def test_a_finished_task_has_its_video_in_one_of_several_fields(self, server: FakeServer, output: Any) -> None:
        result = self.poll(server, envelope("completed", output=output))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(seconds=Decimal(10))))

    def test_a_lost_submission_stops_the_chain(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.STOP

    def test_luma_takes_fewer_fields(self) -> None:
        self.assert_request(
            self.path,
            {
                "model": "luma",
                "task_type": "video_generation",
                "input": {"prompt": DESCRIPTION, "duration": 5, "aspect_ratio": "21:9"},
                "config": {"service_mode": "public"},
            },
            self.openapi_path,
            model="luma",
            output_options=OutputOptions(aspect_ratio="21:9"),
        )


class TestPiapiMusic(PiapiContract):
    category = Category.AUDIO
    model = "music-u"
    body = {
        "model": "music-u",
        "task_type": "generate_music",
        "input": {"gpt_description_prompt": DESCRIPTION, "lyrics_type": "generate"},
        "config": {"service_mode": "public"},
    }

    @pytest.mark.parametrize("output", [{"audio_url": FILE}, {"audio_urls": [FILE]}])
    def test_a_finished_task_has_its_song_in_one_of_two_fields(self, server: FakeServer, output: Any) -> None:
        result = self.poll(server, envelope("completed", output=output))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage()))

"""Kie.ai's tasks: HTTP 200 whatever happens, codes in the body, outputs in a string of JSON."""

import json
from decimal import Decimal
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
    Unsupported,
)
from providers.types import Category, Job, MediaResult, OutputOptions, UnknownPolicy, Usage
from tests.contracts.media import DESCRIPTION, JobProviderContract
from tests.fakes.http_server import FakeServer

TASK_ID = "task_12345678"
UNKNOWN_MODEL = "The model name you specified is not supported. Please verify your input."
FLAGGED = "Your prompt was flagged as violating content policies."


class KieContract(JobProviderContract):
    slug = "kie"
    path = "/api/v1/jobs/createTask"
    answer = {"code": 200, "msg": "success", "data": {"taskId": TASK_ID}}
    result = Job(TASK_ID)
    job_id = TASK_ID
    poll_path = f"/api/v1/jobs/recordInfo?taskId={TASK_ID}"
    file: ClassVar[str]
    usage: ClassVar[Usage]
    policy: ClassVar[UnknownPolicy]
    unsupported = OutputOptions(aspect_ratio="7:3")

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        param = json.dumps({"model": self.model, "input": {"image_input": ["https://example.com/given.png"]}})
        record = {"taskId": TASK_ID, "model": self.model, "state": status, "param": param, "resultJson": "", **fields}
        return {"code": 200, "msg": "success", "data": record}

    def failed(self, message: str, code: str = "500") -> dict[str, Any]:
        return self.state("fail", failCode=code, failMsg=message)

    def error_body(self, message: str) -> Any:
        return {"code": 500, "msg": message, "data": None}

    def test_a_finished_task_has_its_file(self, server: FakeServer) -> None:
        result_json = json.dumps({"resultUrls": [self.file]})
        result = self.poll(server, self.state("success", resultJson=result_json, failCode="", failMsg=""))
        self.assert_result(result, MediaResult(url=self.file, usage=self.usage))
        assert isinstance(result, MediaResult)
        assert result.job_id == TASK_ID

    def test_a_lost_submission_cannot_be_looked_for(self) -> None:
        assert self.provider().unknown_policy is self.policy


class TestKieImage(KieContract):
    category = Category.IMAGE
    model = "nano-banana-2"
    output_options = OutputOptions(aspect_ratio="16:9")
    file = "https://tempfile.aiquickdraw.com/workers/nano/image_1782405459454_m9svbw.png"
    usage = Usage(images=1)
    policy = UnknownPolicy.RESPEND
    body = {
        "model": "nano-banana-2",
        "input": {"prompt": DESCRIPTION, "aspect_ratio": "16:9", "resolution": "1K", "output_format": "png"},
    }

    @pytest.mark.parametrize("status", ["waiting", "queuing", "generating"])
    def test_an_unfinished_task_goes_on(self, server: FakeServer, status: str) -> None:
        assert self.poll(server, self.state(status)) == Job(TASK_ID)

    @pytest.mark.parametrize("result_json", [None, "", "no JSON", "[]", "{}", '{"resultUrls": []}', {"resultUrls": []}])
    def test_a_success_without_a_file_may_be_billed(self, server: FakeServer, result_json: Any) -> None:
        error = self.poll_failure(server, self.state("success", resultJson=result_json))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    @pytest.mark.parametrize(
        ("code", "message", "expected"),
        [
            (401, "You do not have access permissions", AccessDenied),
            (402, "Credits insufficient", AccessDenied),
            (500, "Credits insufficient", AccessDenied),
            (422, "Insufficient credits", AccessDenied),
            (433, "The sub-key has reached its limit", AccessDenied),
            (429, "Your call frequency is too high", RateLimited),
            (404, "Not found", ModelGone),
            (404, UNKNOWN_MODEL, ModelGone),
            (422, UNKNOWN_MODEL, ModelGone),
            (505, "The feature is disabled", ModelGone),
            (422, "Invalid input", RequestRejected),
            (500, "aspect_ratio is required", RequestRejected),
            (500, "duration is not within the range of allowed options", RequestRejected),
            (422, FLAGGED, ContentRefused),
            (500, FLAGGED, ContentRefused),
            (501, FLAGGED, ContentRefused),
            (455, "The service is under maintenance", ServerFault),
            (501, "The generation has failed", ServerFault),
            (500, "Server exception, please try again later", OutcomeUnknown),
        ],
    )
    def test_error_table(self, server: FakeServer, code: int, message: str, expected: type[ProviderError]) -> None:
        self.assert_means(server, 200, {"code": code, "msg": message, "data": None}, expected)

    @pytest.mark.parametrize(
        ("message", "code", "expected"),
        [
            (FLAGGED, "400", ContentRefused),
            ("The output was blocked as NSFW", "501", ContentRefused),
            ("internal error, please try again later.", "500", ServerFault),
            ("Generation failed, please try again later", "400", ServerFault),
            ("", "", ServerFault),
        ],
    )
    def test_a_failed_task_says_why(
        self, server: FakeServer, message: str, code: str, expected: type[ProviderError]
    ) -> None:
        error = self.poll_failure(server, self.failed(message, code))
        assert (type(error), error.code, error.ends_job) == (expected, code, True)

    def test_a_failure_ends_the_task_whatever_code_it_brings(self, server: FakeServer) -> None:
        with_record = {**self.failed("internal error"), "code": 501}
        alone = {"code": 501, "msg": "The generation has failed", "data": None}
        for body in (with_record, alone):
            error = self.poll_failure(server, body)
            assert type(error) is ServerFault
            assert error.ends_job

    @pytest.mark.parametrize(
        "body",
        [
            {"code": 422, "msg": "recordInfo is null", "data": None},  # soon after the submission
            {"code": 200, "msg": "success", "data": None},
            {"code": 404, "msg": "Task not found"},
            {"code": 429, "msg": "Rate limit exceeded", "data": None},
            {"code": 455, "msg": "The service is under maintenance", "data": None},
        ],
    )
    def test_a_code_in_the_answer_to_a_poll_does_not_end_the_task(self, server: FakeServer, body: Any) -> None:
        assert not self.poll_failure(server, body).ends_job

    def test_an_image_is_square_by_default(self) -> None:
        assert self.body_of(OutputOptions())["input"]["aspect_ratio"] == "1:1"


class TestKieVideo(KieContract):
    category = Category.VIDEO
    model = "kling-2.6/text-to-video"
    output_options = OutputOptions(seconds=10, aspect_ratio="9:16")
    file = "https://tempfile.aiquickdraw.com/r/video.mp4"
    usage = Usage(seconds=Decimal(10))
    policy = UnknownPolicy.STOP
    body = {
        "model": "kling-2.6/text-to-video",
        "input": {"prompt": DESCRIPTION, "sound": False, "aspect_ratio": "9:16", "duration": "10"},
    }

    def test_a_video_is_short_and_wide_by_default(self) -> None:
        defaults = self.body_of(OutputOptions())["input"]
        assert (defaults["aspect_ratio"], defaults["duration"]) == ("16:9", "5")

    def test_a_length_that_it_cannot_generate_is_not_submitted(self, server: FakeServer) -> None:
        with pytest.raises(Unsupported, match="7 s"):
            self.run(server, output_options=OutputOptions(seconds=7))
        assert server.connections == 0

    def test_its_errors_are_those_of_its_images(self) -> None:
        self.assert_errors_like(Category.IMAGE)

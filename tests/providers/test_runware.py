"""Runware's tasks: named by us, acknowledged, polled; errors by families of codes, in a 200 as well."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest

from providers.errors import (
    AccessDenied,
    ContentRefused,
    JobGone,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.transport.deadlines import Deadline
from providers.types import Category, Job, MediaResult, OutputOptions, Prompt, UnknownPolicy, Usage
from tests.contracts.media import DESCRIPTION, JobProviderContract
from tests.fakes.http_server import FakeServer, answer

SUBMISSION_ID = "01a2080a-48a5-7d89-9141-a67d30f0aa82"
TASK_ID = "f87a2360-85d7-4b6e-8f70-a6caa2f6d503"  # what the submission's id becomes
SINCE = datetime(2026, 11, 23, tzinfo=UTC)


def failure_of(code: str, message: str = "It did not work.", **fields: Any) -> dict[str, Any]:
    return {"data": [], "errors": [{"code": code, "message": message, "taskUUID": TASK_ID, **fields}]}


class RunwareContract(JobProviderContract):
    slug = "runware"
    path = "/v1"
    unsupported = OutputOptions(aspect_ratio="21:9")
    result = Job(TASK_ID)
    job_id = TASK_ID
    poll_path = "/v1"
    task_type: ClassVar[str]
    output_field: ClassVar[str]
    file: ClassVar[str]
    usage: ClassVar[Usage]

    def prompt(self, **fields: Any) -> Prompt:
        return super().prompt(**{"submission_id": SUBMISSION_ID, **fields})

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return {"data": [{"taskType": self.task_type, "taskUUID": TASK_ID, "status": status, **fields}]}

    def failed(self, message: str) -> dict[str, Any]:
        return failure_of("inferenceError", message)

    def error_body(self, message: str) -> Any:
        return {"errors": [{"code": "unheardOf", "message": message}]}

    def found(self, server: FakeServer, body: Any) -> list[Job]:
        server.will(answer(body))
        return self.provider(server).find_jobs(self.prompt(), since=SINCE, deadline=Deadline.after(20))

    def test_it_polls_the_job_with_the_key_and_without_a_body(self, server: FakeServer) -> None:
        # Here a poll is a task too, and has a body.
        self.poll(server, self.state("processing"))
        (request,) = server.received
        assert (request.method, request.path) == ("POST", "/v1")
        assert request.json == [{"taskType": "getResponse", "taskUUID": TASK_ID}]
        assert request.headers[self.auth[0].lower()] == self.auth[1]

    def test_a_finished_task_has_its_file_and_its_cost(self, server: FakeServer) -> None:
        done = self.state("success", cost=0.0096, **{self.output_field: self.file})
        result = self.poll(server, done)
        self.assert_result(result, MediaResult(url=self.file, usage=self.usage))
        # Some answers leave the status out.
        del done["data"][0]["status"]
        assert self.poll(server, done) == result


class TestRunwareImage(RunwareContract):
    category = Category.IMAGE
    model = "runware:400@1"
    output_options = OutputOptions(aspect_ratio="16:9")
    task_type = "imageInference"
    output_field = "imageURL"
    file = "https://im.runware.ai/image/ws/2/ii/x.png"
    usage = Usage(images=1, reported_cost=Decimal("0.0096"))
    answer = {"data": [{"taskType": "imageInference", "taskUUID": TASK_ID}]}
    body = [
        {
            "taskType": "imageInference",
            "taskUUID": TASK_ID,
            "model": model,
            "positivePrompt": DESCRIPTION,
            "numberResults": 1,
            "outputType": "URL",
            "deliveryMethod": "async",
            "includeCost": True,
            "width": 1344,
            "height": 768,
            "outputFormat": "PNG",
        }
    ]

    @pytest.mark.parametrize("status", ["success", "error"])
    def test_a_task_that_is_over_without_a_file_may_be_billed(self, server: FakeServer, status: str) -> None:
        error = self.poll_failure(server, self.state(status, NSFWContent=True))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("insufficientCredits", AccessDenied),
            ("quotaExceeded", AccessDenied),
            ("paymentRequired", AccessDenied),
            ("insufficientBalance", AccessDenied),
            ("invalidApiKey", AccessDenied),
            ("unauthorized", AccessDenied),
            ("accountSuspended", AccessDenied),
            ("rateLimitExceeded", RateLimited),
            ("contentPolicyViolation", ContentRefused),
            ("providerContentPolicyViolation", ContentRefused),
            ("nsfwContentDetected", ContentRefused),
            ("promptBlocked", ContentRefused),
            ("providerError", ServerFault),
            ("inferenceError", ServerFault),
            ("noAvailableServer", ServerFault),
            ("serviceUnavailable", ServerFault),
            ("timeoutProvider", OutcomeUnknown),
            ("invalidModel", ModelGone),
            ("modelDisabled", ModelGone),
            ("invalidPositivePrompt", RequestRejected),
            ("missingWidth", RequestRejected),
            ("unsupportedParameter", RequestRejected),
        ],
    )
    def test_error_table(self, server: FakeServer, code: str, expected: type[ProviderError]) -> None:
        body = failure_of(code)
        for status in (400, 200):
            assert self.assert_means(server, status, body, expected).code == code
        error = self.poll_failure(server, body)
        assert type(error) is expected
        # A limit or a key says nothing about the task itself.
        assert error.ends_job is (expected not in (RateLimited, AccessDenied))

    def test_a_task_that_is_not_found_may_not_be_there_yet(self, server: FakeServer) -> None:
        assert not self.poll_failure(server, failure_of("taskFailedOrNotFound")).ends_job

    def test_a_submission_is_named_by_its_attempt(self, server: FakeServer) -> None:
        assert UUID(TASK_ID).version == 4
        server.will(self.answered(), self.answered())
        self.run(server)
        self.run(server, submission_id="another")
        first, second = (request.json[0]["taskUUID"] for request in server.received)
        assert first == TASK_ID != second

    def test_a_lost_submission_is_polled_by_its_name(self, server: FakeServer) -> None:
        assert self.found(server, self.state("processing")) == [Job(TASK_ID)]
        assert server.received[0].json == [{"taskType": "getResponse", "taskUUID": TASK_ID}]

    def test_a_task_that_failed_was_submitted(self, server: FakeServer) -> None:
        assert self.found(server, failure_of("inferenceError")) == [Job(TASK_ID)]

    @pytest.mark.parametrize("body", [failure_of("taskFailedOrNotFound"), failure_of("taskNotFound"), {"data": []}])
    def test_an_unknown_task_was_not_submitted(self, server: FakeServer, body: Any) -> None:
        assert self.found(server, body) == []

    def test_a_polled_task_that_is_not_found_is_gone(self, server: FakeServer) -> None:
        for code in ("taskFailedOrNotFound", "taskNotFound", "taskExpired"):
            error = self.poll_failure(server, failure_of(code))
            assert (type(error), error.ends_job) == (JobGone, False), code

    def test_lost_submissions_are_looked_for(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.ADOPT


class TestRunwareVideo(RunwareContract):
    category = Category.VIDEO
    model = "klingai:5@3"
    output_options = OutputOptions(seconds=10, aspect_ratio="16:9")
    task_type = "videoInference"
    output_field = "videoURL"
    file = "https://vm.runware.ai/video/ws/5/vi/x.mp4"
    usage = Usage(seconds=Decimal(10), reported_cost=Decimal("0.0096"))
    answer = {"data": [{"taskType": "videoInference", "taskUUID": TASK_ID}]}
    body = [
        {
            "taskType": "videoInference",
            "taskUUID": TASK_ID,
            "model": model,
            "positivePrompt": DESCRIPTION,
            "numberResults": 1,
            "outputType": "URL",
            "deliveryMethod": "async",
            "includeCost": True,
            "duration": 10,
            "outputFormat": "mp4",
        }
    ]

    def test_its_errors_are_those_of_its_images(self) -> None:
        self.assert_errors_like(Category.IMAGE)

    def test_lost_submissions_are_looked_for(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.ADOPT

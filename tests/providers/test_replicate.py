"""Replicate: requests of three kinds, the states of a job, the outputs, the error table, and lost submissions."""

import json
from datetime import UTC, datetime
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
from providers.transport.deadlines import Deadline
from providers.types import Category, Job, MediaResult, OutputOptions, UnknownPolicy, Usage
from tests.contracts.media import DESCRIPTION, JobProviderContract
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, answer

JOB_ID = "gm3qorzdhgbfurvjtvhg6dckhu"
FILE = "https://replicate.delivery/xezq/abc/out-0"


def prediction(status: str, **fields: Any) -> dict[str, Any]:
    """A prediction as the API describes it. Source: the schema of GET /predictions/{id}."""
    return {
        "id": JOB_ID,
        "model": "black-forest-labs/flux-schnell",
        "version": "hidden",
        "input": {"prompt": "hidden"},
        "output": None,
        "data_removed": False,
        "error": None,
        "status": status,
        "created_at": "2026-11-23T12:00:00.123Z",
        "urls": {
            "web": f"https://replicate.com/p/{JOB_ID}",
            "get": f"https://api.replicate.com/v1/predictions/{JOB_ID}",
            "cancel": f"https://api.replicate.com/v1/predictions/{JOB_ID}/cancel",
        },
        **fields,
    }


class ReplicateContract(JobProviderContract):
    slug = "replicate"
    status = 201
    openapi_path = "/models/{model_owner}/{model_name}/predictions"
    answer = prediction("starting")
    result = Job(JOB_ID)
    job_id = JOB_ID
    poll_path = f"/v1/predictions/{JOB_ID}"
    poll_openapi_path = "/predictions/{prediction_id}"

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return prediction(status, **fields)

    def error_body(self, message: str) -> Any:
        return {"title": "Unheard of", "detail": message, "status": 499}


class TestReplicateImage(ReplicateContract):
    category = Category.IMAGE
    model = "black-forest-labs/flux-schnell"
    path = "/v1/models/black-forest-labs/flux-schnell/predictions"
    output_options = OutputOptions(aspect_ratio="16:9")
    body = {"input": {"prompt": DESCRIPTION, "aspect_ratio": "16:9", "output_format": "png"}}

    def test_it_waits_a_moment_for_the_result_and_limits_the_job(self) -> None:
        headers = self.provider().build(self.prompt()).headers
        assert headers == {"Prefer": "wait=10", "Cancel-After": "3m"}

    def test_an_image_is_square_by_default(self) -> None:
        assert self.body_of(OutputOptions())["input"]["aspect_ratio"] == "1:1"

    def test_the_provider_is_asked_to_call_back_when_the_job_is_over(self) -> None:
        url = "https://bot.example.com/hooks/replicate/1"
        body = self.body_of(self.output_options, callback_url=url)
        assert body == {**self.body, "webhook": url, "webhook_events_filter": ["completed"]}

    def test_a_quick_job_has_its_image_in_the_first_answer(self, server: FakeServer) -> None:
        server.will(answer(prediction("succeeded", output=[FILE], metrics={"predict_time": 0.61}), 201))
        result = self.run(server)
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(images=1)))
        assert isinstance(result, MediaResult)
        assert result.usage.raw == {"predict_time": "0.61"}
        assert result.usage.compute_seconds == Decimal("0.61")
        assert result.job_id == JOB_ID

    def test_a_job_that_is_not_done_in_that_moment_is_a_202(self, server: FakeServer) -> None:
        server.will(answer(prediction("processing"), 202))
        assert self.run(server) == Job(JOB_ID)

    @pytest.mark.parametrize(
        ("output", "images"),
        [
            (FILE, 1),
            ([FILE], 1),
            ([FILE, f"{FILE}-2"], 2),
            ({"audio_out": FILE}, 1),
            ({"files": [{"url": FILE}], "seed": 7}, 1),
            ([None, {"text": "no address"}, FILE], 1),
        ],
    )
    def test_an_output_has_the_shape_of_its_model(self, server: FakeServer, output: Any, images: int) -> None:
        result = self.poll(server, prediction("succeeded", output=output))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(images=images)))

    @pytest.mark.parametrize("output", [None, "", [], {}, "a word", ["https://replicate.delivery/a.txt"], 7, [[None]]])
    def test_a_success_without_an_output_ends_the_job(self, server: FakeServer, output: Any) -> None:
        error = self.poll_failure(server, prediction("succeeded", output=output, data_removed=True))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    def test_an_output_nested_too_deeply_is_none(self, server: FakeServer) -> None:
        body = json.dumps(prediction("succeeded", output="NEST")).replace('"NEST"', "[" * 500 + f'"{FILE}"' + "]" * 500)
        assert self.poll_failure(server, body).ends_job

    @pytest.mark.parametrize("status", ["starting", "processing"])
    def test_a_job_goes_on(self, server: FakeServer, status: str) -> None:
        assert self.poll(server, prediction(status)) == Job(JOB_ID)

    @pytest.mark.parametrize(
        ("status", "message", "expected"),
        [
            ("failed", "Prediction failed: E005: The input or output was flagged as sensitive.", ContentRefused),
            ("failed", "The input was flagged as sensitive. Please try again", ContentRefused),
            ("failed", "NSFW content detected. Try running it again.", ContentRefused),
            ("failed", "Your request was rejected by the safety system", ContentRefused),
            ("failed", "E1000: Prediction interrupted; please retry", ServerFault),
            ("failed", "E1001: Out of memory", ServerFault),
            ("failed", None, ServerFault),
            ("canceled", None, ServerFault),
            ("aborted", None, ServerFault),
        ],
    )
    def test_a_failed_job_says_why(
        self, server: FakeServer, status: str, message: str | None, expected: type[ProviderError]
    ) -> None:
        error = self.poll_failure(server, prediction(status, error=message))
        assert type(error) is expected
        assert error.ends_job
        assert error.excerpt == (message or status)

    def test_a_job_may_fail_at_once(self, server: FakeServer) -> None:
        error = self.failure(server, answer(prediction("failed", error="E005: flagged as sensitive"), 201))
        assert type(error) is ContentRefused

    @pytest.mark.parametrize(
        ("status", "title", "detail", "expected"),
        [
            (401, "Unauthenticated", "You did not pass a valid authentication token", AccessDenied),
            (402, "Insufficient credit", "You have insufficient credit to run this model.", AccessDenied),
            (403, "Forbidden", "You do not have permission to perform this action.", AccessDenied),
            (404, "Not found", "The requested resource could not be found.", ModelGone),
            (422, "Input validation failed", "- input.duration: Invalid type. Expected: integer", RequestRejected),
            (422, "Invalid version or not permitted", "The version does not exist.", RequestRejected),
            (429, "", "Request was throttled. Expected available in 1 second.", RateLimited),
            (500, "", "Internal server error", OutcomeUnknown),
            (502, "", "Bad gateway", OutcomeUnknown),
            (503, "", "Service unavailable", ServerFault),
        ],
    )
    def test_error_table(
        self, server: FakeServer, status: int, title: str, detail: str, expected: type[ProviderError]
    ) -> None:
        error = self.assert_means(server, status, {"title": title, "detail": detail, "status": status}, expected)
        assert error.excerpt == detail

    def test_a_low_balance_limits_the_rate_and_says_for_how_long(self, server: FakeServer) -> None:
        detail = (
            "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with "
            "a burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~10s."
        )
        body = {"detail": detail, "status": 429, "retry_after": 10}
        assert self.assert_means(server, 429, body, RateLimited).retry_after == 10.0

    # --- Lost submissions ---

    SINCE = datetime(2026, 11, 23, 11, 58, tzinfo=UTC)

    def found(self, server: FakeServer, *predictions: Any, **fields: Any) -> list[Job]:
        server.will(answer({"next": None, "previous": None, "results": list(predictions), **fields}))
        return self.provider(server).find_jobs(self.prompt(), since=self.SINCE, deadline=Deadline.after(20))

    def test_a_lost_submission_is_found_in_the_list(self, server: FakeServer) -> None:
        ours = prediction("processing", input=self.body["input"])
        other = prediction("processing", id="other", input={**self.body["input"], "prompt": "A dog"})
        assert self.found(server, other, ours) == [Job(JOB_ID)]
        (request,) = server.received
        assert (request.method, request.path) == ("GET", "/v1/predictions")

    def test_a_long_list_is_read_page_by_page_from_the_providers_own_address(self, server: FakeServer) -> None:
        other = prediction("processing", id="other", input={"prompt": "A dog"})
        ours = prediction("processing", input=self.body["input"])
        server.will(
            answer({"next": "https://elsewhere.example/v1/predictions?cursor=a%2Fb", "results": [other]}),
            answer({"next": None, "results": [ours]}),
        )
        found = self.provider(server).find_jobs(self.prompt(), since=self.SINCE, deadline=Deadline.after(20))
        assert found == [Job(JOB_ID)]
        assert [request.path for request in server.received] == ["/v1/predictions", "/v1/predictions?cursor=a%2Fb"]

    def test_a_list_is_read_until_it_is_older_than_the_submission(self, server: FakeServer) -> None:
        older = prediction("succeeded", created_at="2026-11-23T11:00:00Z")
        assert self.found(server, older, next="https://api.replicate.com/v1/predictions?cursor=x") == []
        assert len(server.received) == 1

    @pytest.mark.parametrize(
        "created_at", ["2026-11-23T11:57:59Z", "", None, "yesterday", "2026-13-45T00:00:00Z", "2026-11-23T11:57:00"]
    )
    def test_an_older_prediction_is_another_one(self, server: FakeServer, created_at: Any) -> None:
        older = prediction("succeeded", input=self.body["input"], created_at=created_at)
        assert self.found(server, older) == []

    def test_a_time_without_a_zone_is_utc(self, server: FakeServer) -> None:
        ours = prediction("starting", input=self.body["input"], created_at="2026-11-23T11:58:30")
        assert self.found(server, ours) == [Job(JOB_ID)]

    @pytest.mark.parametrize("results", [None, "x", {}, [None], ["x"], [7]])
    def test_an_invalid_list_holds_no_prediction(self, server: FakeServer, results: Any) -> None:
        assert self.found(server, results=results) == []

    def test_half_an_emoji_is_found_as_it_was_sent(self, server: FakeServer) -> None:
        ours = prediction("starting", input={**self.body["input"], "prompt": "half ? an emoji"})
        server.will(answer({"results": [ours]}))
        prompt = self.prompt(text="half \ud83d an emoji")
        assert self.provider(server).find_jobs(prompt, since=self.SINCE, deadline=Deadline.after(20)) == [Job(JOB_ID)]

    def test_a_list_that_fails_is_no_proof(self, server: FakeServer) -> None:
        server.will(answer({"detail": "Not now.", "status": 503}, 503))
        with pytest.raises(ServerFault) as caught:
            self.provider(server).find_jobs(self.prompt(), since=self.SINCE, deadline=Deadline.after(20))
        assert not caught.value.ends_job

    def test_lost_submissions_are_looked_for(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.ADOPT

    # --- Cancelling ---

    def test_a_job_can_be_cancelled(self, server: FakeServer) -> None:
        server.will(answer(prediction("canceled")))
        self.provider(server).cancel(JOB_ID, deadline=Deadline.after(20))
        assert (server.received[0].method, server.received[0].path) == ("POST", f"/v1/predictions/{JOB_ID}/cancel")


class TestReplicateAudio(ReplicateContract):
    category = Category.AUDIO
    model = "minimax/speech-2.6-turbo"
    path = "/v1/models/minimax/speech-2.6-turbo/predictions"
    output_options = OutputOptions(voice="Deep_Voice_Man")
    body = {"input": {"text": DESCRIPTION, "voice_id": "Deep_Voice_Man"}}

    def test_a_community_model_is_named_with_its_version(self) -> None:
        version = "suno-ai/bark:b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787"
        body = {"version": version, "input": {"prompt": DESCRIPTION}}
        self.assert_request("/predictions", body, "/predictions", model=version)

    def test_spoken_characters_are_billed(self, server: FakeServer) -> None:
        result = self.poll(server, prediction("succeeded", output=FILE))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(characters=len(DESCRIPTION))))

    def test_its_errors_are_those_of_its_images(self) -> None:
        self.assert_errors_like(Category.IMAGE)


class TestReplicateVideo(ReplicateContract):
    category = Category.VIDEO
    model = "kwaivgi/kling-v3-video"
    path = "/v1/models/kwaivgi/kling-v3-video/predictions"
    output_options = OutputOptions(seconds=10, aspect_ratio="9:16")
    body = {"input": {"prompt": DESCRIPTION, "duration": 10, "aspect_ratio": "9:16", "mode": "standard"}}

    def test_it_does_not_wait_for_the_result(self) -> None:
        assert "Prefer" not in self.provider().build(self.prompt()).headers

    def test_a_video_of_luma_has_a_resolution_and_defaults(self) -> None:
        body = {"input": {"prompt": DESCRIPTION, "duration": 5, "aspect_ratio": "16:9", "resolution": "540p"}}
        self.assert_request(
            "/models/luma/ray-3.2/predictions",
            body,
            self.openapi_path,
            model="luma/ray-3.2",
            output_options=OutputOptions(),
        )

    def test_seconds_are_billed(self, server: FakeServer) -> None:
        result = self.poll(server, prediction("succeeded", output=FILE))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(seconds=Decimal(10))))

    def test_its_errors_are_those_of_its_images(self) -> None:
        self.assert_errors_like(Category.IMAGE)


def test_every_known_state_is_in_the_openapi_document() -> None:
    contract = contract_of("replicate")
    for status in ("starting", "processing", "succeeded", "failed", "canceled", "aborted"):
        assert contract.response_errors("GET", "/predictions/{prediction_id}", 200, prediction(status)) == []

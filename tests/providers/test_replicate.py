"""Replicate: orders of three kinds, the states of a job, the outputs, the error table, and orders that were lost."""

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
from tests.contracts.media import WANTED, JobProviderContract
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, answer

JOB_ID = "gm3qorzdhgbfurvjtvhg6dckhu"
FILE = "https://replicate.delivery/xezq/abc/out-0"


def prediction(status: str, **fields: Any) -> dict[str, Any]:
    """A prediction as the API tells it. Source: the schema of GET /predictions/{id}."""
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
    vendor = "replicate"
    status = 201
    contract_path = "/models/{model_owner}/{model_name}/predictions"
    answer = prediction("starting")
    result = Job(JOB_ID)
    job_id = JOB_ID
    poll_path = f"/v1/predictions/{JOB_ID}"
    poll_contract_path = "/predictions/{prediction_id}"

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return prediction(status, **fields)

    def error_body(self, message: str) -> Any:
        return {"title": "Unheard of", "detail": message, "status": 499}


class TestImage(ReplicateContract):
    category = Category.IMAGE
    model = "black-forest-labs/flux-schnell"
    path = "/v1/models/black-forest-labs/flux-schnell/predictions"
    output_options = OutputOptions(aspect_ratio="16:9")
    body = {"input": {"prompt": WANTED, "aspect_ratio": "16:9", "output_format": "png"}}

    def test_it_is_held_for_a_moment_and_stops_by_itself(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server)
        headers = server.received[0].headers
        assert (headers["prefer"], headers["cancel-after"]) == ("wait=10", "3m")

    def test_a_quick_order_brings_the_picture_itself(self, server: FakeServer) -> None:
        server.will(answer(prediction("succeeded", output=[FILE], metrics={"predict_time": 0.61}), 201))
        result = self.run(server)
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(images=1)))
        assert isinstance(result, MediaResult)
        assert result.usage.raw == {"predict_time": "0.61"}
        assert result.job_id == JOB_ID

    def test_a_held_order_that_goes_on_is_a_202(self, server: FakeServer) -> None:
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
    def test_an_output_has_whatever_shape_its_model_likes(self, server: FakeServer, output: Any, images: int) -> None:
        result = self.poll(server, prediction("succeeded", output=output))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(images=images)))

    @pytest.mark.parametrize("output", [None, "", [], {}, "a word", ["data:image/png;base64,AA=="], 7, [[None]]])
    def test_a_success_without_an_output_ends_the_job(self, server: FakeServer, output: Any) -> None:
        error = self.poll_failure(server, prediction("succeeded", output=output, data_removed=True))
        assert type(error) is OutcomeUnknown
        assert error.ends_job

    def test_an_output_nested_without_end_is_none(self, server: FakeServer) -> None:
        body = json.dumps(prediction("succeeded", output="NEST")).replace('"NEST"', "[" * 500 + f'"{FILE}"' + "]" * 500)
        assert self.poll_failure(server, body).ends_job

    @pytest.mark.parametrize("status", ["starting", "processing"])
    def test_a_job_goes_on(self, server: FakeServer, status: str) -> None:
        assert self.poll(server, prediction(status)) == Job(JOB_ID)

    @pytest.mark.parametrize(
        ("status", "words", "expected"),
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
    def test_a_job_that_failed(
        self, server: FakeServer, status: str, words: str | None, expected: type[ProviderError]
    ) -> None:
        error = self.poll_failure(server, prediction(status, error=words))
        assert type(error) is expected
        assert error.ends_job
        assert error.excerpt == (words or status)

    def test_an_order_may_fail_at_once(self, server: FakeServer) -> None:
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

    def test_little_credit_limits_the_rate_and_says_for_how_long(self, server: FakeServer) -> None:
        detail = (
            "Request was throttled. Your rate limit for creating predictions is reduced to 6 requests per minute with "
            "a burst of 1 requests while you have less than $5.0 in credit. Your rate limit resets in ~10s."
        )
        body = {"detail": detail, "status": 429, "retry_after": 10}
        assert self.assert_means(server, 429, body, RateLimited).retry_after == 10.0

    # --- Orders whose answer was lost ---

    SINCE = datetime(2026, 11, 23, 11, 58, tzinfo=UTC)

    def found(self, server: FakeServer, *predictions: Any, **fields: Any) -> list[Job]:
        server.will(answer({"next": None, "previous": None, "results": list(predictions), **fields}))
        return self.provider(server).find_jobs(self.prompt(), since=self.SINCE, deadline=Deadline.after(20))

    def test_a_lost_order_is_found_in_the_list(self, server: FakeServer) -> None:
        ours = prediction("processing", input=self.body["input"])
        other = prediction("processing", id="other", input={**self.body["input"], "prompt": "A dog"})
        assert self.found(server, other, ours) == [Job(JOB_ID)]
        (request,) = server.received
        assert (request.method, request.path) == ("GET", "/v1/predictions")

    def test_a_long_list_is_read_page_by_page_with_the_key_staying_at_home(self, server: FakeServer) -> None:
        other = prediction("processing", id="other", input={"prompt": "A dog"})
        ours = prediction("processing", input=self.body["input"])
        server.will(
            answer({"next": "https://elsewhere.example/v1/predictions?cursor=a%2Fb", "results": [other]}),
            answer({"next": None, "results": [ours]}),
        )
        found = self.provider(server).find_jobs(self.prompt(), since=self.SINCE, deadline=Deadline.after(20))
        assert found == [Job(JOB_ID)]
        assert [request.path for request in server.received] == ["/v1/predictions", "/v1/predictions?cursor=a%2Fb"]

    def test_a_list_is_read_until_it_is_older_than_the_order(self, server: FakeServer) -> None:
        older = prediction("succeeded", created_at="2026-11-23T11:00:00Z")
        assert self.found(server, older, next="https://api.replicate.com/v1/predictions?cursor=x") == []
        assert len(server.received) == 1

    @pytest.mark.parametrize(
        "created_at", ["2026-11-23T11:57:59Z", "", None, "yesterday", "2026-13-45T00:00:00Z", "2026-11-23T11:57:00"]
    )
    def test_an_older_order_is_another_one(self, server: FakeServer, created_at: Any) -> None:
        older = prediction("succeeded", input=self.body["input"], created_at=created_at)
        assert self.found(server, older) == []

    def test_a_time_without_a_zone_is_utc(self, server: FakeServer) -> None:
        ours = prediction("starting", input=self.body["input"], created_at="2026-11-23T11:58:30")
        assert self.found(server, ours) == [Job(JOB_ID)]

    @pytest.mark.parametrize("results", [None, "x", {}, [None], ["x"], [7]])
    def test_a_list_of_nonsense_holds_no_order(self, server: FakeServer, results: Any) -> None:
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

    def test_its_lost_orders_are_looked_for(self) -> None:
        assert self.provider().unknown_policy is UnknownPolicy.ADOPT

    # --- Stopping ---

    def test_a_job_can_be_stopped(self, server: FakeServer) -> None:
        server.will(answer(prediction("canceled")))
        self.provider(server).cancel(JOB_ID, deadline=Deadline.after(20))
        assert (server.received[0].method, server.received[0].path) == ("POST", f"/v1/predictions/{JOB_ID}/cancel")


class TestCommunityModel(ReplicateContract):
    """Named with its version, so it is ordered elsewhere."""

    category = Category.AUDIO
    model = "suno-ai/bark:b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787"
    path = "/v1/predictions"
    contract_path = "/predictions"
    body = {"version": model, "input": {"prompt": WANTED}}


class TestSpeech(ReplicateContract):
    category = Category.AUDIO
    model = "minimax/speech-2.6-turbo"
    path = "/v1/models/minimax/speech-2.6-turbo/predictions"
    output_options = OutputOptions(voice="Deep_Voice_Man")
    body = {"input": {"text": WANTED, "voice_id": "Deep_Voice_Man"}}

    def test_spoken_characters_are_billed(self, server: FakeServer) -> None:
        result = self.poll(server, prediction("succeeded", output=FILE))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(characters=len(WANTED))))


class TestKling(ReplicateContract):
    category = Category.VIDEO
    model = "kwaivgi/kling-v3-video"
    path = "/v1/models/kwaivgi/kling-v3-video/predictions"
    output_options = OutputOptions(seconds=10, aspect_ratio="9:16")
    body = {"input": {"prompt": WANTED, "duration": 10, "aspect_ratio": "9:16", "mode": "standard"}}

    def test_it_is_not_held(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server)
        assert "prefer" not in server.received[0].headers

    def test_seconds_are_billed(self, server: FakeServer) -> None:
        result = self.poll(server, prediction("succeeded", output=FILE))
        self.assert_result(result, MediaResult(url=FILE, usage=Usage(seconds=Decimal(10))))


class TestLuma(ReplicateContract):
    category = Category.VIDEO
    model = "luma/ray-3.2"
    path = "/v1/models/luma/ray-3.2/predictions"
    body = {"input": {"prompt": WANTED, "duration": 5, "aspect_ratio": "16:9", "resolution": "540p"}}


def test_every_state_that_we_know_is_in_the_contract() -> None:
    contract = contract_of("replicate")
    for status in ("starting", "processing", "succeeded", "failed", "canceled", "aborted"):
        assert contract.response_errors("GET", "/predictions/{prediction_id}", 200, prediction(status)) == []

"""What every provider of images, videos and audio must do. A test file is a class with its request and its answer."""

import base64
import json
from typing import Any, ClassVar

import pytest

from providers.errors import JobGone, OutcomeUnknown, ProviderError, ServerFault, Unsupported
from providers.transport.deadlines import Deadline
from providers.types import Job, MediaResult, OutputOptions, Prompt, Usage
from tests.contracts.base import ProviderContract, assert_redacted, message_with_secrets, secrets_of
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, Step, answer

DESCRIPTION = "A canary on a lamp post in Lima,\nat dawn, “oil on canvas” & <framed> 🐤"
IMAGE = b"\x89PNG\r\n\x1a\n a small image"
IMAGE_BASE64 = base64.b64encode(IMAGE).decode()
AUDIO = b"ID3\x04\x00 a short audio file"

# Bodies of a 2xx in which there is neither an output nor a job, whatever the provider.
WITHOUT_OUTPUT = (
    {},
    [],
    {"data": []},
    {"data": [None]},
    {"data": "x", "output": 7, "audio": 7, "id": 7, "video": []},
    {"data": [{"b64_json": "%%%"}]},
    {"data": [{"b64_json": ""}], "output": ["ftp://example.com/x"], "status": "succeeded"},
)


class MediaProviderContract(ProviderContract):
    """Behaviours common to all media providers."""

    output_options: ClassVar[OutputOptions] = OutputOptions()
    body: ClassVar[Any]  # what the prompt below becomes
    status: ClassVar[int] = 200  # of an accepted request
    answer: ClassVar[Any]  # to the request: JSON, or the bytes of a file
    answer_type: ClassVar[str] = "application/json"
    result: ClassVar[MediaResult | Job]  # what the answer holds; without usage.raw
    unsupported: ClassVar[OutputOptions | None] = None  # options that it refuses; None: the route decides on all

    # --- Helpers for the providers' own tests ---

    def prompt(self, **fields: Any) -> Prompt:
        return Prompt(
            **{
                "category": self.category,
                "text": DESCRIPTION,
                "model": self.model,
                "output_options": self.output_options,
                **fields,
            }
        )

    def run(self, server: FakeServer, **fields: Any) -> MediaResult | Job:
        return self.provider(server).run(self.prompt(**fields), timeout_seconds=20.0, deadline=Deadline.after(40))

    def answered(self) -> Step:
        return answer(self.answer, self.status, content_type=self.answer_type)

    def body_of(self, output_options: OutputOptions, **fields: Any) -> Any:
        """Return the body that a prompt with these options becomes."""
        return self.provider().build(self.prompt(output_options=output_options, **fields)).json

    def assert_request(self, path: str, body: Any, openapi_path: str = "", **fields: Any) -> None:
        """Check what a prompt with these fields becomes, and that the OpenAPI document allows it."""
        call = self.provider().build(self.prompt(**fields))
        assert (call.path, call.json) == (path, body)
        if openapi_path:
            assert contract_of(self.slug).request_errors("POST", openapi_path, call.json) == []

    def assert_result(self, found: MediaResult | Job, expected: MediaResult | Job) -> None:
        if isinstance(found, Job) or isinstance(expected, Job):
            assert found == expected
            return
        assert (found.content, found.url) == (expected.content, expected.url)
        self.assert_usage(found.usage, expected.usage)

    def assert_usage(self, found: Usage, expected: Usage) -> None:
        for name in ("input_tokens", "output_tokens", "images", "seconds", "characters", "reported_cost"):
            assert getattr(found, name) == getattr(expected, name), name
        json.dumps(dict(found.raw))  # any JSON column takes it

    # --- The request ---

    def test_it_sends_the_key_and_the_request_as_documented(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server)
        (request,) = server.received
        assert (request.method, request.path) == ("POST", self.path)
        assert request.headers[self.auth[0].lower()] == self.auth[1]
        assert request.headers["content-type"] == "application/json"
        assert request.json == self.body

    def test_requests_and_samples_keep_the_openapi_document(self) -> None:
        if not self.openapi_path:
            pytest.skip("the provider's OpenAPI document does not describe this path")
        contract = contract_of(self.slug)
        for options in (OutputOptions(), self.output_options):
            assert contract.request_errors("POST", self.openapi_path, self.body_of(options)) == []
        if not isinstance(self.answer, bytes):
            assert contract.response_errors("POST", self.openapi_path, self.status, self.answer) == []

    def test_it_refuses_what_it_cannot_do_before_anything_is_sent(self, server: FakeServer) -> None:
        refused: list[dict[str, Any]] = [{"system": "Be brief."}]
        if self.unsupported:
            refused.append({"output_options": self.unsupported})
        for fields in refused:
            with pytest.raises(Unsupported) as caught:
                self.run(server, **fields)
            assert caught.value.provider == self.slug
        assert server.connections == 0

    # --- The answer ---

    def test_it_returns_what_the_answer_holds(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.assert_result(self.run(server), self.result)

    def test_an_answer_without_an_output_may_have_been_paid(self, server: FakeServer) -> None:
        for body in WITHOUT_OUTPUT:
            error = self.failure(server, answer(body))
            assert type(error) is OutcomeUnknown, body
            assert error.maybe_paid, body


class JobProviderContract(MediaProviderContract):
    """Behaviours common to the providers that work in their own time."""

    job_id: ClassVar[str]
    poll_path: ClassVar[str]  # with the path of the base URL
    poll_openapi_path: ClassVar[str] = ""

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        """Return what the provider says of the job in this status of its own naming."""
        raise NotImplementedError

    def failed(self, message: str) -> dict[str, Any]:
        """Return what the provider says of a job that failed with this message."""
        return self.state("failed", error=message)

    def poll(self, server: FakeServer, body: Any, status: int = 200, **fields: Any) -> MediaResult | Job:
        server.will(answer(body, status))
        return self.provider(server).poll(self.prompt(**fields), self.job_id, deadline=Deadline.after(20))

    def poll_failure(self, server: FakeServer, body: Any, status: int = 200, **fields: Any) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            self.poll(server, body, status, **fields)
        assert caught.value.provider == self.slug
        return caught.value

    # --- The submission ---

    def test_a_submission_without_a_usable_id_has_an_unknown_outcome(self, server: FakeServer) -> None:
        for job_id in ("", None, "a/../b c"):
            body = json.dumps(self.answer).replace(f'"{self.job_id}"', json.dumps(job_id))
            error = self.failure(server, answer(body, self.status))
            assert type(error) is OutcomeUnknown, job_id
            assert error.maybe_paid, job_id

    # --- The polls ---

    def test_it_polls_the_job_with_the_key_and_without_a_body(self, server: FakeServer) -> None:
        self.poll(server, self.state("processing"))
        (request,) = server.received
        assert (request.method, request.path, request.body) == ("GET", self.poll_path, b"")
        assert request.headers[self.auth[0].lower()] == self.auth[1]

    def test_polled_states_keep_the_openapi_document(self) -> None:
        if not self.poll_openapi_path:
            pytest.skip("the provider's OpenAPI document does not describe this path")
        assert contract_of(self.slug).response_errors("GET", self.poll_openapi_path, 200, self.answer) == []

    def test_a_job_in_an_unknown_state_goes_on(self, server: FakeServer) -> None:
        assert self.poll(server, self.state("pondering")) == Job(self.job_id)

    def test_a_poll_that_failed_says_nothing_about_the_job(self, server: FakeServer) -> None:
        for status in (401, 404, 503):
            assert not self.poll_failure(server, self.error_body("Not now."), status).ends_job, status

    def test_a_job_that_the_provider_does_not_know_is_not_taken_for_a_missing_model(self, server: FakeServer) -> None:
        for status in (404, 410):
            error = self.poll_failure(server, self.error_body("Not found."), status)
            assert (type(error), error.status) == (JobGone, status)
            assert (error.ends_job, error.trips_at_once, error.maybe_paid) == (False, False, True)
            assert str(error).startswith("The provider does not know this job, or no longer")

    def test_a_failed_job_shows_neither_key_nor_prompt(self, server: FakeServer) -> None:
        for prompt in (self.prompt(), self.prompt(text="PIN 4711")):
            error = self.poll_failure(server, self.failed(message_with_secrets(prompt)), text=prompt.text)
            assert error.ends_job
            assert_redacted(error, secrets_of(prompt))

    def test_the_prompts_words_do_not_decide_why_a_job_failed(self, server: FakeServer) -> None:
        text = "An NSFW risk: flagged as sensitive by moderation, insufficient credits"
        error = self.poll_failure(server, self.failed(f"The model crashed on: {text}"), text=text)
        assert type(error) is ServerFault

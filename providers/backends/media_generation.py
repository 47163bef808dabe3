"""The templates of providers that make pictures, films and sounds: at once, or as jobs. No vendor is named here."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from providers.backends.base import Provider
from providers.errors import OutcomeUnknown, ProviderError
from providers.transport import client
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import decode_object
from providers.transport.redaction import Redactor
from providers.types import Call, Category, Job, MediaResult, OnText, Prompt

MAX_OUTPUT_BYTES = 100 * 1024 * 1024  # Telegram takes 50 MB; anything near this is no chat message
FETCH_SECONDS = 60.0  # of silence while an output is fetched
FETCH_TRIES = 3  # vendors' file servers lag behind their APIs by a moment
JOB_ID = re.compile(r"[\w.:@/+=-]{1,200}", re.ASCII)  # it becomes part of an address, and a column holds it
FILE_TYPES = ("image/", "video/", "audio/", "application/octet-stream")
POLL_SECONDS = 30.0  # for one question about a job


def job_of(job_id: Any) -> Job:
    """Return the job with this id. Raises OutcomeUnknown where it is none that can be kept and asked for."""
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise OutcomeUnknown("an order without a usable id")
    return Job(job_id)


class MediaProvider(Provider):
    """One vendor's API that makes something and answers when it is done.

    A subclass writes build() and either parse_result(), for a JSON answer, or parse_file(), for a file.
    """

    output_hosts: ClassVar[tuple[str, ...]] = ()  # from which its outputs are fetched; ".example.com" means all below
    answers_with_file: ClassVar[bool] = False

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None
    ) -> MediaResult | Job:
        """Order the output and return it, its address, or the job that makes it. `on_text` is never called."""
        self.check(prompt)
        redactor = Redactor(self.access.key, prompt)
        call = self.build(prompt)
        with self.exchange(call, redactor, timeout_seconds=timeout_seconds, deadline=deadline) as answer:
            if self.answers_with_file and answer.content_type.startswith(FILE_TYPES):
                return self.parse_file(prompt, answer.body(), answer.headers)
            return self.parse_result(prompt, self._object_in(answer, redactor))

    @abstractmethod
    def build(self, prompt: Prompt) -> Call:
        """Return the order. Called once for each call, after check()."""

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        """Return what a complete JSON answer holds. Raises ContentRefused, or OutcomeUnknown when it holds nothing."""
        raise OutcomeUnknown("a file was expected, not JSON")

    def parse_file(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        """Return what a complete file is."""
        raise OutcomeUnknown("JSON was expected, not a file")

    def has_error(self, body: Mapping[str, Any]) -> bool:
        """Tell whether the body of a 2xx speaks of an error."""
        return bool(body.get("error"))

    def fetch(self, url: str, *, deadline: Deadline) -> bytes:
        """Return the bytes of an output. The key stays here: a file server is not the vendor's API.

        Raises a ProviderError after a few tries; fetching again is free.
        """
        redactor = Redactor(self.access.key, Prompt(Category.IMAGE, ""))
        for left in reversed(range(FETCH_TRIES)):
            try:
                return client.fetch(
                    url,
                    hosts=self.output_hosts,
                    trusted_base_url=self.access.base_url,
                    max_bytes=MAX_OUTPUT_BYTES,
                    idle_timeout_seconds=FETCH_SECONDS,
                    deadline=deadline,
                )
            except ProviderError as error:
                error.provider = self.slug
                error.maybe_paid = True  # the output was made
                redactor.redact_error(error)
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _object_in(self, answer: client.ProviderResponse, redactor: Redactor) -> dict[str, Any]:
        try:
            body = decode_object(answer.body().decode("utf-8-sig", "replace"))
        except ValueError as error:
            raise OutcomeUnknown(f"not a JSON object, content type {answer.content_type or 'missing'}") from error
        if self.has_error(body):
            raise self.refusal(answer, body, redactor)
        return body


class JobProvider(MediaProvider):
    """One vendor's API that takes an order and makes it in its own time.

    A subclass writes build() and parse_result() for the order, poll_call() and parse_job() for the questions after it.
    """

    first_poll_seconds: ClassVar[float] = 5.0  # after the order
    max_poll_seconds: ClassVar[float] = 15.0  # between two questions
    polls_per_second: ClassVar[float] = 10.0  # for all jobs together; the vendor limits them
    calls_back: ClassVar[bool] = False  # calls Prompt.callback_url when a job is over, and signs the call

    def poll(self, prompt: Prompt, job_id: str, *, deadline: Deadline) -> MediaResult | Job:
        """Ask what became of a job. Asking is free and changes nothing.

        Raises a ProviderError; where `ends_job` is set the job is over, otherwise only the question failed.
        """
        redactor = Redactor(self.access.key, prompt)
        call = self.poll_call(job_id)
        with self.exchange(call, redactor, timeout_seconds=POLL_SECONDS, deadline=deadline) as answer:
            return self.parse_job(prompt, self._object_in(answer, redactor))

    @abstractmethod
    def poll_call(self, job_id: str) -> Call:
        """Return the question."""

    @abstractmethod
    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        """Return the output of a finished job, or the job where it goes on.

        Raises a ProviderError with `ends_job` set where the job has failed.
        """

    def find(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        """Return the jobs that were ordered in these words at `since` or later, the newest first.

        One of them may be the one whose id was lost. Only for vendors whose unknown_policy is ADOPT.
        """
        return []

    def cancel_call(self, job_id: str) -> Call | None:
        """Return the call that stops a job; None where the vendor has none."""
        return None

    def cancel(self, job_id: str, *, deadline: Deadline) -> None:
        """Ask the vendor to stop a job, where it can. Raises a ProviderError."""
        call = self.cancel_call(job_id)
        if call is None:
            return
        redactor = Redactor(self.access.key, Prompt(Category.VIDEO, ""))
        with self.exchange(call, redactor, timeout_seconds=POLL_SECONDS, deadline=deadline):
            return

"""The templates of media generation (images, videos, audio): at once, or as jobs. No provider is named here."""

import math
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import urlsplit

from providers.backends.base import Provider
from providers.backends.error_mapping import ErrorReply
from providers.backends.optional_fields import asked_with_optional_fields
from providers.backends.overrides import with_overrides
from providers.common.data_uris import data_uri, data_uri_content, data_uri_type, is_data_uri
from providers.common.file_types import image_size
from providers.errors import JobGone, ModelGone, OutcomeUnknown, ProviderError, ServerFault, Unsupported
from providers.transport import client
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import urls_in
from providers.transport.redaction import Redactor
from providers.types import Call, Category, Job, MediaResult, OnText, OutputOptions, Prompt, Usage

MAX_OUTPUT_BYTES = 100 * 1024 * 1024  # Telegram takes 50 MB; anything near this is no chat message
FETCH_IDLE_SECONDS = 60.0
FETCH_TRIES = 3  # providers' file servers lag behind their APIs by a moment
POLL_SECONDS = 30.0  # for one question about a job
JOB_ID = re.compile(r"[\w.:@/+=-]{1,200}", re.ASCII)  # it becomes part of an address, and a column holds it
FILE_TYPES = ("image/", "video/", "audio/", "application/octet-stream")
GONE = {"404", "410"}  # HTTP's status, or the code that the body of a 200 names
ENDINGS = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp", ".svg"), "IMAGE"),
    **dict.fromkeys((".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"), "VIDEO"),
    **dict.fromkeys((".mp3", ".wav", ".ogg", ".opus", ".flac", ".m4a", ".aac"), "AUDIO"),
    **dict.fromkeys((".txt", ".json", ".log", ".srt", ".vtt", ".csv", ".html", ".zip", ".safetensors"), "OTHER"),
}
NO_PROMPT = Prompt(Category.VIDEO, "")  # for calls that carry none


def outputs_in(value: Any, category: Category) -> list[str]:
    """Return the addresses and data URIs of a category's files in a string, a list or an object.

    Beside a film there may be its first picture, beside a picture its prompt as a text. What has an ending that nobody
    knows may be anything, and counts where nothing is known to be of the category.
    """
    found = urls_in(value)
    kinds = [_kind_of(each) for each in found]
    wanted = [each for each, kind in zip(found, kinds, strict=True) if kind == category]
    return wanted or [each for each, kind in zip(found, kinds, strict=True) if not kind]


def _kind_of(address: str) -> str:
    if is_data_uri(address):
        return data_uri_type(address).partition("/")[0].upper()
    ending = PurePosixPath(urlsplit(address).path).suffix.lower()
    return ENDINGS.get(ending, "")


def image_uris(prompt: Prompt) -> list[str]:
    """Return the images of a prompt as data URIs."""
    return [data_uri(image.content_type, image.content) for image in prompt.attachments]


def nearest_ratio(image: bytes, ratios: Iterable[str]) -> str:
    """Return the aspect ratio ("16:9") that is nearest to an image's, "" where it cannot be read."""
    size = image_size(image)
    if size is None:
        return ""
    wanted = math.log(size[0] / size[1])
    return min(ratios, key=lambda ratio: abs(math.log(Fraction(ratio.replace(":", "/"))) - wanted))


def _further_options(options: OutputOptions) -> dict[str, Any]:
    named = {"negative_prompt": options.negative_prompt, "seed": options.seed, "quality": options.quality}
    return {name: value for name, value in named.items() if value not in ("", None)}


def job_of(job_id: Any) -> Job:
    """Return the job with this id. Raises OutcomeUnknown where the id cannot be stored and polled."""
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise OutcomeUnknown("a submission without a usable id")
    return Job(job_id)


class MediaProvider(Provider):
    """One provider's API that generates an output and answers when it is done.

    A subclass writes build() and either parse_result(), for a JSON answer, or parse_file(), for a file.
    """

    output_hosts: ClassVar[tuple[str, ...]] = ()  # its outputs are fetched from these; ".example.com": all below it
    answers_with_file: ClassVar[bool] = False
    aspect_ratios: ClassVar[Collection[str]] = ()  # those it can generate; empty: the route's capabilities decide
    lengths: ClassVar[Collection[int]] = ()  # of a video, in seconds; empty: the route's capabilities decide
    default_seconds: ClassVar[int] = 5  # of a video or a piece of music, where the options do not say
    default_aspect_ratio: ClassVar[str] = ""
    # What the provider calls those further options of an output that it takes: negative_prompt, seed, quality.
    option_fields: ClassVar[Mapping[str, str]] = {}
    max_images: ClassVar[int] = 1  # in a prompt
    max_image_bytes: ClassVar[int] = 20_000_000  # as much as Telegram hands out

    def check(self, prompt: Prompt) -> None:
        super().check(prompt)
        options = prompt.output_options
        if options.aspect_ratio and self.aspect_ratios and options.aspect_ratio not in self.aspect_ratios:
            raise Unsupported(f"no aspect ratio {options.aspect_ratio}", provider=self.slug)
        if options.seconds and self.lengths and options.seconds not in self.lengths:
            raise Unsupported(f"no video of {options.seconds} s", provider=self.slug)
        for name in _further_options(options).keys() - self.option_fields.keys():
            raise Unsupported(f"no {name.replace('_', ' ')}", provider=self.slug)
        if len(prompt.attachments) > self.max_images:
            raise Unsupported(f"at most {self.max_images} images in a prompt", provider=self.slug)
        if any(len(image.content) > self.max_image_bytes for image in prompt.attachments):
            raise Unsupported(f"no images over {self.max_image_bytes:,} bytes", provider=self.slug)

    def seconds_of(self, prompt: Prompt) -> int:
        """Return how long the output will be. The request and its cost are both made from this."""
        return prompt.output_options.seconds or self.default_seconds

    def used(self, prompt: Prompt) -> Usage:
        """Return what an output of this prompt takes, in the units by which the provider bills it."""
        return {
            Category.IMAGE: Usage(images=1),
            Category.VIDEO: Usage(seconds=Decimal(self.seconds_of(prompt))),
        }.get(prompt.category, Usage(characters=len(prompt.text)))

    def used_at_most(self, prompt: Prompt) -> Usage:
        """Return the most that a call with this prompt can use."""
        return self.used(prompt)

    def aspect_ratio_of(self, prompt: Prompt) -> str:
        """Return the output's aspect ratio; where none is asked for, that nearest to the prompt's image."""
        if prompt.attachments and not prompt.output_options.aspect_ratio and self.aspect_ratios:
            return nearest_ratio(prompt.attachments[0].content, self.aspect_ratios) or self.default_aspect_ratio
        return prompt.output_options.aspect_ratio or self.default_aspect_ratio

    def options_of(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the further options that the prompt has."""
        return {self.option_fields[name]: value for name, value in _further_options(prompt.output_options).items()}

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None
    ) -> MediaResult | Job:
        """Submit the prompt and return the output, its address, or the job that makes it. `on_text` is never called.

        Raises a ProviderError.
        """
        self.check(prompt)
        redactor = Redactor(self.access.key, prompt)

        def ask(call: Call) -> MediaResult | Job:
            with self.exchange(call, redactor, timeout_seconds=timeout_seconds, deadline=deadline) as response:
                if self.answers_with_file and response.content_type.startswith(FILE_TYPES):
                    return self.parse_file(prompt, response.body(), response.headers)
                return self.parse_result(prompt, self.checked_object(response, redactor))

        call = with_overrides(self.build(prompt), prompt.overrides)
        return asked_with_optional_fields(call, prompt, self.access.base_url, ask)

    @abstractmethod
    def build(self, prompt: Prompt) -> Call:
        """Return the request. Called once for each submission, after check()."""

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        """Return what a complete JSON answer holds. Raises ContentRefused, or OutcomeUnknown when it holds nothing."""
        raise OutcomeUnknown("a file was expected, not JSON")

    def parse_file(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        """Return what a complete file is."""
        raise OutcomeUnknown("JSON was expected, not a file")

    def fetch_output(self, url: str, *, deadline: Deadline) -> bytes:
        """Return the bytes of an output. The key stays here: a file server is not the provider's API.

        Quick files come as a data URI in the place of their address. Raises a ProviderError after a few tries; fetching
        again is free.
        """
        if is_data_uri(url):
            return data_uri_content(url)
        redactor = Redactor(self.access.key, NO_PROMPT)
        for tries_left in reversed(range(FETCH_TRIES)):
            try:
                return client.fetch(
                    url,
                    hosts=self.output_hosts,
                    trusted_base_url=self.access.base_url,
                    max_bytes=MAX_OUTPUT_BYTES,
                    idle_timeout_seconds=FETCH_IDLE_SECONDS,
                    deadline=deadline,
                )
            except ProviderError as error:
                error.complete(provider=self.slug, maybe_paid=True)  # the output was made
                redactor.redact_error(error)
                if not tries_left:
                    raise
        raise AssertionError("unreachable")


class JobProvider(MediaProvider):
    """One provider's API that takes a submission and works on it in its own time.

    A subclass writes build() and parse_result() for the submission, poll_call() and parse_job() for the polls.
    """

    first_poll_seconds: ClassVar[float] = 5.0  # after the submission
    max_poll_seconds: ClassVar[float] = 15.0  # between two polls
    polls_per_second: ClassVar[float] = 10.0  # for all jobs together; the provider limits them

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        return self.parse_job(prompt, body)

    def poll(self, prompt: Prompt, job_id: str, *, deadline: Deadline) -> MediaResult | Job:
        """Ask what became of a job. Free, and changes nothing.

        Raises a ProviderError; where `ends_job` is set the job is over, otherwise only the question failed.
        """
        redactor = Redactor(self.access.key, prompt)
        with self._exchange_about_job(self.poll_call(job_id), redactor, deadline) as response:
            return self.parse_job(prompt, self.checked_object(response, redactor))

    @abstractmethod
    def poll_call(self, job_id: str) -> Call:
        """Return the call that polls a job."""

    @abstractmethod
    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        """Return the output of a finished job, or the job where it goes on.

        Raises a ProviderError with `ends_job` set where the job has failed: see job_failure().
        """

    def job_failure(self, prompt: Prompt, reply: ErrorReply, *, ends_job: bool = True) -> ProviderError:
        """Return why a job failed, by the provider's error table, else as a ServerFault. The prompt decides nothing."""
        words = Redactor(self.access.key, prompt).redact(reply.text)
        reply = ErrorReply(reply.status, reply.codes, words)
        error = next((rule.error for rule in self.rules if rule.fits(reply)), ServerFault)
        return error(words, code=" ".join(reply.codes[:1]), ends_job=ends_job)

    def find_jobs(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        """Return the jobs that were submitted with this prompt at `since` or later, the newest first.

        One of them may be the one whose id was lost. Only for providers whose unknown_policy is ADOPT.
        """
        return []

    def cancel_call(self, job_id: str) -> Call | None:
        """Return the call that cancels a job; None where the provider has none."""
        return None

    def cancel(self, job_id: str, *, deadline: Deadline) -> None:
        """Ask the provider to cancel a job, where it can. Idempotent. Raises a ProviderError."""
        call = self.cancel_call(job_id)
        if call is None:
            return
        redactor = Redactor(self.access.key, NO_PROMPT)
        with self._exchange_about_job(call, redactor, deadline):
            return

    @contextmanager
    def _exchange_about_job(
        self, call: Call, redactor: Redactor, deadline: Deadline
    ) -> Iterator[client.ProviderResponse]:
        """Send a call that names a job and no model, so that a 404 is about the job."""
        try:
            with self.exchange(call, redactor, timeout_seconds=POLL_SECONDS, deadline=deadline) as response:
                yield response
        except ModelGone as error:
            if error.ends_job or GONE.isdisjoint({str(error.status), error.code}):
                raise
            raise JobGone(error.excerpt, provider=self.slug, status=error.status, code=error.code) from None

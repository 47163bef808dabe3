"""Three small providers with nothing of their own: what they do, every provider inherits."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import JobProvider, job_of
from providers.backends.openai_compatible import OpenAICompatibleImage, OpenAICompatibleText
from providers.errors import ContentRefused, ModelGone, OutcomeUnknown
from providers.transport.json_fields import text_at, urls_in
from providers.types import Call, Job, MediaResult, Prompt, Usage

RULES = (
    ErrorRule(ContentRefused, text="flagged"),
    ErrorRule(ModelGone, statuses=(400,), text="model not found"),
)


class TemplateText(OpenAICompatibleText):
    """Text, whole or streamed."""

    slug = "template"
    rules = RULES


class TemplateImage(OpenAICompatibleImage):
    """An output at once: in a JSON answer, or as a file."""

    slug = "template"
    rules = RULES
    output_hosts = ("files.example.com",)
    answers_with_file = True
    aspect_ratios = ("1:1", "16:9")
    default_aspect_ratio = "1:1"

    def build(self, prompt: Prompt) -> Call:
        return Call(
            "/images", json={"model": prompt.model, "prompt": prompt.text, "size": self.aspect_ratio_of(prompt)}
        )

    def parse_file(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        if not content:
            raise OutcomeUnknown("no image in the answer")
        return MediaResult(content=content, usage=Usage(images=1), model=prompt.model)


class TemplateJob(JobProvider):
    """A job that is submitted, polled and cancelled."""

    slug = "template"
    rules = RULES
    output_hosts = ("files.example.com",)
    lengths = (5, 10)

    def build(self, prompt: Prompt) -> Call:
        return Call("/jobs", json={"model": prompt.model, "prompt": prompt.text, "seconds": self.seconds_of(prompt)})

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return "status" not in body  # an error that came with a status is the job's own

    def poll_call(self, job_id: str) -> Call:
        return Call(f"/jobs/{quote(job_id, safe='')}", method="GET")

    def cancel_call(self, job_id: str) -> Call:
        return Call(f"/jobs/{quote(job_id, safe='')}/cancel")

    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        status = text_at(body, "status")
        if status == "failed":
            raise self.job_failure(prompt, ErrorReply(200, text=text_at(body, "error")))
        if status != "succeeded":
            return job_of(body.get("id"))
        urls = urls_in(body.get("output"))
        if not urls:
            raise OutcomeUnknown("succeeded without an output", ends_job=True)
        return MediaResult(url=urls[0], usage=Usage(images=1), model=prompt.model)

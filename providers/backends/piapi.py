"""PiAPI text, and tasks that generate images, videos and music. Two APIs with two kinds of key header on one host.

Source: https://piapi.ai/docs/llm-api/completions, https://piapi.ai/docs/unified-api-schema, and the official CLI and
MCP server (read 2026-11).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import JobProvider, job_of
from providers.backends.openai_compatible import OpenAICompatibleText
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RateLimited,
)
from providers.transport.json_fields import get_path, json_safe, text_at, urls_in
from providers.types import Call, Job, MediaResult, Prompt, UnknownPolicy, Usage

RULES = (
    # Any status may carry these, a 200 with an envelope included; bodies may be plain text.
    ErrorRule(RateLimited, text=r"concurren"),
    ErrorRule(AccessDenied, text=r"\b(credits?|balance|quota|insufficient|points?)\b"),
    ErrorRule(ContentRefused, statuses=(200, 400, 403, 500), text=r"\b(sensitive|nsfw|moderation|risk)\b"),
    ErrorRule(ModelGone, statuses=(403,), text=r"\bplan\b"),  # "needs the Creator plan": this model is not for us
)


class PiapiText(OpenAICompatibleText):
    """The OpenAI-compatible API; tasks have another path, header and envelope. The base URL has no version."""

    slug = "piapi"
    path = "/v1/chat/completions"
    stream_options = None  # the last chunk brings the usage unasked
    rules = RULES


class PiapiTask(JobProvider):
    """Tasks in the envelope {code, data, message}. There is no list of tasks to search."""

    slug = "piapi"
    auth_header = "X-API-Key"
    auth_scheme = ""
    rules = RULES
    output_hosts = ("img.theapi.app", "storage.theapi.app")  # seen in public code only (2026-11); kept for days

    task_type: ClassVar[str]
    output_keys: ClassVar[tuple[str, ...]]  # where a family of models names its outputs, best first

    def build(self, prompt: Prompt) -> Call:
        body = {
            "model": prompt.model,
            "task_type": self.task_type,
            "input": self.inputs(prompt),
            "config": {"service_mode": "public"},  # pay as you go
        }
        return Call("/api/v1/task", json=body)

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the model's own input."""
        raise NotImplementedError

    def has_error(self, body: Mapping[str, Any]) -> bool:
        # Success is 200; an old build of the CLI tested for 0. `data.error` is there on success, too.
        return body.get("code") not in (200, 0) or not isinstance(body.get("data"), Mapping)

    def poll_call(self, job_id: str) -> Call:
        return Call(f"/api/v1/task/{quote(job_id, safe='')}", method="GET")

    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        task = body.get("data")
        status = text_at(task, "status").lower()  # documents and answers differ in capitals
        if status == "failed":
            said = (text_at(task, "error", "message"), text_at(task, "error", "raw_message"), status)
            raise self.job_failure(prompt, ErrorReply(200, text=next(filter(None, said))))  # it is not billed
        if status != "completed":  # "pending", "staged", "processing"
            return job_of(get_path(task, "task_id"))
        urls = [url for key in self.output_keys for url in urls_in(get_path(task, "output", key))]
        if not urls:
            raise OutcomeUnknown("completed without an output", ends_job=True)
        return MediaResult(url=urls[0], usage=self._usage(prompt, task), model=prompt.model)

    def _usage(self, prompt: Prompt, task: Any) -> Usage:
        # `consume` counts points, whose price is not in the documents: the route's price decides.
        raw = json_safe(get_path(task, "meta", "usage"))
        return replace(self.used(prompt), raw=raw if isinstance(raw, dict) else {})


class PiapiImage(PiapiTask):
    """Flux. Source: https://piapi.ai/docs/flux-api/text-to-image (read 2026-11)."""

    task_type = "txt2img"
    output_keys = ("image_url", "image_urls", "temporary_image_urls")
    first_poll_seconds = 1.0
    max_poll_seconds = 5.0
    sizes: ClassVar[Mapping[str, tuple[int, int]]] = {
        "1:1": (1024, 1024),  # the largest area
        "4:3": (1024, 768),
        "3:4": (768, 1024),
        "16:9": (1024, 576),
        "9:16": (576, 1024),
    }

    aspect_ratios = sizes
    default_aspect_ratio = "1:1"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        width, height = self.sizes[self.aspect_ratio_of(prompt)]
        return {"prompt": prompt.text, "width": width, "height": height, "batch_size": 1}


class PiapiVideo(PiapiTask):
    """Kling 3.0, and Luma where the route's model is "luma", whose videos cost the same whatever their length.

    Source: https://piapi.ai/docs/kling-api/kling-3-0, …/dream-machine/create-task (read 2026-11).
    """

    task_type = "video_generation"
    option_fields = {"negative_prompt": "negative_prompt"}
    output_keys = ("video_url", "video_urls", "video_raw", "works")
    unknown_policy = UnknownPolicy.STOP
    first_poll_seconds = 10.0
    default_aspect_ratio = "16:9"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        fields = {
            "prompt": prompt.text,
            "duration": self.seconds_of(prompt),
            "aspect_ratio": self.aspect_ratio_of(prompt),
            **self.options_of(prompt),
        }
        if prompt.model == "luma":
            return fields
        return {**fields, "version": "3.0", "mode": "std", "enable_audio": False}


class PiapiMusic(PiapiTask):
    """Udio: a song from a description, at a price for each. Its length is the model's own.

    Source: https://piapi.ai/udio-api (read 2026-11).
    """

    task_type = "generate_music"
    output_keys = ("audio_url", "audio_urls")
    first_poll_seconds = 5.0
    max_poll_seconds = 5.0

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        return {"gpt_description_prompt": prompt.text, "lyrics_type": "generate"}

    def used(self, prompt: Prompt) -> Usage:
        return Usage()

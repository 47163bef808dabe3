"""Runware images and videos, as tasks whose ids are ours.

Source: https://runware.ai/docs/image-inference/introduction, …/video-inference/introduction, and the official Python
SDK with its REST transport (github.com/Runware/runware-python, read 2026-11).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from providers.backends.error_mapping import ErrorReply, ErrorRule, error_for
from providers.backends.media_generation import POLL_SECONDS, JobProvider, image_uris, job_of
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
from providers.transport.json_fields import get_path, json_safe, list_at, money_at, text_at, urls_in
from providers.transport.redaction import Redactor
from providers.types import Call, Feature, Job, MediaResult, Prompt, UnknownPolicy

NOT_FOUND = ErrorRule(ProviderError, text=r"\A(taskFailedOrNotFound|\w*NotFound|\w*Expired)\b")


class RunwareTask(JobProvider):
    """One POST for everything: a list of tasks goes in, and with each the id under which it is polled.

    The id is made from the attempt's, so a submission whose answer was lost is polled like any other, and never bought
    twice. Tasks cannot be cancelled: one that nobody waits for is billed all the same.
    """

    slug = "runware"
    unknown_policy = UnknownPolicy.ADOPT
    output_hosts = ("im.runware.ai", "vm.runware.ai")
    # By families of codes, as the SDK sorts them; the code stands before the words here.
    rules = (
        ErrorRule(AccessDenied, text=r"\A\w*(Credits|Quota|Balance|paymentRequired)"),
        ErrorRule(RateLimited, text=r"\A\w*RateLimit"),
        ErrorRule(
            ContentRefused,
            text=r"\A(\w*ContentPolicyViolation|sensitiveContent|unsafeContent|nsfwContent|(prompt|image)Blocked|moderation)",
        ),
        ErrorRule(ModelGone, text=r"\A((unknown|invalid)Model\b|model(Unavailable|Disabled|NotReady|NotFound))"),
        ErrorRule(
            AccessDenied,
            text=r"\A(\w*ApiKey|unauthorized|forbidden|permission|insufficientPermissions|auth|token|\w*(Suspended|Disabled)\b"
            r"|(invalid|missing)(Authentication|Credentials))",
        ),
        ErrorRule(OutcomeUnknown, text=r"\A\w*timeout"),
        ErrorRule(
            ServerFault,
            text=r"\A(provider|inferenceError|processingFailed|taskFailed|noAvailableServer|\w*Unavailable|internalServer)",
        ),
        ErrorRule(
            RequestRejected,
            text=r"\A(invalid|missing|conflict|duplicate|unsupported|value|array|unknownParameter|incompatible|max)",
        ),
    )

    task_type: ClassVar[str]
    output_field: ClassVar[str]

    def build(self, prompt: Prompt) -> Call:
        task = {
            "taskType": self.task_type,
            "taskUUID": _task_id(prompt.submission_id),
            "model": prompt.model,
            "positivePrompt": prompt.text,
            "numberResults": 1,
            "outputType": "URL",
            "deliveryMethod": "async",
            "includeCost": True,
            **self.inputs(prompt),
        }
        return Call("", json=[task])

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of this kind of task."""
        raise NotImplementedError

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        errors = list_at(body, "errors")
        code, said = text_at(errors, 0, "code"), text_at(errors, 0, "message")
        if not code:
            return super().parse_error(status, body)
        return ErrorReply(status, (code,), f"{code} {said}")

    def has_error(self, body: Mapping[str, Any]) -> bool:
        # An error that names a task is what became of that task, and parse_job() knows it.
        return any(not text_at(error, "taskUUID") for error in list_at(body, "errors"))

    def poll_call(self, job_id: str) -> Call:
        return Call("", json=[{"taskType": "getResponse", "taskUUID": job_id}])

    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        if list_at(body, "errors"):
            raise self._task_failure(prompt, body)
        item = get_path(body, "data", 0)
        job = job_of(get_path(item, "taskUUID"))
        urls = urls_in(get_path(item, self.output_field))
        if urls:
            raw = {"cost": json_safe(item["cost"])} if "cost" in item else {}
            usage = replace(self.used(prompt), reported_cost=money_at(item, "cost"), raw=raw)
            return MediaResult(url=urls[0], usage=usage, model=prompt.model, job_id=job.id)
        if text_at(item, "status") in ("success", "error"):
            # Without an output: seen where a safety check has taken it away. It may be billed.
            raise OutcomeUnknown(f"{text_at(item, 'status')} without an output", ends_job=True)
        return job

    def find_jobs(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        redactor = Redactor(self.access.key, prompt)
        job = Job(_task_id(prompt.submission_id))
        call = self.poll_call(job.id)
        with self.exchange(call, redactor, timeout_seconds=POLL_SECONDS, deadline=deadline) as response:
            body = self.checked_object(response, redactor)
        is_unknown = list_at(body, "errors") and NOT_FOUND.fits(self.parse_error(200, body))
        return [] if is_unknown or not (list_at(body, "errors") or list_at(body, "data")) else [job]

    def _task_failure(self, prompt: Prompt, body: Mapping[str, Any]) -> ProviderError:
        """Return why a task has failed.

        Limits of our rate and account are about the poll and not about the task, and a task that is not found may not
        be there yet.
        """
        reply = self.parse_error(200, body)
        words = Redactor(self.access.key, prompt).redact(reply.text)
        if NOT_FOUND.fits(reply):
            return JobGone(words, code=" ".join(reply.codes))
        error = error_for(ErrorReply(200, reply.codes, words), self.rules)
        is_about_the_poll = issubclass(error, RateLimited | AccessDenied)
        return error(words, code=" ".join(reply.codes), ends_job=not is_about_the_poll)


def _task_id(submission_id: str) -> str:
    """Return the task's id, which must be a UUID of version 4: the same one for the same submission."""
    if not submission_id:
        return str(uuid4())
    return str(UUID(bytes=hashlib.sha256(submission_id.encode()).digest()[:16], version=4))


class RunwareImage(RunwareTask):
    """FLUX and others. Sizes are multiples of 64."""

    task_type = "imageInference"
    output_field = "imageURL"
    first_poll_seconds = 1.0
    max_poll_seconds = 5.0
    sizes: ClassVar[Mapping[str, tuple[int, int]]] = {
        "1:1": (1024, 1024),
        "4:3": (1152, 896),
        "3:4": (896, 1152),
        "16:9": (1344, 768),
        "9:16": (768, 1344),
    }

    aspect_ratios = sizes
    default_aspect_ratio = "1:1"
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    max_images = 4
    option_fields = {"negative_prompt": "negativePrompt", "seed": "seed"}

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        width, height = self.sizes[self.aspect_ratio_of(prompt)]
        images = {"inputs": {"referenceImages": image_uris(prompt)}} if prompt.attachments else {}
        return {"width": width, "height": height, "outputFormat": "PNG", **self.options_of(prompt), **images}


class RunwareVideo(RunwareTask):
    """Kling and others. Which sizes a model takes is its own affair, so none is sent: it uses its default."""

    task_type = "videoInference"
    output_field = "videoURL"
    aspect_ratios = ("16:9",)
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    option_fields = {"negative_prompt": "negativePrompt"}
    first_poll_seconds = 10.0
    max_poll_seconds = 10.0

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        frames = [{"image": uri, "frame": "first"} for uri in image_uris(prompt)]
        first_frame = {"inputs": {"frameImages": frames}} if frames else {}
        return {
            "duration": self.seconds_of(prompt),
            "outputFormat": "mp4",
            **self.options_of(prompt),
            **first_frame,
        }

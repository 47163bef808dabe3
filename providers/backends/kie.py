"""Kie.ai images and videos: tasks of many makers' models behind one API, whose HTTP status says nothing.

Source: https://docs.kie.ai/market/common/get-task-detail, …/market/google/nanobanana2, …/market/kling/text-to-video
(read 2026-11 in copies); what the documents leave out is from public code, with its date beside it.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import JobProvider, job_of
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RequestRejected,
    ServerFault,
)
from providers.transport.json_fields import decode_object, get_path, text_at, urls_in
from providers.types import Call, Job, MediaResult, Prompt, UnknownPolicy

GENERATION_FAILED = 501


class KieTask(JobProvider):
    """Tasks in the envelope {code, msg, data}. Errors come with HTTP 200 too, so the code in the body decides.

    The ids are the provider's own and there is no list of tasks, so a submission whose answer was lost stays lost.
    Tasks cannot be cancelled.
    """

    slug = "kie"
    output_hosts = (".aiquickdraw.com",)  # tempfile.… and file.…, seen in public code only (2026-09)
    rules = (
        # "Credits insufficient" was seen with 500 as well (2026-05).
        ErrorRule(
            AccessDenied,
            statuses=(422, 500),
            text=r"\bcredits?\b.{0,20}\binsufficient|\binsufficient\b.{0,20}\bcredits?\b",
        ),
        ErrorRule(AccessDenied, statuses=(433,)),  # this key has a limit of its own
        ErrorRule(ModelGone, text=r"\bmodel name\b.{0,30}\bnot supported"),  # with 422 (2026-08) or 404 (2026-09)
        ErrorRule(ModelGone, statuses=(505,)),  # the feature is switched off
        ErrorRule(
            ContentRefused,
            statuses=(200, 400, 422, 500, 501),
            text=r"\b(nsfw|moderat\w+|sensitive|flagged|prohibited|violat\w+|content polic\w+)\b",
        ),
        ErrorRule(ServerFault, statuses=(455, GENERATION_FAILED)),  # under maintenance; failed, and no task is left
        # 500 also stands for an input that a model does not take (2026-10).
        ErrorRule(RequestRejected, statuses=(500,), text=r"\b(is|are) required\b|\brange of allowed options\b"),
    )

    def build(self, prompt: Prompt) -> Call:
        return Call("/api/v1/jobs/createTask", json={"model": prompt.model, "input": self.inputs(prompt)})

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        """Return the fields of the model's own input."""
        raise NotImplementedError

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        reply = super().parse_error(status, body)
        return ErrorReply(reply.status, reply.codes, text_at(body, "msg") or reply.text)

    def has_error(self, body: Mapping[str, Any]) -> bool:
        # A failed task may bring the code of its failure along, and parse_job() knows what became of it.
        return body.get("code") != 200 and not _is_failed(body)

    def poll_call(self, job_id: str) -> Call:
        return Call(f"/api/v1/jobs/recordInfo?taskId={quote(job_id, safe='')}", method="GET")

    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        if _is_failed(body):
            task = body.get("data")
            said = text_at(task, "failMsg") or text_at(body, "msg") or "fail"
            raise self.job_failure(prompt, ErrorReply(200, (text_at(task, "failCode"),), said))
        task = body.get("data")
        job = job_of(get_path(task, "taskId"))
        if text_at(task, "state") != "success":  # none yet, or "waiting", "queuing", "generating"
            return job
        urls = _outputs_of(task)
        if not urls:
            raise OutcomeUnknown("success without an output", ends_job=True)
        return MediaResult(url=urls[0], usage=self.used(prompt), model=prompt.model, job_id=job.id)


def _is_failed(body: Mapping[str, Any]) -> bool:
    return text_at(body, "data", "state") == "fail" or body.get("code") == GENERATION_FAILED


def _outputs_of(task: Any) -> list[str]:
    """Return the addresses in the JSON that a task holds as a string."""
    try:
        return urls_in(decode_object(text_at(task, "resultJson")).get("resultUrls"))
    except ValueError:
        return []


class KieImage(KieTask):
    """Nano Banana 2 and its kin; other families of models have other fields."""

    first_poll_seconds = 3.0
    max_poll_seconds = 5.0
    aspect_ratios = frozenset(
        {"1:1", "1:4", "1:8", "2:3", "3:2", "3:4", "4:1", "4:3", "4:5", "5:4", "8:1", "9:16", "16:9", "21:9"}
    )

    default_aspect_ratio = "1:1"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "prompt": prompt.text,
            "aspect_ratio": self.aspect_ratio_of(prompt),
            "resolution": "1K",  # the price is that of 1K
            "output_format": "png",
        }


class KieVideo(KieTask):
    """Kling 2.6, silent: with sound it costs twice as much."""

    unknown_policy = UnknownPolicy.STOP
    first_poll_seconds = 10.0
    lengths = (5, 10)
    aspect_ratios = frozenset({"1:1", "16:9", "9:16"})
    default_aspect_ratio = "16:9"

    def inputs(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "prompt": prompt.text,
            "sound": False,
            "aspect_ratio": self.aspect_ratio_of(prompt),
            "duration": str(self.seconds_of(prompt)),  # a string here
        }

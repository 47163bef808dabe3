"""PiAPI's chat, and its tasks: another key header, an envelope with a code of its own, statuses in any capitals.

Source: https://piapi.ai/docs/unified-api-schema (read 2026-11).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest
from providers.sandbox.fake_jobs import FakeJob, JobPhase, iso_time
from providers.sandbox.field_rules import (
    INTEGER,
    NUMBER,
    OBJECT,
    PROMPT,
    SWITCH,
    TEXT,
    FieldRule,
    between,
    check_fields,
    one_of,
)
from providers.sandbox.formats.openai_chat import OpenAICompatibleVendor
from providers.sandbox.vendor_base import PAID_IN, Answered, Endpoint, SandboxModel
from providers.types import Category, Usage

TASK_PATH = "/api/v1/task"
ACCOUNT_PATH = "/account/info"
POINTS_PER_USD = 10_000_000  # its own money; what a point costs is in no document
MAX_AREA = 1024 * 1024  # pixels
NO_TIME = "0001-01-01T00:00:00Z"
STATUSES = dict(zip(JobPhase, ("Pending", "Staged", "Processing", "Completed", "Failed", "Failed"), strict=True))
FIELDS = {
    "model": PROMPT,
    "task_type": PROMPT,
    "input": FieldRule(dict, is_required=True),
    "config": FieldRule(dict, fields={"service_mode": one_of("public", "private", "")}),
}
FLUX = SandboxModel(
    Category.IMAGE,
    {
        "prompt": PROMPT,
        "negative_prompt": TEXT,
        "width": between(64, 1024),
        "height": between(64, 1024),
        "batch_size": between(1, 4),
        "guidance_scale": NUMBER,
        "steps": INTEGER,
        "seed": INTEGER,
    },
    kind="txt2img",
)
KLING = SandboxModel(
    Category.VIDEO,
    {
        "prompt": PROMPT,
        "negative_prompt": TEXT,
        "version": TEXT,
        "duration": between(3, 15),
        "aspect_ratio": one_of("16:9", "9:16", "1:1"),
        "mode": one_of("std", "pro"),
        "enable_audio": SWITCH,
        "image_url": TEXT,
    },
    kind="video_generation",
)
LUMA = SandboxModel(
    Category.VIDEO,
    {
        "prompt": PROMPT,
        "duration": one_of(5, 10),
        "aspect_ratio": one_of("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"),
        "key_frames": OBJECT,
    },
    kind="video_generation",
)
UDIO = SandboxModel(
    Category.AUDIO,
    {
        "gpt_description_prompt": PROMPT,
        "lyrics": TEXT,
        "lyrics_type": one_of("generate", "user", "instrumental", is_required=True),
        "negative_tags": TEXT,
        "seed": INTEGER,
    },
    kind="generate_music",
)


class PiapiVendor(OpenAICompatibleVendor):
    """OpenAI's shape for text. Tasks fail inside a 200, and so does one without credit. Outputs are kept for days."""

    slug = "piapi"
    other_models = (
        *("gpt-5", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "claude-opus-4-6", "claude-sonnet-4-6"),
        "gemini-2.5-flash-nothinking",
    )
    media_models = {
        "Qubico/flux1-schnell": FLUX,
        "Qubico/flux1-dev": FLUX,
        "kling": KLING,
        "kling-turbo": KLING,
        "luma": LUMA,
        "music-u": UDIO,
    }
    refusal_text = "failure to pass the risk control system"
    crash_text = "the task has crashed, please try again later"
    kept = timedelta(days=3)
    always_sends_usage = True
    stream_prefix = "\n"  # its keep-alives are blank lines
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "invalid_request", "missing api key"),
        Problem.WRONG_KEY: ErrorText(401, "invalid_api_key", "invalid api key {}"),
        Problem.NO_SUCH_PATH: ErrorText(404, "not_found", "{}: page not found"),
        Problem.UNKNOWN_MODEL: ErrorText(404, "model_not_found", "the model {} does not exist"),
        Problem.INVALID: ErrorText(400, "invalid_request", "invalid parameters: {}"),
        Problem.UNSUPPORTED: ErrorText(400, "invalid_request", "invalid parameters: {} is not supported"),
        Problem.RATE_LIMITED: ErrorText(429, "rate_limit", "too many requests, please try again later"),
        # The envelope's code says what the status does not.
        Problem.NO_CREDIT: ErrorText(200, "402", "insufficient credits, please top up your account"),
        Problem.DOWN: ErrorText(503, "unavailable", "the service is temporarily unavailable"),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            *super().endpoints(),
            Endpoint("POST", TASK_PATH, self.submit, is_submission=True),
            Endpoint("GET", f"{TASK_PATH}/{{id}}", self.show),
            Endpoint("DELETE", f"{TASK_PATH}/{{id}}", self.cancel),
            Endpoint("GET", ACCOUNT_PATH, self.show_account),
        )

    def sent_key(self, request: VendorRequest) -> str:
        return request.headers.get("x-api-key", "") if _is_of_tasks(request) else super().sent_key(request)

    def refuse(self, request: VendorRequest, refusal: VendorRefusal) -> VendorReply:
        if refusal.problem is Problem.NO_SUCH_PATH and not _is_of_tasks(request):
            return VendorReply(404, b"404 page not found", content_type="text/plain")
        return super().refuse(request, refusal)

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        if not _is_of_tasks(request):
            return super().error_body(request, text, message, param)
        if text.status == 200:
            return {"code": int(text.code), "message": message, "data": {}}
        return {"code": text.status, "message": message, "data": None}

    def error_in_200(self, request: VendorRequest) -> dict[str, Any]:
        return {"code": 500, "message": self.error_texts[Problem.DOWN].message, "data": None}

    def submit(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        check_fields(body, FIELDS)
        name, given = body["model"], body["input"]
        model = self.media_models.get(name)
        if model is None or body["task_type"] != model.kind:
            raise VendorRefusal(Problem.INVALID, f"model {name} has no task_type {body['task_type']}")
        check_fields(given, model.fields, within="input")
        if given.get("width", 1024) * given.get("height", 1024) > MAX_AREA:
            raise VendorRefusal(Problem.INVALID, "width * height is too large")
        prompt = given["gpt_description_prompt" if model is UDIO else "prompt"]
        count, seconds = given.get("batch_size", 1), given.get("duration", 5)
        usage, names = {
            Category.IMAGE: (Usage(images=count), [f"{number}.png" for number in range(count)]),
            Category.VIDEO: (Usage(seconds=Decimal(seconds)), ["video.mp4"]),
            Category.AUDIO: (Usage(), ["song.mp3"]),
        }[model.category]
        task = self.generate(request, name, usage, prompt=prompt, file_names=names, input=given)
        reply = self._envelope(request, task, task.created_at)
        reply["data"]["status"] = "pending"  # in small letters here, with a capital later
        return VendorReply(200, reply), self.line_of(task)

    def show(self, request: VendorRequest, task_id: str) -> Answered:
        return VendorReply(200, self._envelope(request, self.known_job(task_id), self.services.clock())), None

    def cancel(self, request: VendorRequest, task_id: str) -> Answered:
        task, moment = self.known_job(task_id), self.services.clock()
        if self.media_models[task.model] is not KLING or task.is_started(moment):
            raise VendorRefusal(Problem.INVALID, "only pending tasks of some models can be cancelled")
        task.cancel(moment)
        task.error = "task cancelled"
        return VendorReply(200, self._envelope(request, task, moment)), self.line_of(task)

    def _envelope(self, request: VendorRequest, task: FakeJob, moment: datetime) -> dict[str, Any]:
        is_over = task.is_over(moment)
        error = task.error if is_over else ""
        points = int((task.cost or Decimal(0)) * POINTS_PER_USD)
        data: dict[str, Any] = {
            "task_id": task.id,
            "model": task.model,
            "task_type": self.media_models[task.model].kind,
            "status": STATUSES[task.phase(moment)],
            "config": {"service_mode": "public", "webhook_config": {"endpoint": "", "secret": ""}},
            "input": task.input,
            "output": self._output(request, task) if task.has_files(moment) else None,
            "meta": {
                "created_at": iso_time(task.created_at),
                "started_at": iso_time(task.starts_at) if task.is_started(moment) else NO_TIME,
                "ended_at": iso_time(task.ends_at) if is_over else NO_TIME,
                "usage": {
                    "type": "point",
                    "frozen": 0 if is_over else points,
                    "consume": points if is_over and task.is_billed else 0,
                },
                "is_using_private_pool": False,
            },
            "detail": None,
            "logs": [],
            # It is there on success too, and empty then.
            "error": {"code": 10000 if error else 0, "raw_message": "", "message": error, "detail": None},
        }
        return {"code": 200, "message": "success", "data": data}

    def _output(self, request: VendorRequest, task: FakeJob) -> dict[str, Any]:
        addresses = self.addresses(request, task)
        if task.category is Category.VIDEO:
            return {"type": "m2v_txt2video", "status": 99, "video_url": "".join(addresses), "works": []}
        if task.category is Category.AUDIO:
            return {"audio_url": "".join(addresses)}
        # Several images have another place than one.
        is_one = len(addresses) < 2
        return {
            "image_url": "".join(addresses) if is_one else "",
            "image_urls": None if is_one else addresses,
            "temporary_image_urls": None,
        }

    def show_account(self, request: VendorRequest) -> Answered:
        account = {"account_name": "sandbox", "plan": "creator", "equivalent_in_usd": float(PAID_IN - self.charged)}
        return VendorReply(200, {"code": 200, "data": account, "message": "success"}), None


def _is_of_tasks(request: VendorRequest) -> bool:
    return f"{request.path}/".startswith((f"{TASK_PATH}/", f"{ACCOUNT_PATH}/"))

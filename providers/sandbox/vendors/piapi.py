"""PiAPI's tasks beside its chat: another key header, an envelope with a code of its own, states in any capitals.

Source: https://piapi.ai/docs/unified-api-schema (read 2026-11).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from providers.sandbox.billing import cost_of_usage
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import PROMPT, TEXT, Field, check_fields, refuse_unknown
from providers.sandbox.formats.media import Answered, Order, Route, WithMedia, stamp
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    Call,
    Problem,
    Refused,
    Reply,
    Wording,
    is_word_in,
    json_of,
)
from providers.sandbox.vendors.text_vendors import Piapi
from providers.types import Category, Usage

TASK_PATH = "/api/v1/task"
POINTS_PER_USD = 10_000_000  # its own money; what a point costs is in no document
LARGEST_AREA = 1024 * 1024
REFUSAL = "failure to pass the risk control system"
CRASH = "the task has crashed, please try again later"
FIELDS = {
    "model": PROMPT,
    "task_type": PROMPT,
    "input": Field(dict, is_required=True),
    "config": Field(dict),
}


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its kind of task and what it takes."""

    category: Category
    task_type: str
    fields: Mapping[str, Field]
    can_be_cancelled: bool = False


FLUX = Model(
    Category.IMAGE,
    "txt2img",
    {
        "prompt": PROMPT,
        "negative_prompt": TEXT,
        "width": Field(int, range(64, 1025)),
        "height": Field(int, range(64, 1025)),
        "batch_size": Field(int, range(1, 5)),
        "guidance_scale": Field(float),
        "steps": Field(int),
        "seed": Field(int),
    },
)
KLING = Model(
    Category.VIDEO,
    "video_generation",
    {
        "prompt": PROMPT,
        "negative_prompt": TEXT,
        "version": TEXT,
        "duration": Field(int, range(3, 16)),
        "aspect_ratio": Field(str, ("16:9", "9:16", "1:1")),
        "mode": Field(str, ("std", "pro")),
        "enable_audio": Field(bool),
        "image_url": TEXT,
    },
    can_be_cancelled=True,
)
LUMA = Model(
    Category.VIDEO,
    "video_generation",
    {
        "prompt": PROMPT,
        "duration": Field(int, (5, 10)),
        "aspect_ratio": Field(str, ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21")),
        "key_frames": Field(dict),
    },
)
UDIO = Model(
    Category.AUDIO,
    "generate_music",
    {
        "gpt_description_prompt": PROMPT,
        "lyrics": TEXT,
        "lyrics_type": Field(str, ("generate", "user", "instrumental"), is_required=True),
        "negative_tags": TEXT,
        "seed": Field(int),
    },
)
MODELS: Mapping[str, Model] = {
    "Qubico/flux1-schnell": FLUX,
    "Qubico/flux1-dev": FLUX,
    "kling": KLING,
    "kling-turbo": KLING,
    "luma": LUMA,
    "music-u": UDIO,
}


class PiapiWithTasks(WithMedia, Piapi):
    """Tasks fail inside a 200, and so does an order without credit. Outputs are there for days."""

    kept = timedelta(days=3)
    wordings = {
        **Piapi.wordings,
        # The envelope's code says what its status does not.
        Problem.NO_CREDIT: Wording(200, "402", "insufficient credits, please top up your account"),
    }

    def routes(self) -> Sequence[Route]:
        return (
            ("POST", TASK_PATH, self._order),
            ("GET", rf"{TASK_PATH}/([\w-]+)", self._show),
            ("DELETE", rf"{TASK_PATH}/([\w-]+)", self._cancel),
        )

    def sent_key(self, call: Call) -> str:
        return call.headers.get("x-api-key", "") if _is_of_tasks(call) else super().sent_key(call)

    def refuse(self, call: Call, refusal: Refused) -> Reply:
        if refusal.problem is Problem.NO_SUCH_PATH and not _is_of_tasks(call):
            return Reply(404, b"404 page not found", content_type="text/plain")
        return super().refuse(call, refusal)

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        if not _is_of_tasks(call):
            return super().error_body(call, wording, message, param)
        if wording.status == 200:
            return {"code": int(wording.code), "message": message, "data": {}}
        return {"code": wording.status, "message": message, "data": None}

    def _order(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        check_fields(body, FIELDS)
        refuse_unknown(body, FIELDS)
        name, wish = body["model"], body["input"]
        model = MODELS.get(name)
        if model is None or body["task_type"] != model.task_type:
            raise Refused(Problem.INVALID, f"model {name} has no task_type {body['task_type']}")
        check_fields(body.get("config", {}), {"service_mode": Field(str, ("public", "private", ""))}, within="config")
        check_fields(wish, model.fields, within="input")
        refuse_unknown(wish, model.fields)
        if wish.get("width", 1024) * wish.get("height", 1024) > LARGEST_AREA:
            raise Refused(Problem.INVALID, "width * height is too large")
        prompt = wish["gpt_description_prompt" if model is UDIO else "prompt"]
        if is_word_in(PENNILESS, prompt):
            raise Refused(Problem.NO_CREDIT)
        usage, is_film = _usage_of(model, wish), model.category is Category.VIDEO
        task = self.take(
            name,
            model.category,
            usage=usage,
            cost=cost_of_usage(model.category, self.slug, usage),
            prompt=prompt,
            file_names=() if fault == Fault.EMPTY else _file_names(model, usage),
            work=self.film_work if is_film else self.quick_work,
            error=_error_of(prompt, fault),
            sides=(wish.get("width", 1024), wish.get("height", 1024)),
            wish=wish,
        )
        taken = self._envelope(call, task, task.created_at)
        taken["data"]["status"] = "pending"  # in small letters here, with a capital later
        # Of all answers only this one is cut: so the id is lost, and a task without an id cannot be found.
        return Reply(200, taken, is_cut=fault == Fault.CUT), self.line_of(task)

    def _show(self, call: Call, fault: Fault | None, task_id: str) -> Answered:
        return Reply(200, self._envelope(call, self.known(task_id), self.clock())), None

    def _cancel(self, call: Call, fault: Fault | None, task_id: str) -> Answered:
        task, moment = self.known(task_id), self.clock()
        if not MODELS[task.model].can_be_cancelled or task.is_started(moment):
            raise Refused(Problem.INVALID, "only pending tasks of some models can be cancelled")
        task.cancel(moment)
        task.error = "task cancelled"
        return Reply(200, self._envelope(call, task, moment)), self.line_of(task)

    def _envelope(self, call: Call, task: Order, moment: datetime) -> dict[str, Any]:
        is_over = task.is_over(moment)
        error = task.error if is_over else ""
        points = int((task.cost or Decimal(0)) * POINTS_PER_USD)
        data: dict[str, Any] = {
            "task_id": task.id,
            "model": task.model,
            "task_type": MODELS[task.model].task_type,
            "status": _status_of(task, moment),
            "config": {"service_mode": "public", "webhook_config": {"endpoint": "", "secret": ""}},
            "input": task.input,
            "output": self._output(call, task) if task.has_files(moment) else None,
            "meta": {
                "created_at": stamp(task.created_at),
                "started_at": stamp(task.starts_at) if task.is_started(moment) else "0001-01-01T00:00:00Z",
                "ended_at": stamp(task.ends_at) if is_over else "0001-01-01T00:00:00Z",
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

    def _output(self, call: Call, task: Order) -> dict[str, Any]:
        addresses = self.addresses(call, task)
        if task.category is Category.VIDEO:
            return {"type": "m2v_txt2video", "status": 99, "video_url": "".join(addresses), "works": []}
        if task.category is Category.AUDIO:
            return {"audio_url": "".join(addresses)}
        # Several pictures have another place than one.
        is_one = len(addresses) < 2
        return {
            "image_url": "".join(addresses) if is_one else "",
            "image_urls": None if is_one else addresses,
            "temporary_image_urls": None,
        }


def _is_of_tasks(call: Call) -> bool:
    return f"{call.path}/".startswith(f"{TASK_PATH}/")


def _status_of(task: Order, moment: datetime) -> str:
    if task.is_over(moment):
        return "Completed" if task.is_billed else "Failed"
    if task.is_started(moment):
        return "Processing"
    return "Staged" if moment - task.created_at >= (task.starts_at - task.created_at) / 2 else "Pending"


def _usage_of(model: Model, wish: Mapping[str, Any]) -> Usage:
    if model.category is Category.VIDEO:
        return Usage(seconds=Decimal(wish.get("duration", 5)))
    if model.category is Category.AUDIO:
        return Usage()
    return Usage(images=wish.get("batch_size", 1))


def _file_names(model: Model, usage: Usage) -> list[str]:
    if model.category is Category.AUDIO:
        return ["song.mp3"]
    return ["film.mp4"] if model.category is Category.VIDEO else [f"{number}.png" for number in range(usage.images)]


def _error_of(prompt: str, fault: Fault | None) -> str:
    if is_word_in(FORBIDDEN, prompt):
        return REFUSAL
    return CRASH if fault == Fault.ERROR_IN_200 else ""

"""Kie.ai: tasks of many makers' models. Every answer comes with HTTP 200, and a code of its own in the body.

Source: https://docs.kie.ai/market/common/get-task-detail (read 2026-11).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.billing import Line, cost_of_usage
from providers.sandbox.fake_files import content_of, content_type_of, sides_of
from providers.sandbox.fake_jobs import Clock, Jobs
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import TEXT, Field, check_fields, refuse_unknown
from providers.sandbox.formats.media import FILE, Answered, Order
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    Call,
    Problem,
    Refused,
    Reply,
    Vendor,
    Wording,
    bearer_of,
    is_word_in,
    json_of,
    model_in,
    new_id,
)
from providers.types import Category, Usage

ORDER_PATH = "/api/v1/jobs/createTask"
STATE_PATH = "/api/v1/jobs/recordInfo"
FIELDS = {"model": TEXT, "input": Field(dict, is_required=True), "callBackUrl": TEXT}
REFUSAL = "Your prompt was flagged as violating the content policies."
CRASH = "internal error, please try again later."


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it makes and what it takes."""

    category: Category
    fields: Mapping[str, Field]


PICTURE = Model(
    Category.IMAGE,
    {
        "prompt": Field(str, is_required=True, longest=20_000),
        "image_input": Field(list),
        "google_search": Field(bool),
        "aspect_ratio": Field(
            str,
            (
                *("1:1", "1:4", "1:8", "2:3", "3:2", "3:4", "4:1", "4:3"),
                *("4:5", "5:4", "8:1", "9:16", "16:9", "21:9", "auto"),
            ),
        ),
        "resolution": Field(str, ("1K", "2K", "4K")),
        "output_format": Field(str, ("png", "jpg")),
    },
)
FILM = Model(
    Category.VIDEO,
    {
        "prompt": Field(str, is_required=True, longest=1000),
        "sound": Field(bool, is_required=True),
        "aspect_ratio": Field(str, ("1:1", "16:9", "9:16"), is_required=True),
        "duration": Field(str, ("5", "10"), is_required=True),
    },
)
MODELS: Mapping[str, Model] = {"nano-banana-2": PICTURE, "kling-2.6/text-to-video": FILM}


class Kie(Vendor):
    """Tasks have ids of the vendor's own, and none can be found without its id. Outputs are there for a day."""

    slug = "kie"
    label = "Kie.ai"
    models = tuple(MODELS)
    order_path = ORDER_PATH
    wordings = {
        Problem.NO_KEY: Wording(200, "401", "You do not have access permissions"),
        Problem.WRONG_KEY: Wording(200, "401", "The key {} is not valid"),
        Problem.NO_SUCH_PATH: Wording(200, "404", "Not Found"),
        Problem.UNKNOWN_MODEL: Wording(200, "422", "The model name you specified is not supported."),
        Problem.INVALID: Wording(200, "422", "{}"),
        Problem.UNSUPPORTED: Wording(200, "422", "{} is not a field of this model"),
        Problem.NO_CREDIT: Wording(200, "402", "Credits insufficient"),
        Problem.RATE_LIMITED: Wording(200, "429", "Your call frequency is too high. Please try again later."),
        Problem.DOWN: Wording(200, "455", "The service is under maintenance"),
    }

    def __init__(self, *, film_seconds: float, quick_seconds: float, clock: Clock) -> None:
        self._work = {
            Category.VIDEO: timedelta(seconds=film_seconds),
            Category.IMAGE: timedelta(seconds=quick_seconds),
        }
        self._clock = clock
        self._tasks: Jobs[Order] = Jobs()

    def sent_key(self, call: Call) -> str:
        return bearer_of(call)

    def respond(self, call: Call, fault: Fault | None) -> Answered:
        file = FILE.fullmatch(call.path)
        if file and call.method == "GET":
            return self._file(*file.groups()), None
        try:
            self.check_fault(call, fault)
            self.check_key(call)
            if (call.method, call.path) == ("POST", ORDER_PATH):
                return self._order(call, fault)
            if (call.method, call.path) == ("GET", STATE_PATH):
                return self._show(call)
            raise Refused(Problem.NO_SUCH_PATH)
        except Refused as refusal:
            return self.refuse(call, refusal), self.unbilled(call)

    def unbilled(self, call: Call) -> Line | None:
        return self.free_line(model_in(call)) if call.path == ORDER_PATH else None

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        return {"code": int(wording.code), "msg": message, "data": None}

    def _order(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        name = self.check_model(body.get("model"))
        check_fields(body, FIELDS)
        refuse_unknown(body, FIELDS)
        model, wish = MODELS[name], body["input"]
        check_fields(wish, model.fields, within="input")
        refuse_unknown(wish, model.fields)
        if is_word_in(PENNILESS, wish["prompt"]):
            raise Refused(Problem.NO_CREDIT)
        task = self._take(name, wish, fault)
        # Of all answers only this one is cut: so the id is lost, and a task without an id cannot be found.
        taken = {"code": 200, "msg": "success", "data": {"taskId": task.id}}
        return Reply(200, taken, is_cut=fault == Fault.CUT), self._line_of(task)

    def _take(self, name: str, wish: Mapping[str, Any], fault: Fault | None) -> Order:
        category = MODELS[name].category
        is_film, ratio = category is Category.VIDEO, wish.get("aspect_ratio", "auto")
        usage = Usage(seconds=Decimal(wish["duration"])) if is_film else Usage(images=1)
        file_name = "film.mp4" if is_film else f"picture.{wish.get('output_format', 'jpg')}"
        task = Order(
            id=new_id("task_"),
            model=name,
            category=category,
            input=wish,
            usage=usage,
            created_at=self._clock(),
            work=self._work[category],
            file_names=() if fault == Fault.EMPTY else (file_name,),
            error=_error_of(wish["prompt"], fault),
            kept=timedelta(days=1),
            is_job=True,
            prompt=wish["prompt"],
            cost=cost_of_usage(category, self.slug, usage),
            sides=sides_of("1:1" if ratio == "auto" else ratio),
        )
        self._tasks.add(task)
        return task

    def _show(self, call: Call) -> Answered:
        task = self._tasks.get(parse_qs(call.query).get("taskId", [""])[0])
        if task is None:
            return Reply(200, {"code": 422, "msg": "recordInfo is null", "data": None}), None
        moment = self._clock()
        is_over = task.is_over(moment)
        is_failed = is_over and bool(task.error)
        addresses = [f"{call.origin}/files/{task.id}/{name}" for name in task.file_names]
        record = {
            "taskId": task.id,
            "model": task.model,
            "state": _state_of(task, moment),
            "param": json.dumps({"model": task.model, "input": task.input}),
            "resultJson": json.dumps({"resultUrls": addresses}) if is_over and not is_failed else "",
            "failCode": "500" if is_failed else "",
            "failMsg": task.error if is_failed else "",
            "costTime": int(task.work.total_seconds() * 1000) if is_over else 0,
            "completeTime": _milliseconds(task.ends_at) if is_over else 0,
            "createTime": _milliseconds(task.created_at),
            "updateTime": _milliseconds(moment),
        }
        return Reply(200, {"code": 200, "msg": "success", "data": record}), None

    def _file(self, task_id: str, name: str) -> Reply:
        task = self._tasks.get(task_id)
        if task is None or name not in task.file_names or not task.has_files(self._clock()):
            return Reply(404, {"message": "Not found."})
        return Reply(200, content_of(name, task.prompt, *task.sides), content_type=content_type_of(name))

    def _line_of(self, task: Order) -> Line:
        return Line(
            provider=self.slug,
            model=task.model,
            usage=task.usage if task.is_billed else None,
            cost=task.cost if task.is_billed else Decimal(0),
            job_id=task.id,
        )


def _state_of(task: Order, moment: datetime) -> str:
    if task.is_over(moment):
        return "fail" if task.error else "success"
    if task.is_started(moment):
        return "generating"
    return "queuing" if moment - task.created_at >= task.work / 6 else "waiting"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _error_of(prompt: str, fault: Fault | None) -> str:
    if is_word_in(FORBIDDEN, prompt):
        return REFUSAL
    return CRASH if fault == Fault.ERROR_IN_200 else ""

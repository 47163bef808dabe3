"""Runware: lists of tasks at one address, named by whoever orders them. Errors may come inside a 200.

Source: https://runware.ai/docs/image-inference/introduction and the official Python SDK (read 2026-11).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from providers.sandbox.billing import Line
from providers.sandbox.fake_files import content_of, content_type_of
from providers.sandbox.fake_jobs import Clock, Jobs
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import PROMPT, TEXT, Field, check_fields, refuse_unknown
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
    new_id,
)
from providers.types import Category, Usage

PATH = "/v1"
SIDES = range(128, 2049, 64)


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it makes, what a picture or a second of it costs in USD, and what it takes."""

    task_type: str
    price: Decimal
    fields: Mapping[str, Field]

    @property
    def category(self) -> Category:
        return Category.VIDEO if self.task_type == "videoInference" else Category.IMAGE


COMMON = {
    "taskType": TEXT,
    "taskUUID": PROMPT,
    "model": TEXT,
    "positivePrompt": Field(str, is_required=True, shortest=2),
    "negativePrompt": TEXT,
    "numberResults": Field(int, range(1, 21)),
    "outputType": Field(str, ("URL", "base64Data", "dataURI")),
    "deliveryMethod": Field(str, ("sync", "async")),
    "includeCost": Field(bool),
    "seed": Field(int),
}
PICTURE = {
    **COMMON,
    "outputFormat": Field(str, ("JPG", "PNG", "WEBP")),
    "width": Field(int, SIDES, is_required=True),
    "height": Field(int, SIDES, is_required=True),
    "steps": Field(int),
    "CFGScale": Field(float),
}
FILM = {**COMMON, "outputFormat": Field(str, ("mp4", "webm", "mov")), "duration": Field(int, (5, 10))}
# The prices are invented; the vendor tells them with each task.
MODELS: Mapping[str, Model] = {
    "runware:400@1": Model("imageInference", Decimal("0.0096"), PICTURE),
    "runware:100@1": Model("imageInference", Decimal("0.0013"), PICTURE),
    "klingai:5@3": Model("videoInference", Decimal("0.0924"), FILM),
}


class Runware(Vendor):
    """Tasks are acknowledged and asked for by their ids; one that nobody has heard of is an error inside a 200."""

    slug = "runware"
    label = "Runware"
    models = tuple(MODELS)
    order_path = PATH
    wordings = {
        Problem.NO_KEY: Wording(401, "missingApiKey", "No API key was provided."),
        Problem.WRONG_KEY: Wording(401, "invalidApiKey", "The API key {} is invalid."),
        Problem.NO_SUCH_PATH: Wording(404, "notFound", "{} does not exist."),
        Problem.UNKNOWN_MODEL: Wording(400, "invalidModel", "The model {} does not exist or is not available."),
        Problem.INVALID: Wording(400, "invalidParameter", "{}"),
        Problem.UNSUPPORTED: Wording(400, "unsupportedParameter", "The parameter {} is not supported."),
        Problem.NO_CREDIT: Wording(402, "insufficientCredits", "There are not enough credits in this account."),
        Problem.REFUSED_CONTENT: Wording(
            200, "providerContentPolicyViolation", "The request was flagged by the content policy."
        ),
        Problem.RATE_LIMITED: Wording(429, "rateLimitExceeded", "Too many requests."),
        Problem.DOWN: Wording(503, "serviceUnavailable", "The service is temporarily unavailable."),
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
            if (call.method, call.path.rstrip("/")) != ("POST", PATH):
                raise Refused(Problem.NO_SUCH_PATH, call.path)
            task = _task_of(call)
            if task.get("taskType") == "getResponse":
                return Reply(200, self._state_of(call, str(task.get("taskUUID")))), None
            return self._order(call, fault, task)
        except Refused as refusal:
            return self.refuse(call, refusal), self.unbilled(call)

    def unbilled(self, call: Call) -> Line | None:
        try:
            task = _task_of(call)
        except Refused:
            return self.free_line("")
        return None if task.get("taskType") == "getResponse" else self.free_line(str(task.get("model", "")))

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        return {"errors": [{"code": wording.code, "message": message, **({"parameter": param} if param else {})}]}

    def _order(self, call: Call, fault: Fault | None, task: Mapping[str, Any]) -> Answered:
        model = MODELS.get(str(task.get("model")))
        if model is None or task.get("taskType") != model.task_type:
            raise Refused(Problem.UNKNOWN_MODEL, str(task.get("model")), "model")
        check_fields(task, model.fields)
        refuse_unknown(task, model.fields)
        if not _is_version_4(task["taskUUID"]):
            raise Refused(Problem.INVALID, "taskUUID must be a UUID v4", "taskUUID")
        if is_word_in(PENNILESS, task["positivePrompt"]):
            raise Refused(Problem.NO_CREDIT)
        # An id that is there already is the same task: it is neither made nor billed a second time.
        order = self._tasks.get(task["taskUUID"]) or self._take(task, model, fault)
        body = {"data": [{"taskType": model.task_type, "taskUUID": order.id}]}
        # Of all answers only this one is cut, after the task was taken.
        return Reply(200, body, is_cut=fault == Fault.CUT), self._line_of(order)

    def _take(self, task: Mapping[str, Any], model: Model, fault: Fault | None) -> Order:
        is_film, count = model.category is Category.VIDEO, task.get("numberResults", 1)
        usage = Usage(seconds=Decimal(task.get("duration", 5))) if is_film else Usage(images=count)
        ending = task.get("outputFormat", "mp4" if is_film else "JPG").lower()
        order = Order(
            id=task["taskUUID"],
            model=task["model"],
            category=model.category,
            input=task,
            usage=usage,
            created_at=self._clock(),
            work=self._work[model.category],
            file_names=() if fault == Fault.EMPTY else tuple(f"{number}.{ending}" for number in range(count)),
            error=_error_of(task["positivePrompt"], fault),
            is_job=True,
            prompt=task["positivePrompt"],
            cost=model.price * (usage.seconds or usage.images),
            sides=(task.get("width", 0), task.get("height", 0)),
        )
        self._tasks.add(order)
        return order

    def _state_of(self, call: Call, task_id: str) -> dict[str, Any]:
        order, moment = self._tasks.get(task_id), self._clock()
        if order is None:
            return _failed(task_id, "taskFailedOrNotFound", "The task has failed or was not found.")
        model = MODELS[order.model]
        item: dict[str, Any] = {"taskType": model.task_type, "taskUUID": order.id}
        if not order.is_over(moment):
            return {"data": [{**item, "status": "processing"}]}
        if order.error:
            wording = self.wordings[Problem.REFUSED_CONTENT]
            is_refused = order.error == wording.code
            return _failed(task_id, order.error, wording.message if is_refused else "The inference has failed.")
        kind = "video" if model.category is Category.VIDEO else "image"
        cost = {"cost": float(order.cost or 0)} if order.input.get("includeCost") else {}
        addresses = [f"{call.origin}/files/{order.id}/{name}" for name in order.file_names]
        done = {**item, "status": "success", **cost}
        return {"data": [{**done, f"{kind}UUID": new_id(""), f"{kind}URL": address} for address in addresses] or [done]}

    def _file(self, task_id: str, name: str) -> Reply:
        order = self._tasks.get(task_id)
        if order is None or name not in order.file_names or not order.has_files(self._clock()):
            return Reply(404, {"message": "Not found."})
        return Reply(200, content_of(name, order.prompt, *order.sides), content_type=content_type_of(name))

    def _line_of(self, order: Order) -> Line:
        return Line(
            provider=self.slug,
            model=order.model,
            usage=order.usage if order.is_billed else None,
            cost=order.cost if order.is_billed else Decimal(0),
            job_id=order.id,
        )


def _task_of(call: Call) -> Mapping[str, Any]:
    """Return the only task of a call: the sandbox takes one at a time. Raises Refused."""
    try:
        tasks = json.loads(call.body)
    except ValueError as error:
        raise Refused(Problem.INVALID, "The body is no JSON.") from error
    if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], dict):
        raise Refused(Problem.INVALID, "The body must be an array with one task.")
    return tasks[0]


def _is_version_4(text: str) -> bool:
    try:
        return UUID(text).version == 4
    except ValueError:
        return False


def _error_of(prompt: str, fault: Fault | None) -> str:
    if is_word_in(FORBIDDEN, prompt):
        return Runware.wordings[Problem.REFUSED_CONTENT].code
    return "inferenceError" if fault == Fault.ERROR_IN_200 else ""


def _failed(task_id: str, code: str, message: str) -> dict[str, Any]:
    return {"data": [], "errors": [{"code": code, "status": "error", "message": message, "taskUUID": task_id}]}

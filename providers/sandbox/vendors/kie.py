"""Kie.ai: tasks of many makers' models. Every answer comes with HTTP 200, and a code of its own in the body.

Source: https://docs.kie.ai/market/common/get-task-detail (read 2026-11).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.fake_jobs import JobPhase
from providers.sandbox.field_rules import ARRAY, SWITCH, TEXT, FieldRule, check_fields, one_of, prompt_of
from providers.sandbox.vendor_base import PAID_IN, Answered, Endpoint, SandboxModel, SandboxVendor
from providers.types import Category, Usage

STATES = dict(zip(JobPhase, ("waiting", "queuing", "generating", "success", "fail", "fail"), strict=True))
CREDITS_OF_A_DOLLAR = 200
FIELDS = {"model": TEXT, "input": FieldRule(dict, is_required=True), "callBackUrl": TEXT}
RATIOS = (
    *("1:1", "1:4", "1:8", "2:3", "3:2", "3:4", "4:1", "4:3", "4:5", "5:4", "8:1", "9:16", "16:9", "21:9"),
    "auto",
)
NANO_BANANA = SandboxModel(
    Category.IMAGE,
    {
        "prompt": prompt_of(20_000),
        "image_input": ARRAY,
        "google_search": SWITCH,
        "aspect_ratio": one_of(*RATIOS),
        "resolution": one_of("1K", "2K", "4K"),
        "output_format": one_of("png", "jpg"),
    },
)
KLING = SandboxModel(
    Category.VIDEO,
    {
        "prompt": prompt_of(1000),
        "sound": FieldRule(bool, is_required=True),
        "aspect_ratio": one_of("1:1", "16:9", "9:16", is_required=True),
        "duration": one_of("5", "10", is_required=True),
    },
)


class KieVendor(SandboxVendor):
    """Tasks have ids of the vendor's own, and none can be found without its id. Outputs are there for a day."""

    slug = "kie"
    media_models = {"nano-banana-2": NANO_BANANA, "kling-2.6/text-to-video": KLING}
    refusal_text = "Your prompt was flagged as violating the content policies."
    crash_text = "internal error, please try again later."
    kept = timedelta(days=1)
    error_texts = {
        Problem.NO_KEY: ErrorText(200, "401", "You do not have access permissions"),
        Problem.WRONG_KEY: ErrorText(200, "401", "The key {} is not valid"),
        Problem.NO_SUCH_PATH: ErrorText(200, "404", "Not Found"),
        Problem.UNKNOWN_MODEL: ErrorText(200, "422", "The model name you specified is not supported."),
        Problem.INVALID: ErrorText(200, "422", "{}"),
        Problem.UNSUPPORTED: ErrorText(200, "422", "{} is not a field of this model"),
        Problem.NO_CREDIT: ErrorText(200, "402", "Credits insufficient"),
        Problem.RATE_LIMITED: ErrorText(200, "429", "Your call frequency is too high. Please try again later."),
        Problem.DOWN: ErrorText(200, "455", "The service is under maintenance"),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("POST", "/api/v1/jobs/createTask", self.submit, is_submission=True),
            Endpoint("GET", "/api/v1/jobs/recordInfo", self.show),
            Endpoint("GET", "/api/v1/chat/credit", self.show_credits),
        )

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        return {"code": int(text.code), "msg": message, "data": None}

    def show_credits(self, request: VendorRequest) -> Answered:
        left = round((PAID_IN - self.charged) * CREDITS_OF_A_DOLLAR)
        return VendorReply(200, {"code": 200, "msg": "success", "data": left}), None

    def submit(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        check_fields(body, FIELDS)
        name, given = str(body.get("model")), body["input"]
        if name not in self.media_models:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, name, "model")
        check_fields(given, self.media_models[name].fields, within="input")
        if self.media_models[name] is KLING:
            usage, file_name = Usage(seconds=Decimal(given["duration"])), "video.mp4"
        else:
            usage, file_name = Usage(images=1), f"image.{given.get('output_format', 'jpg')}"
        task_id, prompt = new_id("task_"), given["prompt"]
        task = self.generate(request, name, usage, prompt=prompt, file_names=[file_name], job_id=task_id, input=given)
        return VendorReply(200, _success({"taskId": task.id})), self.line_of(task)

    def show(self, request: VendorRequest) -> Answered:
        task = self.jobs.get(request.parameter("taskId"))
        if task is None:
            return VendorReply(200, {"code": 422, "msg": "recordInfo is null", "data": None}), None
        moment = self.services.clock()
        phase, is_over = task.phase(moment), task.is_over(moment)
        is_failed = phase is JobPhase.FAILED
        result = json.dumps({"resultUrls": self.addresses(request, task)})
        record = {
            "taskId": task.id,
            "model": task.model,
            "state": STATES[phase],
            "param": json.dumps({"model": task.model, "input": task.input}),
            "resultJson": result if phase is JobPhase.SUCCEEDED else "",
            "failCode": "500" if is_failed else "",
            "failMsg": task.error if is_failed else "",
            "costTime": int(task.work.total_seconds() * 1000) if is_over else 0,
            "completeTime": _milliseconds(task.ends_at) if is_over else 0,
            "createTime": _milliseconds(task.created_at),
            "updateTime": _milliseconds(moment),
        }
        return VendorReply(200, _success(record)), None


def _success(data: dict[str, Any]) -> dict[str, Any]:
    return {"code": 200, "msg": "success", "data": data}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)

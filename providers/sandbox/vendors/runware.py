"""Runware: lists of tasks at one address, with ids of their owner's choice. Errors may come inside a 200.

Source: https://runware.ai/docs/image-inference/introduction and the official Python SDK (read 2026-11).
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from providers.sandbox.billing import BillingLine
from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.fake_jobs import FakeJob, JobPhase
from providers.sandbox.field_rules import INTEGER, NUMBER, OBJECT, PROMPT, SWITCH, TEXT, FieldRule, check_fields, one_of
from providers.sandbox.vendor_base import PAID_IN, Answered, Endpoint, SandboxModel, SandboxVendor
from providers.types import Category, Usage

SIDE = FieldRule(int, range(128, 2049, 64), is_required=True)
COMMON_FIELDS = {
    "taskType": TEXT,
    "taskUUID": PROMPT,
    "model": TEXT,
    "positivePrompt": FieldRule(str, is_required=True, min_length=2),
    "negativePrompt": TEXT,
    "numberResults": FieldRule(int, range(1, 21)),
    "outputType": one_of("URL", "base64Data", "dataURI"),
    "deliveryMethod": one_of("sync", "async"),
    "includeCost": SWITCH,
    "seed": INTEGER,
    "inputs": OBJECT,
}
IMAGE_FIELDS = {
    **COMMON_FIELDS,
    "outputFormat": one_of("JPG", "PNG", "WEBP"),
    "width": SIDE,
    "height": SIDE,
    "steps": INTEGER,
    "CFGScale": NUMBER,
}
VIDEO_FIELDS = {**COMMON_FIELDS, "outputFormat": one_of("mp4"), "duration": one_of(5, 10)}
FREE_TASKS = ("getResponse", "accountManagement")
POLICY_VIOLATION = "providerContentPolicyViolation"
MESSAGES = {
    POLICY_VIOLATION: "The request was flagged by the content policy.",
    "inferenceError": "The inference has failed.",
    "taskFailedOrNotFound": "The task has failed or was not found.",
}


class RunwareVendor(SandboxVendor):
    """Tasks are acknowledged and polled by their ids; one that is unknown is an error inside a 200."""

    slug = "runware"
    # The prices are invented; the vendor reports them with each task.
    media_models = {
        "runware:400@1": SandboxModel(Category.IMAGE, IMAGE_FIELDS, "imageInference", Decimal("0.0096")),
        "runware:100@1": SandboxModel(Category.IMAGE, IMAGE_FIELDS, "imageInference", Decimal("0.0013")),
        "klingai:5@3": SandboxModel(Category.VIDEO, VIDEO_FIELDS, "videoInference", Decimal("0.0924")),
    }
    refusal_text = POLICY_VIOLATION
    crash_text = "inferenceError"
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "missingApiKey", "No API key was provided."),
        Problem.WRONG_KEY: ErrorText(401, "invalidApiKey", "The API key {} is invalid."),
        Problem.NO_SUCH_PATH: ErrorText(404, "notFound", "{} does not exist."),
        Problem.UNKNOWN_MODEL: ErrorText(400, "invalidModel", "The model {} does not exist or is not available."),
        Problem.INVALID: ErrorText(400, "invalidParameter", "{}"),
        Problem.UNSUPPORTED: ErrorText(400, "unsupportedParameter", "The parameter {} is not supported."),
        Problem.NO_CREDIT: ErrorText(402, "insufficientCredits", "There are not enough credits in this account."),
        Problem.RATE_LIMITED: ErrorText(429, "rateLimitExceeded", "Too many requests."),
        Problem.DOWN: ErrorText(503, "serviceUnavailable", "The service is temporarily unavailable."),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint("POST", "/v1", self.run, is_submission=True),)

    def unbilled(self, request: VendorRequest) -> BillingLine | None:
        return None if request.readable.get("taskType") in FREE_TASKS else super().unbilled(request)

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        return {"errors": [{"code": text.code, "message": message, **({"parameter": param} if param else {})}]}

    def run(self, request: VendorRequest) -> Answered:
        task = _task_of(request)
        if task.get("taskType") == "accountManagement":
            return VendorReply(200, {"data": [{**task, "balance": float(PAID_IN - self.charged)}]}), None
        if task.get("taskType") == "getResponse":
            return VendorReply(200, self._state_of(request, str(task.get("taskUUID")))), None
        model = self.media_models.get(str(task.get("model")))
        if model is None or task.get("taskType") != model.kind:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, str(task.get("model")), "model")
        check_fields(task, model.fields)
        if not _is_version_4(task["taskUUID"]):
            raise VendorRefusal(Problem.INVALID, "taskUUID must be a UUID v4", "taskUUID")
        # An id that is there already is the same task: it is neither run nor billed a second time.
        job = self.jobs.get(task["taskUUID"]) or self._start(request, task, model)
        return VendorReply(200, {"data": [{"taskType": model.kind, "taskUUID": job.id}]}), self.line_of(job)

    def _start(self, request: VendorRequest, task: Mapping[str, Any], model: SandboxModel) -> FakeJob:
        count, is_video = task.get("numberResults", 1), model.category is Category.VIDEO
        ending = task.get("outputFormat", "mp4" if is_video else "JPG").lower()
        return self.generate(
            request,
            task["model"],
            Usage(seconds=Decimal(task.get("duration", 5))) if is_video else Usage(images=count),
            prompt=task["positivePrompt"],
            file_names=[f"{number}.{ending}" for number in range(count)],
            job_id=task["taskUUID"],
            input=task,
        )

    def _state_of(self, request: VendorRequest, task_id: str) -> dict[str, Any]:
        job = self.jobs.get(task_id)
        if job is None:
            return _failed(task_id, "taskFailedOrNotFound")
        item = {"taskType": self.media_models[job.model].kind, "taskUUID": job.id}
        match job.phase(self.services.clock()):
            case JobPhase.SUCCEEDED:
                kind = "video" if job.category is Category.VIDEO else "image"
                cost = {"cost": float(job.cost or 0)} if job.input.get("includeCost") else {}
                done = {**item, "status": "success", **cost}
                outputs = [{**done, f"{kind}UUID": new_id(), f"{kind}URL": url} for url in self.addresses(request, job)]
                return {"data": outputs or [done]}
            case JobPhase.FAILED:
                return _failed(task_id, job.error)
        return {"data": [{**item, "status": "processing"}]}


def _task_of(request: VendorRequest) -> Mapping[str, Any]:
    """Return the only task of a request: the sandbox takes one at a time. Raises VendorRefusal."""
    try:
        tasks = json.loads(request.body)
    except ValueError as error:
        raise VendorRefusal(Problem.INVALID, "The body is no JSON.") from error
    if not isinstance(tasks, list) or len(tasks) != 1 or not isinstance(tasks[0], dict):
        raise VendorRefusal(Problem.INVALID, "The body must be an array with one task.")
    return tasks[0]


def _is_version_4(text: str) -> bool:
    try:
        return UUID(text).version == 4
    except ValueError:
        return False


def _failed(task_id: str, code: str) -> dict[str, Any]:
    error = {"code": code, "status": "error", "message": MESSAGES[code], "taskUUID": task_id}
    return {"data": [], "errors": [error]}

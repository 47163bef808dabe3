"""Replicate: pictures, films and sounds as jobs, with files that vanish.

Source: https://replicate.com/docs/reference/http (read 2026-11).
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.billing import Line, cost_of_usage
from providers.sandbox.fake_files import content_of, content_type_of, sides_of
from providers.sandbox.fake_jobs import Clock
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import JSON_TYPES, check_fields
from providers.sandbox.outgoing_callbacks import Callbacks
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    RETRY_AFTER_SECONDS,
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
from providers.sandbox.vendors.predictions import Prediction, Predictions
from providers.sandbox.vendors.replicate_models import MODELS, Model
from providers.types import Category, Usage

FIELDS = frozenset({"input", "stream", "webhook", "webhook_events_filter"})
REFUSAL = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
INTERRUPTION = "Prediction interrupted; please retry (code: PA)"
LONGEST_WAIT_SECONDS = 60
SHORTEST_CANCEL_AFTER = timedelta(seconds=5)

Answered = tuple[Reply, Line | None]


class Replicate(Vendor):
    """Every path below /v1 wants the token; the files do not."""

    slug = "replicate"
    label = "Replicate"
    models = tuple(MODELS)
    order_path = "/v1/models/black-forest-labs/flux-schnell/predictions"
    wordings = {
        Problem.NO_KEY: Wording(401, "Unauthenticated", "You did not pass an authentication token"),
        Problem.WRONG_KEY: Wording(401, "Unauthenticated", "You did not pass a valid authentication token"),
        Problem.NO_SUCH_PATH: Wording(404, "Not found", "The requested resource could not be found."),
        Problem.UNKNOWN_MODEL: Wording(404, "Model not found", "The requested model {} could not be found."),
        Problem.INVALID: Wording(422, "Input validation failed", "- {}\n"),
        Problem.UNSUPPORTED: Wording(
            422,
            "Invalid version or not permitted",
            "The specified version does not exist (or perhaps you don't have permission to use it?)",
        ),
        Problem.NO_CREDIT: Wording(
            402,
            "Insufficient credit",
            "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to "
            "purchase credit.",
        ),
        Problem.RATE_LIMITED: Wording(
            429, "", f"Request was throttled. Your rate limit resets in ~{RETRY_AFTER_SECONDS}s."
        ),
        Problem.DOWN: Wording(503, "Service unavailable", "The service is temporarily unavailable."),
    }

    def __init__(self, *, film_seconds: float, quick_seconds: float, clock: Clock, callbacks: Callbacks) -> None:
        self._seconds = {
            Category.VIDEO: film_seconds,
            Category.IMAGE: quick_seconds,
            Category.AUDIO: quick_seconds,
        }
        self._clock = clock
        self._callbacks = callbacks
        self._predictions = Predictions()
        self._routes: list[tuple[str, str, Callable[..., Answered]]] = [
            ("GET", r"/v1/account", self._account),
            ("POST", r"/v1/predictions", self._order_version),
            ("GET", r"/v1/predictions", self._list),
            ("GET", r"/v1/predictions/([\w-]+)", self._show),
            ("POST", r"/v1/predictions/([\w-]+)/cancel", self._cancel),
            ("GET", r"/v1/webhooks/default/secret", self._webhook_secret),
            ("GET", r"/v1/models/([\w.-]+/[\w.-]+)", self._model),
            ("POST", r"/v1/models/([\w.-]+/[\w.-]+)/predictions", self._order_model),
        ]

    def sent_key(self, call: Call) -> str:
        return bearer_of(call)

    def respond(self, call: Call, fault: Fault | None) -> Answered:
        file = re.fullmatch(r"/files/([\w-]+)/([\w.-]+)", call.path)
        if file and call.method == "GET":
            return self._file(*file.groups()), None
        try:
            self.check_fault(call, fault)
            self.check_key(call)
            for method, pattern, answer in self._routes:
                if method == call.method and (match := re.fullmatch(pattern, call.path)):
                    return answer(call, fault, *match.groups())
            raise Refused(Problem.NO_SUCH_PATH)
        except Refused as refusal:
            return self.refuse(call, refusal), self.unbilled(call)

    def unbilled(self, call: Call) -> Line | None:
        if call.method != "POST":
            return None
        if call.path == "/v1/predictions":
            return self.free_line(model_in(call, "version"))
        match = re.fullmatch(r"/v1/models/(.+)/predictions", call.path)
        return self.free_line(match.group(1)) if match else None

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {"detail": message, "status": wording.status}
        if wording.code:
            body["title"] = wording.code
        if wording.status == 429:
            body["retry_after"] = RETRY_AFTER_SECONDS  # there is no header
        if param:
            body["invalid_fields"] = [{"type": "invalid", "field": param, "description": message.strip("- \n")}]
        return body

    def _account(self, call: Call, fault: Fault | None) -> Answered:
        return Reply(200, {"type": "organization", "username": "sandbox", "name": "Sandbox"}), None

    def _webhook_secret(self, call: Call, fault: Fault | None) -> Answered:
        return Reply(200, {"key": self._callbacks.secret}), None

    def _model(self, call: Call, fault: Fault | None, name: str) -> Answered:
        model = MODELS.get(name)
        if model is None:
            raise Refused(Problem.UNKNOWN_MODEL, name)
        properties = {field: {"type": JSON_TYPES[fact.kind]} for field, fact in model.fields.items()}
        required = [field for field, fact in model.fields.items() if fact.is_required]
        version = {
            "id": model.version or "hidden",
            "created_at": "2026-01-01T00:00:00Z",
            "openapi_schema": {
                "components": {"schemas": {"Input": {"type": "object", "properties": properties, "required": required}}}
            },
        }
        owner, _, short_name = name.partition("/")
        body = {
            "owner": owner,
            "name": short_name,
            "url": f"https://replicate.com/{name}",
            "description": "A stand-in of the sandbox.",
            "visibility": "public",
            "is_official": not model.version,
            "run_count": 0,
            "github_url": None,
            "paper_url": None,
            "license_url": None,
            "cover_image_url": None,
            "default_example": None,
            "latest_version": version,
        }
        return Reply(200, body), None

    def _order_model(self, call: Call, fault: Fault | None, name: str) -> Answered:
        if name not in MODELS or MODELS[name].version:
            raise Refused(Problem.UNKNOWN_MODEL, name)
        return self._order(call, fault, name, FIELDS)

    def _order_version(self, call: Call, fault: Fault | None) -> Answered:
        version = str(json_of(call).get("version", "")).rpartition(":")[2]
        name = next((name for name, model in MODELS.items() if model.version and model.version == version), None)
        if name is None:
            raise Refused(Problem.UNSUPPORTED)
        return self._order(call, fault, name, FIELDS | {"version"})

    def _order(self, call: Call, fault: Fault | None, name: str, fields: frozenset[str]) -> Answered:
        body, model = json_of(call), MODELS[name]
        for unknown in sorted(body.keys() - fields):
            raise Refused(Problem.INVALID, f"{unknown}: Additional property {unknown} is not allowed", unknown)
        wish = body.get("input")
        if not isinstance(wish, dict):
            raise Refused(Problem.INVALID, "input is required", "input")
        check_fields(wish, model.fields, within="input")
        said = str(wish.get("prompt") or wish.get("text"))
        if is_word_in(PENNILESS, said):
            raise Refused(Problem.NO_CREDIT)
        prediction = Prediction(
            id=new_id(""),
            model=name,
            version=model.version or "hidden",
            category=model.category,
            input=wish,
            usage=_usage_of(model, wish, said),
            created_at=self._clock(),
            work=timedelta(seconds=self._seconds[model.category]),
            file_names=() if fault == Fault.EMPTY else _file_names(model, wish),
            shape=model.shape,
            error=_error_of(said, fault),
            stopped_after=_cancel_after(call),
            webhook=_webhook_of(body),
        )
        self._predictions.add(prediction)
        self._call_out(call, prediction, prediction.ends_at - prediction.created_at)
        return self._ordered(call, fault, prediction), self._line_of(prediction)

    def _ordered(self, call: Call, fault: Fault | None, prediction: Prediction) -> Reply:
        wait = _wait_of(call)
        held = min(wait, prediction.ends_at - prediction.created_at)
        moment = prediction.created_at + held
        # Without the header the answer comes at once, and is a 201 too.
        status = 202 if wait and not prediction.is_over(moment) else 201
        return Reply(
            status,
            self._as_json(call, prediction, moment),
            is_cut=fault == Fault.CUT,  # of all answers only this one: so the id is lost, and can be found again
            delay_seconds=held.total_seconds(),
        )

    def _list(self, call: Call, fault: Fault | None) -> Answered:
        before = parse_qs(call.query).get("cursor", [""])[0]
        page, following = self._predictions.page(before)
        moment = self._clock()
        body = {
            "results": [self._as_json(call, prediction, moment) for prediction in page],
            "previous": None,
            "next": f"{call.origin}/v1/predictions?cursor={following}" if following else None,
        }
        return Reply(200, body), None

    def _show(self, call: Call, fault: Fault | None, prediction_id: str) -> Answered:
        return Reply(200, self._as_json(call, self._known(prediction_id), self._clock())), None

    def _cancel(self, call: Call, fault: Fault | None, prediction_id: str) -> Answered:
        prediction, moment = self._known(prediction_id), self._clock()
        prediction.cancel(moment)
        self._call_out(call, prediction, timedelta(0))
        return Reply(200, self._as_json(call, prediction, moment)), self._line_of(prediction)

    def _call_out(self, call: Call, prediction: Prediction, after: timedelta) -> None:
        """Call the prediction's owner once it is over; where it is cancelled before, only for that."""

        def body() -> dict[str, Any] | None:
            if prediction.is_called_out:
                return None
            prediction.is_called_out = True
            return self._as_json(call, prediction, max(self._clock(), prediction.ends_at))

        if prediction.webhook:
            self._callbacks.later(after.total_seconds(), prediction.webhook, body)

    def _known(self, prediction_id: str) -> Prediction:
        prediction = self._predictions.get(prediction_id)
        if prediction is None:
            raise Refused(Problem.NO_SUCH_PATH)
        return prediction

    def _file(self, prediction_id: str, name: str) -> Reply:
        prediction = self._predictions.get(prediction_id)
        if prediction is None or name not in prediction.file_names or not prediction.has_files(self._clock()):
            return Reply(404, {"detail": "Not found."})
        return Reply(200, _content_of(prediction, name), content_type=content_type_of(name))

    def _line_of(self, prediction: Prediction) -> Line:
        usage = prediction.usage if prediction.is_billed else None
        cost = cost_of_usage(prediction.category, self.slug, usage) if usage else Decimal(0)
        return Line(provider=self.slug, model=prediction.model, usage=usage, cost=cost, job_id=prediction.id)

    def _as_json(self, call: Call, prediction: Prediction, moment: datetime) -> dict[str, Any]:
        status, is_removed = prediction.status(moment), prediction.is_removed(moment)
        address = f"{call.origin}/v1/predictions/{prediction.id}"
        body: dict[str, Any] = {
            "id": prediction.id,
            "model": prediction.model,
            "version": prediction.version,
            "input": {} if is_removed else prediction.input,
            "output": _output(call, prediction) if prediction.has_files(moment) else None,
            "data_removed": is_removed,
            "error": prediction.error if status == "failed" else None,
            "logs": "",
            "source": "api",
            "status": status,
            "created_at": _stamp(prediction.created_at),
            "metrics": {},
            "urls": {"get": address, "cancel": f"{address}/cancel", "web": f"https://replicate.com/p/{prediction.id}"},
        }
        if status != "starting" and prediction.ends_at >= prediction.starts_at:
            body["started_at"] = _stamp(prediction.starts_at)
        if prediction.is_over(moment):
            body["completed_at"] = _stamp(prediction.ends_at)
            worked = max(timedelta(0), prediction.ends_at - prediction.starts_at)
            total = prediction.ends_at - prediction.created_at
            body["metrics"] = {"predict_time": worked.total_seconds(), "total_time": total.total_seconds()}
        if prediction.stopped_after:
            body["deadline"] = _stamp(prediction.created_at + prediction.stopped_after)
        return body


def _usage_of(model: Model, wish: Mapping[str, Any], said: str) -> Usage:
    if model.category is Category.IMAGE:
        return Usage(images=wish.get("num_outputs", 1))
    if model.category is Category.VIDEO:
        return Usage(seconds=Decimal(wish.get("duration", 5)))
    return Usage(characters=len(said))


def _error_of(said: str, fault: Fault | None) -> str:
    if is_word_in(FORBIDDEN, said):
        return REFUSAL
    return INTERRUPTION if fault == Fault.ERROR_IN_200 else ""


def _file_names(model: Model, wish: Mapping[str, Any]) -> tuple[str, ...]:
    if model.category is Category.IMAGE:
        extension = wish.get("output_format", "webp")
        return tuple(f"out-{number}.{extension}" for number in range(wish.get("num_outputs", 1)))
    return ("out.mp4",) if model.category is Category.VIDEO else ("out.mp3",)


def _output(call: Call, prediction: Prediction) -> Any:
    """Return the addresses in the shape of this model; each has its own."""
    addresses = [f"{call.origin}/files/{prediction.id}/{name}" for name in prediction.file_names]
    if not addresses:
        return None
    if prediction.shape == "audio_out":
        return {"audio_out": addresses[0]}
    return addresses if prediction.shape == "list" else addresses[0]


def _content_of(prediction: Prediction, name: str) -> bytes:
    sides = sides_of(prediction.input.get("aspect_ratio", "1:1"))
    return content_of(name, str(prediction.input.get("prompt")), *sides)


def _webhook_of(body: Mapping[str, Any]) -> str:
    """Return the address to call. Real ones must be https; here it may be plain, and is on this machine."""
    url, events = body.get("webhook", ""), body.get("webhook_events_filter", ["completed"])
    if not isinstance(url, str) or (url and not url.startswith(("https://", "http://"))):
        raise Refused(Problem.INVALID, "webhook: Does not match format 'uri'", "webhook")
    if not isinstance(events, list) or not {"start", "output", "logs", "completed"}.issuperset(map(str, events)):
        raise Refused(Problem.INVALID, "webhook_events_filter: unknown event", "webhook_events_filter")
    return url if "completed" in events else ""


def _wait_of(call: Call) -> timedelta:
    """Return for how long the call is to be held; the plain word asks for the most."""
    match = re.fullmatch(r"wait(?:=(\d{1,2}))?", call.headers.get("prefer", ""))
    if match is None:
        return timedelta(0)
    return timedelta(seconds=min(int(match.group(1) or LONGEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS))


def _cancel_after(call: Call) -> timedelta | None:
    text = call.headers.get("cancel-after", "")
    if not text:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if duration < SHORTEST_CANCEL_AFTER:
        raise Refused(Problem.INVALID, "Cancel-After: the duration must be at least 5 seconds", "Cancel-After")
    return duration


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

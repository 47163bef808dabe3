"""Replicate: images, videos and audio as jobs that call back, with files that vanish.

Source: https://replicate.com/docs/reference/http and the models' pages (read 2026-11).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import RETRY_AFTER_SECONDS, ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest
from providers.sandbox.fake_jobs import FakeJob, JobPhase, iso_time
from providers.sandbox.field_rules import INTEGER, JSON_TYPES, PROMPT, SWITCH, TEXT, between, check_fields, one_of
from providers.sandbox.vendor_base import Answered, Endpoint, SandboxModel, SandboxVendor
from providers.types import Category, Usage

PAGE_SIZE = 100  # of the list
MAX_WAIT_SECONDS = 60
MIN_CANCEL_AFTER = timedelta(seconds=5)
FIELDS = frozenset({"input", "stream", "webhook", "webhook_events_filter"})
EVENTS = frozenset({"start", "output", "logs", "completed"})
STATUSES = dict(zip(JobPhase, ("starting", "starting", "processing", "succeeded", "failed", "canceled"), strict=True))
FLUX = SandboxModel(
    Category.IMAGE,
    {
        "prompt": PROMPT,
        "aspect_ratio": one_of("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"),
        "num_outputs": between(1, 4),
        "output_format": one_of("png", "jpg", "webp"),
        "output_quality": between(0, 100),
        "seed": INTEGER,
    },
)
KLING = SandboxModel(
    Category.VIDEO,
    {
        "prompt": PROMPT,
        "negative_prompt": TEXT,
        "start_image": TEXT,
        "end_image": TEXT,
        "duration": between(3, 15),
        "aspect_ratio": one_of("16:9", "9:16", "1:1"),
        "mode": one_of("standard", "pro", "4k"),
        "generate_audio": SWITCH,
    },
)
LUMA = SandboxModel(
    Category.VIDEO,
    {
        "prompt": PROMPT,
        "start_image": TEXT,
        "end_image": TEXT,
        "duration": one_of(5, 10),
        "resolution": one_of("540p", "720p", "1080p"),
        "aspect_ratio": one_of("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"),
        "loop": SWITCH,
    },
)
SPEECH = SandboxModel(Category.AUDIO, {"text": PROMPT, "voice_id": TEXT, "emotion": TEXT, "language_boost": TEXT})
MUSIC = SandboxModel(Category.AUDIO, {"prompt": PROMPT, "lyrics": TEXT, "is_instrumental": SWITCH})
BARK = SandboxModel(Category.AUDIO, {"prompt": PROMPT, "history_prompt": TEXT})
MUSICGEN = SandboxModel(Category.AUDIO, {"prompt": PROMPT, "duration": INTEGER, "output_format": one_of("wav", "mp3")})
# Of community models, which are named by it.
VERSIONS = {
    "suno-ai/bark": "b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787",
    "meta/musicgen": "671ac645ce5e552cc63a54a2bbff63fcf798043055d2dac5fc9e36a837eedcfb",
}


class ReplicateVendor(SandboxVendor):
    """Predictions: named by the vendor, listed, held for a while on demand, and called back when they are over."""

    slug = "replicate"
    media_models = {
        "black-forest-labs/flux-schnell": FLUX,
        "black-forest-labs/flux-dev": FLUX,
        "kwaivgi/kling-v3-video": KLING,
        "luma/ray-3.2": LUMA,
        "minimax/speech-2.6-turbo": SPEECH,
        "minimax/music-2.6": MUSIC,
        "google/lyria-3": MUSIC,
        "suno-ai/bark": BARK,
        "meta/musicgen": MUSICGEN,
    }
    refusal_text = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
    crash_text = "Prediction interrupted; please retry (code: PA)"
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "Unauthenticated", "You did not pass an authentication token"),
        Problem.WRONG_KEY: ErrorText(401, "Unauthenticated", "You did not pass a valid authentication token"),
        Problem.NO_SUCH_PATH: ErrorText(404, "Not found", "The requested resource could not be found."),
        Problem.UNKNOWN_MODEL: ErrorText(404, "Model not found", "The requested model {} could not be found."),
        Problem.INVALID: ErrorText(422, "Input validation failed", "- {}\n"),
        Problem.UNSUPPORTED: ErrorText(
            422,
            "Invalid version or not permitted",
            "The specified version does not exist (or perhaps you don't have permission to use it?)",
        ),
        Problem.NO_CREDIT: ErrorText(
            402,
            "Insufficient credit",
            "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to "
            "purchase credit.",
        ),
        Problem.RATE_LIMITED: ErrorText(
            429, "", f"Request was throttled. Your rate limit resets in ~{RETRY_AFTER_SECONDS}s."
        ),
        Problem.DOWN: ErrorText(503, "Service unavailable", "The service is temporarily unavailable."),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("POST", "/v1/models/{owner}/{name}/predictions", self.submit, is_submission=True),
            Endpoint("POST", "/v1/predictions", self.submit_version, is_submission=True),
            Endpoint("GET", "/v1/predictions", self.list_predictions),
            Endpoint("GET", "/v1/predictions/{id}", self.show),
            Endpoint("POST", "/v1/predictions/{id}/cancel", self.cancel),
            Endpoint("GET", "/v1/models/{owner}/{name}", self.show_model),
            Endpoint("GET", "/v1/account", self.show_account),
            Endpoint("GET", "/v1/webhooks/default/secret", self.show_webhook_secret),
        )

    def submitted_model(self, request: VendorRequest, *names: str) -> str:
        return "/".join(names) or str(request.readable.get("version", ""))

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {"detail": message, "status": text.status}
        if text.code:
            body["title"] = text.code
        if text.status == 429:
            body["retry_after"] = RETRY_AFTER_SECONDS  # there is no header
        if param:
            body["invalid_fields"] = [{"type": "invalid", "field": param, "description": message.strip("- \n")}]
        return body

    def submit(self, request: VendorRequest, owner: str, name: str) -> Answered:
        model_name = f"{owner}/{name}"
        if model_name not in self.media_models or model_name in VERSIONS:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, model_name)
        return self._submit(request, model_name, FIELDS)

    def submit_version(self, request: VendorRequest) -> Answered:
        version = str(request.json_object().get("version", "")).rpartition(":")[2]
        name = next((name for name, known in VERSIONS.items() if known == version), None)
        if name is None:
            raise VendorRefusal(Problem.UNSUPPORTED)
        return self._submit(request, name, FIELDS | {"version"})

    def show(self, request: VendorRequest, job_id: str) -> Answered:
        return VendorReply(200, self._prediction(request, self.known_job(job_id), self.services.clock())), None

    def list_predictions(self, request: VendorRequest) -> Answered:
        """List the newest hundred, or those that are older than the cursor."""
        jobs, moment, cursor = self.jobs.newest_first(), self.services.clock(), request.parameter("cursor")
        start = next((place for place, job in enumerate(jobs, start=1) if job.id == cursor), 0)
        page, rest = jobs[start : start + PAGE_SIZE], jobs[start + PAGE_SIZE :]
        body = {
            "results": [self._prediction(request, job, moment) for job in page],
            "previous": None,
            "next": f"{request.origin}/v1/predictions?cursor={page[-1].id}" if rest else None,
        }
        return VendorReply(200, body), None

    def cancel(self, request: VendorRequest, job_id: str) -> Answered:
        job, moment = self.known_job(job_id), self.services.clock()
        job.cancel(moment)
        self._call_back(request, job, timedelta(0))
        return VendorReply(200, self._prediction(request, job, moment)), self.line_of(job)

    def show_model(self, request: VendorRequest, owner: str, name: str) -> Answered:
        model = self.media_models.get(f"{owner}/{name}")
        if model is None:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, f"{owner}/{name}")
        properties = {field: {"type": JSON_TYPES[rule.kind]} for field, rule in model.fields.items()}
        required = [field for field, rule in model.fields.items() if rule.is_required]
        schema = {"type": "object", "properties": properties, "required": required}
        version = VERSIONS.get(f"{owner}/{name}")
        body = {
            "owner": owner,
            "name": name,
            "url": f"https://replicate.com/{owner}/{name}",
            "description": "A stand-in of the sandbox.",
            "visibility": "public",
            "is_official": version is None,
            "run_count": 0,
            **dict.fromkeys(("github_url", "paper_url", "license_url", "cover_image_url", "default_example")),
            "latest_version": {
                "id": version or "hidden",
                "created_at": "2026-01-01T00:00:00Z",
                "openapi_schema": {"components": {"schemas": {"Input": schema}}},
            },
        }
        return VendorReply(200, body), None

    def show_account(self, request: VendorRequest) -> Answered:
        return VendorReply(200, {"type": "organization", "username": "sandbox", "name": "Sandbox"}), None

    def show_webhook_secret(self, request: VendorRequest) -> Answered:
        return VendorReply(200, {"key": self.services.callbacks.secret}), None

    def _submit(self, request: VendorRequest, name: str, fields: frozenset[str]) -> Answered:
        body, model = request.json_object(), self.media_models[name]
        for unknown in sorted(body.keys() - fields):
            raise VendorRefusal(Problem.INVALID, f"{unknown}: Additional property {unknown} is not allowed", unknown)
        given = body.get("input")
        if not isinstance(given, dict):
            raise VendorRefusal(Problem.INVALID, "input is required", "input")
        check_fields(given, model.fields, within="input", allow_unknown=True)
        prompt, count = str(given.get("prompt") or given.get("text")), given.get("num_outputs", 1)
        usage, names = {
            Category.IMAGE: (Usage(images=count), [f"{n}.{given.get('output_format', 'webp')}" for n in range(count)]),
            Category.VIDEO: (Usage(seconds=Decimal(given.get("duration", 5))), ["video.mp4"]),
            Category.AUDIO: (Usage(characters=len(prompt)), ["audio.mp3"]),
        }[model.category]
        job = self.generate(
            request,
            name,
            usage,
            prompt=prompt,
            file_names=names,
            input=given,
            stopped_after=_cancel_after(request),
            callback_url=_callback_url(body),
        )
        duration = job.ends_at - job.created_at
        self._call_back(request, job, duration)
        wait = _wait_of(request)
        held = min(wait, duration)
        # Without the header the answer comes at once, and is a 201 too.
        status = 202 if wait < duration and wait else 201
        reply = self._prediction(request, job, job.created_at + held)
        return VendorReply(status, reply, delay_seconds=held.total_seconds()), self.line_of(job)

    def _call_back(self, request: VendorRequest, job: FakeJob, after: timedelta) -> None:
        """Call the job's owner once when it is over; where it is cancelled before, only for that."""

        def body() -> dict[str, Any] | None:
            if not job.callback_url:
                return None
            job.callback_url = ""
            return self._prediction(request, job, max(self.services.clock(), job.ends_at))

        if job.callback_url:
            self.services.callbacks.schedule(after.total_seconds(), job.callback_url, body)

    def _prediction(self, request: VendorRequest, job: FakeJob, moment: datetime) -> dict[str, Any]:
        status, is_removed = _status_of(job, moment), job.is_removed(moment)
        address = f"{request.origin}/v1/predictions/{job.id}"
        body: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "version": VERSIONS.get(job.model, "hidden"),
            "input": {} if is_removed else job.input,
            "output": self._output(request, job) if job.has_files(moment) else None,
            "data_removed": is_removed,
            "error": job.error if status == "failed" else None,
            "logs": "",
            "source": "api",
            "status": status,
            "created_at": iso_time(job.created_at),
            "metrics": {},
            "urls": {"get": address, "cancel": f"{address}/cancel", "web": f"https://replicate.com/p/{job.id}"},
        }
        if status != "starting" and job.ends_at >= job.starts_at:
            body["started_at"] = iso_time(job.starts_at)
        if job.is_over(moment):
            body["completed_at"] = iso_time(job.ends_at)
            worked, total = max(timedelta(0), job.ends_at - job.starts_at), job.ends_at - job.created_at
            body["metrics"] = {"predict_time": worked.total_seconds(), "total_time": total.total_seconds()}
        if job.stopped_after:
            body["deadline"] = iso_time(job.created_at + job.stopped_after)
        return body

    def _output(self, request: VendorRequest, job: FakeJob) -> Any:
        """Return the addresses in the shape of this model; each has its own."""
        addresses = self.addresses(request, job)
        if not addresses:
            return None
        if self.media_models[job.model] is BARK:
            return {"audio_out": addresses[0]}
        return addresses if job.category is Category.IMAGE else addresses[0]


def _status_of(job: FakeJob, moment: datetime) -> str:
    phase = job.phase(moment)
    # One that is stopped before a machine was ready is "aborted".
    return "aborted" if phase is JobPhase.STOPPED and job.ends_at < job.starts_at else STATUSES[phase]


def _callback_url(body: Mapping[str, Any]) -> str:
    """Return the address to call. Real ones must be https; here it may be plain, and is on this machine."""
    url, events = body.get("webhook", ""), body.get("webhook_events_filter", ["completed"])
    if not isinstance(url, str) or (url and not url.startswith(("https://", "http://"))):
        raise VendorRefusal(Problem.INVALID, "webhook: Does not match format 'uri'", "webhook")
    if not isinstance(events, list) or not EVENTS.issuperset(map(str, events)):
        raise VendorRefusal(Problem.INVALID, "webhook_events_filter: unknown event", "webhook_events_filter")
    return url if "completed" in events else ""


def _wait_of(request: VendorRequest) -> timedelta:
    """Return for how long the request is to be held; the word alone asks for the maximum."""
    match = re.fullmatch(r"wait(?:=(\d{1,2}))?", request.headers.get("prefer", ""))
    if match is None:
        return timedelta(0)
    return timedelta(seconds=min(int(match.group(1) or MAX_WAIT_SECONDS), MAX_WAIT_SECONDS))


def _cancel_after(request: VendorRequest) -> timedelta | None:
    text = request.headers.get("cancel-after", "")
    if not text:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if duration < MIN_CANCEL_AFTER:
        raise VendorRefusal(Problem.INVALID, "Cancel-After: the duration must be at least 5 seconds", "Cancel-After")
    return duration

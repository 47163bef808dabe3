"""What every vendor of the sandbox has in common: endpoints, a key, error texts, and the files that it generates."""

import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from providers.registry import label_of
from providers.sandbox.billing import BillingLine, BillingLog, shipped_cost
from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import EventStream, VendorReply, VendorRequest, new_id
from providers.sandbox.fake_files import content_of, content_type_of
from providers.sandbox.fake_jobs import QUICK_SECONDS, VIDEO_SECONDS, Clock, FakeJob, JobStore, now
from providers.sandbox.faults import InjectedFault
from providers.sandbox.field_rules import Fields, check_fields
from providers.sandbox.outgoing_callbacks import OutgoingCallbacks
from providers.types import Category, Usage

PAID_IN = Decimal(100)  # USD: what every account has been filled with
FORBIDDEN = "forbidden"  # in the prompt for an image, a video or audio: its content is refused
INSUFFICIENT_FUNDS = "insufficient-funds"  # the same: the account is empty
FILE_PATH = re.compile(r"/files/([\w-]+)/([\w.-]+)")
REFUSE_EVERYTHING = {
    InjectedFault.DOWN: Problem.DOWN,
    InjectedFault.RATE_LIMITED: Problem.RATE_LIMITED,
    InjectedFault.BAD_KEY: Problem.WRONG_KEY,
}

# What a vendor answers, and the line of its bill; None where no model was asked for anything.
Answered = tuple[VendorReply | EventStream, BillingLine | None]


class Endpoint(NamedTuple):
    """One path of a vendor's API."""

    method: str
    path: str  # "/v1/jobs/{id}": what stands for a name in braces is handed to the handler
    handler: Callable[..., Answered]  # called with the request
    is_submission: bool = False  # asks a model for something: it is billed, and can be cut off

    def match(self, request: VendorRequest) -> re.Match[str] | None:
        pattern = re.sub(r"\{\w+\}", r"([\\w.-]+)", self.path)
        return re.fullmatch(f"{pattern}/?", request.path) if request.method == self.method else None


@dataclass(frozen=True, slots=True)
class SandboxModel:
    """One model that generates images, videos or audio: what it takes and what it costs."""

    category: Category
    fields: Fields
    kind: str = ""  # what the vendor calls this sort of model or task
    price: Decimal | None = None  # USD for an image, a second or a character; None: the shipped price


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorServices:
    """What all vendors of one sandbox share."""

    callbacks: OutgoingCallbacks
    billing: BillingLog
    clock: Clock = now
    video_seconds: float = VIDEO_SECONDS
    quick_seconds: float = QUICK_SECONDS

    def work_on(self, category: Category) -> timedelta:
        """Return how long a job takes."""
        return timedelta(seconds=self.video_seconds if category is Category.VIDEO else self.quick_seconds)


class SandboxVendor(ABC):
    """One vendor: facts as class attributes, a method for each of its endpoints."""

    slug: ClassVar[str]
    error_texts: ClassVar[Mapping[Problem, ErrorText]]
    media_models: ClassVar[Mapping[str, SandboxModel]] = {}
    refusal_text: ClassVar[str] = ""  # the error of a job whose prompt is forbidden
    crash_text: ClassVar[str] = ""  # the error of a job that fails by an injected fault
    allows_unknown_fields: ClassVar[bool] = False  # in what it takes for media
    charges_refusals: ClassVar[bool] = False  # a forbidden prompt is a success without an output
    kept: ClassVar[timedelta] = timedelta(hours=1)  # files are there for so long

    def __init__(self, services: VendorServices) -> None:
        self.services = services
        self.jobs = JobStore()

    @abstractmethod
    def endpoints(self) -> Sequence[Endpoint]:
        """Return the paths that this vendor serves, files apart."""

    @abstractmethod
    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        """Return the body that reports a problem."""

    def error_in_200(self, request: VendorRequest) -> dict[str, Any]:
        """Return the body of a failure that arrives as a success."""
        text = self.error_texts[Problem.DOWN]
        return self.error_body(request, text, text.message, None)

    def headers(self, cost: Decimal | None = None) -> Mapping[str, str]:
        """Return the headers of every answer; `cost` is what it cost, where it says so."""
        return {}

    def sent_key(self, request: VendorRequest) -> str:
        """Return the key that the request carries, or nothing."""
        return request.bearer_token

    def submitted_model(self, request: VendorRequest, *names: str) -> str:
        """Return the model that a submission names, valid or not; `names` are those of its path."""
        return str(request.readable.get("model", ""))

    @property
    def label(self) -> str:
        return label_of(self.slug)

    @property
    def charged(self) -> Decimal:
        """What this vendor has charged since the sandbox began, in USD: all of it today."""
        return self.services.billing.charged(self.slug)

    @property
    def midnight(self) -> datetime:
        """When today began, in UTC, by the sandbox's clock."""
        return self.services.clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    # --- Requests ---

    def respond(self, request: VendorRequest) -> Answered:
        """Return the vendor's answer and the line of its bill."""
        file = FILE_PATH.fullmatch(request.path)
        if file and request.method == "GET":
            return self.file(request, *file.groups()), None
        try:
            self._check_fault(request)
            self._check_key(request)
            endpoint, match = self._find(request)
            if endpoint is None or match is None:
                raise VendorRefusal(Problem.NO_SUCH_PATH, f"{request.method} {request.path}")
            response, line = endpoint.handler(request, *match.groups())
        except VendorRefusal as refusal:
            return self.refuse(request, refusal), self.unbilled(request)
        if request.fault is InjectedFault.CUT and endpoint.is_submission and line:
            response = response.cut()
        return response, line

    def unbilled(self, request: VendorRequest) -> BillingLine | None:
        """Return the line of a request that cost nothing; None where no model was asked."""
        endpoint, match = self._find(request)
        if endpoint is None or match is None or not endpoint.is_submission:
            return None
        model = self.submitted_model(request, *match.groups())
        return BillingLine(self.slug, model, usage=None, cost=Decimal(0))

    def refuse(self, request: VendorRequest, refusal: VendorRefusal) -> VendorReply:
        """Return the reply that reports a problem in the vendor's words."""
        if refusal.problem is Problem.FAILED_INSIDE:
            return VendorReply(200, self.error_in_200(request), self.headers())
        text = self.error_texts[refusal.problem]
        message = text.message.format(refusal.detail)
        return VendorReply(text.status, self.error_body(request, text, message, refusal.param), text.headers)

    def _find(self, request: VendorRequest) -> tuple[Endpoint, re.Match[str]] | tuple[None, None]:
        for endpoint in self.endpoints():
            if match := endpoint.match(request):
                return endpoint, match
        return None, None

    def _check_fault(self, request: VendorRequest) -> None:
        if request.fault in REFUSE_EVERYTHING:
            raise VendorRefusal(REFUSE_EVERYTHING[request.fault], _masked(self.sent_key(request)))

    def _check_key(self, request: VendorRequest) -> None:
        key = self.sent_key(request)
        if not key:
            raise VendorRefusal(Problem.NO_KEY)
        if key != f"sandbox-key-{self.slug}":
            raise VendorRefusal(Problem.WRONG_KEY, _masked(key))

    # --- Images, videos and audio ---

    def media_model(self, body: Mapping[str, Any], kind: str = "") -> str:
        """Check a body against the model that it names, and return that model's name. Raises VendorRefusal."""
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise VendorRefusal(Problem.INVALID, "model: Field required", "model")
        model = self.media_models.get(name)
        if model is None or model.kind != kind:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, name, "model")
        check_fields(body, model.fields, allow_unknown=self.allows_unknown_fields)
        return name

    def generate(
        self,
        request: VendorRequest,
        model_name: str,
        usage: Usage,
        *,
        prompt: str,
        file_names: Sequence[str],
        job_id: str = "",
        is_polled: bool = True,
        **more: Any,
    ) -> FakeJob:
        """Start a job, or with `is_polled=False` finish it at once, and return it. `more` are further fields of it.

        Two words in the prompt and some injected faults make it fail, at once by a VendorRefusal or in the end.
        """
        model, error = self.media_models[model_name], ""
        if has_word(INSUFFICIENT_FUNDS, prompt):
            raise VendorRefusal(Problem.NO_CREDIT)
        if has_word(FORBIDDEN, prompt) and not self.charges_refusals:
            if not is_polled:
                raise VendorRefusal(Problem.REFUSED_CONTENT)
            error = self.refusal_text
        elif request.fault is InjectedFault.ERROR_IN_200:
            if not is_polled:
                raise VendorRefusal(Problem.FAILED_INSIDE)
            error = self.crash_text
        job = FakeJob(
            id=job_id or new_id(),
            model=model_name,
            category=model.category,
            usage=usage,
            cost=self._cost(model, usage),
            created_at=self.services.clock(),
            work=self.services.work_on(model.category) if is_polled else timedelta(0),
            is_polled=is_polled,
            file_names=() if request.fault is InjectedFault.EMPTY else tuple(file_names),
            kept=self.kept,
            error=error,
            **more,
        )
        self.jobs.add(job)
        return job

    def known_job(self, job_id: str) -> FakeJob:
        """Return a job. Raises VendorRefusal."""
        job = self.jobs.get(job_id)
        if job is None:
            raise VendorRefusal(Problem.NO_SUCH_PATH, job_id)
        return job

    def line_of(self, job: FakeJob) -> BillingLine:
        """Return a job's line of the bill; one that is polled is found there by its id."""
        return BillingLine(
            provider=self.slug,
            model=job.model,
            usage=job.usage if job.is_billed else None,
            cost=job.cost if job.is_billed else Decimal(0),
            job_id=job.id if job.is_polled else "",
        )

    def content(self, job: FakeJob) -> bytes:
        """Return the first file of a job, for a vendor that replies with it; nothing where there is none."""
        return content_of(job.file_names[0]) if job.file_names else b""

    def contents_in_base64(self, job: FakeJob) -> list[str]:
        """Return the files of a job, for a vendor whose reply contains them."""
        return [base64.b64encode(content_of(name)).decode() for name in job.file_names]

    def addresses(self, request: VendorRequest, job: FakeJob) -> list[str]:
        """Return where the files of a job are."""
        return [f"{request.origin}/files/{job.id}/{name}" for name in job.file_names]

    def file(self, request: VendorRequest, job_id: str, name: str) -> VendorReply:
        """Return a file while it is there. File servers want no key."""
        job = self.jobs.get(job_id)
        if job is None or name not in job.file_names or not job.has_files(self.services.clock()):
            return VendorReply(404, {"message": "Not found."})
        return VendorReply(200, content_of(name), content_type=content_type_of(name))

    def _cost(self, model: SandboxModel, usage: Usage) -> Decimal | None:
        if model.price is None:
            return shipped_cost(model.category, self.slug, usage)
        return model.price * (usage.images or usage.seconds or usage.characters)


def _masked(key: str) -> str:
    """Return a key as vendors quote it: its first characters and its last ones."""
    return f"{key[:3]}***{key[-2:]}" if key else ""


def has_word(word: str, prompt: str) -> bool:
    return re.search(rf"\b{word}\b", prompt, re.IGNORECASE) is not None

"""Attempts: a row committed before each call, its outcome recorded after it."""

import time
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from providers.access import current_purpose
from providers.chain.spending import caps_check, caps_of
from providers.chain.statements import Proof, attempt_insert
from providers.errors import ProviderError
from providers.models import Attempt, ProviderConfig
from providers.pricing import cost_of
from providers.storage import StoredMedia
from providers.types import CostSource, Job, Operation, Purpose, Result, Usage

WORKER_LOST = "WorkerLost"  # error_class of an attempt whose worker died in the middle of the call
JOB_CANCELLED = "Stopped"  # error_class of a job that was cancelled because nobody waited for it any more


class AttemptRefused(Exception):
    """Another worker makes this caller's calls by now, or the caller has ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A result, who gave it and what it cost."""

    result: Result
    provider: str
    route: str  # the name of the route
    model: str
    cost: Decimal | None  # USD; None is unknown
    cost_source: CostSource
    duration_ms: int
    media: StoredMedia | None = None  # an image, a video or audio, stored already


class OpenAttempt:
    """An attempt between its first commit and its outcome. Measures its duration on this machine's monotonic clock."""

    def __init__(self, attempt_id: UUID, route: ProviderConfig, *, age_seconds: float = 0.0) -> None:
        self.id = attempt_id
        self.route = route
        self.first_token_ms: int | None = None
        self.has_job = False  # on its row, so that its output can be fetched again
        self._started = time.monotonic() - age_seconds

    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)

    def record_first_text(self) -> None:
        """Remember when the first words came."""
        if self.first_token_ms is None:
            self.first_token_ms = self.elapsed_ms()

    def start_job(self, job: Job) -> None:
        """Commit the id of the job at the provider; from now on any worker can poll it. Idempotent.

        Where another submission of the same prompt was lost, it may have adopted this job: then it keeps it.
        """
        rows = Attempt.objects.filter(id=self.id)
        with suppress(IntegrityError), transaction.atomic():
            self.has_job = bool(
                rows.filter(finished_at=None).update(
                    state=Attempt.State.RUNNING, job_id=job.id, error_class="", error_text=""
                )
            )
            if not self.has_job:
                # The caller has ended while the submission was on its way. The sweeper cancels the job.
                rows.filter(state=Attempt.State.UNKNOWN, job_id="").update(job_id=job.id, error_class="")

    def succeed(self, result: Result, media: StoredMedia | None = None) -> Answer:
        """Record the answer and its cost. Call inside the transaction that stores the result.

        An answer that comes after a new owner has written this attempt off as UNKNOWN is recorded all the same:
        it is paid for. The row then keeps the reason, for it explains what else was bought meanwhile.
        """
        route, duration_ms = self.route, self.elapsed_ms()
        cost, source = self._cost_of(result.usage)
        outcome: dict[str, Any] = {
            "state": Attempt.State.OK,
            "http_status": 200,
            "usage": result.usage.raw,
            "cost": cost,
            "cost_source": source,
            "answered_by": result.model[:200],
            "duration_ms": duration_ms,
            "first_token_ms": self.first_token_ms,
            "finished_at": Now(),
        }
        rows = Attempt.objects.filter(id=self.id, rolled_up=False)
        if not rows.filter(state__in=Attempt.LIVE).update(error_class="", error_text="", **outcome):
            rows.filter(state=Attempt.State.UNKNOWN).update(**outcome)
        return Answer(result, route.provider, route.name, result.model or route.model, cost, source, duration_ms, media)

    def fail(self, error: ProviderError) -> None:
        """Record why there is no answer: FAILED where the provider certainly did nothing, UNKNOWN otherwise.

        A failure may be billed too (a refusal, a blank answer), and some providers say what they used for it.
        """
        self._end(error, Attempt.State.UNKNOWN if error.maybe_paid else Attempt.State.FAILED)

    def await_adoption(self, error: ProviderError) -> None:
        """Record that the outcome is unknown and the job is looked for at the provider, to be adopted."""
        Attempt.objects.filter(id=self.id, finished_at=None).update(
            state=Attempt.State.UNKNOWN, error_class=error.error_class, error_text=str(error)[:300]
        )

    def expire(self, error: ProviderError) -> None:
        """Record that a job did not end in its time."""
        self._end(error, Attempt.State.EXPIRED)

    def abandon(self, error: ProviderError) -> None:
        """Record that a submission whose outcome is unknown was not found at the provider.

        The row keeps the error class that says why it is unknown: after a lost worker the provider is asked again.
        """
        Attempt.objects.filter(id=self.id, finished_at=None).update(
            state=Attempt.State.ABANDONED,
            error_text=str(error)[:300],
            cost_source=CostSource.UNKNOWN,
            duration_ms=self.elapsed_ms(),
            finished_at=Now(),
        )

    def _end(self, error: ProviderError, state: Attempt.State) -> None:
        cost, source = self._cost_of(error.usage) if error.usage else (None, CostSource.UNKNOWN)
        Attempt.objects.filter(id=self.id, finished_at=None).update(
            state=state,
            error_class=error.error_class,
            error_text=str(error)[:300],
            http_status=error.status,
            usage=error.usage.raw if error.usage else {},
            cost=cost,
            cost_source="" if state == Attempt.State.FAILED else source,
            duration_ms=self.elapsed_ms(),
            first_token_ms=self.first_token_ms,
            finished_at=Now(),
        )

    def _cost_of(self, usage: Usage) -> tuple[Decimal | None, CostSource]:
        route = self.route
        return cost_of(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)


def attempt_open(
    *,
    caller_key: str,
    number: int,
    label: str = "",
    route: ProviderConfig,
    operation: Operation = Operation.GENERATE,
    key_id: str = "",
    reserved: Decimal | None = None,
    proof: Proof | None = None,
    purpose: Purpose = Purpose.USER,
) -> OpenAttempt:
    """Commit the row of a call that is about to be made, the caller's `number`th, which may cost `reserved` USD.

    `label` says in which of the caller's sums it counts. While the sandbox answers, that is its purpose.

    With `proof` the row is written only where it holds, in one statement: no call is begun on a stale read. Raises
    AttemptRefused (nothing written) where it does not, or where another worker makes this caller's calls; CapReached
    (nothing written) where the call does not fit a daily cap.
    """
    attempt = Attempt(
        caller_key=caller_key,
        number=number,
        label=label,
        category=route.category,
        operation=operation.value,
        purpose=current_purpose(purpose),
        provider=route.provider,
        route=route.name,
        key_id=key_id,
        model=route.model,
        reserved_cost=reserved,
    )
    check = partial(caps_check, route, reserved=reserved) if caps_of(route) else None
    try:
        is_written = attempt_insert(attempt=attempt, proof=proof, check=check)
    except IntegrityError as error:
        raise AttemptRefused from error
    if not is_written:
        raise AttemptRefused
    return OpenAttempt(attempt.id, route)


def attempt_write_off(attempt: Attempt, *, is_adoptable: bool) -> None:
    """Mark a call that a lost worker left in the middle as UNKNOWN. Only its caller's new owner may.

    The provider may bill it, so it stays on the record; `is_adoptable` keeps it open until the provider has been asked.
    """
    Attempt.objects.filter(id=attempt.id, state=Attempt.State.SENDING).update(
        **_WORKER_LOST, finished_at=None if is_adoptable else Now()
    )
    attempt.refresh_from_db()


def attempts_abandon(*, caller_key: str) -> list[UUID]:
    """Give up what a caller that has ended left at a provider; return the attempts whose jobs are to be cancelled.

    A call that is under way is not closed here: its worker aborts it and records what became of it, and the sweeper
    closes it where the worker was lost.
    """
    attempts = Attempt.objects.filter(caller_key=caller_key, finished_at=None)
    jobs = list(attempts.filter(state=Attempt.State.RUNNING).values_list("id", flat=True))
    attempts.filter(id__in=jobs).update(
        state=Attempt.State.ABANDONED, cost_source=CostSource.UNKNOWN, finished_at=Now()
    )
    attempts.filter(state=Attempt.State.UNKNOWN).update(cost_source=CostSource.UNKNOWN, finished_at=Now())
    return jobs


def attempts_close(*, caller_key: str) -> list[UUID]:
    """Close everything that is still open of a caller; return the attempts whose jobs are to be cancelled."""
    jobs = attempts_abandon(caller_key=caller_key)
    Attempt.objects.filter(caller_key=caller_key, finished_at=None).update(**_WORKER_LOST, finished_at=Now())
    return jobs


_WORKER_LOST = {
    "state": Attempt.State.UNKNOWN,
    "error_class": WORKER_LOST,
    "error_text": "The worker was lost in the middle of the call.",
    "cost_source": CostSource.UNKNOWN,
}

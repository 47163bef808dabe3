"""The fallback chain: one run down it for one caller, and what follows each outcome."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from django.db import transaction
from django.db.models.functions import Now

from providers.backends.media_generation import JobProvider, MediaProvider
from providers.chain import circuit_breaker
from providers.chain.attempts import Answer, OpenAttempt, attempt_open, attempt_write_off
from providers.chain.candidates import (
    Asked,
    Candidate,
    Skip,
    asked_in,
    candidate_for_attempt,
    candidates_for,
    skip_route,
    unknown_policy,
)
from providers.chain.jobs import job_cancel, poll_delay_seconds, poll_job
from providers.chain.outputs import output_store
from providers.chain.provider_callbacks import callback_url
from providers.chain.spans import attempt_span, note_outcome
from providers.chain.spending import CapReached, reservation
from providers.chain.statements import Proof
from providers.db import commit_persistently, give_back_connection
from providers.errors import (
    AllProvidersFailed,
    ChainError,
    ContentRefused,
    JobNotFound,
    NoProviderAvailable,
    NotStored,
    OutcomeUnknown,
    OutOfTime,
    PaymentUncertain,
    ProviderError,
    RefusedByProviders,
    StorageFailed,
)
from providers.models import Attempt
from providers.storage import StoredMedia
from providers.transport.deadlines import Deadline, is_cancelled
from providers.types import Job, MediaResult, OnText, Operation, Outcome, Prompt, Purpose, Result, UnknownPolicy

logger = logging.getLogger("providers")

Recorded = TypeVar("Recorded")

MIN_TRY_SECONDS = 3.0  # with less than this left before the deadline, no further provider is asked
REFUSALS_TO_BELIEVE = 2  # one provider's refusal may be a false alarm
MIN_STORE_AGAIN_SECONDS = 20.0  # until a job's output is fetched again that our own storage did not take
STORE_AGAIN_SHARE = 0.3  # of the job's age: the older it is, the longer the pause
DEFAULT_PENDING_SECONDS = 5.0  # for a provider that says nothing of polls


@dataclass(frozen=True, slots=True)
class Pending:
    """A provider is at work; there is nothing to do before so many seconds have passed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the outcomes so far have decided about the rest of the chain."""

    ends_with: type[ChainError] | None  # None: the next provider may be asked
    refusals: int = 0  # providers that refused the content


@dataclass(frozen=True, slots=True)
class PastOutcome:
    """How one attempt ended, as far as the rest of the chain depends on it."""

    error_class: str
    maybe_paid: bool
    policy: UnknownPolicy  # of the provider


def verdict_on(outcomes: Iterable[PastOutcome]) -> Verdict:
    """Return what these outcomes decide. Pure: the same before and after a crash."""
    refusals = 0
    for outcome in outcomes:
        if outcome.error_class == NotStored.error_class:
            return Verdict(StorageFailed)
        if outcome.maybe_paid and outcome.policy is UnknownPolicy.STOP:
            return Verdict(PaymentUncertain)
        refusals += outcome.error_class == ContentRefused.error_class
    return Verdict(RefusedByProviders if refusals >= REFUSALS_TO_BELIEVE else None, refusals)


def past_outcome(attempt: Attempt) -> PastOutcome:
    """Return how a recorded attempt ended."""
    maybe_paid = attempt.state in (Attempt.State.UNKNOWN, Attempt.State.ABANDONED)
    return PastOutcome(attempt.error_class, maybe_paid, unknown_policy(attempt))


class ChainRun:
    """One run down the fallback chain: a prompt, its caller, its deadline and what was tried so far.

    The providers of the prompt's category are asked one after the other until one answers. Every call has its row
    before it is made. Make a new run for each call of answer(); what a run needs to remember is in the database.
    """

    purpose = Purpose.USER  # of its attempts

    def __init__(
        self,
        prompt: Prompt,
        *,
        caller_key: str,
        label: str = "",
        deadline: Deadline,
        store: Callable[[Answer], None],
        on_text: OnText | None = None,
        proof: Proof | None = None,
        is_first: bool = False,
    ) -> None:
        """`label` says in which of the caller's sums the attempts count. `deadline` ends the whole run.

        `store` is called in the transaction that marks the attempt as succeeded, so that no paid answer is known but
        not stored; it must be idempotent, for the transaction is repeated after a database fault. `proof` must hold for
        each attempt's row. With `on_text` answers are streamed. `is_first` says that no earlier run can have made an
        attempt, which spares reading them.
        """
        self.prompt = prompt
        self.caller_key = caller_key
        self._label = label
        self.deadline = deadline
        self._store = store
        self._on_text = on_text
        self._proof = proof
        self._is_first = is_first
        self.skips: list[Skip] = []  # which routes this run has passed by, in the order in which that happened
        self.asked_routes: list[str] = []  # by name, those of earlier runs included; one may be asked more than once
        self._attempts: list[Attempt] = []  # of this caller at this prompt, oldest first
        self._number = 0  # of the caller's last attempt
        self._outcomes: list[PastOutcome] = []
        self._asked: list[Asked] = []

    def answer(self) -> Answer | Pending:
        """Return the first answer, which `store` has kept by then, or Pending where a provider takes its time.

        Call it on a new run for the same caller after Pending or after a crash, and it resumes where the attempts
        say: with the job that is under way, else down the chain; providers that have failed this caller are not asked
        again. Raises a ChainError when nobody answers, AttemptRefused where another worker makes this caller's calls.
        """
        if not self._is_first:
            self._read_attempts()
        if self._attempts and not self._attempts[-1].finished_at:
            under_way = self._resume(self._attempts[-1])
            if under_way:
                return under_way
            self._read_attempts()
        self._outcomes = [past_outcome(attempt) for attempt in self._attempts]
        self._asked = [asked_in(attempt) for attempt in self._attempts]
        self._end_if_decided()
        for candidate in self._candidates():
            if self.deadline.remaining() < MIN_TRY_SECONDS:
                raise OutOfTime
            try:
                return self._try(candidate)
            except CapReached as reached:
                skip_route(self.skips, candidate.route, str(reached))
            except ProviderError as error:
                policy = candidate.provider.unknown_policy
                self._outcomes.append(PastOutcome(error.error_class, error.maybe_paid, policy))
                self._asked.append(Asked(candidate.route.name, candidate.key_id, error.error_class))
                self._end_if_decided(error)
        if verdict_on(self._outcomes).refusals:
            raise RefusedByProviders
        raise AllProvidersFailed if self._outcomes else NoProviderAvailable

    def _candidates(self) -> Iterable[Candidate]:
        return candidates_for(self.prompt, self._asked, self.skips)

    def _read_attempts(self) -> None:
        attempts = list(Attempt.objects.filter(caller_key=self.caller_key).annotate(now=Now()).order_by("number"))
        self._number = attempts[-1].number if attempts else 0
        # What was said before the prompt could be written is a question of its own, with routes of its own.
        is_transcript = self.prompt.operation == Operation.TRANSCRIBE
        self._attempts = [
            attempt for attempt in attempts if (attempt.operation == Operation.TRANSCRIBE) == is_transcript
        ]
        self.asked_routes = [attempt.route or attempt.provider for attempt in self._attempts]

    def _end_if_decided(self, cause: ProviderError | None = None) -> None:
        """Raise the ChainError that the outcomes so far have decided.

        Asked before the first provider, too: a worker may be lost between an attempt's outcome and its caller's end.
        """
        ends_with = verdict_on(self._outcomes).ends_with
        if ends_with:
            raise ends_with from cause

    def _try(self, candidate: Candidate) -> Answer | Pending:
        """Make one attempt. Raises the ProviderError after which the next provider may be asked."""
        route = candidate.route
        # It is not passed by in the end.
        self.skips[:] = [skip for skip in self.skips if not (skip.is_order and skip.route == route.name)]
        attempt = attempt_open(
            caller_key=self.caller_key,
            number=self._number + 1,
            label=self._label,
            route=route,
            operation=self.prompt.operation,
            key_id=candidate.key_id,
            reserved=reservation(route, candidate.provider, candidate.prompt_for(self.prompt)),
            proof=self._proof,
            purpose=self.purpose,
        )
        self._number += 1
        self.asked_routes.append(route.name)
        logger.info("Trying %s for %s", route.provider, route.category)
        try:
            with attempt_span(route, attempt.id) as span:
                outcome = self._call(candidate, attempt)
                note_outcome(span, outcome)
            return self._record_outcome(candidate, attempt, outcome)
        except ProviderError as error:
            failure = error
            again = self._store_again(attempt, error) if isinstance(error, NotStored) and attempt.has_job else None
            if again:
                return again
            if error.maybe_paid and candidate.provider.unknown_policy is UnknownPolicy.ADOPT:
                logger.warning("? %s may have taken a job for %s: %s", route.provider, route.category, error)
                self._commit(lambda: attempt.await_adoption(failure))
                return _pending(candidate, attempt)
            self._commit(lambda: attempt.fail(failure))
            _record_failure(candidate, error)
            raise

    def _call(self, candidate: Candidate, attempt: OpenAttempt) -> Outcome:
        def pass_on(text: str) -> None:
            attempt.record_first_text()
            if self._on_text:
                self._on_text(text)

        give_back_connection()
        prompt = replace(
            candidate.prompt_for(self.prompt),
            callback_url=callback_url(candidate.provider, attempt.id),
            submission_id=str(attempt.id),
        )
        return candidate.provider.run(
            prompt,
            timeout_seconds=float(candidate.route.timeout_seconds),
            deadline=self.deadline,
            on_text=pass_on if self._on_text else None,
        )

    def _record_outcome(self, candidate: Candidate, attempt: OpenAttempt, outcome: Outcome) -> Answer | Pending:
        """Record what a call has brought: a job's id, or the answer together with whatever `store` writes."""
        route, provider, media = candidate.route, candidate.provider, None
        if isinstance(outcome, Job):
            self._commit(lambda: attempt.start_job(outcome))
            return _pending(candidate, attempt)
        if isinstance(outcome, MediaResult) and isinstance(provider, MediaProvider):
            if outcome.job_id:
                # However quick the job was, its id identifies it on the bill, and keeps others from adopting it.
                job = Job(outcome.job_id)
                self._commit(lambda: attempt.start_job(job))
            media = output_store(
                provider=provider,
                category=self.prompt.category,
                result=outcome,
                key=str(attempt.id),
                deadline=self.deadline,
            )
        answer = self._commit(lambda: self._succeed(attempt, outcome, media))
        logger.info("✓ %s succeeded for %s", route.provider, route.category)
        logger.info("Request %s served by provider: %s", self.caller_key, route.provider)
        for circuit, health in candidate.circuits.items():
            circuit_breaker.record_success(circuit, health=health)
        return answer

    def _commit(self, write: Callable[[], Recorded]) -> Recorded:
        """Write an outcome, which must be idempotent, again while the database is away."""
        return commit_persistently(write, deadline=self.deadline)

    def _succeed(self, attempt: OpenAttempt, result: Result, media: StoredMedia | None) -> Answer:
        """Commit the outcome of the attempt together with whatever `store` writes. Idempotent."""
        with transaction.atomic():
            answer = attempt.succeed(result, media)
            self._store(answer)
        return answer

    def _resume(self, row: Attempt) -> Answer | Pending | None:
        """Take up the attempt that an earlier run has left open; None where it has ended without an answer by now.

        Only the caller's owner gets here, so a call that is still open belongs to a worker that was lost.
        """
        candidate = candidate_for_attempt(row)
        policy = candidate.provider.unknown_policy if candidate else UnknownPolicy.RESPEND
        if row.state == Attempt.State.SENDING:
            attempt_write_off(row, is_adoptable=policy is UnknownPolicy.ADOPT)
        if row.finished_at or candidate is None or not isinstance(candidate.provider, JobProvider):
            return None
        attempt = OpenAttempt(row.id, candidate.route, age_seconds=row.age_seconds())
        is_late = row.age_seconds() > candidate.route.timeout_seconds
        try:
            outcome = self._poll(row, candidate, candidate.provider)
            if outcome is not None and not (is_late and isinstance(outcome, Job)):
                return self._record_outcome(candidate, attempt, outcome)
        except NotStored as error:
            return self._store_again(attempt, error)
        except ProviderError as error:
            if error.ends_job:
                job_error, end = error, attempt.abandon if isinstance(error, JobNotFound) else attempt.fail
                self._commit(lambda: end(job_error))
                _record_failure(candidate, error)
                return None
            logger.info("The job of %s at %s could not be polled: %s", self.caller_key, row.provider, error)
        if not is_late:
            return _pending(candidate, attempt)
        late = OutcomeUnknown(f"not done within {candidate.route.timeout_seconds} s", provider=row.provider)
        self._commit(lambda: attempt.expire(late))
        _record_failure(candidate, late)
        job_cancel(attempt_id=row.id)
        return None

    def _store_again(self, attempt: OpenAttempt, error: NotStored) -> Pending | None:
        """Have a job's output fetched again later, or note that there is no time left for that.

        Nothing else is bought: another output would not be stored either.
        """
        seconds = max(MIN_STORE_AGAIN_SECONDS, STORE_AGAIN_SHARE * attempt.elapsed_ms() / 1000)
        if self.deadline.remaining() > seconds + MIN_TRY_SECONDS:
            return Pending(seconds)
        self._commit(lambda: attempt.expire(error))
        return None

    def _poll(self, row: Attempt, candidate: Candidate, provider: JobProvider) -> MediaResult | Job | None:
        give_back_connection()
        prompt = replace(candidate.prompt_for(self.prompt), submission_id=str(row.id))
        return poll_job(row, provider, prompt, deadline=self.deadline)


def _pending(candidate: Candidate, attempt: OpenAttempt) -> Pending:
    provider = candidate.provider
    if not isinstance(provider, JobProvider):
        return Pending(DEFAULT_PENDING_SECONDS)
    return Pending(poll_delay_seconds(provider, attempt.elapsed_ms() / 1000))


def _record_failure(candidate: Candidate, error: ProviderError) -> None:
    route = candidate.route
    if is_cancelled():
        logger.info("The call of %s for %s was aborted: nobody waits for it", route.provider, route.category)
        return
    logger.warning("✗ %s failed for %s: %s", route.provider, route.category, error)
    circuit_breaker.record_failure(candidate.circuit_for(error), error=error)

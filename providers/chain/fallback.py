"""The fallback chain: who is asked, in which order, and what follows each outcome."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from providers.backends.media_generation import JobProvider, MediaProvider
from providers.chain import circuit_breaker
from providers.chain.attempts import Answer, OpenAttempt, attempt_open, attempt_write_off
from providers.chain.candidates import Candidate, candidate_for_attempt, candidates_for
from providers.chain.jobs import job_cancel, poll_delay_seconds, poll_job
from providers.chain.provider_callbacks import callback_url
from providers.db import give_back_connection
from providers.errors import (
    AllProvidersFailed,
    ContentRefused,
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
from providers.storage import StoredMedia, store_output
from providers.transport.deadlines import Deadline
from providers.types import Job, MediaResult, OnText, Outcome, Prompt, UnknownPolicy

logger = logging.getLogger("providers")

MIN_TRY_SECONDS = 3.0  # with less than this left before the deadline, no further provider is asked
REFUSALS_TO_BELIEVE = 2  # one provider's refusal may be a false alarm


@dataclass(frozen=True, slots=True)
class Pending:
    """A vendor is at work; there is nothing to do before so many seconds have passed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Errand:
    """What one call of answer() is about."""

    prompt: Prompt
    caller_key: str
    deadline: Deadline  # a time.monotonic() value for everything
    store: Callable[[Answer], None]
    on_text: OnText | None


class FallbackManager:
    """Asks the providers of a category, one after the other, until one answers."""

    def answer(
        self,
        prompt: Prompt,
        *,
        caller_key: str,
        deadline: Deadline,
        store: Callable[[Answer], None],
        on_text: OnText | None = None,
        before_next: Callable[[], None] | None = None,
    ) -> Answer | Pending:
        """Return the first answer, which `store` has kept by then, or Pending where a vendor takes its time.

        `deadline` is a time.monotonic() value for the whole chain. `store` runs in the transaction that marks the
        attempt as succeeded, so that no paid answer is known but not kept. `before_next` runs before each further
        provider is asked and stops the chain by raising. With `on_text` answers are streamed.

        Call it again for the same caller after Pending or after a crash, and it goes on where the attempts say: with
        the job that is under way, else down the chain; providers that have failed this caller are not asked again.
        Raises a ChainError when nobody answers.
        """
        errand = Errand(prompt, caller_key, deadline, store, on_text)
        earlier = list(Attempt.objects.filter(caller_key=caller_key).order_by("number"))
        number = earlier[-1].number if earlier else 0
        under_way = self._go_on(errand, earlier)
        if under_way:
            return under_way
        refusals = self._refusals_so_far(earlier)
        for is_further, candidate in enumerate(candidates_for(prompt, earlier)):
            if deadline.remaining() < MIN_TRY_SECONDS:
                raise OutOfTime
            if is_further and before_next:
                before_next()
            number += 1
            try:
                return self._try(errand, candidate, number)
            except ProviderError as error:
                if not error.tries_elsewhere:
                    raise StorageFailed from error
                if error.maybe_paid and candidate.provider.unknown_policy is UnknownPolicy.STOP:
                    raise PaymentUncertain from error
                refusals += isinstance(error, ContentRefused)
                if refusals >= REFUSALS_TO_BELIEVE:
                    raise RefusedByProviders from error
        if refusals:
            raise RefusedByProviders
        if number:
            raise AllProvidersFailed
        raise NoProviderAvailable

    def _refusals_so_far(self, earlier: Sequence[Attempt]) -> int:
        """Count who has refused this caller already. Raises the ChainError that an earlier attempt has decided.

        Its worker may have been lost between the attempt's outcome and the caller's end.
        """
        for row in earlier:
            if row.state != Attempt.State.UNKNOWN:
                continue
            if row.error_class == NotStored.error_class:
                raise StorageFailed
            candidate = candidate_for_attempt(row)
            if candidate and candidate.provider.unknown_policy is UnknownPolicy.STOP:
                raise PaymentUncertain
        refusals = sum(row.error_class == ContentRefused.error_class for row in earlier)
        if refusals >= REFUSALS_TO_BELIEVE:
            raise RefusedByProviders
        return refusals

    def _try(self, errand: Errand, candidate: Candidate, number: int) -> Answer | Pending:
        """Make one attempt. Raises the ProviderError after which the next provider may be asked."""
        row = candidate.row
        logger.info("Trying %s for %s", row.provider, row.category)
        attempt = attempt_open(caller_key=errand.caller_key, number=number, row=row)
        try:
            return self._settle(errand, candidate, attempt, self._call(errand, candidate, attempt))
        except ProviderError as error:
            if error.maybe_paid and candidate.provider.unknown_policy is UnknownPolicy.ADOPT:
                logger.warning("? %s may have taken an order for %s: %s", row.provider, row.category, error)
                attempt.search(error)
                return self._pending(candidate, attempt)
            attempt.fail(error)
            self._record_failure(candidate, error)
            raise

    def _call(self, errand: Errand, candidate: Candidate, attempt: OpenAttempt) -> Outcome:
        def pass_on(text: str) -> None:
            attempt.record_first_text()
            if errand.on_text:
                errand.on_text(text)

        give_back_connection()
        prompt = candidate.fit(errand.prompt)
        return candidate.provider.run(
            replace(prompt, callback_url=callback_url(candidate.provider, attempt.id), submission_id=str(attempt.id)),
            timeout_seconds=float(candidate.row.timeout_seconds),
            deadline=errand.deadline,
            on_text=pass_on if errand.on_text else None,
        )

    def _settle(self, errand: Errand, candidate: Candidate, attempt: OpenAttempt, outcome: Outcome) -> Answer | Pending:
        """Keep what a call has brought: a job's id, or the answer together with whatever `store` writes."""
        row = candidate.row
        if isinstance(outcome, Job):
            attempt.start_job(outcome)
            return self._pending(candidate, attempt)
        if isinstance(outcome, MediaResult) and outcome.job_id:
            # However quick it was, its id tells the bill's line, and keeps others from taking it for their own.
            attempt.start_job(Job(outcome.job_id))
        media = self._keep(errand, candidate, attempt, outcome) if isinstance(outcome, MediaResult) else None
        with transaction.atomic():
            answer = attempt.succeed(outcome, media)
            errand.store(answer)
        logger.info("✓ %s succeeded for %s", row.provider, row.category)
        logger.info("Request %s served by provider: %s", errand.caller_key, row.provider)
        circuit_breaker.record_success(category=row.category, provider=row.provider, health=candidate.health)
        return answer

    def _keep(self, errand: Errand, candidate: Candidate, attempt: OpenAttempt, result: MediaResult) -> StoredMedia:
        give_back_connection()
        content = result.content
        if not content and isinstance(candidate.provider, MediaProvider):
            content = candidate.provider.fetch(result.url, deadline=errand.deadline)
        try:
            return store_output(category=errand.prompt.category, content=content, key=str(attempt.id))
        except NotStored as error:
            error.provider, error.usage = candidate.row.provider, result.usage
            raise

    def _go_on(self, errand: Errand, earlier: Sequence[Attempt]) -> Answer | Pending | None:
        """Take up the attempt that an earlier call has left open; None where there is none, or it has failed by now.

        Only the caller's owner gets here, so a call that is still open belongs to a worker that was lost.
        """
        row = earlier[-1] if earlier else None
        if row is None or row.finished_at:
            return None
        candidate = candidate_for_attempt(row)
        policy = candidate.provider.unknown_policy if candidate else UnknownPolicy.RESPEND
        if row.state == Attempt.State.SENDING:
            attempt_write_off(row, is_adoptable=policy is UnknownPolicy.ADOPT)
        if row.finished_at or candidate is None or not isinstance(candidate.provider, JobProvider):
            return None
        attempt = OpenAttempt(row.id, candidate.row, age_seconds=row.age_seconds())
        is_late = row.age_seconds() > candidate.row.timeout_seconds
        try:
            give_back_connection()
            prompt = replace(candidate.fit(errand.prompt), submission_id=str(row.id))
            outcome = poll_job(row, candidate.provider, prompt, deadline=errand.deadline)
            if outcome is not None and not (is_late and isinstance(outcome, Job)):
                return self._settle(errand, candidate, attempt, outcome)
        except ProviderError as error:
            if error.ends_job:
                attempt.fail(error)
                self._record_failure(candidate, error)
                return None
            logger.info("%s was asked in vain about the job of %s: %s", row.provider, errand.caller_key, error)
        if not is_late:
            return self._pending(candidate, attempt)
        late = OutcomeUnknown(f"not done within {candidate.row.timeout_seconds} s", provider=row.provider)
        attempt.expire(late)
        self._record_failure(candidate, late)
        job_cancel(attempt_id=row.id)
        return None

    def _pending(self, candidate: Candidate, attempt: OpenAttempt) -> Pending:
        provider = candidate.provider
        seconds = (
            poll_delay_seconds(provider, attempt.elapsed_ms() / 1000) if isinstance(provider, JobProvider) else 5.0
        )
        return Pending(seconds)

    def _record_failure(self, candidate: Candidate, error: ProviderError) -> None:
        row = candidate.row
        logger.warning("✗ %s failed for %s: %s", row.provider, row.category, error)
        circuit_breaker.record_failure(category=row.category, provider=row.provider, error=error)

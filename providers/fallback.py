"""The fallback chain: who is asked, in which order, and what follows each outcome."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from django.db import transaction

from providers import breaker
from providers.attempts import Answer, OpenAttempt, attempt_open
from providers.candidates import Candidate, candidates_in_turn
from providers.connections import give_back_connection
from providers.errors import (
    AllProvidersFailed,
    ContentRefused,
    NoProviderAvailable,
    OutOfTime,
    PaymentUncertain,
    ProviderError,
    RefusedByProviders,
)
from providers.models import Attempt
from providers.types import OnText, Prompt, TextResult, UnknownPolicy

logger = logging.getLogger("providers")

SHORTEST_TRY_SECONDS = 3.0  # with less than this left before the deadline, no further provider is asked
REFUSALS_TO_BELIEVE = 2  # one provider's refusal may be a false alarm


class FallbackManager:
    """Asks the providers of a category, one after the other, until one answers."""

    def answer(
        self,
        prompt: Prompt,
        *,
        caller_key: str,
        deadline: float,
        store: Callable[[Answer], None],
        on_text: OnText | None = None,
        before_next: Callable[[], None] | None = None,
    ) -> Answer:
        """Return the first answer, which `store` has kept by then.

        `deadline` is a time.monotonic() value for the whole chain. `store` runs in the transaction that marks the
        attempt as succeeded, so that no paid answer is known but not kept. `before_next` runs before each further
        provider is asked and stops the chain by raising. With `on_text` answers are streamed.

        Calling it again for the same caller after a crash goes on down the chain: providers that have failed this
        caller are not asked again. Raises a ChainError when nobody answers.
        """
        refusals = 0
        earlier = list(Attempt.objects.filter(caller_key=caller_key).order_by("number"))
        number = earlier[-1].number if earlier else 0
        for is_further, candidate in enumerate(candidates_in_turn(prompt, earlier)):
            if deadline - time.monotonic() < SHORTEST_TRY_SECONDS:
                raise OutOfTime
            if is_further and before_next:
                before_next()
            number += 1
            try:
                return self._try(candidate, prompt, caller_key, number, deadline, store, on_text)
            except ProviderError as error:
                if error.maybe_paid and candidate.provider.unknown_policy is not UnknownPolicy.RESPEND:
                    raise PaymentUncertain from error
                refusals += isinstance(error, ContentRefused)
                if refusals >= REFUSALS_TO_BELIEVE or not error.tries_elsewhere:
                    raise RefusedByProviders from error
        if refusals:
            raise RefusedByProviders
        if number:
            raise AllProvidersFailed
        raise NoProviderAvailable

    def _try(
        self,
        candidate: Candidate,
        prompt: Prompt,
        caller_key: str,
        number: int,
        deadline: float,
        store: Callable[[Answer], None],
        on_text: OnText | None,
    ) -> Answer:
        row, category = candidate.row, prompt.category.value
        logger.info("Trying %s for %s", row.provider, category)
        attempt = attempt_open(caller_key=caller_key, number=number, row=row)
        try:
            result = self._call(candidate, attempt, prompt, deadline, on_text)
        except ProviderError as error:
            attempt.fail(error)
            logger.warning("✗ %s failed for %s: %s", row.provider, category, error)
            breaker.note_failure(category=category, provider=row.provider, error=error)
            raise
        with transaction.atomic():
            answer = attempt.succeed(result)
            store(answer)
        logger.info("✓ %s succeeded for %s", row.provider, category)
        logger.info("Request %s served by provider: %s", caller_key, row.provider)
        breaker.note_success(category=category, provider=row.provider, health=candidate.health)
        return answer

    def _call(
        self, candidate: Candidate, attempt: OpenAttempt, prompt: Prompt, deadline: float, on_text: OnText | None
    ) -> TextResult:
        def pass_on(text: str) -> None:
            attempt.note_text()
            if on_text:
                on_text(text)

        give_back_connection()
        return candidate.provider.run(
            replace(prompt, model=candidate.row.model),
            timeout_seconds=float(candidate.row.timeout_seconds),
            deadline=deadline,
            on_text=pass_on if on_text else None,
        )

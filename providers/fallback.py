"""The fallback chain: who is asked, in which order, and what follows each outcome."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from providers import breaker
from providers.attempts import WORKER_LOST, Answer, OpenAttempt, attempt_open
from providers.base import TextProvider
from providers.breaker import CLEAN, Health, Standing
from providers.connections import give_back_connection
from providers.errors import (
    AllProvidersFailed,
    ContentRefused,
    NoProviderAvailable,
    OutOfTime,
    PaymentUncertain,
    ProviderError,
    RefusedByProviders,
    Unsupported,
)
from providers.models import Attempt, ProviderConfig
from providers.registry import is_implemented, provider_class
from providers.types import Category, OnText, Prompt, TextResult, UnknownPolicy

logger = logging.getLogger("providers")

SHORTEST_TRY_SECONDS = 1.0  # with less than this left before the deadline, no further provider is asked
REFUSALS_TO_BELIEVE = 2  # one provider's refusal may be a false alarm


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that could answer this prompt."""

    row: ProviderConfig
    provider: TextProvider
    health: Health


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
        for is_further, candidate in enumerate(self._in_turn(prompt, earlier)):
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

    def _in_turn(self, prompt: Prompt, earlier: list[Attempt]) -> Iterator[Candidate]:
        """Yield the providers to ask: the awake ones in the operator's order, at last the one that wakes first."""
        resting: list[Candidate] = []
        for candidate in self._candidates(prompt, earlier):
            row, health = candidate.row, candidate.health
            may_probe = health.standing is Standing.WAKING and breaker.win_probe(
                category=row.category, provider=row.provider, seconds=row.timeout_seconds
            )
            if health.standing is Standing.HEALTHY or may_probe:
                yield candidate
            else:
                logger.info(
                    "Skipping %s for %s: it rests for another %d s (%s)",
                    row.provider,
                    row.category,
                    health.seconds_left,
                    health.reason,
                )
                resting.append(candidate)
        # Never fail while a provider might work: a rest is a guess, the user's request is real.
        yield from sorted(resting, key=_wakes_at)[:1]

    def _candidates(self, prompt: Prompt, earlier: list[Attempt]) -> list[Candidate]:
        """Return everyone who could answer this prompt, in the operator's order.

        A provider whose worker was lost in the middle of this caller's call may still be the only one that works,
        so it is asked again, but last.
        """
        outcomes = {attempt.provider: attempt.error_class for attempt in earlier}
        health = breaker.read_health(prompt.category.value)
        candidates = []
        for row in _in_operators_order(prompt.category):
            if outcomes.get(row.provider, WORKER_LOST) != WORKER_LOST:
                continue
            provider = _provider_for(row)
            if provider is None or _is_over_its_cap(row):
                continue
            try:
                provider.check(replace(prompt, model=row.model))
            except Unsupported as error:
                logger.info("Skipping %s for %s: %s", row.provider, row.category, error)
                continue
            candidates.append(Candidate(row, provider, health.get(row.provider, CLEAN)))
        return sorted(candidates, key=lambda candidate: candidate.row.provider in outcomes)


def can_serve(category: Category) -> bool:
    """Tell whether any enabled provider with a key speaks this category."""
    return any(_provider_for(row) for row in ProviderConfig.objects.filter(category=category.value, enabled=True))


def _provider_for(row: ProviderConfig) -> TextProvider | None:
    """Return the row's provider, ready to call; None where nobody implements it or its key is missing."""
    category = Category(row.category)
    access = settings.PROVIDER_ACCESS.get(row.provider)
    if not access or not access.key or not is_implemented(category, row.provider):
        return None
    return provider_class(category, row.provider)(access)


def _in_operators_order(category: Category) -> list[ProviderConfig]:
    """Return the enabled rows by priority; equals are shuffled so that each comes first as often as its weight says."""
    rows = ProviderConfig.objects.filter(category=category.value, enabled=True)
    return sorted(rows, key=lambda row: (row.priority, -_weighted_chance(row.weight)))


def _weighted_chance(weight: int) -> float:
    # The largest of random**(1/weight) falls to each row in proportion to its weight (Efraimidis and Spirakis, 2006).
    return random.random() ** (1 / weight) if weight else 0.0  # noqa: S311 — load sharing, not a secret


def _is_over_its_cap(row: ProviderConfig) -> bool:
    if row.daily_cap_usd is None:
        return False
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    attempts = Attempt.objects.filter(provider=row.provider, category=row.category, created_at__gte=midnight)
    spent = attempts.aggregate(spent=Sum("cost"))["spent"] or Decimal(0)
    if spent >= row.daily_cap_usd:
        logger.info("Skipping %s for %s: it has reached its daily cap", row.provider, row.category)
        return True
    return False


def _wakes_at(candidate: Candidate) -> datetime:
    return candidate.health.wakes_at or datetime.max.replace(tzinfo=UTC)

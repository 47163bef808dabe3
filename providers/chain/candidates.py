"""Who could answer a prompt, and in which order they are asked."""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings
from django.db.models import Sum

from providers.backends.base import TextProvider
from providers.backends.media_generation import MediaProvider
from providers.capabilities import apply_route_defaults, unsupported_reason
from providers.chain import circuit_breaker
from providers.chain.attempts import WORKER_LOST
from providers.chain.circuit_breaker import CLEAN, CircuitState, Health
from providers.errors import Unsupported
from providers.models import Attempt, ProviderConfig
from providers.registry import is_implemented, provider_class
from providers.types import Category, Feature, Prompt

logger = logging.getLogger("providers")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that could answer this prompt."""

    row: ProviderConfig
    provider: TextProvider | MediaProvider
    health: Health

    def fit(self, prompt: Prompt) -> Prompt:
        """Return the prompt as this row is asked."""
        return apply_route_defaults(prompt, model=self.row.model, capabilities=self.row.capabilities)


def candidates_for(prompt: Prompt, earlier: Sequence[Attempt]) -> Iterator[Candidate]:
    """Yield the providers to ask: the awake ones in the operator's order, at last the one that wakes first.

    `earlier` are the attempts that were made for this prompt before a crash. The breaker is asked only when a
    candidate's turn comes, so a probe is won by whoever makes it.
    """
    paused: list[Candidate] = []
    for candidate in _candidates(prompt, earlier):
        row, health = candidate.row, candidate.health
        may_probe = health.state is CircuitState.HALF_OPEN and circuit_breaker.acquire_probe(
            category=row.category, provider=row.provider, seconds=row.timeout_seconds
        )
        if health.state is CircuitState.CLOSED or may_probe:
            yield candidate
        else:
            logger.info(
                "Skipping %s for %s: paused for another %d s (%s)",
                row.provider,
                row.category,
                health.seconds_left,
                health.reason,
            )
            paused.append(candidate)
    # Never fail while a provider might work: a rest is a guess, the user's request is real.
    yield from sorted(paused, key=_open_until)[:1]


def _candidates(prompt: Prompt, earlier: Sequence[Attempt]) -> list[Candidate]:
    """Return everyone who could answer this prompt, in the operator's order.

    A provider whose worker was lost in the middle of this caller's call may still be the only one that works,
    so it is asked again, but last.
    """
    outcomes = {attempt.provider: attempt.error_class for attempt in earlier}
    health = circuit_breaker.read_health(prompt.category.value)
    candidates = []
    for row in _by_priority(prompt.category):
        if outcomes.get(row.provider, WORKER_LOST) != WORKER_LOST:
            continue
        provider = provider_for(row)
        if provider is None or _is_over_its_cap(row):
            continue
        lacking = unsupported_reason(row.capabilities, prompt)
        if lacking:
            logger.info("Skipping %s for %s: %s", row.provider, row.category, lacking)
            continue
        try:
            provider.check(apply_route_defaults(prompt, model=row.model, capabilities=row.capabilities))
        except Unsupported as error:
            logger.info("Skipping %s for %s: %s", row.provider, row.category, error)
            continue
        candidates.append(Candidate(row, provider, health.get(row.provider, CLEAN)))
    return sorted(candidates, key=lambda candidate: candidate.row.provider in outcomes)


def candidate_for_attempt(attempt: Attempt) -> Candidate | None:
    """Return the provider of an attempt that is under way, whatever the operator has switched since.

    None where its row or its key is gone.
    """
    row = ProviderConfig.objects.filter(category=attempt.category, provider=attempt.provider).first()
    provider = provider_for(row) if row else None
    if row is None or provider is None:
        return None
    return Candidate(row, provider, circuit_breaker.read_health(attempt.category).get(attempt.provider, CLEAN))


def can_serve(category: Category) -> bool:
    """Tell whether any enabled provider with a key speaks this category."""
    return any(provider_for(row) for row in ProviderConfig.objects.filter(category=category.value, enabled=True))


def can_take_audio() -> bool:
    """Tell whether any enabled provider with a key takes recordings in a prompt."""
    rows = ProviderConfig.objects.filter(category=Category.TEXT.value, enabled=True, capabilities__audio_input=True)
    providers = [provider_for(row) for row in rows]
    return any(provider and Feature.AUDIO_INPUT in provider.features for provider in providers)


def provider_for(row: ProviderConfig) -> TextProvider | MediaProvider | None:
    """Return the row's provider, ready to call; None where nobody implements it, or it has neither key nor sandbox."""
    category = Category(row.category)
    access = settings.PROVIDER_ACCESS.get(row.provider)
    if not access or not access.key or not is_implemented(category, row.provider):
        return None
    return provider_class(category, row.provider)(access)


def _by_priority(category: Category) -> list[ProviderConfig]:
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


def _open_until(candidate: Candidate) -> datetime:
    return candidate.health.open_until or datetime.max.replace(tzinfo=UTC)

"""Which routes could answer a prompt, and in which order they are asked."""

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal

from django.db.models import Sum
from django.db.models.functions import Now, TruncDay

from providers.access import backend_for, connect
from providers.backends.base import TextProvider
from providers.backends.media_generation import MediaProvider
from providers.capabilities import apply_route_defaults, unsupported_reason
from providers.chain import circuit_breaker
from providers.chain.attempts import JOB_CANCELLED, WORKER_LOST
from providers.chain.circuit_breaker import CLEAN, CircuitState, Health
from providers.errors import Unsupported
from providers.models import Attempt, ProviderConfig
from providers.types import Category, Feature, Prompt, UnknownPolicy

logger = logging.getLogger("providers")

# What says nothing of the provider: its job was given up, before and after it was cancelled, or its worker was lost.
ENDED_BY_US = {"", JOB_CANCELLED, WORKER_LOST}
CHAIN_CACHE_SECONDS = 1.0  # after the operator's switch, and after a circuit opens


@dataclass(frozen=True, slots=True)
class _Chain:
    """A category's enabled routes and their health, as read at one moment of this machine's monotonic clock."""

    routes: Sequence[ProviderConfig]
    health: Mapping[str, Health]
    read_at: float


_chains: dict[str, _Chain] = {}  # by category; replaced whole, so that threads may share it


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that could answer this prompt."""

    route: ProviderConfig
    provider: TextProvider | MediaProvider
    health: Health

    def prompt_for(self, prompt: Prompt) -> Prompt:
        """Return the prompt as this route is asked."""
        return apply_route_defaults(prompt, model=self.route.model, capabilities=self.route.capabilities)


@dataclass(frozen=True, slots=True)
class Skip:
    """A route that was passed by, and why: data, so that "why this provider" has an answer."""

    route: str  # its name
    provider: str
    reason: str  # in words for the operator

    def as_dict(self) -> dict[str, str]:
        """Return it as the request's row keeps it."""
        return {"route": self.route, "provider": self.provider, "reason": self.reason}


def candidates_for(prompt: Prompt, earlier: Sequence[Attempt], skips: list[Skip]) -> Iterator[Candidate]:
    """Yield the routes to ask, in the operator's order: those whose circuit is closed, then those that are paused.

    `earlier` are the attempts that were made for this prompt before a crash. What is passed by is added to `skips`. The
    circuit breaker is asked only when a candidate's turn comes, so a probe is acquired by whoever makes it.
    """
    paused: list[Candidate] = []
    for candidate in _capable(prompt, earlier, skips):
        route, health = candidate.route, candidate.health
        may_probe = health.state is CircuitState.HALF_OPEN and circuit_breaker.acquire_probe(
            category=route.category, provider=route.provider, seconds=route.timeout_seconds
        )
        if health.state is CircuitState.CLOSED or may_probe:
            yield candidate
        else:
            _skip(skips, route, _pause_of(health))
            paused.append(candidate)
    # Never fail while a provider might work: a cooldown is a guess, the user's request is real.
    yield from paused


def _pause_of(health: Health) -> str:
    if health.state is CircuitState.HALF_OPEN:
        return f"another request tries whether it works again ({health.reason})"
    return f"paused for another {health.seconds_left} s ({health.reason})"


def _skip(skips: list[Skip], route: ProviderConfig, reason: str) -> None:
    logger.info("Skipping %s for %s: %s", route.provider, route.category, reason)
    skips.append(Skip(route.name, route.provider, reason))


def _capable(prompt: Prompt, earlier: Sequence[Attempt], skips: list[Skip]) -> list[Candidate]:
    """Return every route that could answer this prompt, in the operator's order.

    A provider whose worker was lost in the middle of this caller's call, or whose job was given up with a quarantine,
    may still be the only one that works, so it is asked again, but last.
    """
    outcomes = {attempt.provider: attempt.error_class for attempt in earlier}
    chain = _read_chain(prompt.category.value)
    candidates = []
    for route in _by_priority(chain.routes):
        if outcomes.get(route.provider, WORKER_LOST) not in ENDED_BY_US:
            continue
        provider = provider_for(route)
        if provider is None:
            skips.append(Skip(route.name, route.provider, "no key"))
            continue
        candidate = Candidate(route, provider, chain.health.get(route.provider, CLEAN))
        reason = _reason_to_skip(candidate, prompt)
        if reason:
            _skip(skips, route, reason)
        else:
            candidates.append(candidate)
    return sorted(candidates, key=lambda candidate: candidate.route.provider in outcomes)


def _reason_to_skip(candidate: Candidate, prompt: Prompt) -> str:
    """Return why this route cannot be asked for this prompt, "" where it can."""
    route = candidate.route
    if _is_over_its_cap(route):
        return "it has reached its daily cap"
    reason = unsupported_reason(route.capabilities, prompt)
    if reason:
        return reason
    try:
        candidate.provider.check(candidate.prompt_for(prompt))
    except Unsupported as error:
        return str(error)
    return ""


def candidate_for_attempt(attempt: Attempt) -> Candidate | None:
    """Return the route of an attempt that is under way, whatever the operator has switched since.

    None where the route or its key is gone.
    """
    route = ProviderConfig.objects.filter(category=attempt.category, provider=attempt.provider).first()
    provider = provider_for(route) if route else None
    if route is None or provider is None:
        return None
    return Candidate(route, provider, circuit_breaker.read_health(attempt.category).get(attempt.provider, CLEAN))


def unknown_policy(attempt: Attempt) -> UnknownPolicy:
    """Return what follows an unknown outcome of this attempt, whatever has become of its route and key since."""
    backend = backend_for(Category(attempt.category), attempt.provider)
    return backend.unknown_policy if backend else UnknownPolicy.RESPEND


def can_serve(category: Category) -> bool:
    """Return whether any enabled route of this category is ready."""
    return any(provider_for(route) for route in ProviderConfig.objects.filter(category=category.value, enabled=True))


def can_take_audio() -> bool:
    """Return whether any enabled route takes audio in a prompt."""
    routes = ProviderConfig.objects.filter(category=Category.TEXT.value, enabled=True, capabilities__audio_input=True)
    providers = [provider_for(route) for route in routes]
    return any(provider and Feature.AUDIO_INPUT in provider.features for provider in providers)


def provider_for(route: ProviderConfig) -> TextProvider | MediaProvider | None:
    """Return the route's provider, ready to call; None where no class implements it or its key is not set."""
    return connect(Category(route.category), route.provider)


def _read_chain(category: str) -> _Chain:
    """Return a category's routes and health, at most CHAIN_CACHE_SECONDS old: every answer of a process needs them."""
    chain = _chains.get(category)
    now = time.monotonic()
    if chain is None or now - chain.read_at >= CHAIN_CACHE_SECONDS:
        routes = list(ProviderConfig.objects.filter(category=category, enabled=True))
        chain = _chains[category] = _Chain(routes, circuit_breaker.read_health(category), read_at=now)
    return chain


def _by_priority(routes: Sequence[ProviderConfig]) -> list[ProviderConfig]:
    """Return the routes by priority; ties are shuffled so that each comes first as often as its weight says."""
    return sorted(routes, key=lambda route: (route.priority, -_weighted_chance(route.weight)))


def _weighted_chance(weight: int) -> float:
    # The largest of random**(1/weight) falls to each route in proportion to its weight (Efraimidis and Spirakis, 2006).
    return random.random() ** (1 / weight) if weight else 0.0  # noqa: S311 — load sharing, not a secret


def _is_over_its_cap(route: ProviderConfig) -> bool:
    if route.daily_cap_usd is None:
        return False
    midnight = TruncDay(Now(), tzinfo=UTC)
    attempts = Attempt.objects.filter(provider=route.provider, category=route.category, created_at__gte=midnight)
    spent = attempts.aggregate(spent=Sum("cost"))["spent"] or Decimal(0)
    return bool(spent >= route.daily_cap_usd)

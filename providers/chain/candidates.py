"""Which routes could answer a prompt, and in which order they are asked."""

import itertools
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from django.conf import settings

from providers.access import backend_for, connect_each
from providers.backends.base import TextProvider
from providers.backends.media_generation import MediaProvider
from providers.capabilities import unsupported_reason, voice_for
from providers.chain import circuit_breaker
from providers.chain.attempts import JOB_CANCELLED, WORKER_LOST
from providers.chain.circuit_breaker import (
    CLEAN,
    Circuit,
    CircuitState,
    Health,
    circuit_of_key,
    circuit_of_route,
)
from providers.chain.routing import Routing, read_routing, rule_of
from providers.chain.spending import reservation
from providers.errors import AccessDenied, ProviderError, RateLimited, Unsupported
from providers.models import Attempt, ProviderConfig
from providers.types import Attachment, Category, Feature, Operation, Overrides, Prompt, UnknownPolicy

logger = logging.getLogger("providers")

TRANSCRIBE = Operation.TRANSCRIBE.value
NO_KEY = "no key"  # why a route is passed by that is not in use
ANY_IMAGE = Attachment("image/jpeg", b"")

# What says nothing of the provider: its job was given up, before and after it was cancelled, or its worker was lost.
ENDED_BY_US = {"", JOB_CANCELLED, WORKER_LOST}
# What another key of the same provider may not meet.
ERRORS_OF_KEYS = {AccessDenied.error_class, RateLimited.error_class}
CHAIN_CACHE_SECONDS = 1.0  # after the operator's switch, and after a circuit opens


@dataclass(frozen=True, slots=True)
class _Chain:
    """A category's enabled routes and their health, as read at one moment of this machine's monotonic clock."""

    routes: Sequence[ProviderConfig]
    health: Mapping[Circuit, Health]
    routing: Routing
    read_at: float


_chains: dict[str, _Chain] = {}  # by category; replaced whole, so that threads may share it
_turns = itertools.count()  # of the keys


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that could answer this prompt, with one of the provider's keys."""

    route: ProviderConfig
    provider: TextProvider | MediaProvider
    circuits: Mapping[Circuit, Health]  # of the route and of the key
    has_other_keys: bool = False

    @property
    def key_id(self) -> str:
        """Which key it uses."""
        return self.provider.access.key_id

    @property
    def is_paused(self) -> bool:
        """Its route or its key is asked only where nothing else is left, or as a probe."""
        return any(health.state is not CircuitState.CLOSED for health in self.circuits.values())

    def prompt_for(self, prompt: Prompt) -> Prompt:
        """Return the prompt as this route is asked."""
        route = self.route
        max_output_tokens = route.max_output_tokens or prompt.max_output_tokens
        return replace(
            prompt,
            model=route.model,
            max_output_tokens=min(max_output_tokens, prompt.output_limit or max_output_tokens),
            reasoning_effort=route.reasoning_effort,
            web_search=route.web_search,
            output_options=replace(prompt.output_options, voice=voice_for(prompt, route.capabilities)),
            overrides=Overrides(route.extra_body, tuple(route.drop_fields), route.extra_headers),
        )

    def circuit_for(self, error: ProviderError) -> Circuit:
        """Return what this failure counts against: the key where another one might do, else the route."""
        is_of_key = isinstance(error, AccessDenied) or (isinstance(error, RateLimited) and self.has_other_keys)
        return circuit_of_key(self.route.provider, self.key_id) if is_of_key else circuit_of_route(self.route)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that has failed this caller, in this run or in an earlier one."""

    route: str  # its name
    key_id: str
    error_class: str

    def rules_out(self, candidate: Candidate) -> bool:
        """Return whether there is no sense in asking the candidate after this."""
        if self.route != candidate.route.name or self.error_class in ENDED_BY_US:
            return False
        return self.error_class not in ERRORS_OF_KEYS or self.key_id == candidate.key_id


def asked_in(attempt: Attempt) -> Asked:
    """Return what an attempt of this caller says."""
    return Asked(attempt.route or attempt.provider, attempt.key_id, attempt.error_class)


PROBED_WORDS = "another request tries whether it works again"


def is_pause(reason: str) -> bool:
    """Return whether a skip's reason is a pause, by the circuit breaker or an operator, and no matter of the prompt."""
    return "paused " in reason or PROBED_WORDS in reason


@dataclass(frozen=True, slots=True)
class Skip:
    """A route that was passed by, and why: data, so that "why this provider" has an answer."""

    route: str  # its name
    provider: str
    reason: str  # in words for the operator
    is_order: bool = False  # it stands behind another one, which a rule of the operator's puts first

    def as_dict(self) -> dict[str, str]:
        """Return it as the request's row keeps it."""
        return {"route": self.route, "provider": self.provider, "reason": self.reason}


def candidates_for(prompt: Prompt, asked: Sequence[Asked], skips: list[Skip]) -> Iterator[Candidate]:
    """Yield the routes to ask, in the operator's order: those whose circuits are closed, then those that are paused.

    `asked` are the calls that have failed this caller; whoever iterates adds to it. What is passed by is added to
    `skips`. The circuit breaker is asked only when a candidate's turn comes, so a probe is acquired by whoever makes
    it.
    """
    paused: list[Candidate] = []
    for candidate in _capable(prompt, asked, skips):
        if any(earlier.rules_out(candidate) for earlier in asked):
            continue
        reason = _pause_of(candidate)
        if not reason:
            yield candidate
        else:
            skip_route(skips, candidate.route, reason)
            paused.append(candidate)
    # Never fail while a provider might work: a cooldown is a guess, the user's request is real.
    for candidate in paused:
        if not any(earlier.rules_out(candidate) for earlier in asked):
            yield candidate


def _pause_of(candidate: Candidate) -> str:
    """Return why the candidate is not asked now, "" where it may be; of half-open circuits it is the probe then."""
    for circuit, health in candidate.circuits.items():
        if health.state is CircuitState.OPEN:
            return f"{_subject(circuit)}paused for another {health.seconds_left} s ({health.reason})"
    for circuit, health in candidate.circuits.items():
        if health.state is CircuitState.HALF_OPEN and not circuit_breaker.acquire_probe(
            circuit, seconds=candidate.route.timeout_seconds
        ):
            return f"{_subject(circuit)}{PROBED_WORDS} ({health.reason})"
    return ""


def _subject(circuit: Circuit) -> str:
    return f"its key {circuit.key_id[:8]}: " if circuit.key_id else ""


def skip_route(skips: list[Skip], route: ProviderConfig, reason: str) -> None:
    """Note that a route was passed by, and why."""
    logger.info("Skipping %s for %s: %s", route.provider, route.category, reason)
    skips.append(Skip(route.name, route.provider, reason))


def _capable(prompt: Prompt, asked: Sequence[Asked], skips: list[Skip]) -> list[Candidate]:
    """Return every route that could answer this prompt, in the order of the rule, each with each of its keys.

    One whose worker was lost in the middle of this caller's call, or whose job was given up with a quarantine, may
    still be the only one that works, so it is asked again, but last.
    """
    chain = _read_chain(prompt.category.value)
    able: dict[str, list[Candidate]] = {}  # by their route's name
    operators_order: list[ProviderConfig] = []
    for route in _by_priority(chain.routes):
        if not route.does(prompt.operation) or not route.serves(prompt.tag):
            continue
        if route.is_paused:
            skip_route(skips, route, route.pause_words)
            continue
        each_key = route_candidates(route, chain.health)
        if not each_key:
            skips.append(Skip(route.name, route.provider, NO_KEY))
            continue
        reason = _reason_to_skip(each_key[0], prompt)
        if reason:
            skip_route(skips, route, reason)
        else:
            able[route.name] = each_key
            operators_order.append(route)
    # The rule compares answers; a transcript is none.
    routes = operators_order if prompt.operation == TRANSCRIBE else chain.routing.ordered(operators_order)
    before_first = itertools.takewhile(lambda route: route is not routes[0], operators_order)
    skips += [
        Skip(each.name, each.provider, chain.routing.reason_behind(each, routes[0]), is_order=True)
        for each in before_first
    ]
    failed_before = {earlier.route for earlier in asked}
    candidates = [candidate for route in routes for candidate in able[route.name]]
    return sorted(candidates, key=lambda candidate: candidate.route.name in failed_before)


def route_candidates(route: ProviderConfig, health: Mapping[Circuit, Health]) -> list[Candidate]:
    """Return the route with each of its provider's keys, which take turns at coming first; empty without a key."""
    providers = connect_each(Category(route.category), route.provider, Operation(route.operation))
    turn = next(_turns) % len(providers) if len(providers) > 1 else 0
    candidates = []
    for provider in [*providers[turn:], *providers[:turn]]:
        circuits = (circuit_of_route(route), circuit_of_key(route.provider, provider.access.key_id))
        known = {circuit: health.get(circuit, CLEAN) for circuit in circuits}
        candidates.append(Candidate(route, provider, known, has_other_keys=len(providers) > 1))
    return candidates


def _reason_to_skip(candidate: Candidate, prompt: Prompt) -> str:
    """Return why this route cannot be asked for this prompt, "" where it can."""
    route = candidate.route
    reason = unsupported_reason(route.capabilities, prompt)
    if reason:
        return reason
    try:
        candidate.provider.check(candidate.prompt_for(prompt))
    except Unsupported as error:
        return str(error)
    if settings.REQUIRE_PRICES and reservation(route, candidate.provider, candidate.prompt_for(prompt)) is None:
        return "nobody knows what a call may cost, and REQUIRE_PRICES is set: put in its price"
    return ""


def candidate_for_attempt(attempt: Attempt) -> Candidate | None:
    """Return the route of an attempt that is under way with the key it was made with, whatever was switched since.

    Where that key is gone, another one of the provider may know the job. None where the route or every key is gone.
    """
    name = attempt.route or attempt.provider
    route = ProviderConfig.objects.filter(category=attempt.category, provider=attempt.provider, name=name).first()
    candidates = route_candidates(route, circuit_breaker.read_health(attempt.category)) if route else []
    return next((each for each in candidates if each.key_id == attempt.key_id), next(iter(candidates), None))


def unknown_policy(attempt: Attempt) -> UnknownPolicy:
    """Return what follows an unknown outcome of this attempt, whatever has become of its route and key since."""
    backend = backend_for(Category(attempt.category), attempt.provider, Operation(attempt.operation))
    return backend.unknown_policy if backend else UnknownPolicy.RESPEND


def can_serve(category: Category, tag: str = "") -> bool:
    """Return whether any enabled route of this category, with this tag if one is given, is ready and not paused by an
    operator."""
    return any(provider_for(route) for route in _routes(category, tag) if route.enabled and not route.is_paused)


def has_route(category: Category, tag: str) -> bool:
    """Return whether any route that answers in this category has this tag, enabled or not."""
    return bool(_routes(category, tag, (Operation.GENERATE, Operation.EDIT)))


def _routes(
    category: Category, tag: str, operations: Sequence[Operation] = (Operation.GENERATE,)
) -> list[ProviderConfig]:
    # SQLite cannot ask what a list in JSON contains; there are dozens of routes at most.
    routes = ProviderConfig.objects.filter(category=category.value, operation__in=operations).with_pause()
    return [route for route in routes if route.serves(tag)]


def can_edit(category: Category, tag: str = "") -> bool:
    """Return whether any enabled route makes an output of this category from an image."""
    routes = ProviderConfig.objects.in_service().filter(category=category.value)
    return any(route.does(Operation.EDIT) and route.serves(tag) and _takes_images(route) for route in routes)


def _takes_images(route: ProviderConfig) -> bool:
    provider = provider_for(route)
    prompt = Prompt(Category(route.category), "", model=route.model, operation=Operation.EDIT, attachments=(ANY_IMAGE,))
    try:
        if provider:
            provider.check(prompt)
    except Unsupported:
        return False
    return provider is not None


def can_listen() -> bool:
    """Return whether any enabled route takes audio in a prompt."""
    routes = ProviderConfig.objects.in_service().filter(category=Category.TEXT.value, capabilities__audio_input=True)
    providers = [provider_for(route) for route in routes]
    return any(provider and Feature.AUDIO_INPUT in provider.features for provider in providers)


def can_transcribe() -> bool:
    """Return whether any enabled route turns speech into text."""
    return any(provider_for(route) for route in ProviderConfig.objects.in_service().filter(operation=TRANSCRIBE))


def provider_for(route: ProviderConfig) -> TextProvider | MediaProvider | None:
    """Return the route's provider, ready to call; None where no class implements it or its key is not set."""
    return next(iter(connect_each(Category(route.category), route.provider, Operation(route.operation))), None)


def _read_chain(category: str) -> _Chain:
    """Return a category's routes and health, at most CHAIN_CACHE_SECONDS old: every answer of a process needs them."""
    chain = _chains.get(category)
    now = time.monotonic()
    if chain is None or now - chain.read_at >= CHAIN_CACHE_SECONDS:
        routes = list(ProviderConfig.objects.filter(category=category, enabled=True).with_pause())
        routing = read_routing(category, rule_of(category))
        chain = _chains[category] = _Chain(routes, circuit_breaker.read_health(category), routing, read_at=now)
    return chain


def _by_priority(routes: Sequence[ProviderConfig]) -> list[ProviderConfig]:
    """Return the routes by priority; ties are shuffled so that each comes first as often as its weight says."""
    return sorted(routes, key=lambda route: (route.priority, -_weighted_chance(route.weight)))


def _weighted_chance(weight: int) -> float:
    # The largest of random**(1/weight) falls to each route in proportion to its weight (Efraimidis and Spirakis, 2006).
    return random.random() ** (1 / weight) if weight else 0.0  # noqa: S311 — load sharing, not a secret

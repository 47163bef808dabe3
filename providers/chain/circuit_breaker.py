"""The circuit breaker: which route or key is passed by, for how long, and who may probe it afterwards.

One row per circuit, shared by all workers; all times are the database's. It is advisory: where its table cannot be read
or written, traffic passes. The operator's `enabled` switch is another matter.

    CLOSED ──3 failures in a row, or one that trips at once──▶ OPEN ──cooldown over──▶ HALF_OPEN
       ▲                                                        ▲                          │
       └───────────────the probe succeeds───────────────────────┼───the probe fails────────┘
"""

import hashlib
import logging
import random
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from providers.access import access_to
from providers.errors import AccessDenied, ModelGone, ProviderError, RateLimited
from providers.models import ProviderConfig, ProviderHealth

logger = logging.getLogger("providers.chain.circuit_breaker")

FAILURES_TO_OPEN = 3  # in a row
REJECTIONS_TO_OPEN = 3  # of different requests, in a row and in the same words
BASE_COOLDOWN_SECONDS = 30  # doubled with each further trip: exponential backoff
MAX_COOLDOWN_SECONDS = 600
MAX_NAMED_SECONDS = 3_600  # that a provider names itself; a daily limit may be raised before its day is over
MAX_COUNTED_TRIPS = 10  # 30 s doubled that often is far beyond the longest cooldown
ACCESS_COOLDOWN_SECONDS = 600  # wrong key, empty wallet, retired model: waiting rarely helps, a person does
RATE_LIMIT_COOLDOWN_SECONDS = 30  # where the provider names no time of its own
JITTER = 0.2  # share of a cooldown by which it varies, so that those of a fleet do not end together


class CircuitState(Enum):
    """What the breaker says of a circuit right now."""

    CLOSED = "closed"  # calls pass
    OPEN = "open"  # cooling down: passed by
    HALF_OPEN = "half-open"  # the cooldown is over; one request at a time may probe


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is paused by itself: a route, or a key with all the routes that use it."""

    provider: str
    category: str = ""  # of the route
    route: str = ""  # its name
    key_id: str = ""  # of the key

    def __str__(self) -> str:
        return f"the key of {self.provider}" if self.key_id else f"{self.route} in {self.category}"

    def rows(self) -> QuerySet[ProviderHealth]:
        """Return its row, where it has ever failed."""
        return ProviderHealth.objects.filter(**asdict(self))


def circuit_of_route(route: ProviderConfig) -> Circuit:
    """Return the circuit of a route, whichever key it uses."""
    return Circuit(route.provider, category=route.category, route=route.name)


def circuit_of_key(provider: str, key_id: str) -> Circuit:
    """Return the circuit of a key."""
    return Circuit(provider, key_id=key_id)


def circuits_of_keys(provider: str) -> list[Circuit]:
    """Return the circuits of all keys of a provider that are set."""
    access = access_to(provider)
    return [circuit_of_key(provider, each.key_id) for each in access.each()] if access else []


@dataclass(frozen=True, slots=True)
class Health:
    """One circuit, as read at one moment of the database's clock."""

    state: CircuitState = CircuitState.CLOSED
    is_clean: bool = True  # nothing to clear after a success
    is_probed: bool = False  # half-open, and another request is the probe
    open_until: datetime | None = None
    seconds_left: int = 0  # of the cooldown
    reason: str = ""
    error_class: str = ""  # of the error that opened the circuit


CLEAN = Health()


def read_health(category: str) -> Mapping[Circuit, Health]:
    """Return the circuits of the category's routes, and of all keys, that ever failed; the others are CLEAN.

    An unreadable table gives an empty mapping: traffic passes.
    """
    try:
        rows = list(ProviderHealth.objects.filter(category__in=[category, ""]).annotate(now=Now()))
    except DatabaseError:
        logger.exception("The circuit breaker's table cannot be read; traffic passes.")
        return {}
    return {circuit_of(row): health_of(row, row.now) for row in rows}


def with_pauses(routes: QuerySet[ProviderConfig]) -> QuerySet[ProviderConfig]:
    """Annotate routes with the pause that ends last, of the route or of a key that it uses, for people to read.

    `now` is the database's clock, `open_until` the end, `paused_key` the id of the key or "", `reason_of_pause` the
    error; all but `now` are None where nothing is paused.
    """
    of_route = ProviderHealth.objects.filter(category=OuterRef("category"), route=OuterRef("name"), key_id="")
    keys = [each.key_id for access in settings.PROVIDER_ACCESS.values() if access.key for each in access.each()]
    of_keys = ProviderHealth.objects.filter(provider=OuterRef("provider"), key_id__in=keys)
    paused = (of_route | of_keys).filter(open_until__isnull=False).order_by("-open_until")
    return routes.annotate(
        now=Now(),
        open_until=Subquery(paused.values("open_until")[:1]),
        paused_key=Subquery(paused.values("key_id")[:1]),
        reason_of_pause=Subquery(paused.values("reason")[:1]),
    )


def with_operators_pauses(circuits: QuerySet[ProviderHealth]) -> QuerySet[ProviderHealth]:
    """Annotate circuits with `now`, the database's clock, and with how an operator has paused their route.

    `paused_until`, `paused_by` and `paused_because` are None where nobody has.
    """
    routes = ProviderConfig.objects.filter(
        paused_until__gt=Now(), category=OuterRef("category"), name=OuterRef("route")
    )
    names = ("paused_until", "paused_by", "paused_because")
    return circuits.annotate(now=Now(), **{name: Subquery(routes.values(name)[:1]) for name in names})


def circuit_of(row: ProviderHealth) -> Circuit:
    """Return the circuit of a row."""
    return Circuit(row.provider, row.category, row.route, row.key_id)


def health_of(row: ProviderHealth, now: datetime) -> Health:
    """Return what a row says at this moment of the database's clock."""
    if row.open_until is None:
        return Health(is_clean=not (row.failures or row.rejections))
    is_open = row.open_until > now
    return Health(
        state=CircuitState.OPEN if is_open else CircuitState.HALF_OPEN,
        is_clean=False,
        is_probed=not is_open and row.probe_until is not None and row.probe_until > now,
        open_until=row.open_until,
        seconds_left=max(0, round((row.open_until - now).total_seconds())),
        reason=row.reason,
        error_class=row.error_class,
    )


def acquire_probe(circuit: Circuit, *, seconds: float) -> bool:
    """Try to become the one request that probes a half-open circuit; the right lasts `seconds`.

    A compare-and-set: of all workers that ask at once, exactly one gets True.
    """
    free = Q(probe_until__isnull=True) | Q(probe_until__lte=Now())
    until = Now() + timedelta(seconds=seconds)
    return bool(circuit.rows().filter(free, open_until__lte=Now()).update(probe_until=until))


def record_success(circuit: Circuit, *, health: Health) -> None:
    """Close a circuit through which an answer has just come. `health` is what was read before the call.

    A call that began while the circuit was clean writes nothing, so the usual case costs no query, and it does not
    close a circuit that others have opened meanwhile. Raises nothing.
    """
    if health.is_clean:
        return
    rows = circuit.rows()
    if health.state is CircuitState.CLOSED:
        rows = rows.filter(open_until__isnull=True)
    try:
        rows.update(**_CLOSED)
    except DatabaseError:
        logger.exception("The circuit breaker's table cannot be written.")


def record_failure(circuit: Circuit, *, error: ProviderError) -> None:
    """Count a failed call and open the circuit where the error says so. Raises nothing.

    Errors that say nothing about the provider's health (`counts_as_failure` is False) change nothing.
    """
    if not (error.counts_as_failure or error.counts_when_repeated):
        return
    try:
        if error.counts_when_repeated:
            with transaction.atomic():
                _count_rejection(circuit, error)
        elif not _is_open_already(circuit, error):
            with transaction.atomic():
                _count(circuit, error)
    except DatabaseError:
        logger.exception("The circuit breaker's table cannot be written.")


def _is_open_already(circuit: Circuit, error: ProviderError) -> bool:
    """Return whether the circuit is open for as long as this error could open it: then there is nothing to write.

    A hundred calls that were under way when it opened would else queue up at its row, all for the same reason.
    """
    # Half of it: a second refused key says nothing new while most of the first one's cooldown is still to come.
    until = Now() + timedelta(seconds=_named_seconds(error) / 2)
    return circuit.rows().filter(open_until__gt=until).exists()


def _named_seconds(error: ProviderError) -> float:
    """Return how long this error alone opens a circuit; 0 where it only counts."""
    if isinstance(error, RateLimited):
        return min(error.retry_after or RATE_LIMIT_COOLDOWN_SECONDS, MAX_NAMED_SECONDS)
    return ACCESS_COOLDOWN_SECONDS if error.trips_at_once else 0


def _count(circuit: Circuit, error: ProviderError) -> None:
    row = _locked_row(circuit)
    is_open = row.open_until is not None and row.open_until > row.now
    row.failures += 1
    row.probe_until = None
    cooldown = _cooldown_seconds(row, error, is_open=is_open)
    if cooldown:
        open_until = row.now + timedelta(seconds=cooldown)
        row.open_until = max(row.open_until, open_until) if row.open_until else open_until
        row.reason, row.error_class = str(error)[:300], error.error_class
        if isinstance(error, AccessDenied | ModelGone):
            logger.error("%s needs the operator: paused for %.0f s", circuit, cooldown)
        else:
            logger.warning("%s is paused for %.0f s", circuit, cooldown)
    row.save()


def _count_rejection(circuit: Circuit, error: ProviderError) -> None:
    """Open the circuit where several requests in a row have met the very same refusal: it is about the route."""
    words = re.sub(r"\d+", "0", f"{error.status} {error.code} {error.param} {error.excerpt}")
    rejection = hashlib.sha256(words.encode()).hexdigest()
    row = _locked_row(circuit)
    row.rejections = row.rejections + 1 if row.rejection == rejection else 1
    row.rejection = rejection
    if row.rejections >= REJECTIONS_TO_OPEN:
        row.rejections = 0
        row.open_until = row.now + timedelta(seconds=ACCESS_COOLDOWN_SECONDS)
        row.probe_until = None
        row.reason, row.error_class = str(error)[:300], error.error_class
        logger.error("%s needs the operator: it rejects every request alike", circuit)
    row.save()


def _locked_row(circuit: Circuit) -> Any:
    ProviderHealth.objects.get_or_create(**asdict(circuit))
    return circuit.rows().select_for_update().annotate(now=Now()).get()


def _cooldown_seconds(row: ProviderHealth, error: ProviderError, *, is_open: bool) -> float:
    """Return for how long the circuit opens now, in seconds; 0 where it does not. Counts the row's trips."""
    if error.trips_at_once:
        return _named_seconds(error)
    # Calls that were under way when the circuit opened fail after it, all for the same reason: count them once.
    is_probe = row.open_until is not None and not is_open
    if is_open or (row.failures < FAILURES_TO_OPEN and not is_probe):
        return 0
    cooldown: float = min(BASE_COOLDOWN_SECONDS * 2**row.consecutive_trips, MAX_COOLDOWN_SECONDS)
    row.consecutive_trips = min(row.consecutive_trips + 1, MAX_COUNTED_TRIPS)
    return cooldown * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 — jitter, not a secret


def reset(circuit: Circuit) -> bool:
    """Close a circuit at once, by the operator's hand. Returns whether there was anything to close."""
    return bool(circuit.rows().exclude(open_until=None, failures=0).update(**_CLOSED))


_CLOSED = {
    "failures": 0,
    "consecutive_trips": 0,
    "open_until": None,
    "probe_until": None,
    "reason": "",
    "error_class": "",
    "rejection": "",
    "rejections": 0,
}

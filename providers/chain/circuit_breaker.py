"""The breaker: which provider rests, for how long, and who may try it again.

One row per category and provider, shared by all workers; all times are the database's. It is advice: where its
table cannot be read or written, traffic passes. The operator's `enabled` switch is another matter.
"""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from providers.errors import AccessDenied, ModelGone, ProviderError, RateLimited
from providers.models import ProviderHealth

logger = logging.getLogger("providers.chain.circuit_breaker")

FAULTS_BEFORE_REST = 3  # in a row
FIRST_REST_SECONDS = 30  # doubled with each further rest
LONGEST_REST_SECONDS = 600
REFUSED_REST_SECONDS = 600  # wrong key, empty wallet, retired model: waiting rarely helps, a person does
RATE_LIMIT_REST_SECONDS = 30  # where the provider names no time of its own
JITTER = 0.2  # share of a rest by which it varies, so that rests of a fleet do not end together


class Standing(Enum):
    """What the breaker says of a provider right now."""

    HEALTHY = "healthy"
    RESTING = "resting"
    WAKING = "waking"  # the rest is over; one request may probe
    PROBING = "probing"  # somebody else's request is the probe


@dataclass(frozen=True, slots=True)
class Health:
    """One provider's standing, as read at one moment of the database's clock."""

    standing: Standing = Standing.HEALTHY
    is_clean: bool = True  # nothing to clear after a success
    wakes_at: datetime | None = None
    seconds_left: int = 0
    reason: str = ""


CLEAN = Health()


def read_health(category: str) -> Mapping[str, Health]:
    """Return the health of every provider of the category that ever failed; the others are CLEAN.

    An unreadable table gives an empty mapping: traffic passes.
    """
    try:
        rows = list(ProviderHealth.objects.filter(category=category).annotate(now=Now()))
    except DatabaseError:
        logger.exception("The breaker's table cannot be read; traffic passes.")
        return {}
    return {row.provider: _health_of(row, row.now) for row in rows}


def _health_of(row: ProviderHealth, now: datetime) -> Health:
    if row.resting_until is None:
        return Health(is_clean=not row.failures)
    if row.resting_until > now:
        standing = Standing.RESTING
    elif row.probing_until and row.probing_until > now:
        standing = Standing.PROBING
    else:
        standing = Standing.WAKING
    return Health(
        standing=standing,
        is_clean=False,
        wakes_at=row.resting_until,
        seconds_left=max(0, round((row.resting_until - now).total_seconds())),
        reason=row.reason,
    )


def win_probe(*, category: str, provider: str, seconds: float) -> bool:
    """Try to become the one request that probes a provider whose rest is over; the right lasts `seconds`.

    A compare-and-set: of all workers that ask at once, exactly one gets True.
    """
    return bool(
        ProviderHealth.objects.filter(
            Q(probing_until__isnull=True) | Q(probing_until__lte=Now()),
            category=category,
            provider=provider,
            resting_until__lte=Now(),
        ).update(probing_until=Now() + timedelta(seconds=seconds))
    )


def note_success(*, category: str, provider: str, health: Health) -> None:
    """Forget the failures of a provider that has just answered. `health` is what was read before the call.

    A call that began while all was well writes nothing, so the usual case costs no query, and it does not end
    a rest that others have caused meanwhile.
    """
    if health.is_clean:
        return
    rows = ProviderHealth.objects.filter(category=category, provider=provider)
    if health.standing is Standing.HEALTHY:
        rows = rows.filter(resting_until__isnull=True)
    try:
        rows.update(failures=0, level=0, resting_until=None, probing_until=None, reason="")
    except DatabaseError:
        logger.exception("The breaker's table cannot be written.")


def note_failure(*, category: str, provider: str, error: ProviderError) -> None:
    """Count a failed call and send the provider to rest where the error says so.

    Errors that say nothing about the provider's health (`counts_as_fault` is False) change nothing.
    """
    if not error.counts_as_fault:
        return
    try:
        with transaction.atomic():
            _count(category, provider, error)
    except DatabaseError:
        logger.exception("The breaker's table cannot be written.")


def _count(category: str, provider: str, error: ProviderError) -> None:
    ProviderHealth.objects.get_or_create(category=category, provider=provider)
    row = ProviderHealth.objects.select_for_update().annotate(now=Now()).get(category=category, provider=provider)
    is_resting = row.resting_until is not None and row.resting_until > row.now
    row.failures += 1
    row.probing_until = None
    rest = _rest_seconds(row, error, is_resting=is_resting)
    if rest:
        wakes_at = row.now + timedelta(seconds=rest)
        row.resting_until = max(row.resting_until, wakes_at) if row.resting_until else wakes_at
        row.reason = str(error)[:300]
        if isinstance(error, AccessDenied | ModelGone):
            logger.error("%s needs the operator: it rests for %.0f s in %s", provider, rest, category)
        else:
            logger.warning("%s rests for %.0f s in %s", provider, rest, category)
    row.save()


def _rest_seconds(row: ProviderHealth, error: ProviderError, *, is_resting: bool) -> float:
    """Return how long the provider rests now, in seconds; 0 where it goes on. Raises the row's level."""
    if isinstance(error, RateLimited):
        return min(error.retry_after or RATE_LIMIT_REST_SECONDS, LONGEST_REST_SECONDS)
    if error.rests_at_once:
        return REFUSED_REST_SECONDS
    # Calls that were under way when the rest began fail after it, all for the same reason: count them once.
    if is_resting or row.failures < FAULTS_BEFORE_REST:
        return 0
    rest = min(FIRST_REST_SECONDS * 2**row.level, LONGEST_REST_SECONDS)
    row.level = min(row.level + 1, 10)
    return rest * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 — jitter, not a secret


def wake(*, category: str, provider: str) -> bool:
    """End a provider's rest at once, by the operator's hand. Returns whether there was anything to end."""
    return bool(
        ProviderHealth.objects.filter(category=category, provider=provider)
        .exclude(resting_until=None, failures=0)
        .update(failures=0, level=0, resting_until=None, probing_until=None, reason="")
    )

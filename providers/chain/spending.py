"""Daily caps: what today's calls have cost and may still cost, and whether one more fits.

A call reserves the most that it can cost with the row of its attempt, so calls that begin at the same moment see each
other. What is still under way, and what may be billed at an unknown cost, counts at its reservation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Case, DecimalField, F, Q, Value, When
from django.db.models.functions import Coalesce, Now, TruncDay

from providers.backends.base import TextProvider
from providers.backends.media_generation import MediaProvider
from providers.db import found_by
from providers.models import Attempt, AttemptRollup, ProviderConfig
from providers.pricing import cost_at_most
from providers.statistics.rollups import NOT_FOLDED
from providers.types import Category, Prompt, Purpose

LOCK = 7_001_003  # the advisory lock of PostgreSQL under which capped attempts are written
State = Attempt.State


@dataclass(frozen=True, slots=True)
class Cap:
    """A sum that a day's calls may cost."""

    words: str  # what it caps
    usd: Decimal
    attempts: Q  # which attempts, and which hourly sums, it is about


class CapReached(Exception):
    """One more call might cost more than a cap leaves. Nothing was written."""


def caps_of(route: ProviderConfig) -> list[Cap]:
    """Return the caps that a call on this route must fit."""
    return list(_caps_of(route))


def _caps_of(route: ProviderConfig) -> Iterator[Cap]:
    if route.daily_cap_usd is not None:
        yield Cap(
            "its daily cap",
            route.daily_cap_usd,
            Q(category=route.category, provider=route.provider, route__in=_names_of(route)),
        )
    of_provider = settings.PROVIDER_DAILY_CAPS_USD.get(route.provider)
    if of_provider is not None:
        yield Cap("its provider's daily cap", of_provider, Q(provider=route.provider))
    if settings.DAILY_SPEND_CAP_USD is not None:
        yield Cap("the daily cap of the service", settings.DAILY_SPEND_CAP_USD, Q())


def reservation(route: ProviderConfig, provider: TextProvider | MediaProvider, prompt: Prompt) -> Decimal | None:
    """Return the most that a call may cost in USD, None where nobody knows. `prompt` is as the route is asked."""
    usage = provider.used_at_most(prompt)
    if isinstance(provider, MediaProvider):
        usage = replace(usage, compute_seconds=compute_seconds_at_most(prompt.category))
    return cost_at_most(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)


def compute_seconds_at_most(category: Category) -> Decimal:
    """Return how long hardware may work on one call: until the request's deadline, which cancels the job."""
    return Decimal(settings.DEADLINE_SECONDS[category])


def _names_of(route: ProviderConfig) -> list[str]:
    # Before routes had names each was called as its provider.
    return [route.name, ""] if route.name == route.provider else [route.name]


def caps_check(route: ProviderConfig, *, reserved: Decimal | None) -> None:
    """Raise CapReached where a call that may cost `reserved` does not fit. Inside the transaction that writes it.

    Whoever asks at the same moment waits for this transaction, so that no two calls take the same rest.
    """
    caps = caps_of(route)
    if not caps:
        return
    if reserved is None:
        raise CapReached(f"{caps[0].words} cannot hold, because nobody knows what a call may cost: put in its price")
    if connection.vendor == "postgresql":  # SQLite's transaction is the only one that writes
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    for cap in caps:
        spent = spent_today(cap.attempts)
        if spent + reserved > cap.usd:
            raise CapReached(f"{cap.words} of ${cap.usd:.2f} leaves ${max(Decimal(0), cap.usd - spent):.4f}")


def spent_today(attempts: Q = Q()) -> Decimal:  # noqa: B008 — it is never changed
    """Return what today's calls (UTC) have cost, or may have, or may still, in USD. One statement, of few rows."""
    sql, params = _statement(attempts)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        (usd,) = cursor.fetchone()
    return Decimal(f"{usd or 0:.10f}")  # SQLite adds as floats


@lru_cache(maxsize=1_000)
def _statement(attempts: Q) -> tuple[str, tuple[Any, ...]]:
    # To build it takes four times as long as to execute it.
    midnight = TruncDay(Now(), tzinfo=UTC)
    rows = Attempt.objects.order_by().filter(attempts, created_at__gte=midnight).exclude(purpose=Purpose.SANDBOX)
    folded = AttemptRollup.objects.order_by().filter(attempts, hour__gte=midnight)
    # The last two apart, since each has an index of its own.
    parts = (
        found_by(NOT_FOLDED, rows).annotate(usd=MAY_COST),
        rows.filter(finished_at=None).annotate(usd=MAY_COST),
    )
    each = folded.annotate(usd=F("total_cost") + F("reserved_cost")).values("usd")
    sql, params = each.union(*(part.values("usd") for part in parts), all=True).query.sql_with_params()
    return f"SELECT SUM(usd) FROM ({sql}) AS spent", tuple(params)  # noqa: S608 — no value is interpolated


MAY_COST = Case(
    When(cost__isnull=False, then=F("cost")),
    When(state=State.FAILED, then=Value(Decimal(0))),
    default=Coalesce(F("reserved_cost"), Decimal(0)),
    output_field=DecimalField(max_digits=16, decimal_places=10),
)

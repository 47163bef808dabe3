"""Hourly sums of finished attempts: folding new ones in, and counting them all again.

What is folded and what is not yet folded are both in the database, so the statistics (selectors.py) read the sums
plus the rows that are missing from them, and are right at any moment, whatever dies in between.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import BigIntegerField, Count, DecimalField, F, Max, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Coalesce, Now, NullIf, Round, TruncHour
from django.utils import timezone

from providers.errors import ContentRefused
from providers.models import Attempt, AttemptRollup
from providers.types import Purpose

BATCH_ROWS = 5_000
MAX_BATCHES = 20  # in one call, so that a backlog does not hold up the other sweeps
# A call that was written off as UNKNOWN may still be answered, and a folded row changes no more. So these wait until
# every deadline is over; the statistics count them meanwhile like all rows that are not folded.
UNKNOWN_SETTLES_AFTER = timedelta(hours=1)

State = Attempt.State
# Tests of the operator are on the bill, and in no rate.
IS_COUNTED = ~Q(purpose=Purpose.TEST)
IS_SUCCESS = Q(state=State.OK) & IS_COUNTED
TICKS_PER_USD = 10**10  # the finest part of a dollar that the cost column keeps


def sum_in_ticks(column: str, which: Q | None = None) -> Sum:
    """Sum a column of dollars in whole ticks: on SQLite decimals are floats, and only whole numbers add up exactly."""
    ticks = Round(F(column) * Value(Decimal(TICKS_PER_USD), output_field=DecimalField()))
    return Sum(Cast(ticks, BigIntegerField()), filter=which, default=0)


# Before routes had names of their own each was called as its provider.
ROUTE_NAME = Coalesce(NullIf("route", Value("")), "provider")

IS_UNKNOWN = Q(state__in=[State.OK, *Attempt.PERHAPS_BILLED], cost__isnull=True)
IN_TICKS = ("total_cost", "reserved_cost")
# What a route is asked for. Few have two: a model that generates images and changes them counts as one that generates.
OPERATION = Max("operation")

# What is counted of finished attempts, by the name of the sum. The costs are in ticks here.
SUMS = {
    "requests": Count("pk", filter=IS_COUNTED),
    "successes": Count("pk", filter=IS_SUCCESS),
    "refusals": Count("pk", filter=Q(error_class=ContentRefused.error_class) & IS_COUNTED),
    "priced_successes": Count("pk", filter=IS_SUCCESS & Q(cost__isnull=False)),
    # A FAILED attempt has no cost either, but nobody bills it.
    "unknown_costs": Count("pk", filter=IS_UNKNOWN),
    "total_cost": sum_in_ticks("cost"),
    "reserved_cost": sum_in_ticks("reserved_cost", IS_UNKNOWN),
    "success_ms": Sum("duration_ms", filter=IS_SUCCESS, default=0),
}


def fold_attempts() -> int:
    """Add finished attempts to the hourly sums and mark them as folded, together; return how many.

    Any number of sweepers may fold at once: each takes rows that nobody else holds. Most calls find little, and a
    backlog is worked off over several calls.
    """
    folded = 0
    for _ in range(MAX_BATCHES):
        batch = _fold_batch()
        folded += batch
        if batch < BATCH_ROWS:
            break
    return folded


def not_folded() -> tuple[int, Decimal]:
    """Return how many finished attempts the hourly sums do not contain yet, and their known cost in USD."""
    sums = _not_in_sums().aggregate(number=Count("pk"), ticks=SUMS["total_cost"])
    return sums["number"], in_dollars(sums["ticks"])


def _fold_batch() -> int:
    if not _foldable().exists():
        return 0  # without taking SQLite's only write lock
    with transaction.atomic():
        rows = _foldable().select_for_update(skip_locked=True).order_by("finished_at")
        attempts = Attempt.objects.filter(id__in=list(rows.values_list("id", flat=True)[:BATCH_ROWS]))
        for sums in _hourly_sums(attempts):
            _add(**sums)
        return attempts.update(rolled_up=True)


def _not_in_sums() -> QuerySet[Attempt]:
    # What the sandbox has answered is never folded, so that it can be told apart at any time.
    return Attempt.objects.filter(rolled_up=False, finished_at__isnull=False).exclude(purpose=Purpose.SANDBOX)


def _foldable() -> QuerySet[Attempt]:
    return _not_in_sums().exclude(state=State.UNKNOWN, finished_at__gt=Now() - UNKNOWN_SETTLES_AFTER)


def _hourly_sums(attempts: QuerySet[Attempt]) -> list[dict[str, Any]]:
    """Return the sums per hour, category and route, always in this order: two sweepers that add to the same rows
    then wait for each other instead of deadlocking."""
    group = ("hour", "category", "provider", "route_name")
    hours = attempts.annotate(hour=TruncHour("created_at", tzinfo=UTC), route_name=ROUTE_NAME).values(*group)
    sums = list(hours.annotate(asked_for=OPERATION, **SUMS).order_by(*group))
    for row in sums:
        row["route"], row["operation"] = row.pop("route_name"), row.pop("asked_for")
        row |= {name: in_dollars(row[name]) for name in IN_TICKS}
    return sums


def in_dollars(ticks: int | Decimal) -> Decimal:
    """Return ticks as dollars, exactly."""
    return Decimal(ticks).scaleb(-10)


def _add(*, hour: Any, category: str, provider: str, route: str, operation: str, **sums: Any) -> None:
    rollup, _ = AttemptRollup.objects.select_for_update().get_or_create(
        hour=hour, category=category, provider=provider, route=route, defaults={"operation": operation}
    )
    for name, value in sums.items():
        setattr(rollup, name, getattr(rollup, name) + value)
    rollup.save(update_fields=list(sums))


def rollups_rebuild() -> int:
    """Count all folded attempts again from their raw rows and replace the hourly sums; return how many were counted.

    The sums of hours whose attempts retention has deleted stay. Each hour is a transaction of its own, for which
    sweepers wait; readers see its old sums until the new ones are committed. Repeatable at any time.
    """
    counted = 0
    for hour in _hours_on_record():
        with _counted_again(hour) as sums:
            if sums is not None:
                AttemptRollup.objects.filter(hour=hour).delete()
                AttemptRollup.objects.bulk_create([AttemptRollup(**row) for row in sums])
                counted += len(sums)
    return counted


def rollups_check() -> tuple[int, list[datetime]]:
    """Count again without writing; return how many hours were counted, and which of them have other sums.

    Hours whose attempts retention has deleted are left out. Sweepers wait for each hour, as they do for a rebuild.
    """
    checked, wrong = 0, []
    for hour in _hours_on_record():
        with _counted_again(hour) as sums:
            if sums is not None:
                checked += 1
                stored = AttemptRollup.objects.filter(hour=hour).values("category", "provider", "route", *SUMS)
                if _by_route(stored) != _by_route(sums):
                    wrong.append(hour)
    return checked, wrong


def _hours_on_record() -> list[datetime]:
    folded = Attempt.objects.filter(rolled_up=True).order_by()
    attempted = folded.annotate(hour=TruncHour("created_at", tzinfo=UTC)).values_list("hour", flat=True).distinct()
    return sorted({*attempted, *AttemptRollup.objects.order_by().values_list("hour", flat=True).distinct()})


@contextmanager
def _counted_again(hour: datetime) -> Iterator[list[dict[str, Any]] | None]:
    """Enter a transaction in which nobody folds, with the hour's sums; None where some of its attempts are gone."""
    with transaction.atomic():
        _lock_out_sweepers()
        within = Q(created_at__gte=hour, created_at__lt=hour + timedelta(hours=1))
        yield _hourly_sums(Attempt.objects.filter(within, rolled_up=True)) if _is_whole(hour) else None


def _by_route(sums: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str], list[Any]]:
    return {
        (row["category"], row["provider"], row["route"] or row["provider"]): [row[name] for name in SUMS]
        for row in sums
    }  # fmt: skip


def _is_whole(hour: datetime) -> bool:
    """Return whether no attempt of this hour was deleted."""
    folded = Attempt.objects.filter(rolled_up=True).order_by("created_at")
    oldest = folded.values_list("created_at", flat=True).first()
    days = settings.RETENTION_ROWS_DAYS
    is_due_to_go = bool(days) and hour < timezone.now() - timedelta(days=days) + timedelta(hours=2)
    return oldest is not None and hour >= _first_whole_hour(oldest) and not is_due_to_go


def _first_whole_hour(oldest: datetime) -> datetime:
    """Return from which hour on no attempt was deleted; `oldest` is when the oldest that is left was made."""
    hour = oldest.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    # Where an earlier hour was counted, its attempts were deleted, the oldest first. So may be some of this hour, and
    # at this moment of the next one.
    return hour + timedelta(hours=2) if AttemptRollup.objects.filter(hour__lt=hour).exists() else hour


def _lock_out_sweepers() -> None:
    # A sweeper that has begun to add is waited for; one that begins later waits. SQLite has one writer anyway.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f'LOCK TABLE "{AttemptRollup._meta.db_table}" IN EXCLUSIVE MODE')

"""The hourly sums of finished attempts: what is counted of them, and what is folded when. How is in folding.py."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Aggregate, Count, Max, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, Now, NullIf

from providers.errors import ContentRefused
from providers.models import Attempt, AttemptDayRollup, AttemptHistogram, AttemptRollup
from providers.statistics.folding import Fold
from providers.statistics.histograms import bucket_of
from providers.statistics.sum_tables import DAYS, HOURS, Row, SumsTable, in_dollars, sum_in_ticks
from providers.types import Purpose

# A call that was written off as UNKNOWN may still be answered, and a folded row changes no more. So these wait until
# every deadline is over; the statistics count them meanwhile like all rows that are not folded.
UNKNOWN_SETTLES_AFTER = timedelta(hours=1)

State = Attempt.State
Measure = AttemptHistogram.Measure
IS_SUCCESS = Q(state=State.OK)
NOT_FOLDED = Q(rolled_up=False, finished_at__isnull=False)  # finished attempts, as their index has them

# Before routes had names of their own each was called as its provider.
ROUTE_NAME = Coalesce(NullIf("route", Value("")), "provider")

IS_UNKNOWN = Q(state__in=[State.OK, *Attempt.PERHAPS_BILLED], cost__isnull=True)
IN_TICKS = ("total_cost", "test_cost", "reserved_cost")
# What a route is asked for. Few have two: a model that generates images and changes them counts as one that generates.
OPERATION = Max("operation")


def sums_for(purpose: Purpose) -> dict[str, Aggregate]:
    """Return what is counted of finished attempts, by the name of the sum. The costs are in ticks here.

    Those of another purpose, such as tests of the operator, are on the bill and in nothing else.
    """
    ours = Q(purpose=purpose)
    success = IS_SUCCESS & ours
    return {
        "requests": Count("pk", filter=ours),
        "successes": Count("pk", filter=success),
        "refusals": Count("pk", filter=Q(error_class=ContentRefused.error_class) & ours),
        "priced_successes": Count("pk", filter=success & Q(cost__isnull=False)),
        # A FAILED attempt has no cost either, but nobody bills it.
        "unknown_costs": Count("pk", filter=IS_UNKNOWN),
        "total_cost": sum_in_ticks("cost"),
        "test_cost": sum_in_ticks("cost", Q(purpose=Purpose.TEST)),
        "reserved_cost": sum_in_ticks("reserved_cost", IS_UNKNOWN),
        "success_ms": Sum("duration_ms", filter=success, default=0),
    }


SUMS = sums_for(Purpose.USER)

COLUMN_OF = {Measure.DURATION: "duration_ms", Measure.FIRST_TEXT: "first_token_ms"}


def fold_attempts() -> int:
    """Add finished attempts to the hourly sums and mark them as folded, together; return how many."""
    return attempts_fold.fold()


def not_folded() -> tuple[int, Decimal]:
    """Return how many finished attempts the hourly sums do not contain yet, and their known cost in USD."""
    sums = not_in_sums().aggregate(number=Count("pk"), ticks=SUMS["total_cost"])
    return sums["number"], in_dollars(sums["ticks"])


def not_in_sums() -> QuerySet[Attempt]:
    """Return the finished attempts of real calls that are not folded yet.

    What the sandbox has answered is never folded, so that it can be told apart at any time.
    """
    return Attempt.objects.filter(NOT_FOLDED).exclude(purpose=Purpose.SANDBOX)


def timed(attempts: QuerySet[Attempt], measure: Measure, purpose: Purpose) -> QuerySet[Attempt]:
    """Return the successes whose times count, each with its `bucket`; tests would be another measurement."""
    known = {f"{COLUMN_OF[measure]}__isnull": False}
    return attempts.filter(IS_SUCCESS, purpose=purpose, **known).annotate(bucket=bucket_of(COLUMN_OF[measure]))


def _hourly_sums(attempts: QuerySet[Attempt]) -> list[Row]:
    return _sums(attempts, "hour", "category", "provider", "route_name")


def _daily_sums(attempts: QuerySet[Attempt]) -> list[Row]:
    return _sums(attempts, "day", "category", "provider", "route_name", "label")


def _sums(attempts: QuerySet[Any], *group: str) -> list[Row]:
    sums = list(attempts.annotate(route_name=ROUTE_NAME).values(*group).annotate(asked_for=OPERATION, **SUMS))
    for row in sums:
        row["route"], row["operation"] = row.pop("route_name"), row.pop("asked_for")
        row |= {name: in_dollars(row[name]) for name in IN_TICKS}
    return sums


def _daily_times(attempts: QuerySet[Attempt]) -> list[Row]:
    group = ("day", "category", "provider", "route_name", "bucket")
    days = attempts.annotate(route_name=ROUTE_NAME)
    counts = [
        {"measure": measure.value, **row}
        for measure in Measure
        for row in timed(days, measure, Purpose.USER).values(*group).annotate(number=Count("pk"))
    ]
    return [{"route": row.pop("route_name"), **row} for row in counts]


def _named(row: Row) -> Row:
    return {**row, "route": row["route"] or row["provider"]}


class _AttemptsFold(Fold):
    name = "attempts"
    source = Attempt
    ended_at = "finished_at"
    counted = Q(rolled_up=True, purpose=Purpose.USER)
    tables = (
        SumsTable(
            AttemptRollup,
            HOURS,
            called="hours",
            key=("category", "provider", "route"),
            sums=tuple(SUMS),
            count=_hourly_sums,
            facts=("operation",),
            read_as=_named,
        ),
        SumsTable(
            AttemptDayRollup,
            DAYS,
            called="days",
            key=("category", "provider", "route", "label"),
            sums=tuple(SUMS),
            count=_daily_sums,
            facts=("operation",),
        ),
        SumsTable(
            AttemptHistogram,
            DAYS,
            called="times",
            key=("measure", "category", "provider", "route", "bucket"),
            sums=("number",),
            count=_daily_times,
        ),
    )

    def foldable(self) -> QuerySet[Any]:
        return not_in_sums().exclude(state=State.UNKNOWN, finished_at__gt=Now() - UNKNOWN_SETTLES_AFTER)


attempts_fold = _AttemptsFold()

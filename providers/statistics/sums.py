"""The one reader of what is counted of attempts: the sums by hour or day, plus what is not in them yet."""

from collections import Counter, defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.db.models import Case, Count, DateField, F, Model, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Trunc

from providers.access import current_purpose
from providers.db import found_by
from providers.models import Attempt, AttemptDayRollup, AttemptHistogram, AttemptRollup
from providers.statistics.day_cuts import DayCuts
from providers.statistics.readings import Key, Readings
from providers.statistics.rollups import (
    IN_TICKS,
    NOT_FOLDED,
    OPERATION,
    ROUTE_NAME,
    SUMS,
    attempts_fold,
    sums_for,
    timed,
)
from providers.statistics.sum_tables import in_dollars, sum_in_ticks
from providers.types import Operation, Purpose

Measure = AttemptHistogram.Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSums:
    """What is counted of finished attempts. Tests of the operator are in the costs and in nothing else."""

    operation: str = Operation.GENERATE.value  # what it is asked for; a transcript is no answer, and compares with none
    requests: int = 0  # finished attempts
    successes: int = 0
    refusals: int = 0  # of content, which say nothing of the provider
    priced_successes: int = 0  # successes whose cost is known
    unknown_costs: int = 0  # attempts that may be billed at an unknown cost
    total_cost: Decimal = Decimal(0)  # USD, all known costs, those of failures included
    test_cost: Decimal = Decimal(0)  # the operator's tests among them
    reserved_cost: Decimal = Decimal(0)  # what those of unknown cost may have cost at most
    success_ms: int = 0  # sum over the successes

    @property
    def failures(self) -> int:
        return self.requests - self.successes

    @property
    def success_rate(self) -> Decimal | None:
        """Per cent of what was not refused for its content, two decimals."""
        counted = self.requests - self.refusals
        return round(Decimal(100 * self.successes) / counted, 2) if counted else None

    @property
    def measured_cost(self) -> Decimal | None:
        """What an answer costs: failures that were billed make the answers dearer."""
        cost = self.total_cost - self.test_cost
        return round(cost / self.priced_successes, 10) if self.priced_successes else None


FIGURES = tuple(each.name for each in fields(AttemptSums))


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """Which attempts are meant, by the hour or by days; what is None or empty does not narrow them."""

    since: datetime | None = None  # a full hour of UTC
    first: date | None = None  # day in TIME_ZONE
    last: date | None = None  # included
    category: str = ""
    route: str = ""
    label: str = ""

    def of(self, rows: QuerySet[Any], cuts: DayCuts | None) -> QuerySet[Any]:
        """Return those of these attempts or sums that are meant; they have a `route_name`. Days need their cuts."""
        narrowed: QuerySet[Any] = rows.filter(**{name: value for name, value in self.names.items() if value})
        if cuts:
            return within_days(narrowed, self.first, self.last, cuts)
        column = "created_at" if rows.model is Attempt else "hour"
        since: dict[str, Any] = {f"{column}__gte": self.since} if self.since else {}
        within: QuerySet[Any] = narrowed.filter(**since)
        return within

    @property
    def names(self) -> dict[str, str]:
        """What the columns must be; empty: anything."""
        return {"category": self.category, "route_name": self.route, "label": self.label}

    @property
    def is_by_day(self) -> bool:
        """Days are asked for. Labels, and the steps of a series, are kept by day alone."""
        return self.first is not None


def within_days(rows: QuerySet[Any], first: date | None, last: date | None, cuts: DayCuts) -> QuerySet[Any]:
    """Return those of these rows, raw or of sums, that were made in these days; None is no limit."""
    if not _is_summed(rows):
        return rows.filter(cuts.within(first, last))
    limits = {"day__gte": first, "day__lte": last}
    within: QuerySet[Any] = rows.filter(**{name: limit for name, limit in limits.items() if limit is not None})
    return within


def by_step(rows: QuerySet[Any], step: str | date, cuts: DayCuts | None) -> QuerySet[Any]:
    """Annotate rows, raw or of sums, with their `step`: the first day of the "day", "week" or "month" they are in.

    Where `step` is a day, whether they are of that day or a later one. Also with `whole`, see grouped(); with that
    alone where there is no step, which needs no cuts.
    """
    rows = rows.annotate(whole=Value(1))
    if not step or cuts is None:
        return rows
    part: Any
    if isinstance(step, date):
        is_later = Q(day__gte=step) if _is_summed(rows) else cuts.within(step, None)
        part = Case(When(is_later, then=Value(1)), default=Value(0))
    else:
        day = F("day") if _is_summed(rows) else cuts.of("created_at")
        part = day if step == "day" else Trunc(day, step, output_field=DateField())
    with_step: QuerySet[Any] = rows.annotate(step=part)
    return with_step


def _is_summed(rows: QuerySet[Any]) -> bool:
    return "day" in {column.name for column in rows.model._meta.get_fields()}


def grouped(*by: str, step: str | date, more: str = "") -> tuple[str, ...]:
    """Return the columns of a statement's groups; the first is the same for all rows, for those without another."""
    return ("whole", *by, *(["step"] if step else []), *([more] if more else []))


_readings = Readings("attempts")


def attempts_read_once(first: date, last: date, *, step: str) -> AbstractContextManager[None]:
    """Have the sums of attempts of these days that are asked for within come out of two statements.

    Those by any columns, and those of a series by this step.
    """
    read = partial(_counted, only=Narrowed(first=first, last=last))
    return _readings.of(first, last, read, (("category", "provider", "route_name", "label"), ""), ((), step))


def attempt_sums(*by: str, only: Narrowed, step: str | date = "") -> dict[Key, AttemptSums]:
    """Return the sums by these columns: category, provider, route_name, label; then by the step, see by_step().

    They are those of the sandbox while it answers, and of real calls otherwise.
    """
    counters = _readings.grouped(by, only.names, first=only.first, last=only.last, step=step)
    if counters is None:
        counters = _counted(*by, only=only, step=step)
    return {key: _in_dollars(counter) for key, counter in counters.items()}


def _counted(*by: str, only: Narrowed, step: str | date) -> dict[Key, Counter[str]]:
    """Return the sums, costs in ticks, with what was asked for as a name of its own: it is the same in each group.

    One statement, because it sees one moment of the database: between two of them a sweeper may fold rows, which would
    then be counted twice or not at all.
    """
    group, cuts = grouped(*by, step=step), attempts_fold.cuts() if only.is_by_day else None
    attempts = by_step(only.of(_attempts(), cuts), step, cuts)
    # Those of days are a twentieth of those of hours.
    model = AttemptDayRollup if only.is_by_day or not only.since else AttemptRollup
    sums = by_step(only.of(_sums(model), cuts), step, cuts)
    # The names of the second half differ because a sum must not be called like its field; the union drops them.
    folded = {f"all_{name}": sum_in_ticks(name) if name in IN_TICKS else Sum(name, default=0) for name in SUMS}
    not_yet = attempts.values(*group).annotate(asked_for=OPERATION, **sums_for(current_purpose()))
    counters: dict[Key, Counter[str]] = defaultdict(Counter)
    for row in not_yet.union(sums.values(*group).annotate(asked_for=OPERATION, **folded), all=True):
        _, *values = (row.pop(name) for name in group)
        if operation := row.pop("asked_for"):  # None where there is nothing
            row[operation] = 1
        # PostgreSQL returns the sum of whole numbers as a decimal.
        counters[tuple(values)].update({name: int(value) for name, value in row.items()})
    return counters


def attempt_times(*by: str, measure: Measure, only: Narrowed, step: str | date = "") -> dict[Key, Counter[int]]:
    """Return how many successes took how long, as numbers by bucket (histograms.py), by these columns as above.

    The operator's tests are left out. Attempts are not told apart by their label here.
    """
    only, cuts = replace(only, label=""), attempts_fold.cuts()
    group = grouped(*by, step=step, more="bucket")
    attempts = by_step(only.of(timed(_attempts(), measure, current_purpose()), cuts), step, cuts)
    histogram = by_step(only.of(_sums(AttemptHistogram), cuts).filter(measure=measure), step, cuts)
    not_yet = attempts.values(*group).annotate(count=Count("pk"))
    counters: dict[Key, Counter[int]] = defaultdict(Counter)
    for row in not_yet.union(histogram.values(*group).annotate(all_count=Sum("number")), all=True):
        _, *key, bucket = (row[name] for name in group)
        counters[tuple(key)][bucket] += int(row["count"])
    return counters


def figures_of(sums: AttemptSums) -> dict[str, Any]:
    """Return the sums by their names."""
    return {name: getattr(sums, name) for name in FIGURES}


def _attempts() -> QuerySet[Attempt]:
    attempts = found_by(NOT_FOLDED, Attempt.objects.order_by())
    sandbox = Q(purpose=Purpose.SANDBOX)
    attempts = attempts.filter(sandbox if current_purpose() == Purpose.SANDBOX else ~sandbox)
    return attempts.annotate(route_name=ROUTE_NAME)


def _sums(model: type[Model]) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._default_manager.order_by()
    rows = rows.none() if current_purpose() == Purpose.SANDBOX else rows
    named: QuerySet[Any] = rows.annotate(route_name=ROUTE_NAME)
    return named


def _in_dollars(counter: Counter[str]) -> AttemptSums:
    sums: dict[str, Any] = {name: in_dollars(counter[name]) if name in IN_TICKS else counter[name] for name in SUMS}
    asked_for = [operation.value for operation in Operation if counter[operation.value]]
    return AttemptSums(**{**sums, "operation": max(asked_for, default=Operation.GENERATE.value)})

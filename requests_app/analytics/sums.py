"""The one reader of what is counted of requests and the ledger: the sums plus the rows that are not in them yet.

Each function is one statement, because that sees one moment of the database: between two of them a sweeper may fold
rows, which would then be counted twice or not at all. What is counted of attempts is read by providers/statistics.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial, reduce
from operator import and_
from typing import Any

from django.db import connection
from django.db.models import Count, F, Model, Q, QuerySet, Sum, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from providers.access import current_purpose
from providers.db import Constant
from providers.statistics.day_cuts import DayCuts
from providers.statistics.folding import cuts_read_once
from providers.statistics.months import Stretch, stretches
from providers.statistics.readings import Key, Readings
from providers.statistics.sum_tables import in_ticks, sum_in_ticks
from providers.statistics.sums import attempts_read_once, by_step, grouped, within_days
from requests_app.analytics.periods import Period
from requests_app.analytics.rollups import (
    SUMS,
    USER_SUMS,
    ended_not_folded,
    requests_fold,
    timed,
    with_costs,
    with_facts,
)
from requests_app.models import AccountMonthRollup, AccountRollup, LedgerEntry, Request, RequestHistogram, RequestRollup

Kind = LedgerEntry.Kind
# Those of answers, which the sums of requests have; words of the code, so that the index with this condition is used.
NOT_OF_REQUESTS = reduce(and_, (~Q(kind=Constant(kind)) for kind in (Kind.HOLD, Kind.CAPTURE, Kind.RELEASE)))


RANKED = "SELECT account_id FROM ranked"  # see user_sums()


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """Which requests are meant; what is None or empty does not narrow them."""

    period: Period
    category: str = ""
    route: str = ""  # that has answered
    model: int | None = None

    @property
    def names(self) -> dict[str, str | int | None]:
        """What the columns must be; empty: anything."""
        return {"category": self.category, "route": self.route, "model_id": self.model}

    def of(self, rows: QuerySet[Any], cuts: DayCuts) -> QuerySet[Any]:
        """Return those of these requests or sums that are meant."""
        narrowed = rows.filter(**{name: value for name, value in self.names.items() if value})
        return within_days(narrowed, self.period.first, self.period.last, cuts)


_readings = Readings("requests")


@contextmanager
def figures_read_once(period: Period) -> Iterator[None]:
    """Have the sums of a period that are asked for within come out of two statements each for requests and attempts.

    Those of the whole period, and those of its points by route. What is counted of users, times and the ledger is read
    as ever.
    """
    first, last, step = period.first, period.last, period.step.value
    read = partial(request_sums, only=Narrowed(period=period))
    whole, series = ("category", "model_id", "provider", "route"), ("category", "provider", "route")
    with (
        cuts_read_once(),
        attempts_read_once(first, last, step=step),
        _readings.of(first, last, read, (whole, ""), (series, step)),
    ):
        yield


def request_sums(*by: str, only: Narrowed, step: str | date = "") -> dict[Key, Counter[str]]:
    """Return what is counted of ended requests by these columns: category, model_id, provider, route; see SUMS.

    Then by the step, where there is one. They are those of the sandbox while it answers, and of real calls otherwise.
    """
    period = only.period
    known = _readings.grouped(by, only.names, first=period.first, last=period.last, step=step)
    if known is not None:
        return known
    group, cuts = grouped(*by, step=step), requests_fold.cuts()
    requests = with_facts(_not_yet()).annotate(provider=Coalesce("actual_provider", Value("")), route=F("actual_route"))
    raw = by_step(only.of(requests, cuts), step, cuts)
    folded = by_step(only.of(_folded(RequestRollup), cuts), step, cuts)
    not_yet = raw.values(*group).annotate(**{f"all_{name}": each for name, each in SUMS.items()})
    sums = folded.values(*group).annotate(**{f"all_{name}": Sum(name, default=0) for name in SUMS})
    counters: dict[Key, Counter[str]] = defaultdict(Counter)
    for row in not_yet.union(sums, all=True):
        _, *key = (row[name] for name in group)
        counters[tuple(key)].update({name: int(row[f"all_{name}"]) for name in SUMS})
    return counters


def request_times(*, only: Narrowed, step: str | date = "") -> dict[Key, Counter[int]]:
    """Return how many requests were answered in how much time, as numbers by bucket (statistics/histograms.py).

    By the step, where there is one. They are not told apart by AI model and route here.
    """
    group, cuts = grouped(step=step, more="bucket"), requests_fold.cuts()
    raw = by_step(only.of(timed(_not_yet()), cuts), step, cuts)
    folded = by_step(only.of(_folded(RequestHistogram), cuts), step, cuts)
    not_yet = raw.values(*group).annotate(count=Count("pk"))
    sums = folded.values(*group).annotate(all_count=Sum("number"))
    counters: dict[Key, Counter[int]] = defaultdict(Counter)
    for row in not_yet.union(sums, all=True):
        _, *key, bucket = (row[name] for name in group)
        counters[tuple(key)][bucket] += int(row["count"])
    return counters


def user_sums(period: Period, *, by: str, limit: int) -> dict[int, dict[str, int]]:
    """Return what is counted of the users with the most requests, credits or cost, the first first; see USER_SUMS.

    The cost is in ticks.
    """
    only, cuts = Narrowed(period=period), requests_fold.cuts()
    raw = with_facts(only.of(_not_yet(), cuts)).annotate(account_id=F("user_id"))
    parts = stretches(period.first, period.last, newest=cuts.newest_day())

    def summed(*names: str, **which: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the statement of these sums and its parameters: rows of users, of each as many as there are."""
        counted: Any = with_costs(raw) if {"cost", "unknown_costs"} & {*names} else raw
        not_yet = counted.values("account_id").annotate(**{f"all_{name}": USER_SUMS[name] for name in names})
        folded = [
            _of_users(part).filter(**which).values_list("account_id", *(_signed(name, part) for name in names))
            for part in parts
        ]
        sql: tuple[str, tuple[Any, ...]] = not_yet.union(*folded, all=True).query.sql_with_params()
        return sql

    # First who they are, which takes two of the sums of everybody; then all of theirs, in the same statement.
    ranked, ranked_params = summed(*dict.fromkeys(("requests", by)))
    sql, params = summed(*USER_SUMS, account_id__in=RawSQL(RANKED, []))  # noqa: S611 — a constant
    columns = ", ".join(f"SUM(all_{name})" for name in USER_SUMS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH ranked AS (SELECT account_id FROM ({ranked}) AS each GROUP BY account_id "  # noqa: S608 — our names
            f"HAVING SUM(all_requests) > 0 ORDER BY SUM(all_{by}) DESC, account_id LIMIT %s) "
            f"SELECT account_id, {columns} FROM ({sql}) AS each WHERE account_id IN ({RANKED}) "
            f"GROUP BY account_id ORDER BY SUM(all_{by}) DESC, account_id",
            [*ranked_params, limit, *params],
        )
        rows = cursor.fetchall()
    return {account: dict(zip(USER_SUMS, map(int, sums), strict=True)) for account, *sums in rows}


def _of_users(part: Stretch) -> QuerySet[Any]:
    model, column = (AccountMonthRollup, "month") if part.are_months else (AccountRollup, "day")
    return _folded(model).filter(**{f"{column}__gte": part.first, f"{column}__lte": part.last})


def _signed(name: str, part: Stretch) -> Any:
    """Return the expression for a sum of a row of users, costs in ticks, negative where it is to be taken off."""
    return (in_ticks(name) if name == "cost" else F(name)) * Value(part.sign)


def account_sums(account_id: int, *, step: date) -> dict[int, Counter[str]]:
    """Return what is counted of one user, by whether it is of that day or a later one (1) or older (0); see USER_SUMS.

    The cost is in ticks.
    """
    group, cuts = grouped(step=step), requests_fold.cuts()
    raw = by_step(with_costs(with_facts(_not_yet().filter(user_id=account_id))), step, cuts)
    folded = by_step(_folded(AccountRollup).filter(account_id=account_id), step, cuts)
    totals = {name: sum_in_ticks(name) if name == "cost" else Sum(name, default=0) for name in USER_SUMS}
    not_yet = raw.values(*group).annotate(**{f"all_{name}": each for name, each in USER_SUMS.items()})
    sums = folded.values(*group).annotate(**{f"all_{name}": each for name, each in totals.items()})
    counters: dict[int, Counter[str]] = defaultdict(Counter)
    for row in not_yet.union(sums, all=True):
        counters[row["step"]].update({name: int(row[f"all_{name}"]) for name in USER_SUMS})
    return counters


def ledger_sums(*, only: Narrowed, step: str | date = "") -> dict[Key, Counter[tuple[str, bool]]]:
    """Return the credits that were moved beside the charges of requests, by kind and whether they were paid for.

    By the step, where there is one; in the same days as the requests. From the ledger itself: what is not of requests
    are few entries, and no retention takes them. They are those of the sandbox while it answers.
    """
    group, cuts = grouped(step=step), requests_fold.cuts()
    counters: dict[Key, Counter[tuple[str, bool]]] = defaultdict(Counter)
    rows = by_step(_entries(only, cuts), step, cuts).values(*group, "kind", "is_paid").annotate(credits=Sum("amount"))
    for row in rows:
        _, *key = (row[name] for name in group)
        counters[tuple(key)][row["kind"], row["is_paid"]] += int(row["credits"])
    return counters


def refunds(by: str, *, only: Narrowed, accounts: Iterable[int] | None = None) -> dict[Any, int]:
    """Return the credits given back after the answer, by a column of the entry: `model_id`, `account_id`."""
    # A word of the code, so that the index of refunds by day is used.
    entries = _entries(only, requests_fold.cuts()).filter(kind=Constant(Kind.REFUND))
    if accounts is not None:
        entries = entries.filter(account_id__in=list(accounts))
    if only.category:
        entries = entries.filter(model__category=only.category)
    return {row[by]: int(row["credits"]) for row in entries.values(by).annotate(credits=Sum("amount"))}


def _entries(only: Narrowed, cuts: DayCuts) -> QuerySet[LedgerEntry]:
    entries: QuerySet[LedgerEntry] = LedgerEntry.objects.order_by().filter(NOT_OF_REQUESTS, purpose=current_purpose())
    return within_days(entries, only.period.first, only.period.last, cuts)


def _not_yet() -> QuerySet[Request]:
    return ended_not_folded().filter(purpose=current_purpose())


def _folded(model: type[Model]) -> QuerySet[Any]:
    return model._default_manager.order_by().filter(purpose=current_purpose())

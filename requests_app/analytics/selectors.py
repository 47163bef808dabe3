"""What a period has brought and cost: totals, series, success rates, fallbacks, margins, users. Changes nothing.

Everything that has ended is counted, folded into sums or not, so the figures are right at any moment. While the sandbox
answers they are the sandbox's, otherwise those of real calls.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from providers import registry
from providers.models import AttemptDayRollup, ProviderConfig
from providers.statistics import sums as attempts
from providers.statistics.histograms import percentile
from providers.statistics.sum_tables import in_dollars
from providers.statistics.sums import AttemptSums, Measure, attempt_sums, attempt_times
from requests_app.analytics.figures import (
    Comparison,
    Cost,
    Fallback,
    ModelMargin,
    Point,
    RouteFigures,
    RouteSeries,
    Totals,
    UserFigures,
)
from requests_app.analytics.periods import Period
from requests_app.analytics.sums import Kind, Narrowed, ledger_sums, refunds, request_sums, request_times, user_sums
from requests_app.models import Account, AIModel

P50, P95 = 0.5, 0.95
MAX_USERS = 1000
NOBODY = AttemptSums()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """To what an analysis is narrowed; what is empty does not narrow it."""

    category: str = ""
    route: str = ""
    model: AIModel | None = None


EVERYTHING = Filters()


def is_route_known(name: str) -> bool:
    """Return whether a route is or was called so: by its versions, or, before there were any, by what it has made."""
    was_there = ProviderConfig.history.filter(name=name).exists()
    return (
        was_there
        or ProviderConfig.objects.filter(name=name).exists()
        or AttemptDayRollup.objects.filter(route=name).exists()
    )


def totals_of(period: Period) -> Totals:
    """Return all figures of a period."""
    return compared(period).period


def compared(period: Period) -> Comparison:
    """Return the figures of a period and of the one before it."""
    both, step = Period(period.before.first, period.last), period.first
    times, first_words = request_times(only=_requests_of(both), step=step), _first_words(both, step)
    ledger = ledger_sums(only=_requests_of(both), step=step)

    def totals(each: Period, key: tuple[int]) -> Totals:
        counted = request_sums(only=_requests_of(each)).get((), Counter())
        paid = attempt_sums(only=_attempts_of(each)).get((), NOBODY)
        entries: Counter[tuple[str, bool]] = ledger.get(key, Counter())
        return Totals(
            period=each,
            **_counted(counted),
            **_times(times.get(key, {}), first_words.get(key, {})),
            cost=paid.total_cost,
            test_cost=paid.test_cost,
            unknown_costs=paid.unknown_costs,
            perhaps_billed=paid.reserved_cost,
            credits_sold=entries[Kind.TOPUP, True] + entries[Kind.PAYMENT_REFUND, False],
            credits_given=entries[Kind.TOPUP, False] + entries[Kind.GIFT, False] + entries[Kind.ADJUST, False],
            credits_expired=-entries[Kind.EXPIRE, False],
            credits_charged=counted["credits"],
            credits_refunded=entries[Kind.REFUND, False],
        )

    return Comparison(totals(period, (1,)), totals(period.before, (0,)))


def series_of(period: Period) -> list[Point]:
    """Return the figures of each day, week or month of a period: one for each of its points, in order."""
    only, step = _requests_of(period), period.step
    requests = request_sums(only=only, step=step)
    calls = attempt_sums(only=_attempts_of(period), step=step)
    times, first_words = request_times(only=only, step=step), _first_words(period, step)
    return [
        Point(
            day=day,
            **_counted(requests.get((day,), Counter())),
            **_times(times.get((day,), {}), first_words.get((day,), {})),
            cost=calls.get((day,), NOBODY).total_cost,
            unknown_costs=calls.get((day,), NOBODY).unknown_costs,
        )
        for day in period.points
    ]


def requests_by_route(period: Period) -> list[RouteSeries]:
    """Return how many requests each route has answered by the points of a period, the busiest route first."""
    sums = request_sums("category", "provider", "route", only=_requests_of(period), step=period.step)
    by_route: dict[tuple[str, str, str], Counter[date]] = defaultdict(Counter)
    for (category, provider, route, day), counted in sums.items():
        if counted["completed"]:
            by_route[category, provider, route or provider][day] += counted["completed"]
    series = [
        RouteSeries(*names, _label(names[1], names[2]), tuple(counter[day] for day in period.points))
        for names, counter in by_route.items()
    ]
    return sorted(series, key=lambda each: (-each.total, each.category, each.route))


def success_rates(period: Period, only: Filters = EVERYTHING) -> list[RouteFigures]:
    """Return what the calls of each route have brought, by category, the most used first.

    Times are those of all AI models, also where `only` names one.
    """
    which = _attempts_of(period, only)
    group = ("category", "provider", "route_name")
    durations, first_words = (attempt_times(*group, measure=measure, only=which) for measure in Measure)
    figures = [
        RouteFigures(
            category=category,
            provider=provider,
            route=route,
            **attempts.figures_of(sums),
            **_times(durations.get((category, provider, route), {}), first_words.get((category, provider, route), {})),
        )
        for (category, provider, route), sums in attempt_sums(*group, only=which).items()
    ]
    return sorted(figures, key=lambda each: (each.category, -each.requests, each.route))


def fallbacks(period: Period, only: Filters = EVERYTHING) -> list[Fallback]:
    """Return which providers have answered for each AI model, in the order of the models, the most frequent first."""
    sums = request_sums("model_id", "provider", only=_requests_of(period, only))
    models = _models()
    rows = [
        Fallback(model=models[model], answered_by=provider, **_counted(counted))
        for (model, provider), counted in sums.items()
        if provider and counted["completed"]
    ]
    return sorted(rows, key=lambda row: (row.model.position, row.model.name, -row.completed, row.answered_by))


def model_margins(period: Period, only: Filters = EVERYTHING) -> list[ModelMargin]:
    """Return what each AI model has cost beside the credits it has brought, the dearest first.

    The costs add up to those by route. Calls that were made before they were labelled are of no AI model.
    """
    which = _requests_of(period, only)
    requests = {key: counted for (key,), counted in request_sums("model_id", only=which).items()}
    calls = {
        _model_id(label): sums for (label,), sums in attempt_sums("label", only=_attempts_of(period, only)).items()
    }
    # A refund says no route.
    refunded = {} if only.route else refunds("model_id", only=which)
    if only.model:
        refunded = {only.model.pk: refunded.get(only.model.pk, 0)}
    models = _models()
    rows = [
        ModelMargin(
            model=models.get(key) if key else None,
            requests=requests.get(key, Counter())["requests"],
            completed=requests.get(key, Counter())["completed"],
            credits_charged=requests.get(key, Counter())["credits"],
            credits_refunded=refunded.get(key, 0),
            cost=calls.get(key, NOBODY).total_cost,
            unknown_costs=calls.get(key, NOBODY).unknown_costs,
            perhaps_billed=calls.get(key, NOBODY).reserved_cost,
        )
        for key in {*requests, *calls, *refunded}
    ]
    return sorted(rows, key=lambda row: (-row.cost, -row.credits_charged, row.model.name if row.model else ""))


def costs(period: Period, only: Filters = EVERYTHING) -> list[Cost]:
    """Return what was paid by day (week, month), route and AI model, in this order."""
    sums = attempt_sums(
        "category", "provider", "route_name", "label", only=_attempts_of(period, only), step=period.step
    )
    models = _models()
    rows = [
        Cost(
            day=day,
            category=category,
            provider=provider,
            route=route,
            model=models.get(_model_id(label) or 0),
            attempts=each.requests,
            cost=each.total_cost,
            unknown_costs=each.unknown_costs,
            perhaps_billed=each.reserved_cost,
        )
        for (category, provider, route, label, day), each in sums.items()
    ]
    return sorted(rows, key=lambda row: (row.day, row.category, row.route, row.model.name if row.model else ""))


def top_users(period: Period, *, by: str = "credits", limit: int = 20) -> list[UserFigures]:
    """Return the users with the most `credits` charged, `cost` or `requests`, at most MAX_USERS, the first first."""
    sums = user_sums(period, by=by, limit=min(limit, MAX_USERS))
    accounts = Account.objects.in_bulk(sums)
    refunded = refunds("account_id", only=_requests_of(period), accounts=sums)
    return [
        UserFigures(
            account=accounts[key],
            requests=row["requests"],
            completed=row["completed"],
            credits_charged=row["credits"],
            credits_refunded=refunded.get(key, 0),
            cost=in_dollars(row["cost"]),
            unknown_costs=row["unknown_costs"],
        )
        for key, row in sums.items()
    ]


def _requests_of(period: Period, only: Filters = EVERYTHING) -> Narrowed:
    model = only.model.pk if only.model else None
    return Narrowed(period=period, category=only.category, route=only.route, model=model)


def _attempts_of(period: Period, only: Filters = EVERYTHING) -> attempts.Narrowed:
    label = str(only.model.pk) if only.model else ""
    return attempts.Narrowed(
        first=period.first, last=period.last, category=only.category, route=only.route, label=label
    )


def _first_words(period: Period, step: str | date = "") -> dict[tuple[Any, ...], Counter[int]]:
    return attempt_times(measure=Measure.FIRST_TEXT, only=_attempts_of(period), step=step)


def _counted(counter: Counter[str]) -> dict[str, Any]:
    return {name: counter[name] for name in counter if name != "credits"}


def _times(durations: Mapping[int, int], first_words: Mapping[int, int]) -> dict[str, Any]:
    return {
        "p50_ms": percentile(durations, P50),
        "p95_ms": percentile(durations, P95),
        "first_words_p50_ms": percentile(first_words, P50),
        "first_words_p95_ms": percentile(first_words, P95),
    }


def _models() -> dict[int, AIModel]:
    return AIModel.objects.in_bulk()


def _model_id(label: str) -> int | None:
    return int(label) if label.isascii() and label.isdecimal() else None


def _label(provider: str, route: str) -> str:
    label = registry.label_of(provider)
    return label if route == provider else f"{label} ({route})"

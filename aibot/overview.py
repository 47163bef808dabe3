"""The Overview, the admin's first page: how a period went, beside the period before and the rows behind each number."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from aibot.models import Alert
from providers.access import current_purpose
from providers.admin_base import shown_ms
from providers.models import Attempt, FoldState
from providers.registry import label_of
from providers.statistics.day_cuts import current_zone, zones_left
from providers.statistics.rollups import attempts_fold
from providers.statistics.selectors import shown_usd
from providers.types import Purpose
from requests_app.analytics.figures import Comparison, RouteFigures, RouteSeries, Totals
from requests_app.analytics.periods import NAMES, Period, period_from
from requests_app.analytics.rollups import requests_fold
from requests_app.analytics.selectors import (
    compared,
    fallbacks,
    model_margins,
    requests_by_route,
    series_of,
    success_rates,
    top_users,
)
from requests_app.analytics.sums import figures_read_once
from requests_app.models import Account, AIModel, LedgerEntry, Request

PERMISSION = "providers.view_attemptrollup"  # that of the statistics
MAX_USERS = 10
OF_UNKNOWN_COST = {"cost__isnull": True, "state__in": ",".join([Attempt.State.OK, *Attempt.PERHAPS_BILLED])}
MAX_LINES = 8  # routes with a colour of their own in a chart; the rest are one
COLOURS = ("#7c3aed", "#0ea5e9", "#10b981", "#f59e0b", "#ef4444", "#6366f1", "#84cc16", "#ec4899", "#64748b")
GREY = "#9ca3af"  # readable on white and on black
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the period, as people read it."""

    title: str
    value: str
    link: str  # to the rows behind it
    change: str = ""  # against the period before
    exact: str = ""  # the number without rounding
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    kind: str  # "bar" or "line", as unfold's components are called
    data: str  # JSON for Chart.js
    options: str


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str | SafeString]]
    note: str = ""
    csv: str = ""  # the same figures as a file


def overview_of(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the Overview's template; a period that cannot be is replaced by the usual one, and said."""
    alerts = Alert.objects.filter(ended_at__isnull=True).order_by("-began_at") if _may_view(request, Alert) else []
    if not request.user.has_perm(PERMISSION):
        return {"alerts": alerts, "is_permitted": False}
    problem = ""
    try:
        period = period_from(request.GET)
    except ValueError as error:
        period, problem = period_from({}), str(error)
    with figures_read_once(period):
        return {
            "alerts": alerts,
            "is_permitted": True,
            "is_sandbox": current_purpose() == Purpose.SANDBOX,
            "problem": problem,
            "zone_notice": zone_notice(period),
            "period": period,
            "choices": [(name, words, f"?{urlencode({'period': name})}") for name, words in NAMES.items()],
            "chosen": next((name for name in NAMES if period_from({"period": name}) == period), ""),
            "figures": figures_of(compared(period)),
            "charts": charts_of(period),
            "tables": tables_of(request, period),
        }


def zone_notice(period: Period) -> str:
    """Return what to say where days are cut in another time zone than the operator's; empty where they are not."""
    zone = current_zone()
    if left := zones_left(FoldState.objects.values_list("days", "deleted_until")):
        return (
            f"TIME_ZONE is {zone}, and the days of these figures are those of {' and '.join(left)}. "
            "Run `manage.py recount`: it cuts the days anew whose rows are all on record."
        )
    folds = (attempts_fold, requests_fold)
    others = {other for fold in folds for other in fold.cuts().others(zone, period.first, period.last)}
    return " ".join(
        f"Days before {until.day} {until:%b %Y} are those of {name}, in which their rows were counted before some were "
        "deleted."
        for name, until in sorted(others)
    )


def figures_of(comparison: Comparison) -> list[Figure]:
    """Return the numbers at the top of the page."""
    now, before, period = comparison.period, comparison.before, comparison.period.period
    requests, attempts = _requests(period), _attempts(period, costs=True)
    sold = _rows(LedgerEntry, period, top_up="sold", purpose__exact=current_purpose())

    def money(title: str, value: Callable[[Totals], Decimal | None], link: str, note: str = "") -> Figure:
        amount = value(now)
        return Figure(title, usd(amount), link, change(amount, value(before)), shown_usd(amount), note)

    def number(title: str, value: Callable[[Totals], int], link: str, note: str = "") -> Figure:
        return Figure(title, f"{value(now):,}", link, change(value(now), value(before)), note=note)

    def time(title: str, value: Callable[[Totals], int | None]) -> Figure:
        return Figure(title, shown_ms(value(now)), requests, change(value(now), value(before)), f"{value(now)} ms")

    unknown = f"{now.unknown_costs:,} attempt{'s' * (now.unknown_costs != 1)} of unknown cost"
    return [
        number("Requests", lambda of: of.requests, requests),
        Figure(
            "Success rate",
            percent(now.success_rate),
            _requests(period, status__exact=Request.Status.FAILED),
            points(now.success_rate, before.success_rate),
            note=f"{now.completed:,} answered, {now.failed:,} failed",
        ),
        money("Cost", lambda of: of.cost, attempts, "" if now.unknown_costs == 0 else f"besides {unknown}"),
        money("Perhaps billed at most", lambda of: of.perhaps_billed, _attempts(period, costs=True, **OF_UNKNOWN_COST)),
        number("Credits used", lambda of: of.credits_used, _requests(period, status__in="COMPLETED,CANCELLED")),
        number("Credits sold", lambda of: of.credits_sold, sold, f"and {now.credits_given:,} given"),
        Figure(
            "Margin",
            percent(now.margin and now.margin * 100, digits=0),
            "#cost-against-credits",
            points(now.margin and now.margin * 100, before.margin and before.margin * 100),
            shown_usd(now.profit),
            note="" if now.profit is None else f"{usd(now.profit)} left of {usd(now.income)}",
        ),
        time("Time, half of them within", lambda of: of.p50_ms),
        time("Time, 95 % within", lambda of: of.p95_ms),
    ]


def charts_of(period: Period) -> list[Chart]:
    series = series_of(period)
    labels = [f"{point.day:%-d %b}" for point in series]
    routes = sorted(requests_by_route(period), key=lambda route: -route.total)
    by_route = [(_line(route), [float(number) for number in route.requests]) for route in routes[:MAX_LINES]]
    if routes[MAX_LINES:]:
        rest = [sum(numbers) for numbers in zip(*(route.requests for route in routes[MAX_LINES:]), strict=True)]
        by_route.append(("others", [float(number) for number in rest]))
    first_words = [
        ("half of them within", [_or_gap(point.first_words_p50_ms) for point in series]),
        ("95 % within", [_or_gap(point.first_words_p95_ms) for point in series]),
    ]
    depth = [
        ("the first asked", [float(point.by_first) for point in series]),
        ("the second", [float(point.by_second) for point in series]),
        ("the third or later", [float(point.by_later) for point in series]),
    ]
    return [
        _chart("Requests by route", "bar", labels, by_route, is_stacked=True),
        _chart("Success rate, %", "line", labels, [("%", [_or_gap(point.success_rate) for point in series])]),
        _chart("Cost, $", "bar", labels, [("$", [float(point.cost) for point in series])]),
        _chart("Answered by", "bar", labels, depth, is_stacked=True),
        _chart("First words, ms", "line", labels, first_words),
    ]


def _line(route: RouteSeries) -> str:
    return f"{route.label}, {route.category}"


def _or_gap(value: Decimal | int | None) -> float | None:
    return None if value is None else float(value)


def _chart(
    title: str,
    kind: str,
    labels: Sequence[str],
    lines: Iterable[tuple[str, Sequence[float | None]]],
    *,
    is_stacked: bool = False,
) -> Chart:
    datasets = [
        {
            "label": name,
            "data": values,
            "backgroundColor": colour,
            "borderColor": colour,
        }
        for (name, values), colour in zip(lines, COLOURS, strict=False)
    ]
    axis = {"stacked": is_stacked, "ticks": {"color": GREY, "maxTicksLimit": 8}, "grid": {"drawOnChartArea": False}}
    legend = {"display": len(datasets) > 1, "labels": {"color": GREY, "boxWidth": 10, "boxHeight": 10}}
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "maxBarThickness": 24,
        "elements": {"point": {"radius": 3}, "line": {"borderWidth": 2}},
        "plugins": {"legend": legend},
        "scales": {"x": axis, "y": {**axis, "beginAtZero": True}},
    }
    return Chart(title, kind, json.dumps({"labels": labels, "datasets": datasets}), json.dumps(options))


def tables_of(request: HttpRequest, period: Period) -> list[Table]:
    """Return the analyses, each with its reader's own permissions."""
    tables = [_success_rates(period), _fallbacks(period), _margins(period)]
    if _may_view(request, Account):
        tables.append(_top_users(period))
    return tables


def _success_rates(period: Period) -> Table:
    rows = [
        (
            _link(_route_label(figures), _attempts(period, **_of_route(figures))),
            figures.category,
            percent(figures.success_rate),
            f"{figures.requests:,}",
            f"{figures.failures - figures.refusals:,}",
            f"{figures.refusals:,}",
            usd(figures.total_cost),
            usd(figures.avg_cost),
            shown_ms(figures.p50_ms),
            shown_ms(figures.p95_ms),
        )
        for figures in success_rates(period)
    ]
    headers = ("Route", "Category", "Success", "Attempts", "Failed", "Refused", "Cost", "An answer", "Half within",
               "95 % within")  # fmt: skip
    note = "By attempts. Content that was refused counts neither way."
    return Table("Provider success rates", headers, rows, note, _csv("success-rates", period))


def _route_label(figures: RouteFigures) -> str:
    label = label_of(figures.provider)
    return label if figures.route == figures.provider else f"{label} ({figures.route})"


def _fallbacks(period: Period) -> Table:
    rows = [
        (
            fallback.model.name,
            label_of(fallback.suggested) if fallback.suggested else "–",
            _link(
                label_of(fallback.answered_by),
                _requests(
                    period,
                    status__exact=Request.Status.COMPLETED,
                    model__id__exact=fallback.model.pk,
                    actual_provider=fallback.answered_by,
                ),
            ),
            f"{fallback.requests:,}",
            f"{fallback.by_first:,}",
            f"{fallback.by_second:,}",
            f"{fallback.by_later:,}",
        )
        for fallback in fallbacks(period)
    ]
    headers = ("Model", "Its name suggests", "Answered by", "Requests", "Asked first", "Second", "Later")
    return Table("Fallback frequency", headers, rows, csv=_csv("fallbacks", period))


def _margins(period: Period) -> Table:
    rows = [
        (
            "none: tests and before" if margin.model is None else _page(margin.model),
            f"{margin.requests:,}",
            f"{margin.credits_used:,}",
            UNKNOWN if margin.income is None else usd(margin.income),
            usd(margin.cost),
            usd(margin.perhaps_billed) if margin.unknown_costs else "–",
            UNKNOWN if margin.profit is None else usd(margin.profit),
            percent(margin.margin and margin.margin * 100, digits=0),
        )
        for margin in model_margins(period)
    ]
    headers = ("Model", "Requests", "Credits", "Their price", "Cost", "Perhaps more", "Left", "Margin")
    note = "What the credits of each model bring at the price of a credit, against what its attempts cost."
    return Table("Cost against credits", headers, rows, note, _csv("margins", period))


def _top_users(period: Period) -> Table:
    rows = [
        (
            _page(user.account),
            f"{user.requests:,}",
            f"{user.credits_charged:,}",
            usd(user.cost),
            f"{user.unknown_costs:,}",
        )
        for user in top_users(period, limit=MAX_USERS)
    ]
    return Table("Top users", ("User", "Requests", "Credits", "Cost", "Of unknown cost"), rows)


def usd(amount: Decimal | None) -> str:
    """Return an amount rounded as people compare it; None is unknown."""
    if amount is None:
        return UNKNOWN
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}${size:,.2f}" if size >= 1 or size == 0 else f"{sign}${size:.4f}"


def percent(value: Decimal | None, *, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f} %"


def change(now: Decimal | int | None, before: Decimal | int | None) -> str:
    """Return by how much a number has changed, in per cent; empty where it compares with nothing."""
    return f"{Decimal(now - before) / Decimal(before):+.0%}" if now is not None and before else ""


def points(now: Decimal | None, before: Decimal | None) -> str:
    """Return by how many points a share has changed."""
    return f"{now - before:+.1f} points" if now is not None and before is not None else ""


def _requests(period: Period, **filters: Any) -> str:
    """Return the address of the requests that are counted: those that have ended, of users or of the sandbox."""
    return _rows(Request, period, completed_at__isnull=False, purpose__exact=current_purpose(), **filters)


def _attempts(period: Period, *, costs: bool = False, **filters: Any) -> str:
    """Return the address of the attempts that are counted, or whose `costs` are: to these tests belong as well."""
    with_tests = costs and current_purpose() == Purpose.USER
    purposes = f"{Purpose.USER},{Purpose.TEST}" if with_tests else current_purpose()
    return _rows(Attempt, period, finished_at__isnull=False, purpose__in=purposes, **filters)


def _of_route(figures: RouteFigures) -> dict[str, Any]:
    # Before routes had names of their own each was called as its provider.
    names = f",{figures.route}" if figures.route == figures.provider else figures.route
    return {"category__exact": figures.category, "provider": figures.provider, "route__in": names}


def _rows(table: type[Model], period: Period, **filters: Any) -> str:
    """Return the address of a table's list in the admin with these filters."""
    filters |= {"created_at__gte": period.begin.isoformat(), "created_at__lt": period.end.isoformat()}
    address = reverse(f"admin:{table._meta.app_label}_{table._meta.model_name}_changelist")
    return f"{address}?{urlencode(filters)}"


def _page(row: Account | AIModel) -> SafeString:
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return _link(str(row), address)


def _link(words: str, address: str) -> SafeString:
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', address, words)


def _csv(analysis: str, period: Period) -> str:
    dates = {"from": period.first.isoformat(), "to": period.last.isoformat(), "format": "csv"}
    return f"/api/analytics/{analysis}/?{urlencode(dates)}"


def _may_view(request: HttpRequest, table: type[Model]) -> bool:
    return request.user.has_perm(f"{table._meta.app_label}.view_{table._meta.model_name}")

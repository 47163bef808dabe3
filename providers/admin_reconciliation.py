"""The page that compares our sums with the providers' own, and its CSV."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import urlencode

from providers.access import current_purpose
from providers.accounts.base import Unit
from providers.common.csv_lines import csv_lines
from providers.common.days import parse_day
from providers.reconciliation.selectors import AccountState, Line, account_states, reconciliation, utc_day
from providers.types import Purpose

USUAL_DAYS = 7
MAX_DAYS = 31  # of a page that answers at once; a month is as far back as the providers are asked
PERIODS = {7: "7 days", 30: "30 days"}
UNKNOWN = "unknown"
CSV_HEADERS = (
    "day_utc",
    "provider",
    "known_usd",
    "unknown_attempts",
    "unknown_at_most_usd",
    "provider_says",
    "unit",
    "difference_usd",
    "explained_by_unknown_usd",
    "unexplained_usd",
    "verdict",
)


def reconciliation_page(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show what each provider's days have cost on both sides, and what is left there."""
    (first, last), problem = period_of(request)
    found = reconciliation(first, last)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": "Reconciliation",
        "problem": problem,
        "is_sandbox": current_purpose() == Purpose.SANDBOX,
        "first": first,
        "last": last,
        "choices": [
            (words, f"?{_query(*_last_days(days))}", (first, last) == _last_days(days))
            for days, words in PERIODS.items()
        ],
        "csv": f"csv/?{_query(first, last)}",
        "accounts": [(state, *_words_of(state)) for state in account_states()],
        "totals": [(line, _cells(line)) for line in found.totals],
        "lines": [(line, _cells(line)) for line in found.lines],
        "days": (last - first).days + 1,
    }
    return TemplateResponse(request, "admin/providers/reconciliation.html", context)


def reconciliation_csv(request: HttpRequest) -> HttpResponse:
    """Return the days as CSV. What is unknown is an empty cell."""
    (first, last), _ = period_of(request)
    rows = (_csv_row(line) for line in reconciliation(first, last).lines)
    response = HttpResponse(csv_lines(CSV_HEADERS, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="reconciliation-{first}-{last}.csv"'
    return response


def _csv_row(line: Line) -> dict[str, Any]:
    return {
        "day_utc": line.day,
        "provider": line.provider,
        "known_usd": line.ours.known,
        "unknown_attempts": line.ours.unknown,
        "unknown_at_most_usd": line.ours.unknown_at_most,
        "provider_says": line.told,
        "unit": None if line.told is None else line.unit,
        "difference_usd": line.difference,
        "explained_by_unknown_usd": None if line.difference is None else line.explained,
        "unexplained_usd": line.unexplained,
        "verdict": line.words,
    }


def period_of(request: HttpRequest) -> tuple[tuple[date, date], str]:
    """Return the days that the address names, else the usual ones, and in words what is wrong with it."""
    first, last = request.GET.get("from", ""), request.GET.get("to", "")
    if not first and not last:
        return _last_days(USUAL_DAYS), ""
    try:
        period = parse_day(first), parse_day(last)
    except ValueError:
        return _last_days(USUAL_DAYS), "Days are written as 2026-11-28."
    if period[0] > period[1]:
        return _last_days(USUAL_DAYS), "The period ends before it begins."
    if period[1] > utc_day():
        return _last_days(USUAL_DAYS), "The period ends in the future."
    if (period[1] - period[0]).days >= MAX_DAYS:
        return _last_days(USUAL_DAYS), f"A period has {MAX_DAYS} days at most."
    return period, ""


def shown_amount(amount: Decimal | None, unit: Unit = Unit.USD) -> str:
    """Return an amount rounded as people compare it; None is unknown."""
    if amount is None:
        return UNKNOWN
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if unit != Unit.USD:
        return f"{sign}{size:,.0f} {unit}"
    return f"{sign}${size:,.2f}" if size >= 1 or size == 0 else f"{sign}${size:.4f}"


def _cells(line: Line) -> dict[str, str]:
    told = "not told" if line.told is None else shown_amount(line.told, line.unit)
    unknown = f"{line.ours.unknown:,}, at most {shown_amount(line.ours.unknown_at_most)}" if line.ours.unknown else "–"
    return {
        "known": shown_amount(line.ours.known),
        "unknown": unknown,
        "told": told,
        "difference": "–" if line.difference is None else shown_amount(line.difference),
        "unexplained": "–" if line.unexplained is None else shown_amount(line.unexplained),
    }


def _words_of(state: AccountState) -> tuple[str, str, str]:
    """Return what is left, what a day costs lately, and when it will be empty."""
    left = UNKNOWN if state.balance is None else shown_amount(state.balance, state.unit)
    return left, shown_amount(state.per_day, state.unit), _end_of(state)


def _end_of(state: AccountState) -> str:
    if state.balance is None:
        return UNKNOWN
    if state.balance <= 0:
        return "it is empty"
    if state.per_day is None and state.unit != Unit.USD:
        return f"{UNKNOWN}: nobody tells what a day costs in {state.unit}"
    if not state.per_day:
        return "nothing is spent"
    if state.lasts_until_refill and state.refills_at:
        return f"not before it is filled up on {state.refills_at:%Y-%m-%d}"
    if state.empty_at is None or state.days_left is None:
        return "not for years"
    return f"in about {_days(state.days_left)}, {state.empty_at:%Y-%m-%d}"


def _days(days: Decimal) -> str:
    if days < 2:
        return f"{max(1, round(days * 24))} h"
    return f"{round(days)} days"


def _last_days(days: int) -> tuple[date, date]:
    today = utc_day()
    return today - timedelta(days=days - 1), today


def _query(first: date, last: date) -> str:
    return urlencode({"from": str(first), "to": str(last)})

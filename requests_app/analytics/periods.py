"""Periods of whole days in the operator's time zone, the ones before them, and the steps of a series."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from django.utils import timezone

from providers.common.days import parse_day
from providers.statistics.day_cuts import DAY, current_zone, midnight
from providers.statistics.parameters import MAX_SHOWN, parse_number

MAX_DAYS = 3660
MAX_POINTS = 92  # of a series
USUAL = "7"
PARAMETERS = frozenset({"period", "days", "from", "to"})

NAMES = {
    "today": "Today",
    "yesterday": "Yesterday",
    "7": "7 days",
    "30": "30 days",
    "90": "90 days",
    "month": "This month",
}  # as periods are called in an address, and as people read them


class StepKind(StrEnum):
    """What one point of a series stands for."""

    DAY = "day"
    WEEK = "week"  # from Monday on
    MONTH = "month"

    def first_day(self, day: date) -> date:
        """Return on which day the step begins that a day is in."""
        if self is StepKind.WEEK:
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self is StepKind.MONTH else day

    def after(self, first_day: date) -> date:
        """Return on which day the next step begins."""
        longest = {StepKind.DAY: 1, StepKind.WEEK: 7, StepKind.MONTH: 31}[self]
        return self.first_day(first_day + timedelta(days=longest))


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of settings.TIME_ZONE, of 23 to 25 hours where its clocks change."""

    first: date
    last: date  # included

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def begin(self) -> datetime:
        """Midnight before it."""
        return midnight(self.first, current_zone())

    @property
    def end(self) -> datetime:
        """Midnight after it."""
        return midnight(self.last + DAY, current_zone())

    @property
    def before(self) -> "Period":
        """The period of as many days that ends the day before."""
        length = timedelta(days=self.days)
        return Period(self.first - length, self.last - length)

    @property
    def step(self) -> StepKind:
        """The finest step that makes no more than MAX_POINTS points."""
        if self.days <= MAX_POINTS:
            return StepKind.DAY
        return StepKind.WEEK if self.days <= (MAX_POINTS - 1) * 7 else StepKind.MONTH

    @property
    def points(self) -> list[date]:
        """The first days of the steps, the first and the last of which it may have in part only."""
        points, step = [self.step.first_day(self.first)], self.step
        while (following := step.after(points[-1])) <= self.last:
            points.append(following)
        return points

    def __str__(self) -> str:
        first, last = self.first, self.last
        until = f"{last.day} {last:%b %Y}"
        if first == last:
            return until
        if first.year != last.year:
            return f"{first.day} {first:%b %Y} – {until}"
        return f"{first.day} {first:%b} – {until}" if first.month != last.month else f"{first.day}–{until}"


def today() -> date:
    """Return the day that it is in the operator's time zone."""
    return timezone.localdate(timezone=current_zone())


def period_named(name: str) -> Period:
    """Return one of NAMES; those of days end today. Raises KeyError for another name."""
    now = today()
    yesterday = now - timedelta(days=1)
    named = {
        "today": Period(now, now),
        "yesterday": Period(yesterday, yesterday),
        "month": Period(now.replace(day=1), now),
    }
    return named[name] if name in named else _last_days({key: int(key) for key in NAMES if key.isdecimal()}[name])


def period_between(first: date, last: date) -> Period:
    """Return the period of these days. Raises ValueError with words for the operator where there is none."""
    if first > last:
        raise ValueError("The first day must not be after the last.")
    if first > today():
        raise ValueError("The first day is in the future.")
    if (last - first).days >= MAX_DAYS:
        raise ValueError(f"A period has at most {MAX_DAYS:,} days.")
    if first.year < 2000:
        raise ValueError("Nothing is on record before 2000.")
    return Period(first, last)


def period_from(params: Mapping[str, str]) -> Period:
    """Return the period that parameters of an address name: `period`, `days`, or `from` and `to`; without any 7 days.

    Raises ValueError with words for the operator.
    """
    given = [name for name in ("period", "days", "from") if name in params or (name == "from" and "to" in params)]
    if len(given) > 1:
        raise ValueError("Give either period, or days, or from and to.")
    if given == ["days"]:
        return _last_days(_days_of(params["days"]))
    if given == ["from"]:
        return period_between(_day_of(params, "from"), _day_of(params, "to"))
    try:
        return period_named(params.get("period", USUAL))
    except KeyError:
        raise ValueError(f"period must be one of {', '.join(NAMES)}.") from None


def _last_days(days: int) -> Period:
    return Period(today() - timedelta(days=days - 1), today())


def _days_of(text: str) -> int:
    try:
        return parse_number(text, MAX_DAYS)
    except ValueError as error:
        raise ValueError(f"days must be {error}, not {text[:MAX_SHOWN]!r}.") from None


def _day_of(params: Mapping[str, str], name: str) -> date:
    if name not in params:
        raise ValueError("Give both from and to.")
    text = params[name]
    try:
        return parse_day(text)
    except ValueError:
        raise ValueError(f"{name} must be a date such as 2026-11-30, not {text[:40]!r}.") from None

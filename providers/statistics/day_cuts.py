"""How time is cut into days: in which time zone, and since when. Values only; what is on record is in folding.py.

A table of sums says of which day a row is, and no more. So days that were cut in one zone stay as they are where their
raw rows may be gone, and those after them may be cut in another; then each moment still belongs to one day.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import reduce
from operator import or_
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import BooleanField, Case, DateField, Q, Value, When
from django.db.models.functions import TruncDate

BEGIN, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
CLOCKS_DIFFER = timedelta(minutes=10)  # that of this machine and the database's

NEVER = Q(Value(False, output_field=BooleanField()))  # noqa: FBT003

Span = tuple[datetime, datetime, ZoneInfo]  # from, until before, cut in


def midnight(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins in a time zone."""
    return datetime.combine(day, time.min).replace(tzinfo=zone).astimezone(UTC)


def current_zone() -> ZoneInfo:
    """Return the operator's time zone, settings.TIME_ZONE."""
    return ZoneInfo(settings.TIME_ZONE)


@dataclass(frozen=True)
class DayCuts:
    """In which time zone days are cut, since when. The first zone holds since ever."""

    zones: tuple[tuple[datetime, str], ...]

    @classmethod
    def all_in(cls, zone: ZoneInfo) -> "DayCuts":
        return cls(((BEGIN, zone.key),))

    @classmethod
    def from_json(cls, stored: list[list[str]]) -> "DayCuts":
        """Return what as_json() has stored."""
        return cls(tuple((datetime.fromisoformat(since), zone) for since, zone in stored))

    def as_json(self) -> list[list[str]]:
        return [[since.isoformat(), zone] for since, zone in self.zones]

    def of(self, moment: str) -> Any:
        """Return the expression for the day that a column of moments falls into."""
        *earlier, (_, _, zone) = self._spans()
        latest = TruncDate(moment, tzinfo=zone)
        if not earlier:
            return latest
        cases = [When(Q((f"{moment}__lt", until)), then=TruncDate(moment, tzinfo=zone)) for _, until, zone in earlier]
        return Case(*cases, default=latest, output_field=DateField())

    def within(self, first: date | None, last: date | None) -> Q:
        """Return the condition that a row was created in these days; None is no limit."""
        found = [
            Q(
                *([("created_at__gte", since)] if since > BEGIN else []),
                *([("created_at__lt", until)] if until < END else []),
            )
            for since, until in self._moments(first, last)
        ]
        return reduce(or_, found) if found else NEVER

    def begin(self, day: date) -> datetime:
        """Return the first moment of a day; the last one there is where it has none."""
        return min((since for since, _ in self._moments(day, day)), default=END)

    def days_between(self, since: datetime, until: datetime) -> list[date]:
        """Return all days that have a moment from here to there."""
        overlaps = [(max(since, begin), min(until, end), zone) for begin, end, zone in self._spans()]
        ends = [
            moment.astimezone(zone).date()
            for begin, end, zone in overlaps
            if begin < end
            for moment in (begin, end - MOMENT)
        ]
        return [min(ends) + number * DAY for number in range((max(ends) - min(ends)).days + 1)]

    def newest_day(self) -> date:
        """Return today's date in the zone that is farthest east: no row is of a later day."""
        soon = datetime.now(UTC) + CLOCKS_DIFFER
        return max(soon.astimezone(zone).date() for _, _, zone in self._spans())

    def changed(self, since: datetime, zone: ZoneInfo) -> "DayCuts":
        """Return these cuts with all days from a moment on, the midnight of that zone, cut in it."""
        kept = tuple(each for each in self.zones if each[0] < since)
        return DayCuts(kept if kept and kept[-1][1] == zone.key else (*kept, (since, zone.key)))

    def since_in(self, zone: ZoneInfo) -> datetime | None:
        """Return since when days are cut in a zone, up to now; None where they are not."""
        since, name = self.zones[-1]
        return since if name == zone.key else None

    def cut_anew(self, zone: ZoneInfo, *, deleted_until: datetime | None) -> "DayCuts":
        """Return these cuts with all days cut in a zone whose rows are all there.

        Rows of that moment and earlier ones may be deleted; None: none is. The days into which those fall stay as they
        are cut, and to none of them a moment is added or taken.
        """
        return self.changed(self._whole_from(zone, deleted_until), zone)

    def others(self, zone: ZoneInfo, first: date | None = None, last: date | None = None) -> list[tuple[str, date]]:
        """Return which of these days, by default all, are cut in other zones: each, and before which day it ends."""
        return [
            (each.key, until.astimezone(zone).date())
            for since, until, each in self._spans()
            if each != zone and until < END and any(b < until and since < e for b, e in self._moments(first, last))
        ]

    def _whole_from(self, zone: ZoneInfo, deleted_until: datetime | None) -> datetime:
        if deleted_until is None:
            return BEGIN
        cut = max(
            min(until - MOMENT, deleted_until).astimezone(each).date()
            for since, until, each in self._spans()
            if since <= deleted_until
        )
        end = max(
            min(until, midnight(cut + DAY, each))
            for since, until, each in self._spans()
            if until > deleted_until and midnight(cut + DAY, each) > since
        )
        day = cut + DAY
        while midnight(day, zone) < end:
            day += DAY
        return midnight(day, zone)

    def _spans(self) -> Iterator[Span]:
        ends = [*(since for since, _ in self.zones[1:]), END]
        for (since, zone), until in zip(self.zones, ends, strict=True):
            yield since, until, ZoneInfo(zone)

    def _moments(self, first: date | None, last: date | None) -> list[tuple[datetime, datetime]]:
        """Return from when until before when these days are; one stretch, unless zones leave gaps between them."""
        found: list[tuple[datetime, datetime]] = []
        for begin, end, zone in self._spans():
            since = max(begin, midnight(first, zone)) if first else begin
            until = min(end, midnight(last + DAY, zone)) if last else end
            if found and since == found[-1][1] < until:
                found[-1] = (found[-1][0], until)
            elif since < until:
                found.append((since, until))
        return found


def zones_left(states: Iterable[tuple[list[list[str]], datetime | None]]) -> list[str]:
    """Return the other time zones than the operator's in which days are cut that a recount would cut anew.

    Of columns of FoldState: `days` and `deleted_until`.
    """
    zone, left = current_zone(), set[str]()
    for days, deleted_until in states:
        cuts = DayCuts.from_json(days)
        wanted = cuts.cut_anew(zone, deleted_until=deleted_until)
        if wanted != cuts:
            left |= {each.key for _, until, each in cuts._spans() if until > wanted.zones[-1][0]}
    return sorted(left - {zone.key})

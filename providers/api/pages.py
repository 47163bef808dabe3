"""Pages by keyset: each begins where the one before ended, so the last costs what the first does.

One filter with an index leads to the rows, and the others are applied to at most so many of them: an address that
matches nothing must not read ten million rows. A page may hence be short, or empty, and still have a next one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing
from django.db.models import DateTimeField, Model, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from providers.api.filters import Filter
from providers.db import is_postgresql

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_CSV_ROWS = 10_000  # of one file, counted before the filters that have no index
MAX_ROWS_READ = 5_000  # for one page, where some filter has no index of its own
CHUNK = 500  # rows of a long answer that are in memory at once


@dataclass(frozen=True, slots=True)
class Position:
    """A row's place in a list."""

    key: Any  # its primary key
    moment: datetime | None = None  # its time, in a list that is ordered by one


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list."""

    rows: list[Any]
    next: Position | None  # behind the last row that was read; None: there are no more


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows that somebody has asked for, newest first."""

    rows: QuerySet[Any]
    time: str  # the column that they are ordered by, before the key; empty: by the key alone
    chosen: Sequence[tuple[Filter, Any]] = ()  # the filters with their values; one that leads earlier leads

    def page(self, size: int, *, after: Position | None) -> Page:
        """Return the next rows, at most `size`."""
        leading, others = self._queries(after)
        end = self._end(leading, MAX_ROWS_READ) if others else None
        rows = self._until(leading.filter(others), end)[: size + 1]
        found = list(rows)
        if len(found) > size:
            return Page(found[:size], self._position(found[size - 1]))
        return Page(found, end)

    def end(self, rows: int, *, after: Position | None) -> Position | None:
        """Return the place behind so many rows that the leading filter finds; None: there are not so many."""
        leading, _ = self._queries(after)
        return self._end(leading, rows)

    def chunks(self, *, after: Position | None, until: Position | None) -> Iterator[list[Any]]:
        """Yield the rows between two places, a part at a time."""
        while True:
            leading, others = self._queries(after)
            rows = list(self._until(leading.filter(others), until)[:CHUNK])
            if rows:
                yield rows
            if len(rows) < CHUNK:
                return
            after = self._position(rows[-1])

    def _queries(self, after: Position | None) -> tuple[QuerySet[Any], Q]:
        """Return the rows behind a place that an index leads to, and the condition which leaves out more of them."""
        order = [f"-{self.time}"] if self.time else []
        leading, others = self.rows.order_by(*order, "-pk"), Q()
        has_led = False
        for chosen, value in self.chosen:
            index = chosen.index_of(value)
            if self.time and chosen.parameter in ("from", "to"):
                leading = leading.filter(chosen.condition(value))
            elif index is None or has_led:
                others &= chosen.condition(value)
            else:
                leading, has_led = leading.filter(index, chosen.condition(value)), True
        return (leading if after is None else leading.filter(self._is_behind(after))), others

    def _end(self, leading: QuerySet[Any], rows: int) -> Position | None:
        keys = leading.values_list(*([self.time] if self.time else []), "pk")[rows - 1 : rows]
        for *moment, key in keys:
            return Position(key, *moment)
        return None

    def _is_behind(self, place: Position) -> Q:
        if not self.time:
            return Q(pk__lt=place.key)
        moment = self._moment(place)
        # The first condition is what the index is searched by.
        return Q((f"{self.time}__lte", moment)) & (Q((f"{self.time}__lt", moment)) | Q(pk__lt=place.key))

    def _until(self, rows: QuerySet[Any], place: Position | None) -> QuerySet[Any]:
        if place is None:
            return rows
        if not self.time:
            return rows.filter(pk__gte=place.key)
        moment = self._moment(place)
        return rows.filter(Q((f"{self.time}__gte", moment)) & (Q((f"{self.time}__gt", moment)) | Q(pk__gte=place.key)))

    def _moment(self, place: Position) -> Any:
        """Return the time of a place as the database compares it."""
        if is_postgresql():
            return place.moment
        # SQLite compares texts, and its own clock writes fewer digits than we do; retention may have deleted the row.
        own = self.rows.model._default_manager.filter(pk=place.key).values(self.time)
        return Coalesce(Subquery(own), Value(place.moment, DateTimeField()))

    def _position(self, row: Model) -> Position:
        return Position(row.pk, getattr(row, self.time) if self.time else None)


def cursor_of(place: Position, *, question: str) -> str:
    """Return a place as the text that an address contains: signed, and good for this question alone."""
    moment = place.moment and place.moment.isoformat()
    return signing.dumps([str(place.key), moment], salt=_salt(question))


def place_of(cursor: str, *, question: str) -> Position:
    """Return the place that a cursor means. Raises ValueError where it is none of ours, or of another question."""
    try:
        key, moment = signing.loads(cursor, salt=_salt(question))
    except signing.BadSignature as error:
        raise ValueError("the one of the page before, with the same filters") from error
    return Position(key, moment and datetime.fromisoformat(moment))


def _salt(question: str) -> str:
    return f"providers.api.pages:{question}"

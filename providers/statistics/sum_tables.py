"""Tables of sums: how they cut time, and how sums are added to their rows. What is folded when is in folding.py."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, DecimalField, F, Model, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Round, TruncHour, TruncMonth

from providers.statistics.day_cuts import DayCuts
from providers.statistics.months import month_of, next_month

MAX_ROWS_OF_INSERT = 500  # SQLite limits the parameters of a statement
TICKS_PER_USD = 10**10  # the finest part of a dollar that the cost columns keep

Row = dict[str, Any]


def in_ticks(column: str) -> Cast:
    """Return the expression for a column of dollars in whole ticks."""
    ticks = Round(F(column) * Value(Decimal(TICKS_PER_USD), output_field=DecimalField()))
    return Cast(ticks, BigIntegerField())


def sum_in_ticks(column: str, which: Q | None = None) -> Sum:
    """Sum a column of dollars in whole ticks: on SQLite decimals are floats, and only whole numbers add up exactly."""
    return Sum(in_ticks(column), filter=which, default=0)


def in_dollars(ticks: int | Decimal) -> Decimal:
    """Return ticks as dollars, exactly."""
    return Decimal(ticks).scaleb(-10)


class Slots(ABC):
    """How tables of sums cut time: by hours or by days."""

    column: str  # of the tables
    name: str  # of several, as people read it

    @abstractmethod
    def of(self, moment: str, cuts: DayCuts) -> Any:
        """Return the expression for the slot that a column of moments falls into."""

    @abstractmethod
    def within(self, slot: Any, cuts: DayCuts) -> Q:
        """Return the condition that a row was made in a slot."""

    @abstractmethod
    def begin(self, slot: Any, cuts: DayCuts) -> datetime:
        """Return the first moment of a slot."""

    @abstractmethod
    def shown(self, slot: Any) -> str:
        """Return a slot as people read it."""


class Hours(Slots):
    """Full hours of UTC."""

    column, name = "hour", "hours"

    def of(self, moment: str, cuts: DayCuts) -> TruncHour:
        return TruncHour(moment, tzinfo=UTC)

    def within(self, slot: datetime, cuts: DayCuts) -> Q:
        return Q(created_at__gte=slot, created_at__lt=slot + timedelta(hours=1))

    def begin(self, slot: datetime, cuts: DayCuts) -> datetime:
        return slot

    def shown(self, slot: datetime) -> str:
        return f"{slot.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


class Days(Slots):
    """Days of the operator. Where settings.TIME_ZONE is changed they stay as they were cut, until a recount."""

    column, name = "day", "days"

    def of(self, moment: str, cuts: DayCuts) -> Any:
        return cuts.of(moment)

    def within(self, slot: date, cuts: DayCuts) -> Q:
        return cuts.within(slot, slot)

    def begin(self, slot: date, cuts: DayCuts) -> datetime:
        return cuts.begin(slot)

    def shown(self, slot: date) -> str:
        return f"{slot:%Y-%m-%d}"


HOURS, DAYS = Hours(), Days()


@dataclass(frozen=True)
class SumsTable:
    """One table of sums, and how its rows are counted."""

    model: type[Model]
    slots: Slots
    key: tuple[str, ...]  # columns that identify a row beside its slot, unique together with that
    sums: tuple[str, ...]  # columns that add up
    called: str  # by what it has a row for, in words about its totals
    count: Callable[[QuerySet[Any]], list[Row]]  # the rows of these finished rows, which are annotated with their slot
    facts: tuple[str, ...] = ()  # other columns, kept as the first fold has written them
    # Of days without facts: a table with their sums by `month`, so that long periods read few rows.
    months: type[Model] | None = None
    read_as: Callable[[Row], Row] = field(default=lambda row: row)  # what a row of an earlier release is called now

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.slots.column, *self.key)

    def add(self, rows: list[Row]) -> None:
        """Add sums to those that the table has. Always in the order of the keys, so that nobody deadlocks."""
        self._add(self.model, self.identity, rows)
        if self.months:
            self._add(self.months, ("month", *self.key), self._by_month(rows))

    def _by_month(self, rows: list[Row]) -> list[Row]:
        months: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            key = {"month": month_of(row["day"]), **{name: row[name] for name in self._attnames()}}
            month = months.setdefault(tuple(key.values()), {**key, **dict.fromkeys(self.sums, 0)})
            month |= {name: month[name] + row[name] for name in self.sums}
        return list(months.values())

    def _add(self, model: type[Model], identity: Sequence[str], rows: list[Row]) -> None:
        columns: list[Any] = [model._meta.get_field(name) for name in identity]
        ordered = sorted(rows, key=lambda row: [str(row[column.attname]) for column in columns])
        for position in range(0, len(ordered), MAX_ROWS_OF_INSERT):
            self._upsert(model, columns, ordered[position : position + MAX_ROWS_OF_INSERT])

    def _upsert(self, model: type[Model], columns: list[Any], rows: Sequence[Row]) -> None:
        quote, meta = connection.ops.quote_name, model._meta
        fields: list[Any] = [*columns, *(meta.get_field(name) for name in (*self.facts, *self.sums))]
        table = quote(meta.db_table)
        values = ", ".join(["(" + ", ".join(["%s"] * len(fields)) + ")"] * len(rows))
        identity = ", ".join(quote(column.column) for column in columns)
        added = ", ".join(
            f"{column} = {rounded.format(f'{table}.{column} + excluded.{column}')}"
            for column, rounded in ((quote(name), _rounded(meta.get_field(name))) for name in self.sums)
        )
        # Written by hand because Django's bulk_create() can replace what is there, but not add to it.
        statement = (
            f"INSERT INTO {table} ({', '.join(quote(each.column) for each in fields)}) VALUES {values} "  # noqa: S608
            f"ON CONFLICT ({identity}) DO UPDATE SET {added}"
        )
        params = [each.get_db_prep_save(row[each.attname], connection) for row in rows for each in fields]
        with connection.cursor() as cursor:
            cursor.execute(statement, params)

    def by_key(self, rows: Iterable[Row]) -> dict[tuple[Any, ...], list[Any]]:
        """Return the sums by their keys; rows of nothing but zeros are left out."""
        each = ((tuple(row[name] for name in self._attnames()), [row[name] for name in self.sums]) for row in rows)
        return {key: sums for key, sums in each if any(sums)}

    def stored(self, slot: Any) -> list[Row]:
        """Return the rows of a slot."""
        rows = self.model._default_manager.filter(**{self.slots.column: slot}).order_by()
        return [self.read_as(row) for row in rows.values(*self._attnames(), *self.sums)]

    def in_all(self) -> Row:
        """Return the sums of all slots together."""
        found = self.model._default_manager.aggregate(**self._aggregates())
        return {
            name: in_dollars(found[f"all_{name}"]) if name in self._costs() else int(found[f"all_{name}"])
            for name in self.sums
        }

    def _aggregates(self) -> dict[str, Sum]:
        # None may be called like a field of the table.
        costs = self._costs()
        return {f"all_{name}": sum_in_ticks(name) if name in costs else Sum(name, default=0) for name in self.sums}

    def _costs(self) -> set[str]:
        return {name for name in self.sums if isinstance(self.model._meta.get_field(name), DecimalField)}

    def replace(self, slot: Any, rows: list[Row]) -> None:
        """Write these rows of a slot in place of those that are there."""
        self.model._default_manager.filter(**{self.slots.column: slot}).delete()
        self.model._default_manager.bulk_create([self.model(**row) for row in rows])
        if self.months:
            self.month_recount(month_of(slot))

    def months_apart(self, since: date | None = None) -> list[date]:
        """Return the months, from that of a day on, whose sums are not those of their days.

        One statement, because it sees one moment: beside it sweepers fold.
        """
        if self.months is None:
            return []
        days = self.model._default_manager.annotate(of=TruncMonth("day"), are_days=Value(1))
        months = self.months._default_manager.annotate(of=F("month"), are_days=Value(0))
        if since:
            days, months = days.filter(day__gte=month_of(since)), months.filter(month__gte=month_of(since))
        each = [rows.order_by().values("of", "are_days").annotate(**self._aggregates()) for rows in (days, months)]
        sums: dict[date, list[Row]] = defaultdict(list)
        for row in each[0].union(each[1], all=True):
            sums[row["of"]].append({name: value for name, value in row.items() if name != "are_days"})
        return sorted(month for month, found in sums.items() if len(found) < 2 or found[0] != found[1])

    def month_recount(self, month: date) -> None:
        """Write the sums of a month anew, from those of its days. Call inside a transaction in which nobody folds."""
        assert self.months  # noqa: S101 — only they are counted so
        quote, meta = connection.ops.quote_name, self.months._meta
        key: list[Any] = [meta.get_field(name) for name in self.key]
        sums: list[Any] = [meta.get_field(name) for name in self.sums]
        group = ", ".join(quote(column.column) for column in key)
        columns = ", ".join(quote(column.column) for column in sums)
        totals = ", ".join(_rounded(column).format(f"SUM({quote(column.column)})") for column in sums)
        self.months._default_manager.filter(month=month).delete()
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {quote(meta.db_table)} (month, {group}, {columns}) "  # noqa: S608 — names of the code
                f"SELECT %s, {group}, {totals} FROM {quote(self.model._meta.db_table)} "
                f"WHERE day >= %s AND day < %s GROUP BY {group}",
                [month, month, next_month(month)],
            )

    def _attnames(self) -> list[str]:
        columns: list[Any] = [self.model._meta.get_field(name) for name in self.key]
        return [column.attname for column in columns]


def _rounded(field: Any) -> str:
    # SQLite adds decimals as floats; rounded, each sum is the float that is nearest to the true one.
    return f"ROUND({{}}, {field.decimal_places})" if isinstance(field, DecimalField) else "{}"

"""How finished rows are folded into tables of sums, and how these are counted again. Knows no table by its name.

What is folded and what is not yet folded are both in the database, so whoever reads the sums plus the rows that are
missing from them, in one statement, is right at any moment, whatever dies in between.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import BigIntegerField, DecimalField, F, Model, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Round, TruncDate, TruncHour
from django.utils import timezone

from providers.db import is_postgresql, unlocked

MAX_SECONDS = 1.5  # of one call, so that a backlog does not hold up the other sweeps
MAX_ROWS_OF_INSERT = 500  # SQLite limits the parameters of a statement
TICKS_PER_USD = 10**10  # the finest part of a dollar that the cost columns keep

Row = dict[str, Any]


def sum_in_ticks(column: str, which: Q | None = None) -> Sum:
    """Sum a column of dollars in whole ticks: on SQLite decimals are floats, and only whole numbers add up exactly."""
    ticks = Round(F(column) * Value(Decimal(TICKS_PER_USD), output_field=DecimalField()))
    return Sum(Cast(ticks, BigIntegerField()), filter=which, default=0)


def in_dollars(ticks: int | Decimal) -> Decimal:
    """Return ticks as dollars, exactly."""
    return Decimal(ticks).scaleb(-10)


class Slots(ABC):
    """How tables of sums cut time: by hours or by days."""

    column: str  # of the tables
    name: str  # of several, as people read it

    @abstractmethod
    def of(self, moment: str) -> Any:
        """Return the expression for the slot that a column of moments falls into."""

    @abstractmethod
    def begin(self, slot: Any, *, later: int = 0) -> datetime:
        """Return when a slot begins, or the one that is so many slots later."""

    @abstractmethod
    def shown(self, slot: Any) -> str:
        """Return a slot as people read it."""


class Hours(Slots):
    """Full hours of UTC."""

    column, name = "hour", "hours"

    def of(self, moment: str) -> TruncHour:
        return TruncHour(moment, tzinfo=UTC)

    def begin(self, slot: datetime, *, later: int = 0) -> datetime:
        return slot.astimezone(UTC) + timedelta(hours=later)

    def shown(self, slot: datetime) -> str:
        return f"{slot:%Y-%m-%d %H:%M} UTC"


class Days(Slots):
    """Days of the operator, in settings.TIME_ZONE.

    Where that is changed, what is folded stays as it was cut, until a recount: no row is lost or counted twice.
    """

    column, name = "day", "days"

    @property
    def zone(self) -> tzinfo:
        return timezone.get_default_timezone()

    def of(self, moment: str) -> TruncDate:
        return TruncDate(moment, tzinfo=self.zone)

    def begin(self, slot: date, *, later: int = 0) -> datetime:
        midnight = datetime.combine(slot + timedelta(days=later), datetime.min.time())
        return midnight.replace(tzinfo=self.zone).astimezone(UTC)

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
    count: Callable[[QuerySet[Any]], list[Row]]  # the rows of these finished rows
    facts: tuple[str, ...] = ()  # other columns, kept as the first fold has written them
    read_as: Callable[[Row], Row] = field(default=lambda row: row)  # what a row of an earlier release is called now

    @property
    def identity(self) -> tuple[str, ...]:
        return (self.slots.column, *self.key)

    def add(self, rows: list[Row]) -> None:
        """Add sums to those that the table has. Always in the order of the keys, so that nobody deadlocks."""
        ordered = sorted(rows, key=lambda row: [str(row[name]) for name in (self.slots.column, *self._attnames())])
        for position in range(0, len(ordered), MAX_ROWS_OF_INSERT):
            self._upsert(ordered[position : position + MAX_ROWS_OF_INSERT])

    def _upsert(self, rows: Sequence[Row]) -> None:
        quote, meta = connection.ops.quote_name, self.model._meta
        fields: list[Any] = [meta.get_field(name) for name in (*self.identity, *self.facts, *self.sums)]
        table = quote(meta.db_table)
        values = ", ".join(["(" + ", ".join(["%s"] * len(fields)) + ")"] * len(rows))
        identity = ", ".join(quote(column.column) for column in fields[: len(self.identity)])
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

    def replace(self, slot: Any, rows: list[Row]) -> None:
        """Write these rows of a slot in place of those that are there."""
        self.model._default_manager.filter(**{self.slots.column: slot}).delete()
        self.model._default_manager.bulk_create([self.model(**row) for row in rows])

    def _attnames(self) -> list[str]:
        columns: list[Any] = [self.model._meta.get_field(name) for name in self.key]
        return [column.attname for column in columns]


def _rounded(field: Any) -> str:
    # SQLite adds decimals as floats; rounded, each sum is the float that is nearest to the true one.
    return f"ROUND({{}}, {field.decimal_places})" if isinstance(field, DecimalField) else "{}"


class Fold(ABC):
    """Folds the rows of one table into tables of sums. Each row has a column `rolled_up`."""

    source: type[Model]
    tables: tuple[SumsTable, ...]
    ended_at: str  # the column that says since when a row is finished
    batch_rows = 5_000

    @abstractmethod
    def foldable(self) -> QuerySet[Any]:
        """Return the rows that are finished, change no more, and are not folded yet."""

    def fold(self) -> int:
        """Add finished rows to the sums and mark them as folded, together; return how many.

        Any number of sweepers may fold at once: each takes rows that nobody else holds. Most calls find little, and a
        backlog is worked off over several calls.
        """
        until = time.monotonic() + MAX_SECONDS
        folded = 0
        while batch := self._fold_batch():
            folded += batch
            if batch < self.batch_rows or time.monotonic() >= until:
                break
        return folded

    def _fold_batch(self) -> int:
        if not self.foldable().exists():
            return 0  # without taking SQLite's only write lock
        with transaction.atomic():
            rows = unlocked(self.foldable()).order_by(self.ended_at)
            batch = self._all().filter(pk__in=list(rows.values_list("pk", flat=True)[: self.batch_rows]))
            for table in self.tables:
                table.add(table.count(batch))
            return batch.update(rolled_up=True)

    def rebuild(self) -> list[tuple[Slots, int]]:
        """Count all folded rows again and replace the sums; return how many hours, and how many days, were counted.

        The sums of slots whose rows retention has deleted stay. Each slot is a transaction of its own, for which
        sweepers wait; readers see its old sums until the new ones are committed. Repeatable at any time.
        """
        results = []
        for slots, tables in self._by_slots():
            counted = 0
            for slot in self._on_record(slots, tables):
                with self._counted_again(slots, slot) as rows:
                    if rows is not None:
                        counted += 1
                        for table in tables:
                            table.replace(slot, table.count(rows))
            results.append((slots, counted))
        return results

    def check(self) -> list[tuple[Slots, int, list[Any]]]:
        """Count again without writing; return how many hours, and days, were counted, and which have other sums.

        Slots whose rows retention has deleted are left out. Sweepers wait for each slot, as they do for a rebuild.
        """
        results = []
        for slots, tables in self._by_slots():
            checked, wrong = 0, []
            for slot in self._on_record(slots, tables):
                with self._counted_again(slots, slot) as rows:
                    if rows is not None:
                        checked += 1
                        if any(table.by_key(table.stored(slot)) != table.by_key(table.count(rows)) for table in tables):
                            wrong.append(slot)
            results.append((slots, checked, wrong))
        return results

    def _all(self) -> QuerySet[Any]:
        return self.source._default_manager.order_by()

    def _by_slots(self) -> list[tuple[Slots, list[SumsTable]]]:
        kinds = dict.fromkeys(table.slots for table in self.tables)
        return [(slots, [table for table in self.tables if table.slots is slots]) for slots in kinds]

    def _on_record(self, slots: Slots, tables: list[SumsTable]) -> list[Any]:
        rows = self._all().filter(rolled_up=True).annotate(slot=slots.of("created_at"))
        on_record = set(rows.values_list("slot", flat=True).distinct())
        for table in tables:
            stored = table.model._default_manager.order_by().values_list(slots.column, flat=True)
            on_record.update(stored.distinct())
        return sorted(on_record)

    @contextmanager
    def _counted_again(self, slots: Slots, slot: Any) -> Iterator[QuerySet[Any] | None]:
        """Enter a transaction in which nobody folds, with the slot's folded rows; None where some of them are gone."""
        with transaction.atomic():
            self._lock_out_sweepers()
            within = Q(created_at__gte=slots.begin(slot), created_at__lt=slots.begin(slot, later=1))
            yield self._all().filter(within, rolled_up=True) if self._is_whole(slots, slot) else None

    def _is_whole(self, slots: Slots, slot: Any) -> bool:
        """Return whether no row of this slot was deleted."""
        days = settings.RETENTION_ROWS_DAYS
        if days and slots.begin(slot) < timezone.now() - timedelta(days=days) + timedelta(hours=2):
            return False  # it is due to go
        folded = self._all().filter(rolled_up=True).annotate(slot=slots.of("created_at"))
        oldest = folded.order_by("created_at").values_list("slot", flat=True).first()
        if oldest is None:
            return False
        # Where an earlier slot was counted, its rows were deleted, the oldest first. So may be some of the oldest slot
        # that is left, and at this moment of the next one.
        tables = [table for table in self.tables if table.slots is slots]
        earlier = {f"{slots.column}__lt": oldest}
        was_cut = any(table.model._default_manager.filter(**earlier).exists() for table in tables)
        return slots.begin(slot) >= slots.begin(oldest, later=2 if was_cut else 0)

    def _lock_out_sweepers(self) -> None:
        # A sweeper that has begun to add is waited for; one that begins later waits. SQLite has one writer anyway.
        if is_postgresql():
            with connection.cursor() as cursor:
                cursor.execute(f'LOCK TABLE "{self.tables[0].model._meta.db_table}" IN EXCLUSIVE MODE')

"""How finished rows are folded into tables of sums, and how these are counted again. Knows no such table by its name.

What is folded and what is not yet folded are both in the database, so whoever reads the sums plus the rows that are
missing from them, in one statement, is right at any moment, whatever dies in between. So are, in FoldState, which rows
were deleted and in which zone days are cut. Its row is also the lock: who folds shares it; who deletes, counts again or
cuts anew has it alone.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, DecimalField, F, Max, Min, Model, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Round, TruncHour

from providers.db import is_postgresql, unlocked
from providers.models import FoldState
from providers.statistics.day_cuts import DAY, MOMENT, DayCuts, current_zone, midnight

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

    def in_all(self) -> Row:
        """Return the sums of all slots together."""
        costs = {name for name in self.sums if isinstance(self.model._meta.get_field(name), DecimalField)}
        # An aggregate must not be called like a field of the table.
        sums = {f"all_{name}": sum_in_ticks(name) if name in costs else Sum(name, default=0) for name in self.sums}
        found = self.model._default_manager.aggregate(**sums)
        return {
            name: in_dollars(found[f"all_{name}"]) if name in costs else int(found[f"all_{name}"]) for name in self.sums
        }

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


@dataclass(frozen=True, slots=True)
class Totals:
    """How many rows there were ever to count, and what each table that counts them has in all its slots."""

    on_record: int
    deleted: int
    sums: dict[str, Row]  # by what the table is called

    @property
    def wrong(self) -> dict[str, int]:
        """The tables that have counted more or fewer rows."""
        counted = {table: sums["requests"] for table, sums in self.sums.items()}
        return {table: number for table, number in counted.items() if number != self.on_record + self.deleted}

    @property
    def apart(self) -> dict[str, Row]:
        """Sums that several tables have, and not the same, by table: what else is known of rows that are deleted."""
        shared = set.intersection(*(set(sums) for sums in self.sums.values()))
        each = {name: {table: sums[name] for table, sums in self.sums.items()} for name in sorted(shared)}
        return {name: by_table for name, by_table in each.items() if len(set(by_table.values())) > 1}


class Fold(ABC):
    """Folds the rows of one table into tables of sums. Each row has a column `rolled_up`."""

    name: str  # of the rows, as people read it
    source: type[Model]
    tables: tuple[SumsTable, ...]  # of days, the first one has all days of the others
    ended_at: str  # the column that says since when a row is finished
    counted = Q(rolled_up=True)  # the rows that tables with a column `requests` count there
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
            cuts = DayCuts.from_json(self._shared_state().days)
            rows = unlocked(self.foldable()).order_by(self.ended_at)
            batch = self._all().filter(pk__in=list(rows.values_list("pk", flat=True)[: self.batch_rows]))
            for table in self.tables:
                table.add(table.count(_in_slots(batch, table.slots, cuts)))
            return batch.update(rolled_up=True)

    def cuts(self) -> DayCuts:
        """Return how days are cut: those of the sums, and so those of rows that are not folded yet."""
        state = FoldState.objects.filter(name=self.name).first()
        return DayCuts.from_json(state.days) if state else DayCuts.all_in(current_zone())

    def note_deletion(self, *, newest: datetime, number: int) -> None:
        """Record that rows are deleted, so that the sums of their hours and days are never counted again.

        `newest` is when the newest of them was created, `number` how many of them tables with a column `requests` have
        counted: none where they are of another table, of which these sums are counted, too. Call inside the transaction
        that deletes them, before it does: of that and a recount one waits for the other.
        """
        state = self._held_state()
        state.deleted_until = max(state.deleted_until or newest, newest)
        state.deleted_rows += number
        state.save(update_fields=["deleted_until", "deleted_rows"])

    def rebuild(self) -> list[tuple[Slots, int]]:
        """Count all folded rows again and replace the sums; return how many hours, and how many days, were counted.

        Before, days that were cut in another time zone than the present one are cut anew. Sums of which a row may be
        deleted stay as they are, in both. Each slot is a transaction of its own, for which sweepers wait; readers see
        its old sums until the new ones are committed. Repeatable at any time, and after any crash.
        """
        while self._cut_a_day_anew():
            pass
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

        Slots of which a row may be deleted are left out. Sweepers wait for each slot, as they do for a rebuild.
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

    def totals(self) -> Totals:
        """Return how many rows there were, deleted ones too, and what each table has counted in all its slots."""
        with transaction.atomic():
            state = FoldState.objects.select_for_update().filter(name=self.name).first()
            return Totals(
                on_record=self._all().filter(self.counted).count(),
                deleted=state.deleted_rows if state else 0,
                sums={table.called: table.in_all() for table in self.tables if "requests" in table.sums},
            )

    def _all(self) -> QuerySet[Any]:
        return self.source._default_manager.order_by()

    def _by_slots(self) -> list[tuple[Slots, list[SumsTable]]]:
        kinds = dict.fromkeys(table.slots for table in self.tables)
        return [(slots, [table for table in self.tables if table.slots is slots]) for slots in kinds]

    def _on_record(self, slots: Slots, tables: list[SumsTable]) -> list[Any]:
        rows = self._all().filter(rolled_up=True).annotate(slot=slots.of("created_at", self.cuts()))
        on_record = set(rows.values_list("slot", flat=True).distinct())
        for table in tables:
            stored = table.model._default_manager.order_by().values_list(slots.column, flat=True)
            on_record.update(stored.distinct())
        return sorted(on_record)

    @contextmanager
    def _counted_again(self, slots: Slots, slot: Any) -> Iterator[QuerySet[Any] | None]:
        """Enter a transaction in which nobody folds or deletes, with its folded rows; None where one may be gone."""
        with transaction.atomic():
            state = self._held_state()
            cuts = DayCuts.from_json(state.days)
            is_whole = state.deleted_until is None or slots.begin(slot, cuts) > state.deleted_until
            yield self._rows_of(slots, slot, cuts) if is_whole else None

    def _rows_of(self, slots: Slots, slot: Any, cuts: DayCuts) -> QuerySet[Any]:
        return _in_slots(self._all().filter(slots.within(slot, cuts), rolled_up=True), slots, cuts)

    def _cut_a_day_anew(self) -> bool:
        """Cut the newest day that is cut in another zone than the present one in that; return whether there was one.

        A transaction of its own: it moves the moment since which days are cut in the present zone, and counts those on
        both sides of it again. So at any moment all rows are counted, each in one day, and a repeat goes on.
        """
        zone = current_zone()
        tables = [table for table in self.tables if table.slots is DAYS]
        with transaction.atomic():
            state = self._held_state()
            cuts = DayCuts.from_json(state.days)
            changed = wanted = cuts.cut_anew(zone, deleted_until=state.deleted_until)
            if wanted == cuts:
                return False
            stored = tables[0].model._default_manager.aggregate(first=Min("day"), last=Max("day"))
            if stored["first"] is not None:
                # A day of one zone has parts of up to three days of another.
                reached = cuts.since_in(zone) or midnight(stored["last"] + 3 * DAY, zone)
                since = max(midnight((reached - MOMENT).astimezone(zone).date(), zone), wanted.zones[-1][0])
                if since > midnight(stored["first"] - 2 * DAY, zone):
                    changed = cuts.changed(since, zone)
                for day in sorted({*cuts.days_between(since, reached), *changed.days_between(since, reached)}):
                    for table in tables:
                        table.replace(day, table.count(self._rows_of(DAYS, day, changed)))
            state.days = changed.as_json()
            state.save(update_fields=["days"])
            return changed != wanted

    def _shared_state(self) -> FoldState:
        """Return the state, which nobody changes before the end of this transaction; others may share it."""
        if not is_postgresql():
            return self._held_state()  # one writer anyway
        table = FoldState._meta.db_table
        statement = f'SELECT * FROM "{table}" WHERE name = %s FOR SHARE'  # noqa: S608 — a name of the code
        return next(iter(FoldState.objects.raw(statement, [self.name])), None) or self._held_state()

    def _held_state(self) -> FoldState:
        """Return the state, which nobody else reads or changes under a lock before the end of this transaction."""
        days = DayCuts.all_in(current_zone()).as_json()
        state, _ = FoldState.objects.select_for_update().get_or_create(name=self.name, defaults={"days": days})
        return state


def _in_slots(rows: QuerySet[Any], slots: Slots, cuts: DayCuts) -> QuerySet[Any]:
    in_slots: QuerySet[Any] = rows.annotate(**{slots.column: slots.of("created_at", cuts)})
    return in_slots

"""How finished rows are folded into tables of sums, and how these are counted again. Knows no such table by its name.

What is folded and what is not yet folded are both in the database, so whoever reads the sums plus the rows that are
missing from them, in one statement, is right at any moment, whatever dies in between. So are, in FoldState, which rows
were deleted and in which zone days are cut. Its row is also the lock: who folds shares it; who deletes, counts again or
cuts anew has it alone.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, Min, Model, Q, QuerySet

from providers.db import is_postgresql, unlocked
from providers.models import FoldState
from providers.statistics.day_cuts import DAY, MOMENT, DayCuts, current_zone, midnight
from providers.statistics.sum_tables import DAYS, Row, Slots, SumsTable

MAX_SECONDS = 1.5  # of one call, so that a backlog does not hold up the other sweeps


_known_cuts: ContextVar[dict[str, DayCuts] | None] = ContextVar("known_cuts", default=None)


@contextmanager
def cuts_read_once() -> Iterator[None]:
    """Have all figures within, such as those of a page, read how days are cut once: a recount alone changes it."""
    token = _known_cuts.set({})
    try:
        yield
    finally:
        _known_cuts.reset(token)


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
        known = _known_cuts.get()
        if known is not None and self.name in known:
            return known[self.name]
        state = FoldState.objects.filter(name=self.name).first()
        cuts = DayCuts.from_json(state.days) if state else DayCuts.all_in(current_zone())
        if known is not None:
            known[self.name] = cuts
        return cuts

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
        self.months_fix()
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

    def months_apart(self) -> list[date]:
        """Return the months that do not have the sums of their days."""
        return sorted({month for table in self.tables for month in table.months_apart()})

    def months_fix(self, *, since: date | None = None) -> int:
        """Count the months from that of a day on again that do not have the sums of their days; return how many.

        A process of an earlier release leaves such, which folds rows after the upgrade's migration. Idempotent.
        """
        counted = 0
        for table in self.tables:
            for month in table.months_apart(since):
                with transaction.atomic():
                    self._held_state()
                    table.month_recount(month)
                counted += 1
        return counted

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

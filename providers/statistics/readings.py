"""Sums that are read once, by fine columns, for a page that shows them in several groups: fewer statements, which see
fewer moments.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from operator import add
from typing import Any

Key = tuple[Any, ...]


Sums = dict[Key, Counter[str]]


class Reading:
    """The sums of some days by these columns, and by the step of a series where it has one."""

    def __init__(self, columns: Sequence[str], step: str, sums: Mapping[Key, Counter[str]]) -> None:
        """`sums` are by the columns, then by the first day of each "day", "week" or "month", whichever the step is."""
        self._columns, self._step = columns, step
        self._names = sorted({name for counter in sums.values() for name in counter})
        # Tuples are added up several times as fast as counters.
        self._sums = [(key, tuple(counter[name] for name in self._names)) for key, counter in sums.items()]

    def answers(self, columns: set[str], step: str | date) -> bool:
        """Return whether it has these columns, and this step."""
        return step == self._step and columns <= {*self._columns}

    def grouped(self, by: Sequence[str], which: Mapping[str, Any]) -> Sums:
        """Return the sums by some of the columns, and by the step; `which` narrows them to values of columns."""
        places = [self._columns.index(name) for name in by] + ([-1] if self._step else [])
        wanted = [(self._columns.index(name), value) for name, value in which.items()]
        groups: dict[Key, tuple[int, ...]] = {}
        for key, sums in self._sums:
            if all(key[place] == value for place, value in wanted):
                group = tuple(key[place] for place in places)
                groups[group] = tuple(map(add, groups[group], sums)) if group in groups else sums
        return {group: Counter(dict(zip(self._names, sums, strict=True))) for group, sums in groups.items()}


class Readings:
    """What was read of one kind of sums, for as long as a page is made."""

    def __init__(self, name: str) -> None:
        self._known: ContextVar[tuple[date, date, list[Reading]] | None] = ContextVar(name, default=None)

    @contextmanager
    def of(
        self, first: date, last: date, read: Callable[..., Sums], *kinds: tuple[Sequence[str], str]
    ) -> Iterator[None]:
        """Read the sums of these days by each of these columns and steps, with `read(*columns, step=step)`."""
        readings = [Reading(columns, step, read(*columns, step=step)) for columns, step in kinds]
        token = self._known.set((first, last, readings))
        try:
            yield
        finally:
            self._known.reset(token)

    def grouped(
        self, by: Sequence[str], names: Mapping[str, Any], *, first: date | None, last: date | None, step: str | date
    ) -> Sums | None:
        """Return the sums of these days by these columns and the step, out of what was read; None: it was not read.

        `names` narrows them to values of columns; an empty value does not.
        """
        known = self._known.get()
        if known is None or known[:2] != (first, last):
            return None
        which = {name: value for name, value in names.items() if value}
        answering = (reading for reading in known[2] if reading.answers({*by, *which}, step))
        reading = next(answering, None)
        return reading.grouped(by, which) if reading else None

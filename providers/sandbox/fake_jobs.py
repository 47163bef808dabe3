"""Orders that a vendor of the sandbox remembers, and what has become of them by now. The clock alone moves them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from providers.types import Category, Usage

FILM_SECONDS = 3.0  # real ones take minutes
QUICK_SECONDS = 0.3  # pictures and sounds
MOST_JOBS = 10_000  # remembered by each vendor; the oldest go first

Clock = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class Job:
    """One order and its fate, which is settled from the start unless somebody cancels it."""

    id: str
    model: str
    category: Category
    input: Mapping[str, Any] = field(repr=False)
    usage: Usage
    created_at: datetime
    work: timedelta
    file_names: tuple[str, ...]  # empty: it will succeed without an output
    error: str = ""  # it will fail with these words
    kept: timedelta = timedelta(hours=1)  # for so long its files are there
    cancelled_at: datetime | None = None

    @property
    def starts_at(self) -> datetime:
        """When a machine is ready for it."""
        return self.created_at + self.work / 3

    @property
    def ends_at(self) -> datetime:
        return self.cancelled_at or self.created_at + self.work

    @property
    def is_billed(self) -> bool:
        return not self.error and self.cancelled_at is None

    def is_started(self, moment: datetime) -> bool:
        return moment >= self.starts_at

    def is_over(self, moment: datetime) -> bool:
        return moment >= self.ends_at

    def has_files(self, moment: datetime) -> bool:
        return self.is_billed and self.is_over(moment) and not self.is_removed(moment)

    def is_removed(self, moment: datetime) -> bool:
        return moment >= self.ends_at + self.kept

    def cancel(self, moment: datetime) -> None:
        if not self.is_over(moment):
            self.cancelled_at = moment


AnyJob = TypeVar("AnyJob", bound=Job)


class Jobs(Generic[AnyJob]):
    """All orders of one vendor. Handler threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, AnyJob] = {}  # oldest first

    def add(self, job: AnyJob) -> None:
        with self._lock:
            self._by_id[job.id] = job
            if len(self._by_id) > MOST_JOBS:
                del self._by_id[next(iter(self._by_id))]

    def get(self, job_id: str) -> AnyJob | None:
        return self._by_id.get(job_id)

    def newest_first(self) -> list[AnyJob]:
        with self._lock:
            return list(reversed(self._by_id.values()))

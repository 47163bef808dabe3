"""Jobs that a vendor of the sandbox remembers, and what has become of them by now. The clock alone moves them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from providers.types import Category, Usage

VIDEO_SECONDS = 3.0  # real ones take minutes
QUICK_SECONDS = 0.3  # images and audio
MAX_JOBS = 10_000  # remembered by each vendor; the oldest are dropped first

Clock = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


class JobPhase(Enum):
    """What has become of a job."""

    QUEUED = auto()
    STAGED = auto()
    RUNNING = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    STOPPED = auto()  # cancelled by its owner, or by the vendor after the time that its owner allowed


@dataclass(slots=True, kw_only=True)
class FakeJob:
    """One output to generate, at once or later. Its outcome is fixed from the start unless somebody cancels it."""

    id: str
    model: str
    category: Category
    usage: Usage
    cost: Decimal | None  # USD, once it has succeeded; None where it is unknown
    created_at: datetime
    work: timedelta
    is_polled: bool  # False: its output came with the reply to its submission
    file_names: tuple[str, ...]  # empty: it will succeed without an output
    kept: timedelta  # its files are there for so long
    error: str = ""  # it will fail with this text
    input: Mapping[str, Any] = field(default_factory=dict, repr=False)
    stopped_after: timedelta | None = None  # the vendor itself stops it then
    callback_url: str = ""  # to be called once it is over
    cancelled_at: datetime | None = None

    @property
    def starts_at(self) -> datetime:
        """When a machine is ready for it."""
        return self.created_at + self.work / 3

    @property
    def is_stopped(self) -> bool:
        return self.cancelled_at is not None or (self.stopped_after is not None and self.stopped_after < self.work)

    @property
    def ends_at(self) -> datetime:
        if self.cancelled_at:
            return self.cancelled_at
        return self.created_at + min(self.work, self.stopped_after or self.work)

    @property
    def is_billed(self) -> bool:
        return not self.error and not self.is_stopped

    def phase(self, moment: datetime) -> JobPhase:
        if moment >= self.ends_at:
            if self.is_stopped:
                return JobPhase.STOPPED
            return JobPhase.FAILED if self.error else JobPhase.SUCCEEDED
        if moment >= self.starts_at:
            return JobPhase.RUNNING
        return JobPhase.STAGED if moment >= self.created_at + self.work / 6 else JobPhase.QUEUED

    def is_started(self, moment: datetime) -> bool:
        return moment >= self.starts_at

    def is_over(self, moment: datetime) -> bool:
        return moment >= self.ends_at

    def has_files(self, moment: datetime) -> bool:
        return self.phase(moment) is JobPhase.SUCCEEDED and not self.is_removed(moment)

    def is_removed(self, moment: datetime) -> bool:
        return moment >= self.ends_at + self.kept

    def cancel(self, moment: datetime) -> None:
        if not self.is_over(moment):
            self.cancelled_at = moment


class JobStore:
    """All jobs of one vendor. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, FakeJob] = {}  # oldest first

    def add(self, job: FakeJob) -> None:
        with self._lock:
            self._by_id[job.id] = job
            if len(self._by_id) > MAX_JOBS:
                del self._by_id[next(iter(self._by_id))]

    def get(self, job_id: str) -> FakeJob | None:
        return self._by_id.get(job_id)

    def newest_first(self) -> list[FakeJob]:
        with self._lock:
            return list(reversed(self._by_id.values()))


def iso_time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

"""Replicate's jobs: what was ordered, and what has become of it by now. The clock alone moves them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.types import Category, Usage

FILM_SECONDS = 3.0  # real ones take minutes
QUICK_SECONDS = 0.3  # pictures and sounds
KEPT = timedelta(hours=1)  # then inputs, outputs and files are gone
MOST_PREDICTIONS = 10_000  # remembered; the oldest go first
PAGE = 100  # of the list

Clock = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Prediction:
    """One order and its fate, which is settled from the start unless somebody cancels it."""

    id: str
    model: str  # "owner/name"
    version: str
    category: Category
    input: Mapping[str, Any] = field(repr=False)
    usage: Usage
    created_at: datetime
    work: timedelta
    file_names: tuple[str, ...]  # empty: it will succeed without an output
    shape: str  # of the output: "list", "string" or "audio_out"
    error: str = ""  # it will fail with these words
    stopped_after: timedelta | None = None  # the header Cancel-After
    cancelled_at: datetime | None = None
    webhook: str = ""  # the address to be called when it is over
    is_called_out: bool = False

    @property
    def ends_at(self) -> datetime:
        if self.cancelled_at:
            return self.cancelled_at
        return self.created_at + (self.stopped_after if self._is_stopped and self.stopped_after else self.work)

    @property
    def starts_at(self) -> datetime:
        """When a machine is ready for it."""
        return self.created_at + self.work / 3

    @property
    def end(self) -> str:
        """The status in which it ends."""
        if self.cancelled_at or self._is_stopped:
            # Real ones are "aborted" where no machine was ready yet.
            return "canceled" if self.ends_at >= self.starts_at else "aborted"
        return "failed" if self.error else "succeeded"

    @property
    def is_billed(self) -> bool:
        return self.end == "succeeded"

    @property
    def _is_stopped(self) -> bool:
        return self.stopped_after is not None and self.stopped_after < self.work

    def is_over(self, moment: datetime) -> bool:
        return moment >= self.ends_at

    def status(self, moment: datetime) -> str:
        if self.is_over(moment):
            return self.end
        return "processing" if moment >= self.starts_at else "starting"

    def has_files(self, moment: datetime) -> bool:
        return self.status(moment) == "succeeded" and not self.is_removed(moment)

    def is_removed(self, moment: datetime) -> bool:
        return moment >= self.ends_at + KEPT

    def cancel(self, moment: datetime) -> None:
        if not self.is_over(moment):
            self.cancelled_at = moment


class Predictions:
    """All orders of one sandbox. Handler threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_id: dict[str, Prediction] = {}  # oldest first

    def add(self, prediction: Prediction) -> None:
        with self._lock:
            self._by_id[prediction.id] = prediction
            if len(self._by_id) > MOST_PREDICTIONS:
                del self._by_id[next(iter(self._by_id))]

    def get(self, prediction_id: str) -> Prediction | None:
        return self._by_id.get(prediction_id)

    def page(self, before: str) -> tuple[list[Prediction], str]:
        """Return the newest hundred, or those that are older than `before`, and where the next page begins."""
        with self._lock:
            newest = list(reversed(self._by_id.values()))
        ids = [prediction.id for prediction in newest]
        start = ids.index(before) + 1 if before in ids else 0
        page = newest[start : start + PAGE]
        return page, page[-1].id if start + PAGE < len(newest) else ""

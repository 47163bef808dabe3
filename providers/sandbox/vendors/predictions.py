"""Replicate's jobs: its own states, the time after which it stops them itself, and its list."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from providers.sandbox.fake_jobs import Job, Jobs

PAGE = 100  # of the list


@dataclass(slots=True, kw_only=True)
class Prediction(Job):
    """One order. Inputs, outputs and files are gone after an hour."""

    version: str
    shape: str  # of the output: "list", "string" or "audio_out"
    stopped_after: timedelta | None = None  # the header Cancel-After
    webhook: str = ""  # the address to be called when it is over
    is_called_out: bool = False

    @property
    def ends_at(self) -> datetime:
        if self.cancelled_at:
            return self.cancelled_at
        return self.created_at + (self.stopped_after if self._is_stopped and self.stopped_after else self.work)

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

    def status(self, moment: datetime) -> str:
        if self.is_over(moment):
            return self.end
        return "processing" if self.is_started(moment) else "starting"


class Predictions(Jobs[Prediction]):
    """All orders, and the list of them."""

    def page(self, before: str) -> tuple[list[Prediction], str]:
        """Return the newest hundred, or those that are older than `before`, and where the next page begins."""
        newest = self.newest_first()
        ids = [prediction.id for prediction in newest]
        start = ids.index(before) + 1 if before in ids else 0
        page = newest[start : start + PAGE]
        return page, page[-1].id if start + PAGE < len(newest) else ""

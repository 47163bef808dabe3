"""Heartbeats: each worker and sweeper says every few seconds that it lives, in a row of its own."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from providers.db import delete_unlocked
from requests_app.dispatch import QUEUES
from requests_app.models import WorkerHeartbeat

BEAT_SECONDS = 10.0
STALE = timedelta(minutes=2)  # then the process has died without a farewell
BEATS_MISSED = 3.5  # of a process that still counts as working


class Heartbeat:
    """The heartbeat of this process. Used by one thread."""

    def __init__(self, kind: str, *, queues: Sequence[str] = (), slots: int = 0) -> None:
        """`kind` is "worker" or "sweeper"; `queues` and `slots` are a worker's."""
        self.name = f"{kind}@{socket.gethostname()[:90]}:{os.getpid()}"
        self._values = {"kind": kind, "queues": ",".join(queues)[:64], "slots": slots}
        self._next_beat = 0.0

    def beat(self, *, busy: int = 0) -> bool:
        """Write the row where the last time was BEAT_SECONDS ago; return whether it was written."""
        if time.monotonic() < self._next_beat:
            return False
        self._next_beat = time.monotonic() + BEAT_SECONDS
        values = {**self._values, "busy": busy, "seen_at": Now()}
        if not WorkerHeartbeat.objects.filter(name=self.name).update(**values):
            WorkerHeartbeat.objects.bulk_create([WorkerHeartbeat(name=self.name, **values)], ignore_conflicts=True)
        return True

    def end(self) -> None:
        """Remove the row: this process ends in order."""
        WorkerHeartbeat.objects.filter(name=self.name).delete()


@dataclass(frozen=True, slots=True)
class ProcessesAtWork:
    """Who has shown a sign of life of late."""

    workers: int
    sweepers: int
    by_queue: dict[str, int]  # how many workers serve each of dispatch.QUEUES


def processes_at_work() -> ProcessesAtWork:
    """Return who has shown a sign of life of late. One query."""
    # A process beats once in a round, and its rounds may be rarer than its beats.
    interval = max(BEAT_SECONDS, settings.LOOK_SECONDS, settings.SWEEP_SECONDS)
    since = Now() - timedelta(seconds=BEATS_MISSED * interval)
    alive = WorkerHeartbeat.objects.filter(seen_at__gt=since).values_list("kind", "queues")
    served = [queues.split(",") for kind, queues in alive if kind == "worker"]
    by_queue = {queue: sum(queue in queues for queues in served) for queue in QUEUES}
    return ProcessesAtWork(len(served), len(alive) - len(served), by_queue)


def heartbeats_remove_stale() -> int:
    """Remove the rows of processes that have died, and return how many. Idempotent.

    The row of a process that froze while it wrote its heartbeat is locked, and left to a later round.
    """
    return delete_unlocked(WorkerHeartbeat.objects.filter(seen_at__lt=Now() - STALE))

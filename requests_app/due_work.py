"""Due work: what a worker finds in the database by itself, without any message. The database is the queue.

Every worker process looks every few seconds, and sooner after it had to refuse a wake-up for want of a slot. It takes
no more than its free slots. Two workers may find the same row; one of them claims it, and the other's task returns.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils.module_loading import import_string

from providers.chain.jobs import jobs_to_cancel
from providers.db import give_back_connection, words_of
from requests_app.dispatch import CHAT, MEDIA, TEXT
from requests_app.selectors import requests_due
from requests_app.services.completion import CANCEL_JOB_TASK
from requests_app.services.heartbeats import Heartbeat
from requests_app.services.intake import ADVANCE_TASK
from requests_app.slots import Slots, Work

logger = logging.getLogger("requests_app.due_work")

GRACE = timedelta(seconds=3)  # in which the wake-up of a fresh row is expected to arrive
NO_GRACE = timedelta(0)
MIN_PAUSE_SECONDS = 0.05  # between two looks, however many slots become free
MAX_FOUND = 2000  # rows that one look reads at most
# Several workers look at the same time. Each takes its share at random out of more than it needs, so that they seldom
# meet at the same rows.
FOUND_PER_SLOT = 4
MIN_ASIDE_SECONDS = 2.0
MAX_ASIDE_SECONDS = 10.0  # for what made no progress; another process may have it, or a lock
MAX_FAULTY_SECONDS = 300.0  # for what raised an exception
FORGET_SECONDS = 600.0

Find = Callable[[int, timedelta], Sequence[str | int]]


@dataclass(frozen=True)
class DueSource:
    """One kind of due rows: how to find them, and who works on them."""

    task: str  # the Celery task's name
    queue: str  # whose slots it takes
    find: Find  # takes the most keys to return, and the age below which a fresh row is left to its own wake-up


def request_sources() -> list[DueSource]:
    """Return the due work of this app."""
    return [
        DueSource(ADVANCE_TASK, TEXT, lambda limit, grace: requests_due(limit, queue=TEXT, grace=grace)),
        DueSource(ADVANCE_TASK, MEDIA, lambda limit, grace: requests_due(limit, queue=MEDIA, grace=grace)),
        DueSource(CANCEL_JOB_TASK, CHAT, lambda limit, _: [str(attempt_id) for attempt_id in jobs_to_cancel()[:limit]]),
    ]


def due_sources() -> list[DueSource]:
    """Return what the apps named in settings.DUE_WORK have to do."""
    return [source for path in settings.DUE_WORK for source in import_string(path)()]


def due_work(limit: int, *, grace: timedelta = GRACE) -> list[Work]:
    """Return what is due at this moment, without doing it: (task, key) pairs, at most `limit` of each source."""
    return [(source.task, key) for source in due_sources() for key in source.find(limit, grace)]


class Aside:
    """Work that made no progress or failed, left alone for a while with exponential backoff. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Work, tuple[float, float]] = {}  # time.monotonic() of the next try, the pause in seconds

    def note(self, work: Work, *, max_seconds: float) -> None:
        """Put it aside, twice as long as the last time."""
        with self._lock:
            _, pause_seconds = self._until.get(work, (0.0, MIN_ASIDE_SECONDS / 2))
            pause_seconds = min(2 * pause_seconds, max_seconds)
            self._until[work] = time.monotonic() + pause_seconds, pause_seconds

    def forget(self, work: Work) -> None:
        """Note that it made progress."""
        with self._lock:
            self._until.pop(work, None)

    def now(self) -> set[Work]:
        """Return what is aside at this moment, and forget what was long ago."""
        now = time.monotonic()
        with self._lock:
            for work in [work for work, (until, _) in self._until.items() if until < now - FORGET_SECONDS]:
                del self._until[work]
            return {work for work, (until, _) in self._until.items() if until > now}


class Look:
    """A worker's thread that looks for due work and hands it out, and says every few seconds that it lives."""

    def __init__(
        self,
        *,
        sources: Sequence[DueSource],
        queues: Collection[str],
        slots: Slots,
        hand_out: Callable[[Callable[[], None]], None],
        run: Callable[[str, str, str | int], object],
    ) -> None:
        """`hand_out` gives a function to the worker's pool; `run` does one task's work: (task, queue, key).

        `run` gives the slot back and returns whether there was anything to do.
        """
        self._sources = {queue: [source for source in sources if source.queue == queue] for queue in queues}
        self._slots, self._hand_out, self._run_task = slots, hand_out, run
        self._aside = Aside()
        self._wake, self._is_over = threading.Event(), threading.Event()
        self._is_database_away = False
        self._heartbeat = Heartbeat("worker", queues=sorted(queues), slots=slots.total)
        self._thread = threading.Thread(target=self._run, name="due-work", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def soon(self) -> None:
        """Look as soon as the pause since the last look is over. Called from any thread."""
        self._wake.set()

    def stop(self) -> None:
        """Hand out nothing more, from this moment on. May be called in a signal handler, and more than once."""
        self._is_over.set()
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def look(self, queues: Collection[str], *, grace: timedelta = GRACE) -> int:
        """Look for work of these queues once, hand it out, and return how much was handed out."""
        return sum(self._look_into(queue, grace) for queue in queues if queue in self._sources)

    def _look_into(self, queue: str, grace: timedelta) -> int:
        sources = self._sources[queue]
        handed_out = 0
        # Each gets its share of the free slots. In a random order, so that what one leaves over goes to all in turn.
        for left, source in zip(range(len(sources), 0, -1), random.sample(sources, len(sources)), strict=True):
            free = self._slots.free(queue)
            if free <= 0:
                self._slots.want(queue)
                break
            handed_out += self._hand_out_from(source, share=-(-free // left), grace=grace)
        return handed_out

    def _hand_out_from(self, source: DueSource, *, share: int, grace: timedelta) -> int:
        excluded = self._slots.in_flight() | self._aside.now()
        mine = sum(task == source.task for task, _ in excluded)
        found = source.find(min(FOUND_PER_SLOT * share + mine, MAX_FOUND), grace)
        due = [key for key in found if (source.task, key) not in excluded]
        if len(due) > share:
            self._slots.want(source.queue)
            due = random.sample(due, share)
        handed_out = 0
        for key in due:
            if not self.take(source.task, key, source.queue):
                break
            handed_out += 1
        return handed_out

    def take(self, task: str, key: str | int, queue: str) -> bool:
        """Begin this work in the pool; False where it is not of this worker's queues, or no slot is free.

        For what a look has found, and for a wake-up of this process, which then needs no broker. Never raises.
        """
        work = (task, key)
        if self._is_over.is_set() or queue not in self._sources or not self._slots.take(queue, work):
            return False
        try:
            self._hand_out(partial(self._work, work, queue))
        except RuntimeError:  # the pool has been shut down
            self._slots.give_back(queue, work)
            return False
        return True

    def _work(self, work: Work, queue: str) -> None:
        """Do the work in a thread of the pool. Never raises: nobody would hear of it."""
        task, key = work
        try:
            is_progress = self._run_task(task, queue, key)
        except Exception as error:  # noqa: BLE001 — one row's fault ends nothing else
            # The stack without the message, which may quote what a user wrote.
            stack = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s of %s failed with %s; it is put aside.\n%s", *work, type(error).__name__, stack)
            self._aside.note(work, max_seconds=MAX_FAULTY_SECONDS)
        else:
            if is_progress:
                self._aside.forget(work)
            else:
                self._aside.note(work, max_seconds=MAX_ASIDE_SECONDS)

    def _run(self) -> None:
        next_round = 0.0
        while not self._is_over.is_set():
            began = time.monotonic()
            wanted = self._slots.take_wanted()
            if began >= next_round:
                next_round = began + settings.LOOK_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 — no secret
                self._safely(lambda wanted=wanted: self._round(wanted))  # type: ignore[misc]  # bound now
            elif wanted:
                self._safely(lambda wanted=wanted: self.look(wanted, grace=NO_GRACE))  # type: ignore[misc]  # bound now
            self._is_over.wait(MIN_PAUSE_SECONDS)
            self._wake.wait(max(0.0, next_round - time.monotonic()))
            self._wake.clear()
        self._safely(self._heartbeat.end)

    def _round(self, wanted: Collection[str]) -> None:
        self.look(wanted, grace=NO_GRACE)
        self.look(self._sources.keys() - wanted)
        self._heartbeat.beat(busy=self._slots.busy)

    def _safely(self, step: Callable[[], object]) -> None:
        """Run a step; whatever it raises, the thread goes on. The worker's recovery from everything relies on it."""
        try:
            close_old_connections()
            step()
        except (DatabaseError, InterfaceError) as error:
            if not self._is_database_away:
                logger.warning("No look into the database was possible (%s); trying on.", words_of(error))
            self._is_database_away = True
        except Exception:
            logger.exception("A look into the database failed; the next round tries again.")
        else:
            self._is_database_away = False
        finally:
            give_back_connection()

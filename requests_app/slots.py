"""How many jobs of each kind a worker process runs at once, and the Celery task class that asks for a slot first.

The kind of a job is the queue of its wake-up. Every kind has some slots of its own, and all share the rest: commands
are answered while providers hang, and long media jobs cannot keep short texts waiting. Beyond that only a few jobs of a
kind compute at once: a hundred threads that all want the interpreter make every one of them slow.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from celery import Task

from providers.db import call_before_waiting, give_back_connection
from requests_app.dispatch import CHAT, QUEUES

Work = tuple[str, str | int]  # a task's name and its key
RESERVED_SHARE = 8  # each kind has an eighth of the slots for itself
MAX_COMPUTING = 8  # jobs of a kind; more than a core can do, and few enough that each gets on
UNLIMITED = 1_000_000  # in processes that are no workers: tests, and commands that run a task themselves


class Gate:
    """Lets few jobs of a kind compute at once; the first wait for a network ends a job's turn. Thread-safe.

    What follows on that wait is not limited: whoever has been answered shall finish, and new jobs begin the slower.
    """

    _here = threading.local()

    def __init__(self, permits: int) -> None:
        self._permits = threading.Semaphore(permits)

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Wait for a turn, and end it with the block at the latest."""
        self._permits.acquire()
        Gate._here.gate = self
        try:
            yield
        finally:
            Gate.leave()

    @staticmethod
    def leave() -> None:
        """End this thread's turn, if it has one."""
        gate = getattr(Gate._here, "gate", None)
        if gate is not None:
            Gate._here.gate = None
            gate._permits.release()


class Slots:
    """The slots of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = UNLIMITED
        self._reserved: dict[str, int] = {}
        self._gates: dict[str, Gate] = {}
        self._on_free: Callable[[], None] = lambda: None
        self._busy: Counter[str] = Counter()
        self._in_flight: Counter[Work] = Counter()
        self._wanted: set[str] = set()

    def configure(self, *, total: int, queues: Sequence[str], on_free: Callable[[], None]) -> None:
        """Limit the jobs to `total`, of which each queue's kind has its share reserved, the first ones before the last.

        `on_free` is called, from any thread, when a slot becomes free after one was refused or wanted in vain.
        """
        with self._lock:
            self._total, self._on_free = total, on_free
            self._gates = {queue: Gate(MAX_COMPUTING) for queue in QUEUES}
            self._reserved = {}
            share = max(1, total // RESERVED_SHARE)
            for queue in queues:
                # At least one slot is shared, or the last kind would have none.
                if sum(self._reserved.values()) + share < total:
                    self._reserved[queue] = share

    @property
    def total(self) -> int:
        """How many jobs may run at once."""
        return self._total

    @property
    def busy(self) -> int:
        """How many jobs run at this moment."""
        with self._lock:
            return sum(self._busy.values())

    def free(self, queue: str) -> int:
        """Return how many more jobs of this kind may begin now."""
        with self._lock:
            return self._free(queue)

    def take(self, queue: str, work: Work) -> bool:
        """Take a slot; False where this kind has none left. Who has taken one gives it back."""
        with self._lock:
            if self._free(queue) <= 0:
                self._wanted.add(queue)
                return False
            self._busy[queue] += 1
            self._in_flight[work] += 1
            return True

    def give_back(self, queue: str, work: Work) -> None:
        """Give a slot back."""
        with self._lock:
            self._busy[queue] -= 1
            self._in_flight[work] -= 1
            if not self._in_flight[work]:
                del self._in_flight[work]
            is_wanted = bool(self._wanted)
        if is_wanted:
            self._on_free()

    def turn(self, queue: str) -> AbstractContextManager[None]:
        """Wait until few others of this kind compute, and count as one of them inside the block, or up to a wait."""
        gate = self._gates.get(queue)
        return gate.passed() if gate else nullcontext()

    def want(self, queue: str) -> None:
        """Note that work of this kind is waiting for a slot."""
        with self._lock:
            self._wanted.add(queue)

    def take_wanted(self) -> set[str]:
        """Return the kinds for which a slot was wanted in vain since the last call."""
        with self._lock:
            wanted, self._wanted = self._wanted, set()
            return wanted

    def in_flight(self) -> set[Work]:
        """Return what runs in this process at this moment."""
        with self._lock:
            return set(self._in_flight)

    def _free(self, queue: str) -> int:
        kept = sum(max(0, share - self._busy[kind]) for kind, share in self._reserved.items() if kind != queue)
        return self._total - sum(self._busy.values()) - kept


slots = Slots()
call_before_waiting(Gate.leave)


class DueTask(Task[[str | int], Any]):
    """A task with one key, run for a wake-up or because a look into the database has found the key due. Idempotent.

    A wake-up for which there is no slot returns at once: its row stays due, and the next look finds it.
    """

    abstract = True
    kind = CHAT  # of the work, where a message of the version before does not say it

    def __call__(self, key: str | int) -> Any:
        """Run for a wake-up message."""
        name = (self.request.delivery_info or {}).get("routing_key")
        queue = name if name in QUEUES else self.kind
        if not slots.take(queue, (self.name, key)):
            return None
        return self.run_in_slot(queue, key)

    def run_in_slot(self, queue: str, key: str | int) -> Any:
        """Run, and give back the slot that the caller has taken."""
        try:
            with slots.turn(queue):
                return self.run(key)
        finally:
            give_back_connection()
            slots.give_back(queue, (self.name, key))

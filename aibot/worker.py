"""The parts of a Celery worker that are ours: it looks into the database by itself, and outlives its broker."""

import gc
import logging
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps, current_app, signals
from celery.concurrency.thread import TaskPool
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from django.core.exceptions import ImproperlyConfigured

from requests_app.dispatch import QUEUES, offer_first, when_not_sent
from requests_app.due_work import Look, due_sources
from requests_app.slots import DueTask, slots

logger = logging.getLogger("aibot.worker")

JOIN_SECONDS = 5.0  # for a look that is under way when the worker ends
MIN_RECONNECT_SECONDS = 0.5
MAX_RECONNECT_SECONDS = 10.0
CHECK_SECONDS = 0.1


class DueWork(bootsteps.StartStopStep):
    """Hands due work to the worker's pool, from the worker's start to its end, whatever becomes of the broker.

    A step of the worker and not of its consumer, which stops and starts with every connection.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        self._look: Look | None = None
        super().__init__(worker, **options)

    def start(self, worker: Any) -> None:
        """Begin to look."""
        if not isinstance(worker.pool, TaskPool):
            raise ImproperlyConfigured("Workers need Celery's threads pool: start them without --pool.")
        consumed = worker.app.amqp.queues.consume_from
        # One that consumes none of ours by name, such as only the queue of the version before, does all.
        queues = [queue for queue in QUEUES if queue in consumed] or list(QUEUES)

        def hand_out(work: Callable[[], None]) -> None:
            worker.pool.apply_async(work, callback=_ignore)

        slots.configure(total=worker.pool.limit, queues=queues, on_free=self._look_soon)
        when_not_sent(self._look_instead)
        self._look = Look(sources=due_sources(), queues=queues, slots=slots, hand_out=hand_out, run=_run)
        # Sent by the signal's handler: from this moment on nothing is handed out, while the calls under way end.
        signals.worker_shutting_down.connect(self._stop_looking, weak=False)
        offer_first(self._look.take)
        self._look.start()
        # What is loaded by now lives as long as the process; the collector need not walk it again and again.
        gc.collect()
        gc.freeze()

    def close(self, worker: Any) -> None:
        """Hand out nothing more."""
        self._stop_looking()

    def stop(self, worker: Any) -> None:
        """End the thread."""
        self._stop_looking()
        if self._look:
            self._look.join(JOIN_SECONDS)

    def terminate(self, worker: Any) -> None:
        """End the thread."""
        self.stop(worker)

    def _look_soon(self) -> None:
        if self._look:
            self._look.soon()

    def _look_instead(self, queue: str) -> None:
        """Have a look follow on a wake-up that this process could not send."""
        slots.want(queue)
        self._look_soon()

    def _stop_looking(self, **_: Any) -> None:
        if self._look:
            self._look.stop()


def _ignore(_: Any) -> None:
    """Take a task's result; the pool insists on somebody who does."""


def _run(task_name: str, queue: str, key: str | int) -> Any:
    task = current_app.tasks[task_name]
    if not isinstance(task, DueTask):
        raise TypeError(f"{task_name} is no DueTask")
    return task.run_in_slot(queue, key)


class PersistentConsumer(Consumer):
    """Celery's consumer, for which every error of the broker is one after which it connects again.

    Celery's own ends the worker at errors that it does not expect, such as those of a Redis whose memory is full.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.connection_errors = (Exception,)
        self._pause_seconds = MIN_RECONNECT_SECONDS
        self._connected_at = 0.0

    def on_ready(self) -> None:
        self._connected_at = time.monotonic()
        super().on_ready()

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        self._pause(exc)

    def _pause(self, error: Exception) -> None:
        """Wait with exponential backoff, but not when the worker is to end."""
        if self._connected_at and time.monotonic() - self._connected_at > MAX_RECONNECT_SECONDS:
            self._pause_seconds = MIN_RECONNECT_SECONDS
        self._connected_at = 0.0
        logger.warning(
            "The broker failed (%s); connecting again in %.1f s. The worker finds its work in the database meanwhile.",
            type(error).__name__,
            self._pause_seconds,
        )
        until = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, MAX_RECONNECT_SECONDS)
        while time.monotonic() < until:
            maybe_shutdown()
            time.sleep(CHECK_SECONDS)

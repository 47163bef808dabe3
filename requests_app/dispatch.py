"""Ringing Celery: telling a worker that something waits in the database.

A enqueue may be lost, late or double; the sweeper enqueued_now again. So ringing must never make anybody wait or fail,
least of all the webhook while Redis hangs: enqueued_now go through a thread of their own.
"""

import logging
import queue
import threading
from functools import partial

from celery import current_app
from django.db import transaction

logger = logging.getLogger("requests_app.dispatch")

# While the broker hangs, enqueued_now pile up to here and are then dropped.
_queue: "queue.Queue[tuple[str, str | int]]" = queue.Queue(maxsize=1000)
_sender: threading.Thread | None = None
_sender_lock = threading.Lock()


def enqueue_on_commit(task: str, key: str | int) -> None:
    """Ring once the current transaction is committed, or at once where none is open."""
    transaction.on_commit(partial(enqueue, task, key), robust=True)


def enqueue(task: str, key: str | int) -> None:
    """Ask a worker to run the task of this name with this key soon. Returns at once and never raises.

    Tasks go by name so that the services, which enqueue, need not import the tasks, which call the services.
    """
    try:
        publish(task, key)
    except queue.Full:
        logger.warning("The broker does not keep up; %s waits for the sweeper.", task)


def publish(task: str, key: str | int) -> None:
    """Hand a wake-up message to the sender thread. Raises queue.Full where the broker does not keep up.

    Tests that want no broker put a list's append in its place.
    """
    _start_sender()
    _queue.put_nowait((task, key))


def flush(timeout_seconds: float) -> None:
    """Give enqueued_now of a process that is about to end a moment to leave; those that do not are the sweeper's."""
    with _queue.all_tasks_done:
        _queue.all_tasks_done.wait_for(lambda: not _queue.unfinished_tasks, timeout_seconds)


def _start_sender() -> None:
    global _sender
    # A forked server inherits the variable but not the thread, so ask whether it lives.
    if _sender is None or not _sender.is_alive():
        with _sender_lock:
            if _sender is None or not _sender.is_alive():
                _sender = threading.Thread(target=_send_forever, name="doorbell", daemon=True)
                _sender.start()


def _send_forever() -> None:
    while True:
        task, key = _queue.get()
        try:
            current_app.send_task(task, (key,))
        except Exception as error:  # noqa: BLE001 — whatever the broker does, the sweeper is the net
            logger.warning("Could not enqueue for %s: %s. The sweeper will.", task, error.__class__.__name__)
        finally:
            _queue.task_done()

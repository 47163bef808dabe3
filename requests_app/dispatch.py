"""Ringing Celery: telling a worker that something waits in the database.

A ring may be lost, late or double; the sweeper rings again. So ringing must never make anybody wait or fail,
least of all the webhook while Redis hangs: rings go through a thread of their own.
"""

import logging
import queue
import threading
from functools import partial

from celery import current_app
from django.db import transaction

logger = logging.getLogger("requests_app.dispatch")

# While the broker hangs, rings pile up to here and are then dropped.
_rings: "queue.Queue[tuple[str, str | int]]" = queue.Queue(maxsize=1000)
_ringer: threading.Thread | None = None
_ringer_lock = threading.Lock()


def ring_on_commit(task: str, key: str | int) -> None:
    """Ring once the current transaction is committed, or at once where none is open."""
    transaction.on_commit(partial(ring, task, key), robust=True)


def ring(task: str, key: str | int) -> None:
    """Ask a worker to run the task of this name with this key soon. Returns at once and never raises.

    Tasks go by name so that the services, which ring, need not import the tasks, which call the services.
    """
    _start_ringer()
    try:
        _rings.put_nowait((task, key))
    except queue.Full:
        logger.warning("The broker does not keep up; %s waits for the sweeper.", task)


def wait_until_rung(timeout_seconds: float) -> None:
    """Give rings of a process that is about to end a moment to leave; those that do not are the sweeper's."""
    with _rings.all_tasks_done:
        _rings.all_tasks_done.wait_for(lambda: not _rings.unfinished_tasks, timeout_seconds)


def _start_ringer() -> None:
    global _ringer
    # A forked server inherits the variable but not the thread, so ask whether it lives.
    if _ringer is None or not _ringer.is_alive():
        with _ringer_lock:
            if _ringer is None or not _ringer.is_alive():
                _ringer = threading.Thread(target=_keep_ringing, name="doorbell", daemon=True)
                _ringer.start()


def _keep_ringing() -> None:
    while True:
        task, key = _rings.get()
        try:
            current_app.send_task(task, (key,))
        except Exception as error:  # noqa: BLE001 — whatever the broker does, the sweeper is the net
            logger.warning("Could not ring for %s: %s. The sweeper will.", task, error.__class__.__name__)
        finally:
            _rings.task_done()

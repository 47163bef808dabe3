"""Wake-up messages: telling a worker, through Celery, that something is due in the database.

The database is the queue; a wake-up only saves the time until the next sweep. It may be lost, late or delivered twice,
and the sweeper sends another. So sending one must never make its caller wait or fail, least of all the webhook while
Redis hangs: messages leave through a thread of their own.
"""

import logging
import queue
import threading
from functools import partial

from celery import current_app
from django.db import transaction

logger = logging.getLogger("requests_app.dispatch")

MAX_WAITING_MESSAGES = 1000  # while the broker hangs; those beyond are dropped

_waiting: "queue.Queue[tuple[str, str | int]]" = queue.Queue(maxsize=MAX_WAITING_MESSAGES)
_sender: threading.Thread | None = None
_sender_lock = threading.Lock()


def enqueue_on_commit(task: str, key: str | int) -> None:
    """Enqueue once the current transaction is committed, or at once where none is open."""
    transaction.on_commit(partial(enqueue, task, key), robust=True)


def enqueue(task: str, key: str | int) -> None:
    """Ask a worker to run the task of this name with this key soon. Return at once and never raise.

    Tasks go by name so that the services, which enqueue, need not import the tasks, which call the services.
    """
    try:
        publish(task, key)
    except queue.Full:
        logger.warning("The broker does not keep up; %s is left to the sweeper.", task)


def publish(task: str, key: str | int) -> None:
    """Hand a message to this process's sender thread. Tests replace this to see what would be sent.

    Raises queue.Full where too many messages wait already.
    """
    _ensure_sender()
    _waiting.put_nowait((task, key))


def flush(timeout_seconds: float) -> None:
    """Wait until all messages are sent, so that a process can end. What is left after the time is the sweeper's."""
    with _waiting.all_tasks_done:
        _waiting.all_tasks_done.wait_for(lambda: not _waiting.unfinished_tasks, timeout_seconds)


def _ensure_sender() -> None:
    global _sender
    # A forked server inherits the variable but not the thread, so check whether it lives.
    if _sender is None or not _sender.is_alive():
        with _sender_lock:
            if _sender is None or not _sender.is_alive():
                _sender = threading.Thread(target=_send_forever, name="dispatch", daemon=True)
                _sender.start()


def _send_forever() -> None:
    while True:
        task, key = _waiting.get()
        try:
            current_app.send_task(task, (key,))
        except Exception as error:  # noqa: BLE001 — whatever the broker does, the sweeper sends another
            logger.warning("The wake-up for %s was not sent: %s. The sweeper repeats it.", task, type(error).__name__)
        finally:
            _waiting.task_done()

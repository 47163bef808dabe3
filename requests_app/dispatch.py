"""Wake-up messages: telling a worker, through Celery, that something is due in the database.

The database is the queue; a wake-up only saves the time until a worker's next look into it (due_work.py). It is sent
once, and may be lost, late or delivered twice. So sending one must never make its caller wait or fail, least of all the
webhook while Redis hangs: messages leave through a thread of their own.
"""

import logging
import queue as queues
import threading
from collections.abc import Callable
from functools import partial

from celery import current_app
from django.db import transaction

from providers.types import Category

logger = logging.getLogger("requests_app.dispatch")

CHAT = "chat"  # updates, placeholders, deliveries, cancellations of jobs
TEXT = "text"
MEDIA = "media"  # images, videos, audio
QUEUES = (CHAT, TEXT, MEDIA)

MAX_WAITING_MESSAGES = 1000  # while the broker hangs; those beyond are dropped

_waiting: "queues.Queue[tuple[str, str | int, str]]" = queues.Queue(maxsize=MAX_WAITING_MESSAGES)
_sender: threading.Thread | None = None
_sender_lock = threading.Lock()
_when_not_sent: list[Callable[[str], None]] = []
_offer: Callable[[str, str | int, str], bool] | None = None


def queue_for(category: str) -> str:
    """Return the queue of a category's requests."""
    return TEXT if category == Category.TEXT else MEDIA


def enqueue_on_commit(task: str, key: str | int, *, queue: str = CHAT) -> None:
    """Enqueue once the current transaction is committed, or at once where none is open."""
    transaction.on_commit(partial(enqueue, task, key, queue=queue), robust=True)


def enqueue(task: str, key: str | int, *, queue: str = CHAT) -> None:
    """Ask a worker to run the task of this name with this key soon. Return at once and never raise.

    Tasks go by name so that the services, which enqueue, need not import the tasks, which call the services. Only what
    has become due by an action is enqueued, once: a row that is enqueued again while it waits makes a backlog grow.
    A worker that has a free slot takes the work itself, which spares a message and its way through the broker.
    """
    if _offer is not None and _offer(task, key, queue):
        return
    try:
        publish(task, key, queue)
    except queues.Full:
        _note_not_sent(queue, "it does not keep up")


def publish(task: str, key: str | int, queue: str) -> None:
    """Hand a message to this process's sender thread. Tests replace this to see what would be sent.

    Raises queue.Full where too many messages wait already.
    """
    _ensure_sender()
    _waiting.put_nowait((task, key, queue))


def offer_first(take: Callable[[str, str | int, str], bool] | None) -> None:
    """Have each wake-up offered to this process's own worker: `take` returns whether it does the work.

    It is called with the task's name, its key and its queue, must return at once and never raise.
    """
    global _offer
    _offer = take


def when_not_sent(call: Callable[[str], None]) -> None:
    """Have `call` called with the queue of each wake-up that could not be sent: a worker then looks by itself."""
    _when_not_sent[:] = [call]


def flush(timeout_seconds: float) -> None:
    """Wait until all messages are sent, so that a process can end. The workers find the rows of those that are left."""
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
        task, key, queue = _waiting.get()
        try:
            current_app.send_task(task, (key,), queue=queue)
        except Exception as error:  # noqa: BLE001 — whatever the broker does, the workers look into the database
            _note_not_sent(queue, type(error).__name__)
        else:
            _note_sent()
        finally:
            _waiting.task_done()


_is_refusing = threading.Event()


def _note_not_sent(queue: str, reason: str) -> None:
    """Log the first of many; and let a worker look at once, for nobody will wake it."""
    if not _is_refusing.is_set():
        _is_refusing.set()
        logger.warning(
            "The broker takes no wake-ups (%s): requests start a few seconds late until it does. Nothing is lost. "
            "Check Redis: whether it runs, and whether its memory is full.",
            reason,
        )
    for call in _when_not_sent:
        call(queue)


def _note_sent() -> None:
    if _is_refusing.is_set():
        _is_refusing.clear()
        logger.warning("The broker takes wake-ups again.")

"""Workers that crash where they are told to: `python -m tests.proof.crashing`, with one command per line on stdin.

The product has no hooks for this. One process loads it; each command is carried out by a fork of that process, which
wraps the function of its crash point, works as a worker does, and kills itself there with SIGKILL. The wake-up messages
that it has enqueued by then are lost with it. For each command a line on stdout tells how the fork ended.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections import deque
from functools import wraps
from itertools import count
from typing import Any, NoReturn

import django
from django.utils.module_loading import import_string

django.setup()

from aibot.celery import app  # noqa: E402
from requests_app import dispatch  # noqa: E402
from requests_app.delivery_backend import get_delivery_backend  # noqa: E402
from requests_app.models import Request  # noqa: E402
from requests_app.tasks import advance  # noqa: E402
from telegram_bot.api.client import load_certificates  # noqa: E402
from telegram_bot.updates.ingest import update_ingest  # noqa: E402
from tests.proof.crash_clock import pass_time, requests_of  # noqa: E402
from tests.proof.crash_points import POINTS, CrashPoint  # noqa: E402

MAX_POLLS = 30  # of a job, before it counts as one that never ends
PAUSE_SECONDS = 25  # between two polls; a user who waited this long gets a notice


def main() -> None:
    """Carry out the commands of stdin. Until a fork is made, nothing here connects anywhere or starts a thread."""
    app.loader.import_default_modules()
    load_certificates()
    get_delivery_backend()
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if not child:
            _work_and_crash(command)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _work_and_crash(command: dict[str, Any]) -> NoReturn:
    try:
        crash_at(next(point for point in POINTS if point.name == command["point"]))
        _work(command["updates"])
    except BaseException:  # noqa: BLE001 — a fork must not run on into its parent's loop
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def crash_at(point: CrashPoint) -> None:
    """Wrap the point's function so that its nth call by the worker kills this process.

    Partial edits are made by threads of their own, at any time, by the same function as the last edit.
    """
    owner, name = owner_of(point)
    function = getattr(owner, name)
    calls = count(1)

    @wraps(function)
    def crash(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        is_last = next(calls) == point.nth_call
        result = function(*args, **kwargs) if point.is_after or not is_last else None
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, crash)


def owner_of(point: CrashPoint) -> tuple[Any, str]:
    """Return the module or class through which the point's function is found, and its name there."""
    path, _, name = point.function.rpartition(".")
    return sys.modules.get(path) or import_string(path), name


def _work(updates: list[Any]) -> None:
    """Ingest the updates, one after the other, and run all tasks that follow, as one worker with one thread would."""
    enqueued: deque[tuple[str, str | int]] = deque()
    dispatch.publish = lambda task, key, queue: enqueued.append((task, key))
    for raw in updates:
        update_ingest(raw)
        _run_tasks(enqueued)
    chat_id = updates[-1]["message"]["chat"]["id"]
    for _ in range(MAX_POLLS):
        pass_time(chat_id, seconds=PAUSE_SECONDS)
        for request_id in requests_of(chat_id).filter(status__in=Request.OPEN).values_list("id", flat=True):
            advance(request_id)
        _run_tasks(enqueued)


def _run_tasks(enqueued: "deque[tuple[str, str | int]]") -> None:
    while enqueued:
        task, key = enqueued.popleft()
        app.tasks[task](key)


if __name__ == "__main__":
    main()

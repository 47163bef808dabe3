"""Workers that die where they are told to: `python -m tests.proof.crashing`, with an order a line on stdin.

The product has no hooks for this. One process loads it; each order is carried out by a fork of that process, which
wraps the one function of its crash point, works as a worker does, and kills itself there with signal 9. The bells
that it has enqueued by then die with it. For each order a line on stdout tells how the fork ended.
"""

import json
import os
import signal
import sys
import traceback
from collections import deque
from functools import wraps
from typing import Any, NoReturn

import django
from django.utils.module_loading import import_string

django.setup()

from aibot.celery import app  # noqa: E402
from requests_app import dispatch  # noqa: E402
from requests_app.delivery_backend import get_delivery_backend  # noqa: E402
from requests_app.models import Request  # noqa: E402
from requests_app.tasks import advance  # noqa: E402
from telegram_bot.api import client  # noqa: E402
from telegram_bot.updates.ingest import update_ingest  # noqa: E402
from tests.proof.crash_clock import pass_time, requests_of  # noqa: E402
from tests.proof.crash_points import POINTS, Point  # noqa: E402

MAX_LOOKS = 30  # at a film, before it counts as one that never ends
PAUSE_SECONDS = 25  # between two looks; whoever waited this long gets a notice


def main() -> None:
    """Carry out the orders of stdin. Until a fork is made, nothing here connects anywhere or starts a thread."""
    app.loader.import_default_modules()
    client._certificates()
    get_delivery_backend()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _work_and_die(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _work_and_die(order: dict[str, Any]) -> NoReturn:
    try:
        die_at(next(point for point in POINTS if point.name == order["point"]))
        _work(order["updates"])
    except BaseException:  # noqa: BLE001 — a fork must not run on into its parent's loop
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def die_at(point: Point) -> None:
    """From now on, whoever calls the point's function dies of it."""
    owner, name = owner_of(point)
    function = getattr(owner, name)

    @wraps(function)
    def deadly(*args: Any, **kwargs: Any) -> None:
        if point.is_after:
            function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)


def owner_of(point: Point) -> tuple[Any, str]:
    """Return the module or class through which the point's function is found, and its name there."""
    path, _, name = point.function.rpartition(".")
    return sys.modules.get(path) or import_string(path), name


def _work(updates: list[Any]) -> None:
    """Take updates in, one after the other, and do all that follows, as one worker with one thread would."""
    enqueued_now: deque[tuple[str, str | int]] = deque()
    dispatch.publish = lambda task, key: enqueued_now.append((task, key))
    for raw in updates:
        update_ingest(raw)
        _answer(enqueued_now)
    chat_id = updates[-1]["message"]["chat"]["id"]
    for _ in range(MAX_LOOKS):
        pass_time(chat_id, seconds=PAUSE_SECONDS)
        for request_id in requests_of(chat_id).filter(status__in=Request.OPEN).values_list("id", flat=True):
            advance(request_id)
        _answer(enqueued_now)


def _answer(enqueued_now: "deque[tuple[str, str | int]]") -> None:
    while enqueued_now:
        task, key = enqueued_now.popleft()
        app.tasks[task](key)


if __name__ == "__main__":
    main()

"""A process that forks workers and sweepers at once: everything is imported before the first fork.

It reads what to start line by line, such as `worker LOG`, and answers with the process id. Its children are
ordinary processes of the product; they are killed when it ends, and it is killed when its parent ends.
"""

import ctypes
import os
import random
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import django
from django.core.management import call_command
from django.db import connection

PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parent.parent.parent


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def command_of(process: str) -> str:
    """Return how production runs this process: its line in the Procfile."""
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    return lines[process]


def main() -> None:
    die_with_parent()
    django.setup()
    from aibot.celery import app
    from tests.proof.fast_timings import shorten_waits

    shorten_waits()
    app.loader.import_default_modules()
    children: Mapping[str, Callable[[], object]] = {
        "worker": lambda: app.worker_main(_arguments_of("worker")),
        "worker-chat": lambda: app.worker_main(_arguments_of("worker-chat")),
        "sweeper": lambda: call_command("sweep"),
    }
    assert not connection.connection, "a connection must not be shared by forking"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for line in sys.stdin:
        kind, log = line.split()
        process_id = os.fork()
        if not process_id:
            _run_child(children[kind], log)
        print(process_id, flush=True)


def _arguments_of(worker: str) -> list[str]:
    _, _, _, *arguments = shlex.split(command_of(worker))  # celery -A aibot …
    return arguments


def _run_child(child: Callable[[], object], log: str) -> None:
    """Run the child in this forked process, and never return."""
    code = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        random.seed()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        child()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()

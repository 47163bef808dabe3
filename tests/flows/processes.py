"""Real worker and sweeper processes on the test's database and broker, which tests can kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_SECONDS = 60  # generous, for a loaded machine


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process that works on this test's database; base URLs are the test's own."""
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "aibot.settings",
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(settings.DATA_DIR),
        "SECRET_KEY": settings.SECRET_KEY,
        "DEBUG": "True",
        "PYTHONWARNINGS": "ignore",
        "DATABASE_URL": _database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "LEASE_SECONDS": "2",
        "SWEEP_SECONDS": "1",
        "WORKER_CONCURRENCY": "8",
        **variables,
    }


def _database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    host = f"{database['HOST']}:{database['PORT']}"
    return f"postgres://{database['USER']}:{database['PASSWORD']}@{host}/{database['NAME']}"


@contextmanager
def running(*arguments: str, stderr: IO[bytes] | None = None, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python …` beside the test; the process is killed when the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def worker(stderr: IO[bytes] | None = None, **variables: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running("-m", "celery", "-A", "aibot", "--quiet", "worker", "--loglevel=WARNING", stderr=stderr, **variables)


def sweeper(**variables: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running("manage.py", "sweep", **variables)


def wait_until(condition: Callable[[], object], description: str, seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait until a condition of the database or a server is true; fail with its description if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timed out: {description}"
        time.sleep(0.05)

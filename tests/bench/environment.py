"""What every measurement with our own processes needs: settings, a fresh database, Django, and the CPU that it took."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

TICKS = os.sysconf("SC_CLK_TCK")


def set_up_django(*, is_fresh: bool = True, **variables: str) -> None:
    """Set these variables beside those that every measurement needs, for this process and its children, then Django up.

    The database is new and its tables are not there yet; or it is the one that the environment names.
    """
    if is_fresh:
        variables |= {
            "DATABASE_URL": _fresh_database(os.environ["TEST_DATABASE_URL"]),
            "REDIS_URL": os.environ["TEST_REDIS_URL"],
        }
    os.environ.update(
        DJANGO_SETTINGS_MODULE="aibot.settings", ENV_FILE=os.devnull, SECRET_KEY="bench-" + "x" * 50, **variables
    )
    import django

    django.setup()


def _fresh_database(url: str) -> str:
    name = f"bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # our own name
    base, _, query = url.partition("?")
    return base.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")


def cpu_seconds(root: int) -> float:
    """Return the CPU seconds of a process, of its children and of those that have ended."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = _stat(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    total, family = 0.0, {root}
    while family:
        total += sum(sum(map(int, stats[pid][11:15])) for pid in family if pid in stats)
        family = {pid for pid, stat in stats.items() if int(stat[1]) in family}
    return total / TICKS


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def postgres_process() -> int:
    """Return the id of the server process of Django's database."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return parent_of(cursor.fetchone()[0])


@contextmanager
def quiet_processes(*commands: Sequence[str]) -> Iterator[list[int]]:
    """Run `python …` for each of these commands for the length of the block; yield their process ids.

    Without their logs, which hide the figures: a process that fails ends the measurement by what is missing.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen([sys.executable, *command], **quiet) for command in commands]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def report(name: str, value: str) -> None:
    print(f"{name:<58} {value}", flush=True)

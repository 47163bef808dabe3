"""What every measurement with our own processes needs: settings, a fresh database, Django, and the CPU that it took."""

import os
import uuid
from pathlib import Path

import psycopg

TICKS = os.sysconf("SC_CLK_TCK")


def set_up_django(**variables: str) -> None:
    """Set these variables beside those that every measurement needs, for this process and its children, then Django up.

    The database is new and its tables are not there yet.
    """
    os.environ.update(
        DJANGO_SETTINGS_MODULE="aibot.settings",
        ENV_FILE=os.devnull,
        SECRET_KEY="bench-" + "x" * 50,
        DATABASE_URL=_fresh_database(os.environ["TEST_DATABASE_URL"]),
        REDIS_URL=os.environ["TEST_REDIS_URL"],
        **variables,
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

"""The lock on DATA_DIR: processes that disagree on who answers, or on the database, never share one.

Each process of ours holds it, shared, until it ends, however it ends. The file says what they agree on, and the port of
`manage.py run`. A fork inherits it.
"""

import fcntl
import json
import logging
import os
import time
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger("aibot.data_lock")

FILE_NAME = "lock"
SHARE_SECONDS = 5.0  # to wait for another process that is just taking it

_held: IO[bytes] | None = None


def join_data_dir() -> None:
    """Hold the lock together with those that agree. Idempotent.

    Raises ImproperlyConfigured where processes with other settings are at work: the sandbox's inventions would be shown
    and charged beside real answers, or two databases would share one folder of media.
    """
    _hold(_agreement(), as_first=False)


def begin_data_dir(port: int) -> None:
    """Hold the lock as the first. Raises ImproperlyConfigured where anybody is at work here."""
    _hold({**_agreement(), "port": port}, as_first=True)


def port_in_use(data_dir: Path) -> int | None:
    """Return the port of the `manage.py run` that began last in this folder."""
    port = _read(data_dir / FILE_NAME).get("port")
    return port if isinstance(port, int) else None


def _agreement() -> dict[str, Any]:
    # Not the database's host: machines that share a folder, or move to a pooler one by one, write it differently.
    return {"sandbox": settings.SANDBOX_ACTIVE, "database": str(settings.DATABASES["default"]["NAME"])}


def _hold(mine: dict[str, Any], *, as_first: bool) -> None:
    global _held
    if _held is not None:
        return
    path = settings.DATA_DIR / FILE_NAME
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:  # such as a file that root has made
        logger.warning("%s cannot be opened (%s).", path, error.strerror)
        return
    try:
        if _is_locked(file, fcntl.LOCK_EX):
            _write(file, {**mine, "process": os.getpid()})
        elif as_first:
            raise _refusal(path, "is in use")
        _share(file, path)
        theirs = _read(path)  # another may write between the two locks, so what counts is what is read now
        if any(theirs.get(name, value) != value for name, value in mine.items()):
            raise _refusal(path, "is in use with other settings")
    except ImproperlyConfigured:
        file.close()
        raise
    except OSError as error:  # such as a network file system without locks
        logger.warning("%s cannot be locked (%s).", path, error.strerror)
    _held = file


def _is_locked(file: IO[bytes], kind: int) -> bool:
    """Take a lock, without waiting; return whether it was free."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: IO[bytes], record: dict[str, Any]) -> None:
    """Replace what the file says. On a full disk, which usually has room for this, it may say nothing afterwards."""
    content = json.dumps(record).encode()
    try:
        os.ftruncate(file.fileno(), 0)
        file.write(content)
    except OSError as error:
        logger.warning("%s says nothing of this process (%s).", file.name, error.strerror)


def _share(file: IO[bytes], path: Path) -> None:
    """Hold the lock together with others. Whoever takes it alone does so for a moment, unless it was frozen there."""
    until = time.monotonic() + SHARE_SECONDS
    while not _is_locked(file, fcntl.LOCK_SH):
        if time.monotonic() > until:
            raise _refusal(path, f"is being taken by another process for more than {SHARE_SECONDS:.0f} s")
        time.sleep(0.05)


def _refusal(path: Path, words: str) -> ImproperlyConfigured:
    theirs = _read(path)
    port = f", http://localhost:{theirs['port']}" if theirs.get("port") else ""
    who = "the sandbox answers" if theirs.get("sandbox") else "real providers answer"
    return ImproperlyConfigured(
        f"DATA_DIR {path.parent} {words} (process {theirs.get('process', 'unknown')}{port}; {who} there). Stop it "
        "first, or set another DATA_DIR."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

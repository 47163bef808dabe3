"""The embedded setting's broker: a folder for each queue with a file for each wake-up message, written atomically.

Celery's own filesystem transport writes in place, so that a reader may meet half a message, and its worker ends (kombu
issue 1551). Here a message appears by a rename and is taken by a rename. A message that cannot be read is a lost
wake-up, which costs seconds and nothing else: the database is the queue.
"""

import contextlib
import json
import logging
import os
import time
import uuid
from collections import deque
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual

logger = logging.getLogger("aibot.broker")

SCHEME = "folder"
MESSAGE_SUFFIX = ".msg"
LEFT_BEHIND_SECONDS = 60  # then whoever wrote or took a message has died


class Channel(virtual.Channel):
    """Queues as sub-folders of the transport option `folder`. Any number of processes may put and get at once."""

    supports_fanout = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folders: dict[str, Path] = {}
        self._listed: dict[str, deque[Path]] = {}  # messages that the last look into a queue's folder has found

    def _folder(self, queue: str) -> Path:
        if queue not in self._folders:
            options: dict[str, Any] = self.connection.client.transport_options  # type: ignore[union-attr, assignment]  # never None here
            folder = Path(options["folder"]) / queue
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_left_behind(folder)
            self._folders[queue] = folder
        return self._folders[queue]

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        content = json.dumps(message).encode()
        try:
            _write(self._folder(queue), name, content)
        except FileNotFoundError:  # somebody has removed the folder
            del self._folders[queue]
            _write(self._folder(queue), name, content)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        listed = self._listed.setdefault(queue, deque())
        if not listed:
            listed.extend(_messages(self._folder(queue)))
        while listed:
            message = _take(listed.popleft())
            if message is not None:
                return message
        raise Empty

    def _size(self, queue: str) -> int:
        return len(_messages(self._folder(queue)))

    def _purge(self, queue: str) -> int:
        messages = _messages(self._folder(queue))
        for message in messages:
            message.unlink(missing_ok=True)
        return len(messages)


def _messages(folder: Path) -> list[Path]:
    """Return the messages in a queue's folder, the oldest first."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(MESSAGE_SUFFIX))  # noqa: PTH208 — 20 times a second
    except OSError:
        return []
    return [folder / name for name in names]


def _write(folder: Path, name: str, content: bytes) -> None:
    aside = folder / f"{name}.tmp"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        aside.replace(folder / f"{name}{MESSAGE_SUFFIX}")
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def _take(path: Path) -> Any:
    """Return a message that nobody else has taken; None where somebody has, or it cannot be read."""
    mine = path.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex}")
    try:
        path.rename(mine)
    except OSError:
        return None
    try:
        message = json.loads(mine.read_bytes())
        if not {"delivery_info", "delivery_tag"} <= message["properties"].keys() or "body" not in message:
            raise ValueError("no message of Celery")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning(
            "A wake-up message was unreadable and is dropped (%s); its row is found in the database.",
            type(error).__name__,
        )
        return None
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()
    return message


def _remove_left_behind(folder: Path) -> None:
    """Remove files of processes that died while they wrote or took a message."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.suffix != MESSAGE_SUFFIX and path.stat().st_mtime < time.time() - LEFT_BEHIND_SECONDS:
                path.unlink()


class Transport(virtual.Transport):
    """The transport of broker URLs that begin with folder://."""

    Channel = Channel
    global_state = virtual.BrokerState()
    default_port = 0
    driver_type = SCHEME
    driver_name = SCHEME
    implements = virtual.Transport.implements.extend(exchange_type=frozenset({"direct", "topic"}))

    def driver_version(self) -> str:
        return "1"


def register() -> None:
    """Make the transport known to kombu, under its scheme. Idempotent."""
    TRANSPORT_ALIASES[SCHEME] = "aibot.broker:Transport"

"""The embedded setting's broker: a folder with one file for each wake-up message, written atomically.

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


class Channel(virtual.Channel):
    """Queues as sub-folders of the transport option `folder`. Any number of processes may put and get at once."""

    supports_fanout = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._listed: dict[str, deque[Path]] = {}  # messages seen by the last look into a queue's folder

    def _folder(self, queue: str) -> Path:
        options: dict[str, Any] = self.connection.client.transport_options  # type: ignore[union-attr, assignment]  # never None here
        folder = Path(options["folder"]) / queue
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        folder = self._folder(queue)
        aside = folder / f"{name}.tmp"
        aside.write_text(json.dumps(message), encoding="utf-8")
        aside.replace(folder / f"{name}{MESSAGE_SUFFIX}")

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        waiting = self._listed.setdefault(queue, deque())
        if not waiting:
            waiting.extend(sorted(self._folder(queue).glob(f"*{MESSAGE_SUFFIX}")))
        while waiting:
            message = _take(waiting.popleft())
            if message is not None:
                return message
        raise Empty

    def _size(self, queue: str) -> int:
        return sum(1 for _ in self._folder(queue).glob(f"*{MESSAGE_SUFFIX}"))

    def _purge(self, queue: str) -> int:
        messages = list(self._folder(queue).glob(f"*{MESSAGE_SUFFIX}"))
        for message in messages:
            message.unlink(missing_ok=True)
        return len(messages)


def _take(path: Path) -> Any:
    """Return a message that nobody else has taken; None where somebody has, or it cannot be read."""
    mine = path.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex}")
    try:
        path.rename(mine)
    except OSError:
        return None
    try:
        return json.loads(mine.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("A wake-up message was unreadable and is dropped: %s", type(error).__name__)
        return None
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()


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

"""Database connections beside slow networks: held for statements only, and outcomes that outlive a restart."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

from providers.transport.deadlines import Deadline

logger = logging.getLogger("providers.db")

Result = TypeVar("Result")

MIN_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 2.0


def give_back_connection() -> None:
    """Return this thread's PostgreSQL connection to the pool; the next query takes one again.

    Two hundred threads may wait on providers while the pool has twenty connections. An SQLite connection costs
    nobody anything, so it stays. Inside a transaction nothing happens: only tests wrap calls in one.
    """
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()


def commit_persistently(commit: Callable[[], Result], *, deadline: Deadline) -> Result:
    """Call `commit`, which must be idempotent, again while the database is away; return what it returns.

    For outcomes that were paid for: they are kept in memory, with exponential backoff, until `deadline`. A restart, a
    fail-over and a lock that is held for too long all end one day. Raises the last OperationalError or InterfaceError.
    """
    pause_seconds = MIN_RETRY_SECONDS
    while True:
        try:
            return commit()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block or deadline.remaining() < pause_seconds:
                raise
            logger.warning("An outcome could not be committed (%s); trying again.", type(error).__name__)
            connection.close()
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, MAX_RETRY_SECONDS)

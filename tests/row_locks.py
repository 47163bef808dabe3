"""Rows that somebody else has locked."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, transaction
from django.db.models import Model

needs_row_locks = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has no row locks: a writer waits for the whole database"
)


@contextmanager
def row_locked_by_another(row: Model) -> Iterator[None]:
    """Hold a row in a session of its own, as a host does that froze inside a transaction."""
    rows = type(row)._default_manager.select_for_update(no_key=True)
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                rows.get(pk=row.pk)
                locked.set()
                release.wait(60)
        finally:
            locked.set()
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        locked.wait(60)
        try:
            yield
        finally:
            release.set()
            holder.result()

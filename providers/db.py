"""Not holding a database connection while the network is slow."""

from django.db import connection


def give_back_connection() -> None:
    """Return this thread's PostgreSQL connection to the pool; the next query takes one again.

    Two hundred threads may wait on providers while the pool has twenty connections. An SQLite connection costs
    nobody anything, so it stays. Inside a transaction nothing happens: only tests wrap calls in one.
    """
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()

"""Whether the database is there, and has the tables of this version of the code."""

import errno
from collections.abc import Iterator
from functools import cache

import psycopg
from django.apps import apps
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import DiskFull, InsufficientPrivilege, LockNotAvailable, QueryCanceled

NOT_MIGRATED = "The database does not have the tables of this version. Run: manage.py migrate"
AWAY = "Check that the database runs, and DATABASE_URL."
NO_RIGHTS = (
    "The user of DATABASE_URL lacks this right. Make it the owner of the database and of its tables, as superuser in "
    "it: ALTER DATABASE name OWNER TO user; REASSIGN OWNED BY former_user TO user;"
)
LOCKED = "Another session holds a lock on these rows, or the database is very busy. Try again."
DISK_FULL = "The disk is full: make room for the database and for DATA_DIR. Nothing that was accepted is lost."


def is_migrated() -> bool:
    """Return whether every migration of this code is applied. One query; raises DatabaseError without a database."""
    applied = MigrationRecorder(connection).applied_migrations()
    return all(migration in applied for migration in _newest_migrations())


def may_write() -> bool:
    """Return whether the user of DATABASE_URL may add, change and delete rows. One query."""
    if connection.vendor != "postgresql":
        return True
    names = [model._meta.db_table for model in apps.get_models() if model._meta.managed]
    rights = "SELECT BOOL_AND(has_table_privilege(name, 'SELECT') AND has_table_privilege(name, 'INSERT') AND "
    rights += (
        "has_table_privilege(name, 'UPDATE') AND has_table_privilege(name, 'DELETE')) FROM UNNEST(%s::text[]) AS name"
    )
    with connection.cursor() as cursor:
        cursor.execute(rights, [[f'"{name}"' for name in names]])
        return bool(cursor.fetchone()[0])


@cache
def _newest_migrations() -> tuple[tuple[str, str], ...]:
    """Return the last migration of each app, as this process's code knows them."""
    return tuple(MigrationLoader(connection=None).graph.leaf_nodes())


def explain(error: BaseException, *, is_migrating: bool = False) -> str:
    """Return in one line what the operator must do about an error, "" where that is not known.

    Takes as long as a connection to the database may take.
    """
    causes = list(_chain(error))
    if any(isinstance(cause, DiskFull) or _says_full(cause) for cause in causes):
        return DISK_FULL
    if any(isinstance(cause, InsufficientPrivilege) for cause in causes):
        return NO_RIGHTS
    if any(isinstance(cause, LockNotAvailable | QueryCanceled) or _says_locked(cause) for cause in causes):
        return LOCKED
    if not isinstance(error, DatabaseError):
        return ""
    try:
        connection.close()
        has_tables = is_migrated()
    except OperationalError:
        return f"{_refusal()} {AWAY}"
    except DatabaseError:
        return ""
    return "" if has_tables or is_migrating else NOT_MIGRATED


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, OperationalError) and "disk is full" in str(error)  # SQLite's words


def _says_locked(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and "database is locked" in str(error)  # SQLite's words


def _refusal() -> str:
    """Return why PostgreSQL takes no connection, in its own words: the pool knows only that it got none."""
    if connection.vendor != "postgresql":
        return "The database does not answer."
    parameters = connection.get_connection_params()
    parameters.pop("pool", None)
    try:
        psycopg.connect(**parameters).close()
    except psycopg.OperationalError as error:
        first_line, *_ = str(error).strip().splitlines()
        reason = first_line.rpartition("FATAL:")[2].rpartition("failed:")[2].strip()
        return f"PostgreSQL refuses: {reason}."
    return "The database does not answer."

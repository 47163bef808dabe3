"""Whether the database is there, and has the tables of this version of the code."""

from functools import cache

from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

NOT_MIGRATED = "The database does not have the tables of this version. Run: python manage.py migrate"
AWAY = "The database does not answer. Check that it runs, and DATABASE_URL."


def is_migrated() -> bool:
    """Return whether every migration of this code is applied. One query; raises DatabaseError without a database."""
    applied = MigrationRecorder(connection).applied_migrations()
    return all(migration in applied for migration in _newest_migrations())


@cache
def _newest_migrations() -> tuple[tuple[str, str], ...]:
    """Return the last migration of each app, as this process's code knows them."""
    return tuple(MigrationLoader(connection=None).graph.leaf_nodes())


def explain(error: BaseException) -> str:
    """Return in one line what the operator must do about an error of the database, "" where that is not known."""
    if not isinstance(error, DatabaseError):
        return ""
    try:
        connection.close()
        return "" if is_migrated() else NOT_MIGRATED
    except OperationalError:
        return AWAY
    except DatabaseError:
        return ""

"""Database connections beside slow networks: held for statements only, and outcomes that outlive a restart."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connection, transaction
from django.db.models import BooleanField, CharField, Expression, IntegerField, Model, Q, QuerySet

from providers.transport.deadlines import Deadline

logger = logging.getLogger("providers.db")

Result = TypeVar("Result")
Row = TypeVar("Row", bound=Model)

_before_waiting: list[Callable[[], None]] = []

WORD = re.compile(r"[A-Za-z_]*")
READ_ONLY_SQLSTATE = "25006"
MIN_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 2.0


def is_postgresql() -> bool:
    """Return whether the compound statements are used."""
    return connection.vendor == "postgresql"


def unlocked(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Lock those of the rows that nobody has locked; the others are left out.

    A host that froze in a transaction then stops the work on its own row and no other. Inside a transaction only. On
    SQLite, which has one lock for everything, all rows.
    """
    return rows.select_for_update(no_key=True, skip_locked=True) if is_postgresql() else rows


def update_unlocked(rows: QuerySet[Row], **values: Any) -> int:
    """Change those of the rows that nobody has locked, in a transaction; return how many. `rows` may be a slice."""
    with transaction.atomic():
        keys = list(unlocked(rows).values_list("pk", flat=True))
        return rows.model._default_manager.filter(pk__in=keys).update(**values)


def delete_unlocked(rows: QuerySet[Row]) -> int:
    """Delete those of the rows that nobody has locked, in a transaction; return how many. `rows` may be a slice."""
    with transaction.atomic():
        keys = list(unlocked(rows).values_list("pk", flat=True))
        rows.model._default_manager.filter(pk__in=keys).delete()
    return len(keys)


class Constant(Expression):
    """A word or a number of the code in a condition, written into the statement instead of bound to it.

    SQLite uses an index with a condition only where that condition stands in the statement as it stands in the index.
    """

    def __init__(self, value: str | int) -> None:
        super().__init__(output_field=IntegerField() if isinstance(value, int) else CharField())
        if not isinstance(value, int) and not WORD.fullmatch(value):
            raise ValueError(f"{value!r} is not a word of the code.")
        self.value = value

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return str(self.value) if isinstance(self.value, int) else f"'{self.value}'", []


def without(field: str, usual: Sequence[str]) -> Q:
    """Return the condition of a partial index that contains all values of a column but the usual ones."""
    return Q(*(~Q((field, Constant(value))) for value in usual))


def found_by(condition: Q, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return those of the rows that fit the condition of a partial index, found by that index.

    Where something else narrows them as well, such as a period, SQLite would take the index of that: a partial index of
    which ANALYZE has not seen a row counts as half the table, but a sub-query as 25 rows.
    """
    if is_postgresql():
        return rows.filter(condition)
    return rows.filter(pk__in=rows.model._default_manager.filter(condition).order_by().values("pk"))


class Lazily(Expression):
    """A condition that is always true, and spares the commit of its UPDATE the wait for the disk.

    For what is merely done again where the database's machine dies within the next second. Only for an UPDATE that is a
    transaction of its own, or all that its transaction does (`in_transaction`); elsewhere it changes nothing.
    """

    output_field = BooleanField()

    def __init__(self, *, in_transaction: bool = False) -> None:
        super().__init__()
        self.in_transaction = in_transaction

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        if connection.vendor != "postgresql" or (connection.in_atomic_block and not self.in_transaction):
            return "1 = 1", []
        return f"{LAZY} = 'off'", []


LAZY = "SET_CONFIG('synchronous_commit', 'off', TRUE)"  # for the transaction in which it is evaluated


def drop_read_only_connections(
    execute: Callable[[Any, Any, bool, dict[str, Any]], Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a statement; where the server says that it is read-only, replace every connection of the pool.

    After a fail-over the sessions that were opened before it lead to a server that only reads, for as long as they
    live. A wrapper for Django's connections, see watch_connections().
    """
    try:
        return execute(sql, params, many, context)
    except InternalError as error:
        if getattr(error.__cause__, "sqlstate", "") == READ_ONLY_SQLSTATE:
            logger.error("The database is read-only: was there a fail-over? Its connections are replaced.")
            pool = getattr(context["connection"], "pool", None)
            if pool is not None:
                pool.drain()
        raise


def watch_connections(*, connection: Any, **_: Any) -> None:
    """Have a new connection to PostgreSQL watched for a server that only reads. A receiver of connection_created."""
    if connection.vendor == "postgresql" and drop_read_only_connections not in connection.execute_wrappers:
        connection.execute_wrappers.append(drop_read_only_connections)


def words_of(error: Exception) -> str:
    """Return what a database error says, in one line: those that follow may quote values."""
    first_line, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first_line}"


def call_before_waiting(call: Callable[[], None]) -> None:
    """Have `call` called in each thread that is about to wait for a network, which must not take long. Idempotent."""
    if call not in _before_waiting:
        _before_waiting.append(call)


def give_back_connection() -> None:
    """Return this thread's PostgreSQL connection to the pool; the next query takes one again.

    Two hundred threads may wait on providers while the pool has twenty connections. An SQLite connection costs
    nobody anything, so it stays. Inside a transaction nothing happens: only tests wrap calls in one.
    """
    for call in _before_waiting:
        call()
    if is_postgresql() and not connection.in_atomic_block:
        connection.close()


def commit_persistently(commit: Callable[[], Result], *, deadline: Deadline) -> Result:
    """Call `commit`, which must be idempotent, again while the database is away; return what it returns.

    For outcomes that were paid for: they are kept in memory, with exponential backoff, until `deadline`. A restart, a
    fail-over and a lock that is held for too long all end one day. Raises the last error.
    """
    pause_seconds = MIN_RETRY_SECONDS
    while True:
        try:
            return commit()
        except (OperationalError, InterfaceError, InternalError) as error:
            if connection.in_atomic_block or deadline.remaining() < pause_seconds:
                raise
            logger.warning("An outcome could not be committed (%s); trying again.", type(error).__name__)
            connection.close()
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, MAX_RETRY_SECONDS)

"""The compound statement of an attempt for PostgreSQL, with its twin in the ORM for SQLite.

Both leave the same row (tests/requests_app/test_statements.py). Those of requests are in requests_app/statements.py.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from django.db import connection, transaction

from providers.db import is_postgresql
from providers.models import Attempt


class Proof(Protocol):
    """What shows, in the statement or transaction that writes an attempt, that its caller may still make calls."""

    def query(self) -> tuple[str, Sequence[str | int]]:
        """Return a query for PostgreSQL and its parameters: one row, which it locks, or none where nothing is shown."""

    def hold(self) -> bool:
        """Lock what proves it until the transaction ends. False: the caller has ended, or belongs to another worker."""


def attempt_insert(*, attempt: Attempt, proof: Proof | None, check: Callable[[], None] | None = None) -> bool:
    """Write a new attempt where the proof holds; return whether it does. `attempt` is unsaved.

    `check` is called in the transaction that writes it, and keeps it from being written by what it raises. Raises
    IntegrityError where another worker makes this caller's calls.
    """
    if proof is not None and check is None and is_postgresql():
        query, params = proof.query()
        values: list[Any] = [
            *(attempt.id, attempt.caller_key, attempt.number, attempt.label, attempt.category, attempt.operation),
            *(attempt.purpose, attempt.provider, attempt.route, attempt.key_id, attempt.model),
            attempt.reserved_cost,
        ]
        with connection.cursor() as cursor:
            cursor.execute(_INSERT.format(proof=query), [*values, *params])
            return bool(cursor.rowcount)
    with transaction.atomic():
        if check is not None:
            check()
        if proof is not None and not proof.hold():
            return False
        attempt.save(force_insert=True)
    return True


_INSERT = """
    INSERT INTO providers_attempt (id, caller_key, number, label, category, operation, purpose, provider, route,
        key_id, model, reserved_cost, state, job_id, error_class, error_text, usage, cost_source, rolled_up, created_at)
    SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'SENDING', '', '', '', '{{}}', '', FALSE,
        STATEMENT_TIMESTAMP()
    FROM ({proof}) AS proof
"""

"""Database connections: bounded waits, read-only servers, and outcomes that are committed again."""

import pytest
from django.db import InternalError, OperationalError, connection

from providers.db import commit_persistently, give_back_connection
from providers.transport.deadlines import Deadline

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has neither timeouts nor a pool")


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return cursor.fetchone()[0]


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"])
def test_every_wait_in_the_database_has_an_end(name):
    assert setting(name) not in ("0", "")


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_the_pool_replaces_its_connections_once_the_server_only_reads():
    give_back_connection()
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")  # as a demoted primary's sessions are
    with pytest.raises(InternalError), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE nothing (id int)")
    give_back_connection()

    assert setting("transaction_read_only") == "off"


class TestCommitPersistently:
    @pytest.fixture(autouse=True)
    def _fast(self, monkeypatch):
        monkeypatch.setattr("providers.db.MIN_RETRY_SECONDS", 0.001)
        monkeypatch.setattr("providers.db.connection.close", lambda: None)

    def test_it_tries_again_until_the_database_is_back(self):
        errors = [OperationalError("away"), OperationalError("starting up")]

        def commit() -> str:
            if errors:
                raise errors.pop(0)
            return "committed"

        assert commit_persistently(commit, deadline=Deadline.after(60)) == "committed"

    def test_it_gives_up_at_its_deadline(self):
        def commit() -> None:
            raise OperationalError("away")

        with pytest.raises(OperationalError):
            commit_persistently(commit, deadline=Deadline.after(0))

    def test_other_errors_are_not_repeated(self):
        calls = []

        def commit() -> None:
            calls.append(1)
            raise ValueError

        with pytest.raises(ValueError):
            commit_persistently(commit, deadline=Deadline.after(60))
        assert len(calls) == 1

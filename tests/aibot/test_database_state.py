"""What manage.py says, in a line, of a database that it cannot use."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import OperationalError, connection

from aibot.checks import check_database
from aibot.database_state import DISK_FULL, LOCKED, NO_RIGHTS, NOT_MIGRATED, explain
from requests_app.models import MaintenanceMode
from tests.flows.processes import environment
from tests.row_locks import row_locked_by_another

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has neither users nor passwords"),
]


def manage(url: str, *command: str) -> list[str]:
    """Run a management command with this database, and return what it prints at the end, without the pool's log."""
    process = subprocess.run(
        [sys.executable, "manage.py", *command],
        env={**environment(), "DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "a-password" not in process.stderr
    return process.stderr.splitlines()


@pytest.fixture
def stranger() -> Iterator[str]:
    """The DATABASE_URL of a user who has no right in this test's database."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE stranger LOGIN PASSWORD 'a-password'")
    server = urlsplit(environment()["DATABASE_URL"])
    yield server._replace(netloc=f"stranger:a-password@{server.hostname}:{server.port}").geturl()
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE stranger")


@pytest.mark.parametrize("command", [["sweep", "--once"], ["migrate"]])
def test_a_user_without_rights(stranger, command):
    *_, reason, advice = manage(stranger, *command)

    assert reason.startswith("permission denied for table")
    assert advice == NO_RIGHTS


@pytest.mark.parametrize("command", [["ask", "TEXT", "Hello"], ["migrate"]])
def test_a_wrong_password(stranger, command):
    advice = manage(stranger.replace("a-password", "another-password"), *command)[-1]

    assert advice.startswith('PostgreSQL refuses: password authentication failed for user "stranger". Check')


def test_a_database_that_does_not_exist():
    url = urlsplit(environment()["DATABASE_URL"])._replace(path="/nowhere").geturl()

    assert manage(url, "migrate")[-1].startswith('PostgreSQL refuses: database "nowhere" does not exist. Check')


def test_a_port_at_which_nobody_listens():
    assert manage("postgres://a:b@127.0.0.1:1/x", "migrate")[-1].startswith("PostgreSQL refuses: Connection refused. ")


def test_a_lock_that_another_session_holds():
    MaintenanceMode.objects.create(pk=1)
    url = environment()["DATABASE_URL"]
    with row_locked_by_another(MaintenanceMode.objects.get()):
        assert manage(url, "maintenance", "off")[-1] == LOCKED


class TestTheCheck:
    """`manage.py check --database default`."""

    def check(self, url: str) -> str:
        return " ".join(manage(url, "check", "--database", "default"))

    def test_a_good_database(self):
        assert check_database(databases=["default"]) == []

    def test_a_wrong_password(self, stranger):
        assert "password authentication failed" in self.check(stranger.replace("a-password", "another-password"))

    def test_a_user_who_may_only_read(self, stranger):
        with connection.cursor() as cursor:
            cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger")
        try:
            assert NO_RIGHTS in self.check(stranger)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM stranger")

    def test_a_database_without_tables(self):
        url = urlsplit(environment()["DATABASE_URL"])._replace(path="/postgres").geturl()

        assert NOT_MIGRATED in self.check(url)


def test_a_full_disk():
    full = psycopg.errors.DiskFull("could not extend file")
    error = OperationalError("could not extend file")
    error.__cause__ = full

    assert explain(error) == DISK_FULL
    assert explain(OSError(28, "No space left on device")) == DISK_FULL
    assert explain(OperationalError("database or disk is full")) == DISK_FULL


def test_what_is_no_fault_of_the_database_is_not_explained():
    assert explain(ValueError("a bug")) == explain(OSError(2, "No such file")) == ""
    assert NOT_MIGRATED not in explain(OperationalError("a bug"))

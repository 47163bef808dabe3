"""PgBouncer in transaction mode between our processes and PostgreSQL, set up as docs/reliability.md says."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from requests_app.models import LedgerEntry
from telegram_bot.models import Delivery
from telegram_bot.updates.ingest import update_ingest
from tests.acceptance.tools import program, run_database_tests
from tests.flows.processes import ROOT, environment, sweeper, wait_until, worker
from tests.servers import ACCOUNT_INSTEAD_OF_ROOT, free_port, servers_folder
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.acceptance

CONFIGURATION = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
ignore_startup_parameters = options
"""
# One per line, as the operator types them for the role of DATABASE_URL.
TIMEOUTS = {"lock_timeout": "3s", "statement_timeout": "20s", "idle_in_transaction_session_timeout": "20s"}
LEFT_OUT = [
    # It makes its session read-only, and the next client of the pooler would get that session.
    "tests/providers/test_db.py::test_the_pool_replaces_its_connections_once_the_server_only_reads",
    # About what PostgreSQL says to users whom the pooler does not know, and so answers itself.
    "tests/aibot/test_database_state.py",
]


@contextmanager
def pgbouncer(direct_url: str, *, pool_size: int) -> Iterator[str]:
    """Run it, and yield the DATABASE_URL that leads through it to the database of this one."""
    path = program("pgbouncer", package="pgbouncer")
    direct = urlsplit(direct_url)
    values = {"host": direct.hostname, "port": direct.port, "pool_size": pool_size}
    listen_port = free_port()
    owner = {}
    with servers_folder() as folder:
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(CONFIGURATION.format(**values, listen_port=listen_port, folder=folder))
        (folder / "users.txt").write_text(f'"{direct.username}" "{direct.password}"\n')
        if os.geteuid() == 0:  # it refuses to run as root
            account = pwd.getpwnam(ACCOUNT_INSTEAD_OF_ROOT)
            owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            for file in (configuration, folder / "users.txt"):
                os.chown(file, account.pw_uid, account.pw_gid)  # nobody else's, by the settings' umask
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([path, str(configuration)], stdout=log, stderr=log, **owner)
        url = f"postgres://{direct.username}:{direct.password}@127.0.0.1:{listen_port}{direct.path}"
        try:
            _wait_until_it_answers(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert process.poll() is None, "pgbouncer has ended"
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("pgbouncer does not answer")


def bound_every_wait(session: psycopg.Connection[Any]) -> None:
    for name, value in TIMEOUTS.items():
        session.execute(f"ALTER ROLE CURRENT_USER SET {name} = '{value}'")


@pytest.mark.django_db(transaction=True)
def test_a_chat_is_answered_through_it_and_every_wait_is_bounded(telegram, variables, answered):
    direct_url = environment()["DATABASE_URL"]
    with psycopg.connect(direct_url) as session:
        bound_every_wait(session)
    with (
        pgbouncer(direct_url, pool_size=4) as url,
        worker(DATABASE_URL=url, **variables),
        sweeper(DATABASE_URL=url, **variables),
    ):
        with psycopg.connect(url) as session:
            bounded = {name: session.execute(f"SHOW {name}").fetchone()[0] for name in TIMEOUTS}
        update_ingest(message("Say hello"))
        wait_until(answered, "the answer in the chat")
        wait_until(lambda: Delivery.objects.get().state == "DELIVERED", "the delivery's record")

    assert bounded == TIMEOUTS
    assert len(telegram.chat(42).messages) == 1
    assert sorted(LedgerEntry.objects.exclude(kind="TOPUP").values_list("kind", flat=True)) == ["CAPTURE", "HOLD"]


def test_the_whole_suite_passes_through_it():
    """All tests that open the database, in a database of their own, but for LEFT_OUT."""
    server = os.environ["TEST_DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as session:
        bound_every_wait(session)
        session.execute("CREATE DATABASE bouncer")
    direct_url = urlsplit(server)._replace(path="/bouncer").geturl()
    with pgbouncer(direct_url, pool_size=60) as url:
        run_database_tests("--tb=short", *(f"--deselect={test}" for test in LEFT_OUT), database_url=url, folder=ROOT)

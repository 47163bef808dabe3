"""Two PostgreSQL servers behind one address: the standby takes over, and what was committed is there."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.proof.process_pool import ROOT, die_with_parent
from tests.servers import PostgresPrograms, Server, free_port

WAIT_SECONDS = 30.0
CHECK_SECONDS = 0.05
IS_COPIED = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"


class PostgresPair:
    """A primary, and a standby to which every durable commit is copied before it is confirmed."""

    def __init__(self, programs: PostgresPrograms) -> None:
        self._programs, self._numbers = programs, iter(range(1, 10**6))
        self._relay: subprocess.Popen[str] | None = None
        self._port = free_port()
        self.url = programs.url(self._port)  # of whichever server is the primary
        self._primary = programs.create("postgres")
        self._standby: Server | None = None

    def start(self) -> None:
        """Start the primary, after crash() too."""
        self._primary.start()
        if self._relay is None:
            self._relay = subprocess.Popen(
                [sys.executable, "-m", "tests.proof.relay", str(self._port)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=die_with_parent,
            )
            self._direct(self._primary)
        if self._standby is None:
            self._add_standby()

    def stop(self) -> None:
        if self._standby:
            self._standby.stop()
        self._primary.stop()
        if self._relay:
            self._relay.kill()
            self._relay.wait()

    def crash(self) -> None:
        """Kill the primary. The standby does not take over: start() brings the primary back."""
        self._primary.crash()

    def fail_over(self, *, outage_seconds: float) -> None:
        """Kill the primary for good, and let the standby take over after so long; then give it a new standby."""
        assert self._standby
        with _session(self._primary) as session:
            self._wait_for(session, IS_COPIED)
        self._direct(None)
        try:
            self._primary.crash()
            time.sleep(outage_seconds)
            with _session(self._standby) as session:
                session.execute("SELECT pg_promote()")
                # There is no standby for now; or no commit would ever be confirmed.
                session.execute("ALTER SYSTEM RESET synchronous_standby_names")
                session.execute("SELECT pg_reload_conf()")
            self._primary, self._standby = self._standby, None
        finally:
            self._direct(self._primary)
        self._add_standby()

    def _add_standby(self) -> None:
        """Copy the primary into a new standby, and wait until every commit goes to both."""
        data = self._programs.new_folder(f"standby-{next(self._numbers)}")
        source = ["--dbname", self._primary.url, "--pgdata", data]
        self._programs.run("pg_basebackup", *source, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
        self._standby = self._programs.server(data)
        self._standby.start()
        with _session(self._primary) as session:
            self._wait_for(session, "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
            session.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            session.execute("SELECT pg_reload_conf()")
            self._wait_for(session, IS_COPIED)

    def _wait_for(self, session: psycopg.Connection, query: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not session.execute(query).fetchone():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true after {WAIT_SECONDS:g} s: {query}")
            time.sleep(CHECK_SECONDS)

    def _direct(self, server: Server | None) -> None:
        """Let the address lead to this server, or nowhere."""
        assert self._relay
        assert self._relay.stdin
        assert self._relay.stdout
        port = psycopg.conninfo.conninfo_to_dict(server.url)["port"] if server else None
        self._relay.stdin.write(f"to {port}\n" if port else "cut\n")
        self._relay.stdin.flush()
        if not self._relay.stdout.readline():
            raise RuntimeError("the relay has ended")


def _session(server: Server) -> psycopg.Connection:
    """Connect to this server itself; no statement waits without end, as a commit does while no standby confirms it."""
    options = f"-c statement_timeout={WAIT_SECONDS:.0f}s"
    return psycopg.connect(server.url, autocommit=True, connect_timeout=int(WAIT_SECONDS), options=options)


@contextmanager
def postgres_pair(folder: Path) -> Iterator[PostgresPair]:
    """Run a pair for the length of the block."""
    pair = PostgresPair(PostgresPrograms(folder))
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()

"""The nemesis kills, pauses, restarts and deploys, by a plan that one seed determines."""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg
import redis
from django.conf import settings

from tests.fakes.telegram import FakeTelegram
from tests.proof.failover import PostgresPair
from tests.proof.fleet import Fleet
from tests.proof.traffic import Traffic
from tests.servers import Server, ServerFailed

# Mean seconds between two of each action; each happens at least once in any run.
SECONDS_BETWEEN = {
    "kill worker": 2.5,
    "kill sweeper": 15,
    "kill web worker": 20,
    "kill all workers": 75,
    "pause worker": 10,
    "pause sweeper": 60,
    "restart PostgreSQL": 100,
    "flush Redis": 90,
    "restart Redis": 120,
    "hang Redis": 120,
    "fail over": 200,
    "deploy": 150,
}
# Those that last longer than the product's waits and deadlines; left out of a run that is too short for their end.
SECONDS_BETWEEN_LONG = {
    "lock rows": 25,
    "freeze worker": 90,
    "slow uplink": 60,
    "fill Redis": 120,
    "make PostgreSQL read-only": 150,
    "rush hour": 100,
}
# With SQLite and the broker in files there are no servers, and few processes.
SECONDS_BETWEEN_EMBEDDED = {
    "kill worker": 5,
    "kill sweeper": 15,
    "kill web worker": 30,
    "pause worker": 15,
    "pause sweeper": 60,
    "deploy": 150,
    "lock database": 45,
    "slow uplink": 60,
    "freeze worker": 120,
    "rush hour": 100,
}
MIN_SECONDS_FOR_LONG = 120.0
OUTAGES_SECONDS = (0.0, 1.0, 7.0)  # of PostgreSQL; the last exceeds the connection time-out, so callers see it
START_TRIES = 5
HANG_SECONDS = 5.0  # longer than any of the product's time-outs towards Redis
LOCK_SECONDS = (2.0, 30.0)  # of a row; lock_timeout is 3 s, a lease 2 s, the deadline of a text 20 s
# Rows that somebody is at work on, oldest first, by the condition that finds them.
LOCKED = {
    "requests": "completed_at IS NULL",
    "telegram_bot_delivery": "state IN ('PLACING', 'PENDING', 'SENDING')",
    "telegram_bot_telegramchat": "lease_until > NOW()",
    "requests_app_account": "id IN (SELECT user_id FROM requests WHERE completed_at IS NULL)",
}
FREEZE_SECONDS = (22.0, 40.0)  # longer than the deadline of a text
FULL_SECONDS = 8.0
READ_ONLY_SECONDS = 6.0
DATABASE_LOCK_SECONDS = (1.0, 15.0)  # of SQLite's one writer; our own wait is 20 s
UPLINK_SECONDS = 8.0
UPLINK_BYTES_PER_SECOND = (300, 3000)  # a file has 2 to 6 kB, and an upload 8 s
RUSH_SECONDS = 10.0
RUSH_FACTOR = 3  # times the knee


@dataclass(frozen=True, slots=True)
class Servers:
    """What the product's processes share."""

    postgres: PostgresPair
    valkey: Server


class Nemesis:
    """Carries out its plan from start() on, one action after the other; stop() drops the rest."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        traffic: Traffic,
        bot_api: FakeTelegram,
        servers: Servers | None,
        seconds: float,
        seed: int,
    ) -> None:
        """Without `servers` the database is a file, and so is the broker."""
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []  # actions that failed
        self._fleet, self._traffic, self._bot_api, self._servers = fleet, traffic, bot_api, servers
        self._random = random.Random(f"nemesis {seed}")
        self._plan = self._planned(seconds)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nemesis", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def stop(self) -> None:
        """Drop the rest of the plan."""
        self._is_over.set()
        self._thread.join()

    @property
    def interruptions(self) -> int:
        """How many processes may have been interrupted while they worked: killed, paused or cut off."""
        together = self.counts["restart PostgreSQL"] + self.counts["fail over"] + self.counts["deploy"]
        return self.number_of("kill") + self.number_of("pause") + together * len(self._fleet.slots)

    def number_of(self, action: str) -> int:
        """Return how often an action was done, to any target: "kill" or "pause"."""
        return sum(number for name, number in self.counts.items() if name.startswith(f"{action} "))

    def _planned(self, seconds: float) -> list[tuple[float, str]]:
        between = SECONDS_BETWEEN | (SECONDS_BETWEEN_LONG if seconds >= MIN_SECONDS_FOR_LONG else {})
        if self._servers is None:
            between = SECONDS_BETWEEN_EMBEDDED
        names = [name for name, pause in between.items() for _ in range(max(1, round(seconds / pause)))]
        return sorted((self._random.uniform(0, seconds), name) for name in names)

    def _run(self) -> None:
        began = time.monotonic()
        for due, name in self._plan:
            if self._is_over.wait(max(0.0, began + due - time.monotonic())):
                return
            action: Callable[[], None] = getattr(self, "_" + name.lower().replace(" ", "_").replace("-", "_"))
            try:
                action()
            except Exception as error:  # noqa: BLE001 — reported at the end; the rest of the plan goes on
                self.errors.append(f"{name}: {type(error).__name__}: {error}")

    def _kill_worker(self) -> None:
        self._kill("worker", 1)

    def _kill_all_workers(self) -> None:
        self._kill("worker", len(self._fleet.alive("worker")))

    def _kill_sweeper(self) -> None:
        self._kill("sweeper", 1)

    def _kill(self, kind: str, number: int) -> None:
        slots = self._fleet.alive(kind)
        for slot in self._random.sample(slots, min(number, len(slots))):
            self._fleet.kill(slot, vacant_seconds=self._random.uniform(0, 1.5))
            self.counts[f"kill {kind}"] += 1

    def _kill_web_worker(self) -> None:
        children = self._fleet.web_workers()
        if children:
            self._fleet.kill_process(self._random.choice(children))
            self.counts["kill web worker"] += 1

    def _pause_worker(self) -> None:
        self._pause("worker")

    def _pause_sweeper(self) -> None:
        self._pause("sweeper")

    def _pause(self, kind: str) -> None:
        slots = self._fleet.alive(kind)
        if slots:
            self._fleet.pause(self._random.choice(slots), settings.LEASE_SECONDS * self._random.uniform(1.3, 3.0))
            self.counts[f"pause {kind}"] += 1

    def _freeze_worker(self) -> None:
        slots = self._fleet.alive("worker")
        if slots:
            self._fleet.pause(self._random.choice(slots), self._random.uniform(*FREEZE_SECONDS))
            self.counts["pause worker"] += 1
            self.counts["of them longer than a deadline"] += 1

    def _lock_rows(self) -> None:
        """Hold a lock on a row of each of some tables, as a host does that froze inside a transaction."""
        tables = self._random.sample(list(LOCKED), 2)
        self.counts["lock rows"] += 1
        hold = threading.Thread(
            target=self._hold_locks, args=(tables, self._random.uniform(*LOCK_SECONDS)), daemon=True
        )
        hold.start()

    def _hold_locks(self, tables: Sequence[str], seconds: float) -> None:
        try:
            with psycopg.connect(self._postgres.url) as session:
                for table in tables:
                    session.execute(
                        f"SELECT 1 FROM {table} WHERE {LOCKED[table]} LIMIT 2 FOR UPDATE SKIP LOCKED"  # noqa: S608
                    )
                self._is_over.wait(seconds)
        except psycopg.OperationalError:
            self.counts["locks that ended with PostgreSQL"] += 1

    def _fill_redis(self) -> None:
        client = redis.Redis.from_url(self._valkey.url, socket_timeout=5)
        client.config_set("maxmemory", 1)
        self._is_over.wait(FULL_SECONDS)
        client.config_set("maxmemory", 0)
        self.counts["fill Redis"] += 1

    def _make_postgresql_read_only(self) -> None:
        """Let PostgreSQL refuse every write for a while, as the old primary does after a fail-over."""
        for value in ("on", "off"):
            with psycopg.connect(self._postgres.url, autocommit=True) as session:
                session.execute("SET default_transaction_read_only = off")
                session.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
                session.execute("SELECT pg_reload_conf()")
            if value == "on":
                self._is_over.wait(READ_ONLY_SECONDS)
        self.counts["make PostgreSQL read-only"] += 1

    def _rush_hour(self) -> None:
        self._traffic.rush(RUSH_SECONDS, factor=RUSH_FACTOR)
        self.counts["rush hour"] += 1

    def _lock_database(self) -> None:
        """Hold SQLite's write lock, as a backup or a full disk's slow writes do."""
        path = settings.DATABASES["default"]["NAME"]
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as session:
            session.execute("BEGIN IMMEDIATE")
            self._is_over.wait(self._random.uniform(*DATABASE_LOCK_SECONDS))
            session.execute("ROLLBACK")
        self.counts["lock database"] += 1

    def _slow_uplink(self) -> None:
        self._bot_api.upload_bytes_per_second = self._random.uniform(*UPLINK_BYTES_PER_SECOND)
        self._is_over.wait(UPLINK_SECONDS)
        self._bot_api.upload_bytes_per_second = 0.0
        self.counts["slow uplink"] += 1

    def _restart_postgresql(self) -> None:
        self._postgres.crash()
        self._is_over.wait(self._random.choice(OUTAGES_SECONDS))
        self._start(self._postgres)
        self.counts["restart PostgreSQL"] += 1

    def _fail_over(self) -> None:
        self._postgres.fail_over(outage_seconds=self._random.choice(OUTAGES_SECONDS))
        self.counts["fail over"] += 1

    def _flush_redis(self) -> None:
        redis.Redis.from_url(self._valkey.url, socket_timeout=5).flushall()
        self.counts["flush Redis"] += 1

    def _restart_redis(self) -> None:
        self._valkey.crash()
        self._is_over.wait(self._random.uniform(0, 3))
        self._start(self._valkey)
        self.counts["restart Redis"] += 1

    def _hang_redis(self) -> None:
        self._valkey.hang()
        self._is_over.wait(HANG_SECONDS)
        self._valkey.resume()
        self.counts["hang Redis"] += 1

    @property
    def _postgres(self) -> PostgresPair:
        assert self._servers
        return self._servers.postgres

    @property
    def _valkey(self) -> Server:
        assert self._servers
        return self._servers.valkey

    def _start(self, server: Server | PostgresPair) -> None:
        """Start a server, even while the crashed one still releases its port and files."""
        for left in reversed(range(START_TRIES)):
            try:
                server.start()
            except ServerFailed:
                if not left:
                    raise
                time.sleep(1)
            else:
                return

    def _deploy(self) -> None:
        self.counts["deploy"] += 1
        self.counts["deploy: killed after waiting"] += len(self._fleet.deploy())

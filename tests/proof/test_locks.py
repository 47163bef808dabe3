"""Row locks: what two workers change at once is neither lost nor counted twice.

The first worker stops in the middle of its transaction. The second one then either waits for the lock or, where the
lock is missing, runs past the first; the result tells which. SQLite has one writer, so there nothing can go wrong.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from providers.chain import circuit_breaker
from providers.chain.circuit_breaker import Circuit, CircuitState, read_health, record_failure
from providers.errors import ServerFault
from providers.models import AttemptRollup, ProviderHealth
from providers.statistics.rollups import fold_attempts
from providers.statistics.sum_tables import SumsTable
from requests_app.errors import TooManyOpenRequests
from requests_app.models import Request
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_attempt, make_model

OPENAI = Circuit("openai", category="TEXT", route="openai")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer and no row locks"),
]

MAX_WAIT_SECONDS = 20  # a bound for a loaded machine; usually it takes milliseconds


class PauseAt:
    """Stands in for a function whose first call waits until open()."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._is_first = True
        self._reached, self._opened = threading.Event(), threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            is_first, self._is_first = self._is_first, False
        if is_first:
            self._reached.set()
            assert self._opened.wait(MAX_WAIT_SECONDS), "nobody opened the gate"
        return self._function(*args, **kwargs)

    def wait_until_reached(self, caller: Future[Any]) -> None:
        caller.add_done_callback(lambda _: self._reached.set())
        assert self._reached.wait(MAX_WAIT_SECONDS), "the first call never came"
        assert not caller.done(), f"the caller never came here: {caller.result()}"

    def open(self) -> None:
        self._opened.set()


def run_beside(gate: PauseAt, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Future[Any], Future[Any]]:
    """Run `second` while `first` is held at the gate, until it has ended or waits for a lock; then open the gate."""
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(closing_connection, first)
        try:
            gate.wait_until_reached(held)
            beside = pool.submit(closing_connection, second)
            wait_until_blocked_or_done(beside)
        finally:
            gate.open()
    return held, beside


def closing_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()


def wait_until_blocked_or_done(future: Future[Any]) -> None:
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while not future.done() and not is_a_session_blocked():
        assert time.monotonic() < deadline, "the second worker neither ends nor waits for a lock"


def is_a_session_blocked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def gate_before_saving(model: type[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[PauseAt]:
    """Hold the first worker between reading a row of this model and writing it."""
    save = model.save
    gate = PauseAt(lambda row, *args, **kwargs: save(row, *args, **kwargs))
    with monkeypatch.context() as patched:
        patched.setattr(model, "save", lambda row, *args, **kwargs: gate(row, *args, **kwargs))
        yield gate


@contextmanager
def gate_before_adding(monkeypatch: pytest.MonkeyPatch) -> Iterator[PauseAt]:
    """Hold the first sweeper between locking the rows that it folds and adding to the sums."""
    gate = PauseAt(SumsTable.add)
    with monkeypatch.context() as patched:
        patched.setattr(SumsTable, "add", lambda table, rows: gate(table, rows))
        yield gate


def test_prompts_that_one_user_sends_at_once_are_accepted_one_after_the_other(settings):
    settings.MAX_OPEN_REQUESTS = 1
    account, model = make_account(credits=10), make_model()
    gate = PauseAt(lambda request: None)  # between writing the request and the commit

    def accept(key: str) -> Request:
        return request_accept(
            intake_key=key, account=account, model=model, text="Say hello", wakes_worker=False, alongside=gate
        )

    first, second = run_beside(gate, lambda: accept("first"), lambda: accept("second"))

    assert first.result().status == "PENDING"
    assert isinstance(second.exception(), TooManyOpenRequests)
    assert Request.objects.get().intake_key == "first"


def test_two_failures_at_once_both_count_for_the_circuit_breaker(monkeypatch):
    def fail() -> None:
        record_failure(OPENAI, error=ServerFault())

    for _ in range(circuit_breaker.FAILURES_TO_OPEN - 2):
        fail()
    with gate_before_saving(ProviderHealth, monkeypatch) as gate:
        run_beside(gate, fail, fail)

    assert read_health("TEXT")[OPENAI].state is CircuitState.OPEN


def test_two_sweepers_that_fold_at_once_count_each_attempt_once(monkeypatch):
    make_attempt()
    with gate_before_adding(monkeypatch) as gate:
        first, second = run_beside(gate, fold_attempts, fold_attempts)

    assert (first.result(), second.result()) == (1, 0)
    assert AttemptRollup.objects.get().requests == 1


def test_two_sweepers_that_add_to_one_hour_lose_no_attempt(monkeypatch):
    make_attempt()
    fold_attempts()  # so that the hour's row exists
    make_attempt()

    def fold_another() -> int:
        make_attempt()
        return fold_attempts()

    with gate_before_adding(monkeypatch) as gate:
        run_beside(gate, fold_attempts, fold_another)

    assert AttemptRollup.objects.get().requests == 3

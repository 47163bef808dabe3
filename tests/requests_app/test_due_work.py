"""Due work: what a worker finds in the database by itself, how much of it it takes, and what it leaves alone."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from requests_app import due_work as module
from requests_app.dispatch import CHAT, MEDIA, QUEUES, TEXT
from requests_app.due_work import NO_GRACE, Aside, DueSource, Look, due_work
from requests_app.models import Request, WorkerHeartbeat
from requests_app.services.intake import request_accept
from requests_app.services.leases import lease_claim
from requests_app.slots import Slots
from tests.factories import make_account, make_model, make_request

ADVANCE = "requests_app.tasks.advance"


def ago(seconds: float):
    return timezone.now() - timedelta(seconds=seconds)


def keys(limit: int = 100, **options) -> list[str | int]:
    return [key for _, key in due_work(limit, **options)]


@pytest.mark.django_db
class TestDueRequests:
    @pytest.fixture
    def request_row(self, enqueued) -> Request:
        request = request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="Hi")
        Request.objects.update(created_at=ago(5))
        return request

    def change(self, **fields) -> None:
        Request.objects.update(**fields)

    def test_one_whose_wake_up_was_lost_is_due(self, request_row):
        assert due_work(100) == [(ADVANCE, request_row.id)]

    def test_a_fresh_one_is_left_to_its_wake_up_for_a_moment(self, request_row):
        self.change(created_at=timezone.now() + timedelta(seconds=1))

        assert keys() == []
        assert keys(grace=timedelta(seconds=-2)) == [request_row.id]

    def test_one_that_a_worker_owns_is_not_due_until_its_lease_runs_out(self, request_row):
        lease_claim(request_id=request_row.id)
        assert keys() == []

        self.change(lease_until=ago(1))
        assert keys() == [request_row.id]

    def test_one_that_is_to_be_polled_later_is_not_due(self, request_row):
        self.change(next_at=timezone.now() + timedelta(minutes=1))

        assert keys() == []

    def test_ended_ones_are_not_due(self, request_row):
        self.change(status="FAILED", completed_at=timezone.now())

        assert keys() == []

    def test_the_oldest_come_first(self):
        made = [make_request(created_at=ago(age)) for age in (10, 30, 20)]

        assert keys(2) == [made[1].id, made[2].id]

    @pytest.mark.parametrize(("category", "queue"), [("TEXT", TEXT), ("IMAGE", MEDIA), ("VIDEO", MEDIA)])
    def test_each_category_has_its_queue(self, category, queue, monkeypatch, django_capture_on_commit_callbacks):
        published: list[str] = []
        monkeypatch.setattr("requests_app.dispatch.publish", lambda task, key, queue: published.append(queue))
        model = make_model(category=category, slug=f"a-{category.lower()}", name=category)
        with django_capture_on_commit_callbacks(execute=True):
            request = request_accept(intake_key="k", account=make_account(credits=5), model=model, text="Hi")

        assert published == [queue]
        (source,) = [
            source
            for source in module.request_sources()
            if list(source.find(10, timedelta(seconds=-9))) == [request.id]
        ]
        assert source.queue == queue


class Pool:
    """Stands in for the worker's pool: runs what it was given when the test says so."""

    def __init__(self) -> None:
        self.works: list[Callable[[], None]] = []

    def run_all(self) -> None:
        while self.works:
            self.works.pop(0)()


class Bench:
    """A look on rows in memory."""

    def __init__(self, total: int, due: dict[str, list[str | int]], queues=QUEUES) -> None:
        self.due, self.pool, self.slots = due, Pool(), Slots()
        self.done: list[str | int] = []
        self.limits: list[int] = []
        self.on_free = 0
        self.outcome: Callable[[str | int], object] = lambda key: True
        self.slots.configure(total=total, queues=queues, on_free=self._free)
        self.look = Look(
            sources=[DueSource(f"task {queue}", queue, self._finder(queue)) for queue in due],
            queues=queues,
            slots=self.slots,
            hand_out=self.pool.works.append,
            run=self._run,
        )

    def _free(self) -> None:
        self.on_free += 1

    def _finder(self, queue: str):
        def find(limit: int, grace: timedelta) -> list[str | int]:
            self.limits.append(limit)
            return self.due[queue][:limit]

        return find

    def _run(self, task: str, queue: str, key: str | int) -> object:
        try:
            result = self.outcome(key)
            if result:
                self.done.append(key)
                self.due[queue].remove(key)
            return result
        finally:
            self.slots.give_back(queue, (task, key))


class TestALook:
    def test_it_hands_out_no_more_than_the_free_slots(self):
        bench = Bench(8, {TEXT: list(range(100))})

        assert bench.look.look(QUEUES) == 6  # one is kept for the chat, one for media
        assert bench.look.look(QUEUES) == 0
        assert len(bench.pool.works) == 6

    def test_a_backlog_is_drained_without_a_single_message(self):
        bench = Bench(8, {TEXT: list(range(100))})
        for _ in range(50):
            bench.look.look(QUEUES)
            bench.pool.run_all()

        assert sorted(bench.done) == list(range(100))
        assert bench.on_free > 0  # so the next look followed soon

    def test_what_runs_in_this_process_is_not_handed_out_twice(self):
        bench = Bench(8, {TEXT: ["a", "b"]})
        bench.look.look(QUEUES)

        assert bench.look.look(QUEUES) == 0
        assert len(bench.pool.works) == 2

    def test_a_worker_takes_only_what_its_queues_hold(self):
        bench = Bench(8, {TEXT: ["a"], CHAT: [42]}, queues=[CHAT])

        bench.look.look([CHAT])
        bench.pool.run_all()

        assert bench.done == [42]

    def test_hanging_texts_leave_the_slots_of_the_chat_alone(self):
        bench = Bench(4, {TEXT: list(range(100)), CHAT: []})
        bench.look.look(QUEUES)
        bench.due[CHAT] = [42]

        assert bench.look.look(QUEUES) == 1

    def test_one_source_with_a_backlog_leaves_room_for_the_others_of_its_queue(self):
        bench = Bench(8, {CHAT: list(range(100))}, queues=[CHAT])
        found: list[str] = []
        bench.look._sources[CHAT] += [DueSource("deliver", CHAT, lambda limit, grace: ["late"])]
        bench.look._run_task = lambda task, queue, key: found.append(task)

        bench.look.look([CHAT])
        bench.pool.run_all()

        assert "deliver" in found
        assert found.count("task chat") >= 4

    def test_rows_that_make_no_progress_do_not_stand_before_the_others(self):
        """Such as those that a frozen host holds locks on: the claim passes them by, and they stay the oldest."""
        locked = list(range(50))
        bench = Bench(4, {TEXT: [*locked, "free"]})
        bench.outcome = lambda key: key == "free"
        for _ in range(60):
            bench.look.look(QUEUES)
            bench.pool.run_all()
            if bench.done:
                break

        assert bench.done == ["free"]

    def test_a_task_that_fails_is_logged_without_its_message_and_put_aside(self, caplog):
        bench = Bench(4, {TEXT: ["poison"]})

        def fail(key):
            raise ValueError(" ".join(["what", "the user", "wrote"]))

        bench.outcome = fail
        bench.look.look(QUEUES)
        bench.pool.run_all()

        assert "failed with ValueError; it is put aside" in caplog.text
        assert "what the user wrote" not in caplog.text
        assert bench.look.look(QUEUES) == 0
        assert bench.slots.busy == 0

    def test_after_stop_nothing_is_handed_out(self):
        bench = Bench(8, {TEXT: ["a"]})
        bench.look.stop()

        assert bench.look.look(QUEUES) == 0
        assert bench.slots.busy == 0

    def test_a_pool_that_was_shut_down_costs_no_slot(self):
        bench = Bench(8, {TEXT: ["a"]})

        def refuse(work):
            raise RuntimeError("cannot schedule new futures after shutdown")

        bench.look._hand_out = refuse

        assert bench.look.look(QUEUES) == 0
        assert bench.slots.busy == 0

    def test_a_wake_up_of_its_own_process_is_taken_where_a_slot_is_free(self):
        bench = Bench(2, {TEXT: ["a", "b"]}, queues=(TEXT,))

        assert bench.look.take("task text", "a", TEXT)
        assert not bench.look.take("task media", "c", MEDIA)  # another worker's
        assert bench.look.take("task text", "b", TEXT)
        assert not bench.look.take("task text", "d", TEXT)  # no slot

        bench.pool.run_all()
        assert bench.done == ["a", "b"]
        assert bench.slots.busy == 0

    def test_after_stop_no_wake_up_is_taken(self):
        bench = Bench(2, {TEXT: ["a"]})
        bench.look.stop()

        assert not bench.look.take("task text", "a", TEXT)
        assert bench.slots.busy == 0


def test_what_is_aside_comes_back_later_each_time(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("requests_app.due_work.time.monotonic", lambda: clock[0])
    aside, work = Aside(), ("task", "key")
    pauses = []
    for _ in range(5):
        aside.note(work, max_seconds=10)
        began = clock[0]
        while work in aside.now():
            clock[0] += 0.5
        pauses.append(clock[0] - began)

    assert pauses == [2.0, 4.0, 8.0, 10.0, 10.0]
    aside.forget(work)
    aside.note(work, max_seconds=10)
    clock[0] += 2
    assert aside.now() == set()


@pytest.mark.django_db(transaction=True)
class TestTheThread:
    def start(self, bench: Bench, settings) -> None:
        settings.LOOK_SECONDS = 3600  # so that only the first look comes by itself
        bench.look._hand_out = lambda work: threading.Thread(target=work, daemon=True).start()
        bench.look.start()

    def wait_until(self, condition) -> None:
        pause = threading.Event()
        for _ in range(3000):
            if condition():
                return
            pause.wait(0.02)
        raise AssertionError("timed out")

    def test_a_backlog_is_drained_at_full_speed_and_a_heartbeat_is_written(self, settings):
        bench = Bench(8, {TEXT: list(range(300))})
        self.start(bench, settings)
        try:
            bench.slots._on_free = bench.look.soon
            self.wait_until(lambda: len(bench.done) == 300)
            assert WorkerHeartbeat.objects.get().slots == 8
        finally:
            bench.look.stop()
            bench.look.join(5)
        assert not WorkerHeartbeat.objects.exists()

    def test_it_goes_on_when_the_database_fails_and_says_so_once(self, settings, caplog):
        bench = Bench(8, {TEXT: []})
        failures = []

        def fail(limit, grace):
            failures.append(1)
            raise OperationalError("gone")

        bench.look._sources[TEXT] = [DueSource("task", TEXT, fail)]
        self.start(bench, settings)
        try:
            for number in range(1, 4):
                self.wait_until(lambda number=number: len(failures) >= number)
                bench.slots.want(TEXT)
                bench.look.soon()
        finally:
            bench.look.stop()
            bench.look.join(5)

        assert caplog.text.count("No look into the database was possible") == 1


@pytest.mark.django_db
def test_a_refused_wake_up_is_looked_for_without_grace(enqueued):
    request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="Hi")
    Request.objects.update(created_at=ago(0.5))

    assert keys() == []
    assert len(keys(grace=NO_GRACE)) == 1

"""Slots: how many jobs a worker runs at once, and that hanging providers leave some for commands."""

import threading

import pytest
from celery import Celery

from providers.db import give_back_connection
from requests_app.dispatch import CHAT, MEDIA, QUEUES, TEXT
from requests_app.slots import MAX_COMPUTING, DueTask, Slots, slots


def configured(total: int, queues=QUEUES, on_free=lambda: None) -> Slots:
    made = Slots()
    made.configure(total=total, queues=queues, on_free=on_free)
    return made


def fill(some: Slots, queue: str) -> int:
    """Take slots of this kind until one is refused; return how many there were."""
    number = 0
    while some.take(queue, ("task", f"{queue} {number}")):
        number += 1
    return number


@pytest.mark.parametrize("total", [4, 16, 200])
def test_each_kind_keeps_slots_of_its_own_when_another_takes_all_it_can_get(total):
    some = configured(total)

    taken = fill(some, TEXT)

    assert some.free(CHAT) >= 1
    assert some.free(MEDIA) >= 1
    assert taken == total - 2 * max(1, total // 8)
    assert taken + fill(some, CHAT) + fill(some, MEDIA) == total


def test_with_two_slots_commands_still_have_one():
    some = configured(2)

    assert fill(some, TEXT) == 1
    assert some.free(CHAT) == 1


def test_a_single_slot_serves_every_kind():
    for queue in QUEUES:
        assert fill(configured(1), queue) == 1


def test_a_worker_for_one_kind_has_all_slots_for_it():
    assert fill(configured(32, queues=[CHAT]), CHAT) == 32


def test_a_slot_that_becomes_free_is_announced_only_after_one_was_refused():
    announced: list[str] = []
    some = configured(1, on_free=lambda: announced.append("free"))
    assert some.take(TEXT, ("task", "a"))
    some.give_back(TEXT, ("task", "a"))
    assert announced == []

    some.take(TEXT, ("task", "a"))
    assert not some.take(CHAT, ("task", "b"))
    some.give_back(TEXT, ("task", "a"))

    assert announced == ["free"]
    assert some.take_wanted() == {CHAT}
    assert some.take_wanted() == set()


def test_it_knows_what_runs_even_where_the_same_runs_twice():
    some = configured(4)
    for _ in range(2):
        some.take(CHAT, ("task", 42))

    some.give_back(CHAT, ("task", 42))
    assert some.in_flight() == {("task", 42)}
    some.give_back(CHAT, ("task", 42))
    assert some.in_flight() == set()


def recorder() -> tuple[DueTask, list[str | int]]:
    """Return a task, and the list of the keys for which it was run."""
    keys: list[str | int] = []

    @Celery("tests", set_as_current=False).task(base=DueTask, name="tests.recorder", kind=TEXT)
    def record(key: str | int) -> bool:
        if key == "poison":
            raise ValueError
        keys.append(key)
        return True

    return record, keys


@pytest.fixture
def one_slot(monkeypatch) -> Slots:
    some = configured(1)
    monkeypatch.setattr("requests_app.slots.slots", some)
    return some


def test_a_wake_up_without_a_slot_returns_at_once_and_runs_nothing(one_slot):
    task, keys = recorder()
    one_slot.take(TEXT, ("task", "other"))

    assert task("key") is None

    assert keys == []
    assert one_slot.take_wanted() == {TEXT}


def test_a_task_gives_its_slot_back_even_when_it_fails(one_slot):
    task, keys = recorder()
    assert task("key") is True
    with pytest.raises(ValueError):
        task("poison")

    assert keys == ["key"]
    assert one_slot.busy == 0


def test_the_message_says_which_kind_of_slot_is_needed(one_slot):
    task, _ = recorder()
    one_slot.take(TEXT, ("task", "other"))
    for queue, kind in (("media", MEDIA), ("celery", TEXT)):  # a message of the version before names no kind
        task.push_request(delivery_info={"routing_key": queue})
        task("key")
        task.pop_request()
        assert one_slot.take_wanted() == {kind}


def test_in_a_process_that_is_no_worker_nothing_is_refused():
    assert slots.free(CHAT) > 1000


def test_few_of_a_kind_compute_at_once_and_one_that_waits_for_a_network_counts_no_more():
    some = configured(200)
    inside, may_go_on = threading.Semaphore(0), threading.Event()

    def compute() -> None:
        with some.turn(TEXT):
            inside.release()
            may_go_on.wait(30)
            give_back_connection()
            inside.release()
            is_over.wait(30)

    is_over = threading.Event()
    threads = [threading.Thread(target=compute, daemon=True) for _ in range(2 * MAX_COMPUTING)]
    for thread in threads:
        thread.start()
    for _ in range(MAX_COMPUTING):
        assert inside.acquire(timeout=30)
    assert not inside.acquire(timeout=0.1)
    with some.turn(CHAT):  # another kind does not wait for these
        pass

    may_go_on.set()

    for _ in range(3 * MAX_COMPUTING):  # the first have begun to wait, so the others begin, and wait too
        assert inside.acquire(timeout=30)
    is_over.set()
    for thread in threads:
        thread.join(30)

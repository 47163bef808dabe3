"""Wake-ups: each goes to its queue, and a broker that takes none costs one line and an early look."""

import logging
from collections.abc import Iterator

import pytest
from celery import current_app

from requests_app import dispatch
from requests_app.dispatch import CHAT, MEDIA, TEXT, enqueue, queue_for


@pytest.fixture
def sent(monkeypatch) -> list[tuple[str, tuple, str]]:
    messages: list[tuple[str, tuple, str]] = []
    monkeypatch.setattr(current_app, "send_task", lambda task, args, queue: messages.append((task, args, queue)))
    return messages


@pytest.fixture
def broken(monkeypatch) -> None:
    def refuse(task, args, queue):
        raise ConnectionError("redis://:secret@host refused")

    monkeypatch.setattr(current_app, "send_task", refuse)


@pytest.fixture
def looked() -> Iterator[list[str]]:
    """The queues for which a look was asked for."""
    queues: list[str] = []
    dispatch.when_not_sent(queues.append)
    yield queues
    dispatch._when_not_sent.clear()
    dispatch._is_refusing.clear()


@pytest.mark.parametrize(("category", "queue"), [("TEXT", TEXT), ("IMAGE", MEDIA), ("VIDEO", MEDIA), ("AUDIO", MEDIA)])
def test_each_category_has_its_queue(category, queue):
    assert queue_for(category) == queue


def test_a_wake_up_is_sent_once_to_its_queue(sent):
    enqueue("a.task", "key", queue=MEDIA)
    enqueue("another.task", 42)
    dispatch.flush(10)

    assert sent == [("a.task", ("key",), MEDIA), ("another.task", (42,), CHAT)]


def test_a_worker_with_a_free_slot_takes_its_own_wake_up(sent, monkeypatch):
    taken: list[tuple[str, str | int, str]] = []

    def take(task, key, queue):
        taken.append((task, key, queue))
        return key == "free"

    monkeypatch.setattr(dispatch, "_offer", None)
    dispatch.offer_first(take)
    enqueue("a.task", "free", queue=TEXT)
    enqueue("a.task", "busy", queue=TEXT)
    dispatch.flush(10)

    assert [key for _, key, _ in taken] == ["free", "busy"]
    assert sent == [("a.task", ("busy",), TEXT)]


def test_a_broker_that_takes_nothing_is_one_line_and_the_worker_looks_at_once(broken, looked, caplog):
    for number in range(5):
        enqueue("a.task", number, queue=TEXT)
    dispatch.flush(10)

    assert looked == [TEXT] * 5
    assert caplog.text.count("The broker takes no wake-ups (ConnectionError)") == 1
    assert "secret" not in caplog.text


def test_the_return_of_the_broker_is_one_line_too(broken, looked, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    enqueue("a.task", 1)
    dispatch.flush(10)
    monkeypatch.setattr(current_app, "send_task", lambda *_, **__: None)
    for number in (2, 3):
        enqueue("a.task", number)
    dispatch.flush(10)

    assert caplog.text.count("The broker takes wake-ups again.") == 1


def test_a_sender_that_does_not_keep_up_drops_wake_ups_and_raises_nothing(looked, monkeypatch):
    def full(*_):
        raise dispatch.queues.Full

    monkeypatch.setattr(dispatch, "publish", full)

    enqueue("a.task", 1, queue=MEDIA)

    assert looked == [MEDIA]

"""The embedded broker: messages in a folder, whole or not there, and none that a worker dies of."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue

from aibot import broker

QUEUE = Queue("text", routing_key="text")


@pytest.fixture
def connect(tmp_path) -> Iterator[Any]:
    """Connect to a broker in a folder of the test's own: each connection is as one of another process."""
    broker.register()
    made: list[Connection] = []

    def connection() -> Connection:
        made.append(
            Connection("folder://localhost", transport_options={"folder": str(tmp_path), "polling_interval": 0.001})
        )
        return made[-1]

    yield connection
    for each in made:
        each.close()


def put(connection: Connection, *bodies: Any) -> None:
    producer = connection.Producer()
    for body in bodies:
        producer.publish(body, exchange="", routing_key="text", declare=[QUEUE])


def take_all(connection: Connection) -> list[Any]:
    """Return the bodies of all messages, in their order."""
    channel = connection.default_channel
    bodies = []
    while (message := QUEUE(channel).get(no_ack=True)) is not None:
        bodies.append(message.payload)
    return bodies


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/*"))


def test_messages_come_out_in_order_and_leave_nothing_behind(connect, tmp_path):
    put(connect(), *range(20))
    assert len(files(tmp_path)) == 20

    assert take_all(connect()) == list(range(20))
    assert files(tmp_path) == []


def test_only_its_owner_can_read_a_message(connect, tmp_path):
    put(connect(), 1)

    (path,) = tmp_path.glob("*/*")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "content", ["", '{"body": "aGk', "{}", "[]", "null", '{"body": "", "properties": []}', "\x00\xff"]
)
def test_a_message_that_cannot_be_read_is_dropped_with_one_line_and_the_next_is_taken(
    connect, tmp_path, caplog, content
):
    put(connect(), "before")
    (tmp_path / "text" / f"{time.time_ns():020d}-broken.msg").write_text(content)
    put(connect(), "after")

    assert take_all(connect()) == ["before", "after"]
    assert caplog.text.count("is dropped") == 1
    assert files(tmp_path) == []


def test_what_processes_left_behind_when_they_died_is_removed_after_a_minute(connect, tmp_path):
    put(connect(), 1)
    for name, age in (("old.tmp", 61), ("old.4711-abc", 61), ("young.tmp", 5), ("old.msg", 61)):
        path = tmp_path / "text" / name
        path.write_text("{")
        os.utime(path, (time.time() - age,) * 2)

    take_all(connect())

    assert files(tmp_path) == ["young.tmp"]


def test_a_folder_that_somebody_has_removed_is_made_again(connect, tmp_path):
    sender, receiver = connect(), connect()
    put(sender, 1)
    assert take_all(receiver) == [1]
    (tmp_path / "text").rmdir()

    assert take_all(receiver) == []
    put(sender, 2)
    assert take_all(receiver) == [2]


def test_two_consumers_share_what_two_senders_put_and_each_message_comes_once(connect):
    number = int(os.environ.get("BROKER_MESSAGES", "4000"))
    taken: list[list[Any]] = [[], []]
    is_sent = threading.Event()

    def send(first: int) -> None:
        put(connect(), *range(first, number, 2))

    def receive(into: list[Any]) -> None:
        connection = connect()
        while True:
            was_sent = is_sent.is_set()
            into.extend(take_all(connection))
            if was_sent:
                return

    senders = [threading.Thread(target=send, args=(first,)) for first in (0, 1)]
    receivers = [threading.Thread(target=receive, args=(into,)) for into in taken]
    for thread in (*receivers, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    is_sent.set()
    for thread in receivers:
        thread.join()

    assert sorted(taken[0] + taken[1]) == list(range(number))

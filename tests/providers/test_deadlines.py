"""The watchdog: it cuts what is overdue, when it is overdue, and nothing else."""

import socket
from collections.abc import Iterator

import pytest

from providers.transport.deadlines import Deadline, GuardedCall, GuardedConnection, guard_call

GENEROUS = 30.0


class Connection:
    """The part of a connection that the watchdog needs."""

    watch: GuardedCall | None = None
    used_at = 0.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(GENEROUS)
    with ours, theirs:
        yield ours, theirs


def is_cut(sock: socket.socket) -> bool:
    """Wait for the end of the socket; whoever is not cut runs into its time-out."""
    return sock.recv(1) == b""


def test_it_wakes_a_reader_when_the_time_is_up(pair: tuple[socket.socket, socket.socket]) -> None:
    watch = guard_call(Deadline.after(0.1))
    watch.guard(pair[0], Connection())
    assert is_cut(pair[0])
    assert watch.is_expired


def test_what_is_due_first_is_cut_first_whatever_came_first(pair: tuple[socket.socket, socket.socket]) -> None:
    late = guard_call(Deadline.after(300))
    soon = guard_call(Deadline.after(0.1))
    soon.guard(pair[0], Connection())
    assert is_cut(pair[0])
    assert soon.is_expired
    assert not late.is_expired
    late.end()


def test_a_call_whose_limit_was_moved_is_not_cut_at_the_old_one(pair: tuple[socket.socket, socket.socket]) -> None:
    moved = guard_call(Deadline.after(0.05))
    moved.deadline = Deadline.after(300)
    witness = guard_call(Deadline.after(0.2))
    witness.guard(pair[0], Connection())
    assert is_cut(pair[0])
    assert not moved.is_expired
    moved.end()


def test_a_call_that_has_ended_is_not_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    ended = guard_call(Deadline.after(0.05))
    ended.guard(pair[0], Connection())
    ended.end()
    with socket.socketpair()[0] as other:
        other.settimeout(GENEROUS)
        witness = guard_call(Deadline.after(0.2))
        witness.guard(other, Connection())
        assert is_cut(other)
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_the_next_call_on_a_connection_is_not_cut_for_the_last_one(pair: tuple[socket.socket, socket.socket]) -> None:
    connection: GuardedConnection = Connection()
    last, now = GuardedCall(0.0), GuardedCall(0.0)
    last.guard(pair[0], connection)
    now.guard(pair[0], connection)
    last.abort()
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"
    now.abort()
    assert is_cut(pair[0])


def test_a_call_that_is_late_before_it_has_a_socket_gets_none(pair: tuple[socket.socket, socket.socket]) -> None:
    watch = GuardedCall(0.0)
    watch.abort()
    with pytest.raises(TimeoutError):
        watch.guard(pair[0], Connection())


def test_a_socket_that_is_closed_already_disturbs_nobody(pair: tuple[socket.socket, socket.socket]) -> None:
    gone, _ = socket.socketpair()
    watch = guard_call(Deadline.after(0.05))
    watch.guard(gone, Connection())
    gone.close()
    witness = guard_call(Deadline.after(0.2))
    witness.guard(pair[0], Connection())
    assert is_cut(pair[0])

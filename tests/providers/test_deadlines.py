"""The deadline monitor: it aborts what is overdue, when it is overdue, and nothing else."""

import socket
from collections.abc import Iterator

import pytest

from providers.transport.deadlines import Deadline, GuardedCall, guard_call

GENEROUS = 30.0


class Connection:
    """The part of a connection that the monitor needs."""

    call: GuardedCall | None = None
    used_at = 0.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(GENEROUS)
    with ours, theirs:
        yield ours, theirs


def is_shut_down(sock: socket.socket) -> bool:
    """Wait for the end of the socket; one that is not shut down runs into its time-out."""
    return sock.recv(1) == b""


def test_a_reader_is_woken_when_its_time_is_up(pair: tuple[socket.socket, socket.socket]) -> None:
    call = guard_call(Deadline.after(0.1))
    call.guard(pair[0], Connection())
    assert is_shut_down(pair[0])
    assert call.is_expired


def test_what_is_due_first_is_aborted_first_whatever_was_added_first(pair: tuple[socket.socket, socket.socket]) -> None:
    late = guard_call(Deadline.after(300))
    soon = guard_call(Deadline.after(0.1))
    soon.guard(pair[0], Connection())
    assert is_shut_down(pair[0])
    assert soon.is_expired
    assert not late.is_expired
    late.end()


def test_a_call_whose_deadline_was_moved_is_not_aborted_at_the_old_one(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    moved = guard_call(Deadline.after(0.05))
    moved.deadline = Deadline.after(300)
    witness = guard_call(Deadline.after(0.2))
    witness.guard(pair[0], Connection())
    assert is_shut_down(pair[0])
    assert not moved.is_expired
    moved.end()


def test_a_call_that_has_ended_is_not_aborted(pair: tuple[socket.socket, socket.socket]) -> None:
    ended = guard_call(Deadline.after(0.05))
    ended.guard(pair[0], Connection())
    ended.end()
    with socket.socketpair()[0] as other:
        other.settimeout(GENEROUS)
        witness = guard_call(Deadline.after(0.2))
        witness.guard(other, Connection())
        assert is_shut_down(other)
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_the_next_call_on_a_connection_is_not_aborted_for_the_last_one(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    connection = Connection()
    last, now = GuardedCall(Deadline.after(300)), GuardedCall(Deadline.after(300))
    last.guard(pair[0], connection)
    now.guard(pair[0], connection)
    last.abort()
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"
    now.abort()
    assert is_shut_down(pair[0])


def test_a_call_that_is_late_before_it_has_a_socket_gets_none(pair: tuple[socket.socket, socket.socket]) -> None:
    aborted, unnoticed = GuardedCall(Deadline.after(300)), GuardedCall(Deadline.after(0))
    aborted.abort()
    for call in (aborted, unnoticed):  # the monitor may not have noticed it yet, as after a freeze
        with pytest.raises(TimeoutError):
            call.guard(pair[0], Connection())


def test_a_socket_that_is_closed_already_disturbs_nobody(pair: tuple[socket.socket, socket.socket]) -> None:
    gone, _ = socket.socketpair()
    call = guard_call(Deadline.after(0.05))
    call.guard(gone, Connection())
    gone.close()
    witness = guard_call(Deadline.after(0.2))
    witness.guard(pair[0], Connection())
    assert is_shut_down(pair[0])


def test_a_step_may_take_its_own_time_but_no_longer_than_the_whole() -> None:
    whole = Deadline.after(100)
    assert whole.child(300) == whole
    assert 9 < whole.child(10).remaining() <= 10
    assert Deadline.after(-1).remaining() < 0

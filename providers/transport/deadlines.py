"""Deadlines: a value that is handed down a call, and the monitor that aborts calls which outlive theirs.

What a call is about, and what follows its end, is not known here.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

# A deadline may be noticed late by this much, so that a busy process wakes the thread at most twenty times a second.
GRAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """The moment by which a call must have ended, on this machine's monotonic clock."""

    at: float  # a time.monotonic() value

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that passes in so many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the seconds left; negative once it has passed."""
        return self.at - time.monotonic()

    def child(self, seconds: float) -> "Deadline":
        """Return the deadline of a step that may take so many seconds, but no longer than the whole."""
        return min(self, Deadline.after(seconds))


class CancelToken:
    """Aborts the call that is under way, and those that would follow. Thread-safe, and idempotent.

    Whoever makes the calls enters `active()`; whoever wants them to stop calls cancel(), from any thread.
    """

    def __init__(self) -> None:
        self.is_cancelled = False
        self._call: GuardedCall | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let this token abort the calls that this thread makes inside the block."""
        _tokens.current = self
        try:
            yield
        finally:
            _tokens.current = None

    def bind(self, call: "GuardedCall") -> None:
        """Note the call to abort; only guard_call() needs this. Aborts it at once where the token was cancelled."""
        with _monitor.lock:
            self._call = call
            if self.is_cancelled:
                call.abort()

    def cancel(self) -> None:
        """Abort the call under way and every later one."""
        with _monitor.lock:
            self.is_cancelled = True
            if self._call is not None and not self._call.is_over:
                self._call.abort()


_tokens = threading.local()


def _active_token() -> CancelToken | None:
    token: CancelToken | None = getattr(_tokens, "current", None)
    return token


def is_cancelled() -> bool:
    """Return whether this thread's calls are being aborted: what they raise says nothing about their server."""
    token = _active_token()
    return token is not None and token.is_cancelled


class GuardedConnection(Protocol):
    """A connection that serves one call after the other."""

    call: "GuardedCall | None"  # the call that it serves now, or served last
    used_at: float  # a time.monotonic() value


class GuardedCall:
    """One call under a deadline. `deadline` may be moved later while the call runs. Thread-safe with the monitor."""

    __slots__ = ("_socket", "connection", "deadline", "is_expired", "is_over", "is_sent")

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.is_expired = False  # the deadline has passed and the call was aborted
        self.is_over = False  # nothing is left to abort
        self.is_sent = False  # the first byte of the request has left this machine
        self._socket: socket.socket | None = None
        self.connection: GuardedConnection | None = None

    def guard(self, sock: socket.socket, connection: GuardedConnection) -> None:
        """Have this socket shut down when the deadline passes. Raises TimeoutError when it has passed already.

        A process that was frozen may come here before the monitor's thread has noticed.
        """
        with _monitor.lock:
            if self.is_expired or self.deadline.remaining() <= 0:
                self.is_expired = True
                raise TimeoutError
            self._socket, self.connection = sock, connection
            connection.call = self

    def limit_wait(self, seconds: float) -> None:
        """Let no single read of what is left of this call wait longer than this."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def end(self) -> None:
        """Stop guarding: the call has ended by itself."""
        with _monitor.lock:
            self.is_over = True
            self._socket = self.connection = None

    def abort(self) -> None:
        """Shut the socket down, so that whoever reads from it or writes to it wakes. Only under the monitor's lock."""
        self.is_expired = True
        # A finished response returns its connection before its call has ended; the next call's bytes are not ours.
        if self._socket is None or self.connection is None or self.connection.call is not self:
            return
        with suppress(OSError):
            # Past SSLSocket.shutdown(), which would touch the TLS state that another thread is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class DeadlineMonitor:
    """One daemon thread and a heap of deadlines.

    A call costs one push onto the heap; it wakes the thread only if it is due before everything else. Finished
    calls stay in the heap until their deadline has passed.
    """

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Forget everything: after a fork the thread is the parent's, and so may be the holder of the lock."""
        self.lock = threading.Lock()
        self._alarm = threading.Condition(self.lock)
        self._heap: list[tuple[Deadline, int, GuardedCall]] = []
        self._numbers = count()  # settles ties, so that calls need no order
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0

    def add(self, call: GuardedCall) -> None:
        """Abort this call once its deadline has passed."""
        with self.lock:
            heappush(self._heap, (call.deadline, next(self._numbers), call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif call.deadline.at < self._wakes_at:
                self._alarm.notify()

    def _run(self) -> None:
        with self.lock:
            while True:
                now = time.monotonic()
                self._abort_overdue(now)
                self._wakes_at = self._heap[0][0].at if self._heap else float("inf")
                self._alarm.wait(max(GRAIN_SECONDS, self._wakes_at - now) if self._heap else None)

    def _abort_overdue(self, now: float) -> None:
        while self._heap and (self._heap[0][2].is_over or self._heap[0][0].at <= now):
            _, number, call = heappop(self._heap)
            if call.is_over:
                continue
            if call.deadline.at > now:
                heappush(self._heap, (call.deadline, number, call))
            else:
                call.abort()


_monitor = DeadlineMonitor()
os.register_at_fork(after_in_child=_monitor.reset_after_fork)


def guard_call(deadline: Deadline) -> GuardedCall:
    """Start guarding a call that must end by this deadline. Call end() on it when it has."""
    call = GuardedCall(deadline)
    _monitor.add(call)
    token = _active_token()
    if token is not None:
        token.bind(call)
    return call

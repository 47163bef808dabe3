"""Ends calls that are overdue. What a call is about, and what follows its end, is not known here."""

import os
import socket
import threading
import time
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

# A deadline may be late by this much, so that a busy process wakes the thread at most twenty times a second.
GRAIN_SECONDS = 0.05


class Line(Protocol):
    """A connection that serves one call after the other."""

    watch: "Watch | None"  # the call that it serves now, or served last
    used_at: float  # a time.monotonic() value


class Watch:
    """One call's time limit. `due` may be moved later while the call runs."""

    __slots__ = ("_socket", "due", "is_expired", "is_over", "is_sent", "line")

    def __init__(self, due: float) -> None:
        self.due = due  # a time.monotonic() value
        self.is_expired = False  # the limit has passed and the call was cut
        self.is_over = False  # nothing is left to cut
        self.is_sent = False  # the first byte of the request has left this machine
        self._socket: socket.socket | None = None
        self.line: Line | None = None

    def guard(self, sock: socket.socket, line: Line) -> None:
        """Have this socket cut when the time is up. Raises TimeoutError when it is up already."""
        with _watchdog.lock:
            if self.is_expired:
                raise TimeoutError
            self._socket, self.line = sock, line
            line.watch = self

    def wait_at_most(self, seconds: float) -> None:
        """Let no single read of what is left of this call wait longer than this."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def end(self) -> None:
        """Stop watching."""
        with _watchdog.lock:
            self.is_over = True
            self._socket = self.line = None

    def cut(self) -> None:
        """Shut the socket down, so that whoever reads from it or writes to it wakes. Only under the lock."""
        self.is_expired = True
        # A finished answer returns its connection before its watch has ended; the next call's bytes are not ours.
        if self._socket is None or self.line is None or self.line.watch is not self:
            return
        with suppress(OSError):
            # Past SSLSocket.shutdown(), which would touch the TLS state that another thread is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Watchdog:
    """One daemon thread and a heap of time limits.

    A call costs one push onto the heap; it wakes the thread only if it is due before everything else. Finished
    calls stay in the heap until their time has come.
    """

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget everything: after a fork the thread is the parent's, and so may be the holder of the lock."""
        self.lock = threading.Lock()
        self._alarm = threading.Condition(self.lock)
        self._heap: list[tuple[float, int, Watch]] = []
        self._numbers = count()  # settles ties, so that watches need no order
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0

    def add(self, watch: Watch) -> None:
        """Cut this call once it is due."""
        with self.lock:
            heappush(self._heap, (watch.due, next(self._numbers), watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            elif watch.due < self._wakes_at:
                self._alarm.notify()

    def _run(self) -> None:
        with self.lock:
            while True:
                now = time.monotonic()
                self._cut_overdue(now)
                self._wakes_at = self._heap[0][0] if self._heap else float("inf")
                self._alarm.wait(max(GRAIN_SECONDS, self._wakes_at - now) if self._heap else None)

    def _cut_overdue(self, now: float) -> None:
        while self._heap and (self._heap[0][2].is_over or self._heap[0][0] <= now):
            _, number, watch = heappop(self._heap)
            if watch.is_over:
                continue
            if watch.due > now:
                heappush(self._heap, (watch.due, number, watch))
            else:
                watch.cut()


_watchdog = Watchdog()
os.register_at_fork(after_in_child=_watchdog.start_afresh)


def watch_until(due: float) -> Watch:
    """Start watching a call that must end by `due`, a time.monotonic() value."""
    watch = Watch(due)
    _watchdog.add(watch)
    return watch

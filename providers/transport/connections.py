"""Connections under a deadline: urllib3's pools, whose sockets are shut down when a call's time is up.

Every HTTP client of the product is built on these. What a response means is not known here.
"""

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from providers.transport.deadlines import Deadline, GuardedCall, guard_call

CONNECT_SECONDS = 5.0  # at most, for each of the host's addresses
# Load balancers commonly close a connection after 60 idle seconds, and a request sent in that very moment is lost
# with an unknown outcome. A younger connection that was closed all the same is noticed before it is used.
MAX_IDLE_SECONDS = 45.0

# urllib3 logs addresses, some of which contain a secret, and warnings that quote headers which it cannot parse.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_calls = threading.local()  # .call: the call that this thread is making


@contextmanager
def guarded_call(deadline: Deadline) -> Iterator[GuardedCall]:
    """Abort the call that this thread makes inside the block, through one of these pools, at the deadline."""
    call = _calls.call = guard_call(deadline)
    try:
        yield call
    finally:
        if call.connection is not None:
            call.connection.used_at = time.monotonic()
        call.end()


class _Guarded:
    """Connections that show their socket to the deadline monitor and tell when the first byte leaves."""

    call: GuardedCall | None = None
    used_at = 0.0
    sock: Any  # a socket or None

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        # A TLS handshake follows, which ends in this time as a whole, however slowly its bytes come.
        seconds_left = _calls.call.deadline.remaining()
        sock.settimeout(max(0.001, min(CONNECT_SECONDS, seconds_left)))
        return sock

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        call: GuardedCall = _calls.call
        call.guard(self.sock, self)
        # The time-out for connecting is over; a body may take as long as the call, however slow the uplink is.
        self.sock.settimeout(max(0.001, call.deadline.remaining()))
        call.is_sent = True
        self.used_at = time.monotonic()
        super().send(data)  # type: ignore[misc]

    @property
    def is_connected(self) -> bool:
        is_young = time.monotonic() - self.used_at < MAX_IDLE_SECONDS
        return is_young and super().is_connected  # type: ignore[misc]


class _FinalResponse(http.client.HTTPResponse):
    """A response behind the interim ones (1xx), of which Python's own knows only 100: proxies send 103, Early Hints."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # its types leave it out
            if not 102 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class GuardedHTTPConnection(_Guarded, HTTPConnection):
    """An HTTP connection under the deadline of the call that it serves."""

    response_class = _FinalResponse


class GuardedHTTPSConnection(_Guarded, HTTPSConnection):
    """An HTTPS connection under the deadline of the call that it serves."""

    response_class = _FinalResponse


class GuardedHTTPPool(urllib3.HTTPConnectionPool):
    """A pool of such connections. Use it inside guarded_call() only."""

    ConnectionCls = GuardedHTTPConnection


class GuardedHTTPSPool(urllib3.HTTPSConnectionPool):
    """A pool of such connections. Use it inside guarded_call() only."""

    ConnectionCls = GuardedHTTPSConnection

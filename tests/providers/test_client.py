"""The HTTP client: deadlines, connections, limits, and what a broken call means."""

import os
import select
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
import requests
import responses
import urllib3

from providers.errors import NotSent, OutcomeUnknown, ProviderError, ProviderMisconfigured
from providers.transport import client, connections
from providers.transport.deadlines import Deadline, GuardedCall
from tests.fakes.http_server import (
    FakeServer,
    Step,
    answer,
    close_after,
    drip,
    drip_for_ever,
    endless,
    gzip_bomb,
    half_body,
    hang,
    hang_after,
    head,
    reset,
    reset_after,
    stream,
)

LONG = 300.0  # far beyond what these tests wait for
GENEROUS = 30.0  # what a busy machine may take for what should take a fraction of a second
OK_HEAD = head(Content_Type="application/json", Content_Length=100_000)


@contextmanager
def sent(url: str, *, seconds: float = LONG, idle_seconds: float = LONG) -> Iterator[client.ProviderResponse]:
    """Post something, with a deadline in so many seconds."""
    with client.send(
        "POST",
        url,
        headers={"X-Test": "yes"},
        body=b"{}",
        idle_timeout_seconds=idle_seconds,
        deadline=Deadline.after(seconds),
        allow_http=True,
    ) as received:
        yield received


def fetch(url: str, *, seconds: float = LONG, idle_seconds: float = LONG) -> bytes:
    with sent(url, seconds=seconds, idle_seconds=idle_seconds) as received:
        return received.body()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets of the connections that were opened, in order."""
    sockets: list[socket.socket] = []
    connect = urllib3.util.connection.create_connection

    def connect_and_note(*arguments: Any, **options: Any) -> socket.socket:
        sockets.append(connect(*arguments, **options))
        return sockets[-1]

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect_and_note)
    return sockets


# --- A plain call ---


def test_it_sends_once_and_returns_what_came(server: FakeServer) -> None:
    server.will(answer({"a": 1}, 201, X_Request_Id="r1"))
    with sent(f"{server.url}/v1/things?x=1") as received:
        assert (received.status, received.headers["x-request-id"]) == (201, "r1")
        assert received.content_type == "application/json"
        assert received.body() == b'{"a": 1}'
    (request,) = server.received
    assert (request.method, request.path, request.body) == ("POST", "/v1/things?x=1", b"{}")
    assert request.headers["x-test"] == "yes"
    assert request.headers["accept-encoding"] == "identity"


def test_it_uses_plain_http_only_where_allowed(server: FakeServer) -> None:
    with (
        pytest.raises(ProviderMisconfigured),
        client.send("GET", server.url, headers={}, idle_timeout_seconds=1, deadline=Deadline.after(1)),
    ):
        pass
    assert server.connections == 0


def test_a_compressed_answer_is_read_although_none_was_asked_for(server: FakeServer) -> None:
    server.will(gzip_bomb(1))
    assert fetch(server.url) == bytes(1024 * 1024)


def test_it_works_under_the_mocks_of_responses() -> None:
    with responses.RequestsMock() as mocked:
        mocked.post("https://api.example.com/v1", body=b"mocked", status=200)
        assert fetch("https://api.example.com/v1") == b"mocked"


# --- Nothing from the environment, nothing kept but connections ---


def test_it_ignores_proxies_and_passwords_of_the_environment(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: PTH123 — a path as text is what the variable holds
        file.write("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", netrc)
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.will(answer(b"direct"))
    assert fetch(server.url) == b"direct"
    assert "authorization" not in server.received[0].headers


def test_it_keeps_no_cookies(server: FakeServer) -> None:
    server.will(answer(b"", Set_Cookie="session=1; Path=/"))
    fetch(server.url)
    fetch(server.url)
    assert "cookie" not in server.received[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_it_follows_no_redirect(server: FakeServer, status: int) -> None:
    server.will(answer(b"", status, Location=f"{server.url}/elsewhere"))
    with sent(server.url) as received:
        assert received.status == status
    assert len(server.received) == 1


# --- Connections ---


def test_it_uses_a_connection_again(server: FakeServer) -> None:
    server.will(answer(b"1"), stream([b"data: 2\n\n"]), answer(b"3"))
    for _ in range(3):
        fetch(server.url)
    assert [request.connection for request in server.received] == [1, 1, 1]


def test_an_answer_that_is_not_read_to_its_end_costs_its_connection(server: FakeServer) -> None:
    server.will(answer(b"1"))
    with sent(server.url):
        pass
    fetch(server.url)
    assert [request.connection for request in server.received] == [1, 2]


def test_a_connection_that_was_closed_while_idle_is_not_used(server: FakeServer, opened: list[socket.socket]) -> None:
    server.will(close_after(head(Content_Length=1) + b"1"), answer(b"2"))
    assert fetch(server.url) == b"1"
    poll = select.poll()
    poll.register(opened[0], select.POLLIN)
    assert poll.poll(GENEROUS * 1000)  # the server's FIN has come
    assert fetch(server.url) == b"2"
    assert [request.connection for request in server.received] == [1, 2]


def test_a_connection_that_was_idle_for_long_is_not_used(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.will(answer(b"1"))
    fetch(server.url)
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 0.0)
    fetch(server.url)
    assert [request.connection for request in server.received] == [1, 2]


def test_a_request_lost_with_its_connection_is_not_sent_again(server: FakeServer) -> None:
    # The server closes in the moment of the request: nobody knows whether it was executed.
    server.will(answer(b"1"), reset, answer(b"3"))
    fetch(server.url)
    with pytest.raises(OutcomeUnknown):
        fetch(server.url)
    assert [request.connection for request in server.received] == [1, 1]


def test_it_is_thread_safe(server: FakeServer) -> None:
    server.will(answer(b"x" * 1000))
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(fetch(server.url))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS)
    assert bodies == [b"x" * 1000] * 40


def test_a_forked_child_has_its_own_connections_and_its_own_monitor(server: FakeServer) -> None:
    server.will(answer(b"parent"))
    fetch(server.url)
    server.will(answer(b"child"), hang)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert fetch(server.url) == b"child"
            with pytest.raises(OutcomeUnknown):
                fetch(server.url, seconds=0.3)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [request.connection for request in server.received[:2]] == [1, 2]


# --- What a broken call means ---


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_refused_connection_means_not_sent() -> None:
    with pytest.raises(NotSent) as caught:
        fetch(f"http://127.0.0.1:{dead_port()}")
    assert "Connection refused" in caught.value.excerpt


def test_an_unknown_host_means_not_sent() -> None:
    with pytest.raises(NotSent) as caught:
        fetch("http://no-such-host.invalid")
    assert "gaierror" in caught.value.excerpt


def test_a_failed_tls_handshake_means_not_sent() -> None:
    def speak_no_tls(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.sendall(b"220 mail.example.com ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=speak_no_tls, args=(listener,), daemon=True).start()
        with pytest.raises(NotSent) as caught:
            fetch(f"https://127.0.0.1:{listener.getsockname()[1]}")
    assert "SSL" in caught.value.excerpt


def test_a_tls_handshake_that_hangs_is_ended_and_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts by the backlog, never answers
        started = time.monotonic()
        with pytest.raises(NotSent):
            fetch(f"https://127.0.0.1:{listener.getsockname()[1]}", seconds=0.3)
        assert time.monotonic() - started < client.CONNECT_SECONDS


def test_a_tls_handshake_has_the_time_that_the_connection_has_left(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, timeouts = urllib3.util.connection.create_connection, []

    def connect_slowly(*arguments: Any, **options: Any) -> socket.socket:
        time.sleep(0.3)  # a slow resolver, say
        return connect(*arguments, **options)

    def shake_hands(context: ssl.SSLContext, sock: socket.socket, *_: Any, **__: Any) -> socket.socket:
        timeouts.append(sock.gettimeout())
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect_slowly)
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", shake_hands)
    with pytest.raises(NotSent):
        fetch(f"https://127.0.0.1:{server.port}", seconds=1)
    assert 0 < timeouts[0] <= 0.7


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:99999/", "http://exa mple.com"])
def test_an_invalid_address_means_not_sent(url: str) -> None:
    with pytest.raises(NotSent):
        fetch(url)


def test_a_key_that_fits_in_no_header_means_not_sent_and_is_not_shown(server: FakeServer) -> None:
    for key in ("line\nbreak", "кириллица", " leading"):
        with (
            pytest.raises(NotSent) as caught,
            client.send(
                "POST",
                server.url,
                headers={"Authorization": key},
                idle_timeout_seconds=1,
                deadline=Deadline.after(LONG),
                allow_http=True,
            ),
        ):
            pass
        assert key not in repr(caught.value)
        assert caught.value.__context__ is None
    assert server.received == []


def test_a_deadline_that_has_passed_means_not_sent(server: FakeServer) -> None:
    with pytest.raises(NotSent):
        fetch(server.url, seconds=0)
    assert server.received == []


@pytest.mark.parametrize(
    "step",
    [
        reset,
        reset_after(OK_HEAD + b"{"),
        half_body,
        close_after(b""),
        close_after(b"hello, I am no HTTP server\r\n\r\n"),
        close_after(head(Transfer_Encoding="chunked") + b"5\r\nhello\r\n"),
        close_after(head(Transfer_Encoding="chunked") + b"what?\r\nhello\r\n"),
        close_after(head(Content_Encoding="gzip", Content_Length=5) + b"hello"),
    ],
)
def test_a_call_that_breaks_off_has_an_unknown_outcome(server: FakeServer, step: Step) -> None:
    server.will(step)
    with pytest.raises(OutcomeUnknown) as caught:
        fetch(server.url)
    assert len(server.received) == 1
    assert caught.value.__context__ is None  # urllib3's own messages may repeat what came


def test_a_stream_that_breaks_off_has_an_unknown_outcome(server: FakeServer) -> None:
    server.will(stream([b"data: 1\n\n"], ends=False))
    with sent(server.url) as received:
        chunks = received.chunks()
        assert next(chunks) == b"data: 1\n\n"
        with pytest.raises(OutcomeUnknown):
            next(chunks)


# --- Time ---


SLOW_STEPS = [
    hang,
    hang_after(b"HTTP/1.1 200 OK\r\n"),
    hang_after(OK_HEAD),
    hang_after(head(Content_Type="text/event-stream", Connection="close") + b"data: 1\n\n"),
    drip(OK_HEAD + b"x" * 100),  # one byte a second: every single read succeeds
    drip_for_ever(OK_HEAD, b"x", 0.1),
    drip_for_ever(b"HTTP/1.1 200 OK\r\n", b"X-Filler: 1\r\n", 0.5),
    drip_for_ever(head(Transfer_Encoding="chunked"), b"1\r\nx\r\n", 0.1),
]


@pytest.mark.parametrize("streams", [True, False])
def test_the_deadline_ends_every_call(streams: bool) -> None:
    def excerpt_after(step: Step) -> str:
        with closing(FakeServer()) as server:
            server.will(step)
            with pytest.raises(OutcomeUnknown) as caught, sent(server.url, seconds=1.0) as received:
                list(received.chunks()) if streams else received.body()
        return caught.value.excerpt

    started = time.monotonic()
    with ThreadPoolExecutor(len(SLOW_STEPS)) as pool:
        assert list(pool.map(excerpt_after, SLOW_STEPS)) == [client.TIME_IS_UP] * len(SLOW_STEPS)
    assert time.monotonic() - started < GENEROUS


def test_a_large_body_on_a_slow_line_takes_the_time_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, connections):
        monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    body = bytes(8 * 1024 * 1024)  # more than fits into the buffers of the connection

    def receive_slowly(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock, sock.makefile("rb") as reader:
            list(iter(reader.readline, b"\r\n"))
            time.sleep(0.6)  # the line stands still for longer than a connection may take
            reader.read(len(body))
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=receive_slowly, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with client.send(
            "POST",
            url,
            headers={},
            body=body,
            idle_timeout_seconds=GENEROUS,
            deadline=Deadline.after(GENEROUS),
            allow_http=True,
        ) as received:
            assert received.body() == b"ok"


def test_the_idle_timeout_ends_a_call_before_its_deadline(server: FakeServer) -> None:
    server.will(drip_for_ever(OK_HEAD, b"x", 0.05))
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        fetch(server.url, seconds=LONG, idle_seconds=0.5)
    assert time.monotonic() - started < GENEROUS


@pytest.mark.parametrize(("idle_seconds", "expected"), [(10, 10), (LONG * 2, LONG)])
def test_resetting_the_idle_timer_never_moves_the_deadline(idle_seconds: float, expected: float) -> None:
    call = GuardedCall(Deadline.after(1))
    received = client.ProviderResponse(
        requests.Response(), call, idle_timeout_seconds=idle_seconds, deadline=Deadline.after(LONG)
    )
    received.reset_idle_timer()
    assert expected - 1 < call.deadline.remaining() <= expected


def test_a_server_that_leaves_a_finished_stream_open_costs_a_moment_and_its_connection(server: FakeServer) -> None:
    event = b"data: [DONE]\n\n"
    server.will(hang_after(head(Transfer_Encoding="chunked") + b"%x\r\n%s\r\n" % (len(event), event)), answer(b"2"))
    started = time.monotonic()
    with sent(server.url) as received:
        assert next(received.chunks()) == event
        received.drain()
    assert time.monotonic() - started < GENEROUS
    fetch(server.url)
    assert [request.connection for request in server.received] == [1, 2]


# --- Size ---


@pytest.mark.parametrize("step", [endless, gzip_bomb(64), answer(b"x" * (client.MAX_BODY_BYTES + 1))])
@pytest.mark.parametrize("streams", [True, False])
def test_a_huge_answer_is_not_read_to_its_end(server: FakeServer, step: Step, streams: bool) -> None:
    server.will(step)
    tracemalloc.start()
    try:
        with pytest.raises(OutcomeUnknown, match="longer than"), sent(server.url) as received:
            list(received.chunks()) if streams else received.body()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * client.MAX_BODY_BYTES


def test_an_answer_of_the_allowed_size_is_read(server: FakeServer) -> None:
    server.will(answer(b"x" * client.MAX_BODY_BYTES))
    assert len(fetch(server.url)) == client.MAX_BODY_BYTES


def test_the_callers_own_errors_pass_unchanged(server: FakeServer) -> None:
    server.will(answer(b"1"))
    with pytest.raises(ConnectionError, match="mine"), sent(server.url):
        raise ConnectionError("mine")
    with pytest.raises(ProviderError), sent(server.url):
        raise ProviderError("mine")

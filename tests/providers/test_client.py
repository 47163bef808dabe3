"""The door outward: deadlines, connections, limits, and what a broken call means."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import responses

from providers.errors import NotSent, OutcomeUnknown, ProviderError, ProviderMisconfigured
from providers.transport import client
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

LONG = 300.0  # far beyond the patience of these tests
GENEROUS = 30.0  # what a busy machine may take for what should take a fraction of a second
OK_HEAD = head(Content_Type="application/json", Content_Length=100_000)


@contextmanager
def sent(url: str, *, seconds: float = LONG, silence: float = LONG) -> Iterator[client.ProviderResponse]:
    """Post something, with a deadline in so many seconds."""
    with client.send(
        "POST",
        url,
        headers={"X-Test": "yes"},
        body=b"{}",
        idle_timeout_seconds=silence,
        deadline=Deadline.after(seconds),
        allow_http=True,
    ) as received:
        yield received


def fetch(url: str, *, seconds: float = LONG, silence: float = LONG) -> bytes:
    with sent(url, seconds=seconds, silence=silence) as received:
        return received.body()


def kept_socket(server: FakeServer) -> socket.socket:
    """Return the socket that waits in the pool for the next call."""
    pools = client._adapter().poolmanager.pools
    (pool,) = (pool for key in pools.keys() if (pool := pools[key]).port == server.port)  # noqa: SIM118 — no mapping
    sock: socket.socket = pool.pool.queue[-1].sock
    return sock


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


def test_it_speaks_plain_http_only_where_allowed(server: FakeServer) -> None:
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


def test_a_connection_that_was_closed_while_idle_is_not_used(server: FakeServer) -> None:
    server.will(close_after(head(Content_Length=1) + b"1"), answer(b"2"))
    assert fetch(server.url) == b"1"
    poll = select.poll()
    poll.register(kept_socket(server), select.POLLIN)
    assert poll.poll(GENEROUS * 1000)  # the server's FIN has come
    assert fetch(server.url) == b"2"
    assert [request.connection for request in server.received] == [1, 2]


def test_a_connection_that_was_idle_for_long_is_not_used(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.will(answer(b"1"))
    fetch(server.url)
    monkeypatch.setattr(client, "MAX_IDLE_SECONDS", 0.0)
    fetch(server.url)
    assert [request.connection for request in server.received] == [1, 2]


def test_a_request_lost_with_its_connection_is_not_sent_again(server: FakeServer) -> None:
    # The server closes in the very moment of the request: whether it was executed, nobody knows.
    server.will(answer(b"1"), reset, answer(b"3"))
    fetch(server.url)
    with pytest.raises(OutcomeUnknown):
        fetch(server.url)
    assert [request.connection for request in server.received] == [1, 1]


def test_many_threads_share_the_door(server: FakeServer) -> None:
    server.will(answer(b"x" * 1000))
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(fetch(server.url))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS)
    assert bodies == [b"x" * 1000] * 40


def test_a_forked_child_has_its_own_connections_and_its_own_calldog(server: FakeServer) -> None:
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


def test_a_tls_handshake_that_hangs_is_cut_and_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts by the backlog, never answers
        started = time.monotonic()
        with pytest.raises(NotSent):
            fetch(f"https://127.0.0.1:{listener.getsockname()[1]}", seconds=0.3)
        assert time.monotonic() - started < client.CONNECT_SECONDS


def test_a_tls_handshake_has_the_time_that_the_connection_has_left(server: FakeServer) -> None:
    connection = client._HTTPSConnection("127.0.0.1", server.port, timeout=client.CONNECT_SECONDS)
    client._calls.call = GuardedCall(Deadline.after(0.5))
    with connection._new_conn() as sock:
        assert 0 < (sock.gettimeout() or 0) <= 0.5


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:99999/", "http://exa mple.com"])
def test_a_senseless_address_means_not_sent(url: str) -> None:
    with pytest.raises(NotSent):
        fetch(url)


def test_a_key_that_fits_in_no_header_means_not_sent_and_is_not_quoted(server: FakeServer) -> None:
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
    assert caught.value.__context__ is None  # urllib3's own words may quote what came


def test_a_stream_that_breaks_off_has_an_unknown_outcome(server: FakeServer) -> None:
    server.will(stream([b"data: 1\n\n"], ends=False))
    with sent(server.url) as received:
        chunks = received.chunks()
        assert next(chunks) == b"data: 1\n\n"
        with pytest.raises(OutcomeUnknown):
            next(chunks)


# --- Time ---


@pytest.mark.parametrize(
    "step",
    [
        hang,
        hang_after(b"HTTP/1.1 200 OK\r\n"),
        hang_after(OK_HEAD),
        hang_after(head(Content_Type="text/event-stream", Connection="close") + b"data: 1\n\n"),
        drip(OK_HEAD + b"x" * 100),  # one byte a second: every single read succeeds
        drip_for_ever(OK_HEAD, b"x", 0.1),
        drip_for_ever(b"HTTP/1.1 200 OK\r\n", b"X-Filler: 1\r\n", 0.5),
        drip_for_ever(head(Transfer_Encoding="chunked"), b"1\r\nx\r\n", 0.1),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
def test_the_deadline_ends_every_call(server: FakeServer, step: Step, streams: bool) -> None:
    server.will(step)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown) as caught, sent(server.url, seconds=0.3) as received:
        list(received.chunks()) if streams else received.body()
    assert time.monotonic() - started < GENEROUS
    assert caught.value.excerpt == client.TIME_IS_UP


def test_silence_ends_a_call_before_its_deadline(server: FakeServer) -> None:
    server.will(drip_for_ever(OK_HEAD, b"x", 0.05))
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        fetch(server.url, seconds=LONG, silence=0.3)
    assert time.monotonic() - started < GENEROUS


def test_resetting_the_idle_timer_never_moves_the_deadline(server: FakeServer) -> None:
    server.will(answer(b"1"))
    with sent(server.url, seconds=LONG, silence=10) as received:
        before = received._call.deadline.at
        received.reset_idle_timer()
        assert before < received._call.deadline.at < before + 10
        received._idle_timeout_seconds = LONG * 2
        received.reset_idle_timer()
        assert received._call.deadline == received._deadline


def test_a_server_that_leaves_a_finished_stream_open_costs_a_moment_and_its_connection(server: FakeServer) -> None:
    piece = b"data: [DONE]\n\n"
    server.will(hang_after(head(Transfer_Encoding="chunked") + b"%x\r\n%s\r\n" % (len(piece), piece)), answer(b"2"))
    started = time.monotonic()
    with sent(server.url) as received:
        assert next(received.chunks()) == piece
        received.drain()
    assert time.monotonic() - started < GENEROUS
    fetch(server.url)
    assert [request.connection for request in server.received] == [1, 2]


# --- Size ---


@pytest.mark.parametrize("step", [endless, gzip_bomb(64), answer(b"x" * (client.MAX_BODY_BYTES + 1))])
@pytest.mark.parametrize("streams", [True, False])
def test_a_huge_answer_is_not_read_to_its_end(server: FakeServer, step: Step, streams: bool) -> None:
    server.will(step)
    with pytest.raises(OutcomeUnknown) as caught, sent(server.url) as received:
        list(received.chunks()) if streams else received.body()
    assert "longer than" in caught.value.excerpt
    assert received._received < client.MAX_BODY_BYTES + 2 * client.READ_BYTES


def test_an_answer_of_the_allowed_size_is_read(server: FakeServer) -> None:
    server.will(answer(b"x" * client.MAX_BODY_BYTES))
    assert len(fetch(server.url)) == client.MAX_BODY_BYTES


def test_the_callers_own_errors_pass_unchanged(server: FakeServer) -> None:
    server.will(answer(b"1"))
    with pytest.raises(ConnectionError, match="mine"), sent(server.url):
        raise ConnectionError("mine")
    with pytest.raises(ProviderError), sent(server.url):
        raise ProviderError("mine")

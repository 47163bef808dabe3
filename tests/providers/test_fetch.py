"""Fetching what a provider has named: SSRF protection, a limit on the bytes, and never the key.

No test connects anywhere but to the loopback: where an address would be called, the connection itself is replaced.
"""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from providers.backends.media_generation import FETCH_TRIES
from providers.errors import NotSent, OutcomeUnknown, ProviderError
from providers.transport import client
from providers.transport.deadlines import Deadline
from providers.types import Access
from tests.contracts.base import KEY, everything_shown_by
from tests.contracts.templates import TemplateImage
from tests.fakes.http_server import FakeServer, answer, close_after, endless, half_body, head, reset

HOSTS = ("files.example.com", ".cdn.example.com")
PUBLIC = "93.184.215.14"


def fetch(url: str, *, trusted_base_url: str = "https://api.example.com/v1", max_bytes: int = 1000) -> bytes:
    return client.fetch(
        url,
        hosts=HOSTS,
        trusted_base_url=trusted_base_url,
        max_bytes=max_bytes,
        idle_timeout_seconds=5,
        deadline=Deadline.after(10),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections would have gone; none is made."""
    made: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        made.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    return made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver answers for each name; a list of lists is one answer after the other."""
    known_names: dict[str, list[Any]] = {}
    asked: dict[str, Iterator[Any]] = {}

    def resolve(name: str, port: int, *_: Any, **__: Any) -> list[Any]:
        known = known_names.get(name)
        if known is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if known and isinstance(known[0], list):
            known = next(asked.setdefault(name, iter(known)))
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in known
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known_names


# --- Addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 — an address, not a socket
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",  # carriers' own NAT
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",  # the metadata of most clouds
        "169.254.170.2",  # of containers
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",  # Oracle's metadata
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",  # an old way to write IPv4
        "::ffff:127.0.0.1",  # mapped
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",  # translated
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b::808:808",
        "64:ff9b:1::7f00:1",
        "100::1",
        "2001::1",  # Teredo
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_nothing_is_fetched_from_an_address_that_is_not_public(
    address: str, names: dict[str, list[str]], calls: list[Any]
) -> None:
    assert not client.is_public(ipaddress.ip_address(address))
    names["files.example.com"] = [address]
    with pytest.raises(PermissionError):
        client.public_address_of("files.example.com", 443)
    with pytest.raises(NotSent):
        fetch("https://files.example.com/x.png")
    assert calls == []


@pytest.mark.parametrize(
    "address", ["1.1.1.1", PUBLIC, "172.32.0.1", "100.128.0.1", "::ffff:1.1.1.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_a_public_address_is_connected_to(address: str, names: dict[str, list[str]]) -> None:
    assert client.is_public(ipaddress.ip_address(address))
    names["files.example.com"] = [address]
    assert client.public_address_of("files.example.com", 443) == address


@pytest.mark.parametrize(
    "addresses", [[PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], [PUBLIC, "fe80::1"]]
)
def test_one_private_address_among_several_refuses_them_all(
    addresses: list[str], names: dict[str, list[str]], calls: list[Any]
) -> None:
    names["files.example.com"] = addresses
    with pytest.raises(NotSent):
        fetch("https://files.example.com/x.png")
    assert calls == []


def test_the_address_that_was_checked_is_the_one_that_is_called(names: dict[str, list[Any]], calls: list[Any]) -> None:
    names["files.example.com"] = [[PUBLIC], ["127.0.0.1"]]  # DNS rebinding: its second answer leads inside
    with pytest.raises(NotSent):
        fetch("https://files.example.com/x.png")
    assert calls == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "url", ["https://files.example.com/x", "https://A.CDN.example.com/x?y=z", "https://b.a.cdn.example.com"]
)
def test_the_providers_hosts_are_called(url: str, names: dict[str, list[str]], calls: list[Any]) -> None:
    names.update({name: [PUBLIC] for name in ("files.example.com", "a.cdn.example.com", "b.a.cdn.example.com")})
    with pytest.raises(NotSent):
        fetch(url)
    assert calls == [(PUBLIC, 443)]


def test_an_unknown_name_means_not_sent(names: dict[str, list[str]], calls: list[Any]) -> None:
    with pytest.raises(NotSent):
        fetch("https://files.example.com/x.png")
    assert calls == []


# --- What may be called at all ---


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.png",
        "//files.example.com/x.png",
        "http://files.example.com/x.png",
        "ftp://files.example.com/x.png",
        "file:///etc/passwd",
        "data:image/png;base64,AA==",
        "gopher://files.example.com/x",
        "javascript:alert(1)",
        "https://",
        "https:///x.png",
        "https://[::1/x.png",
        "https://[::1]/x.png",
        "https://127.0.0.1/x.png",
        "https://2130706433/x.png",
        "https://0x7f000001/x.png",
        "https://0177.0.0.1/x.png",
        "https://localhost/x.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://example.com/x.png",
        "https://evil.example/x.png",
        "https://files.example.com.evil.example/x.png",
        "https://evilfiles.example.com/x.png",
        "https://evilcdn.example.com/x.png",
        "https://cdn.example.com/x.png",  # ".cdn.example.com" means below it
        "https://evil.example/files.example.com",
        "https://evil.example?x=.cdn.example.com",
        "https://evil.example#.cdn.example.com",
        "https://files.example.com:8443/x.png",
        "https://files.example.com:443/x.png",
        "https://a.cdn.example.com:22/x.png",
        "https://user@files.example.com/x.png",
        "https://user:word@a.cdn.example.com/x.png",
        "https://evil.example@a.cdn.example.com/x.png",
        "https://a.cdn.example.com@evil.example/x.png",
        "https://evil.example\\@a.cdn.example.com/x.png",
        "https://evil.example\\.cdn.example.com/x.png",
        "https://evil.example%2f.cdn.example.com/x.png",
        "https://evil.example%00.cdn.example.com/x.png",
        "https://evil.example\t.cdn.example.com/../x y",
        "https://ⓕiles.example.com/x.png",
        "https://api.example.com:8443/v1/x.png",  # nearly our own
        "http://api.example.com/v1/x.png",
        "https://api.example.com@evil.example/x.png",
    ],
)
def test_anything_else_is_not_called(url: str, names: dict[str, list[str]], calls: list[Any]) -> None:
    names.update({"evil.example": [PUBLIC], "files.example.com": [PUBLIC], "a.cdn.example.com": [PUBLIC]})
    with pytest.raises(NotSent) as caught:
        fetch(url)
    assert calls == []
    assert not url or url not in everything_shown_by(caught.value)


def test_without_hosts_only_the_providers_own_address_is_called(calls: list[Any]) -> None:
    with pytest.raises(NotSent):
        client.fetch(
            "https://files.example.com/x",
            hosts=(),
            trusted_base_url="https://api.example.com",
            max_bytes=10,
            idle_timeout_seconds=1,
            deadline=Deadline.after(1),
        )
    assert calls == []


# --- What comes back ---


def test_what_lies_under_the_address_from_the_environment_is_fetched(server: FakeServer) -> None:
    server.will(answer(b"an image", content_type="image/png"))
    assert fetch(f"{server.url}/files/x.png?signature=1", trusted_base_url=f"{server.url}/v1") == b"an image"
    (request,) = server.received
    assert (request.method, request.path) == ("GET", "/files/x.png?signature=1")


def test_another_port_of_the_same_host_is_not_ours(server: FakeServer) -> None:
    with pytest.raises(NotSent):
        fetch(f"{server.url}/x.png", trusted_base_url="http://127.0.0.1:1")
    assert server.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server: FakeServer, status: int) -> None:
    server.will(answer(b"", status, Location=f"{server.url}/secret"))
    with pytest.raises(OutcomeUnknown) as caught:
        fetch(f"{server.url}/x.png", trusted_base_url=server.url)
    assert caught.value.status == status
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 404, 410, 500, 503])
def test_only_a_200_is_a_file(server: FakeServer, status: int) -> None:
    server.will(answer(b"", status))
    with pytest.raises(OutcomeUnknown):
        fetch(f"{server.url}/x.png", trusted_base_url=server.url)


def test_a_file_of_the_allowed_size_is_read(server: FakeServer) -> None:
    server.will(answer(bytes(1000)))
    assert len(fetch(f"{server.url}/x", trusted_base_url=server.url)) == 1000


@pytest.mark.parametrize("step", [answer(bytes(1001)), endless, half_body, reset, close_after(head(Content_Length=9))])
def test_a_file_that_is_too_long_or_cut_off_is_none(server: FakeServer, step: Any) -> None:
    server.will(step)
    with pytest.raises(OutcomeUnknown):
        fetch(f"{server.url}/x", trusted_base_url=server.url)


def test_no_key_is_sent_and_a_few_tries_are_made(server: FakeServer) -> None:
    provider = TemplateImage(Access(KEY, f"{server.url}/v1"))
    server.will(answer(b"", 404), answer(b"", 503), answer(b"an image"))
    assert provider.fetch_output(f"{server.url}/out.png", deadline=Deadline.after(10)) == b"an image"
    assert len(server.received) == 3
    for request in server.received:
        assert "authorization" not in request.headers
        assert KEY not in f"{request.path} {request.headers} {request.body!r}"


def test_an_output_that_never_comes_was_paid_all_the_same(server: FakeServer) -> None:
    provider = TemplateImage(Access(KEY, f"{server.url}/v1"))
    server.will(answer(f"no {KEY}", 404))
    with pytest.raises(ProviderError) as caught:
        provider.fetch_output(f"{server.url}/out.png?key={KEY}", deadline=Deadline.after(10))
    assert (caught.value.provider, caught.value.maybe_paid) == ("template", True)
    assert len(server.received) == FETCH_TRIES
    assert KEY not in everything_shown_by(caught.value)


def test_an_error_of_a_download_does_not_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, **_: Any) -> bytes:
        raise NotSent(f"no route to {url}")

    monkeypatch.setattr(client, "fetch", fail)
    provider = TemplateImage(Access(KEY, "https://api.example.com"))
    with pytest.raises(NotSent) as caught:
        provider.fetch_output(f"https://files.example.com/x?key={KEY}", deadline=Deadline.after(10))
    assert KEY not in everything_shown_by(caught.value)

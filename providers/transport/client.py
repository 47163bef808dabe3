"""The HTTP client: every call to a provider leaves through here. What a response means is not known here.

It is an adapter of requests without a Session around it: no cookies, no proxies or passwords from the environment,
no redirects, a total deadline, an idle timeout, a limit on the bytes received, and SSRF protection for addresses that
somebody else has named.
"""

import http.client
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from providers.errors import NotSent, OutcomeUnknown, ProviderError, ProviderMisconfigured
from providers.transport.connections import (
    CONNECT_SECONDS,
    GuardedHTTPPool,
    GuardedHTTPSConnection,
    GuardedHTTPSPool,
    guarded_call,
)
from providers.transport.deadlines import Deadline, GuardedCall

MAX_BODY_BYTES = 8 * 1024 * 1024  # of an answer, decoded; a text answer has a few thousand
READ_BYTES = 64 * 1024
MAX_CONNECTIONS = 256  # kept per host: 200 requests may wait at once in one worker
DRAIN_SECONDS = 0.2  # how long a finished stream may take to close itself, for its connection to be kept

HEADERS = {"Accept-Encoding": "identity", "User-Agent": "aibot"}
TIME_IS_UP = "the time was up"

# Everything by which requests and what lies below it say that a call has failed.
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)


class _Public:
    """SSRF protection: connections to public addresses only; the checked address is the one that is connected to."""

    _dns_host: str
    port: int

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        self._dns_host = public_address_of(name, self.port)
        try:
            return super()._new_conn()  # type: ignore[misc, no-any-return]  # what it is mixed into has it
        finally:
            self._dns_host = name  # TLS asks for the certificate of the name


class _PublicHTTPSConnection(_Public, GuardedHTTPSConnection):
    pass


class _PublicHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class _Adapter(HTTPAdapter):
    pools: Mapping[str, type[urllib3.HTTPConnectionPool]] = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self.pools)


class _PublicAdapter(_Adapter):
    pools = {"https": _PublicHTTPSPool}


@cache
def _adapter() -> _Adapter:
    """Return this process's adapter for the providers' APIs, which pools the connections."""
    return _Adapter(pool_connections=32, pool_maxsize=MAX_CONNECTIONS)


@cache
def _public_adapter() -> _PublicAdapter:
    """Return this process's adapter for addresses that somebody else has named."""
    return _PublicAdapter(pool_connections=32, pool_maxsize=16)


def close_connections() -> None:
    """Close the connections that this process keeps; calls made afterwards open new ones."""
    for adapter in (_adapter, _public_adapter):
        if adapter.cache_info().currsize:
            adapter().close()
    _forget_connections()


def _forget_connections() -> None:
    # A connection shared by parent and child would mix their bytes.
    _adapter.cache_clear()
    _public_adapter.cache_clear()


os.register_at_fork(after_in_child=_forget_connections)


class ProviderResponse:
    """A provider's response: its status and headers are here, its body is still on the wire."""

    def __init__(
        self,
        response: requests.Response,
        call: GuardedCall,
        *,
        idle_timeout_seconds: float,
        deadline: Deadline,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._raw = response.raw
        self._call = call
        self._idle_timeout_seconds = idle_timeout_seconds
        self._deadline = deadline
        self._received = 0
        self._max_bytes = max_bytes

    @property
    def content_type(self) -> str:
        """The media type in small letters, without its parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def body(self) -> bytes:
        """Return the whole body. Raises OutcomeUnknown when it is cut off, late or too long."""
        return b"".join(iter(self._read, b""))

    def text(self) -> str:
        """Return the whole body as text. Raises OutcomeUnknown as body() does."""
        return self.body().decode("utf-8-sig", "replace")

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they come. Raises OutcomeUnknown as body() does."""
        yield from iter(self._read_some, b"")

    def reset_idle_timer(self) -> None:
        """Reset the idle timeout."""
        self._call.deadline = self._deadline.child(self._idle_timeout_seconds)

    def drain(self) -> None:
        """Read what follows the end marker of a stream, so that the connection can be used again.

        Usually it is the five bytes that end the body, and they are here already. A server that leaves the body open
        costs a moment and the connection.
        """
        with suppress(*BROKEN):
            self._call.limit_wait(DRAIN_SECONDS)
            self._raw.read1(READ_BYTES, decode_content=True)

    def close(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        self._response.close()

    def _read(self) -> bytes:
        return self._counted(self._raw.read)

    def _read_some(self) -> bytes:
        return self._counted(self._raw.read1)

    def _counted(self, read: Callable[..., bytes | None]) -> bytes:
        try:
            piece = read(READ_BYTES, decode_content=True) or b""
        except BROKEN as error:
            failure = _failure(self._call, error)
        else:
            self._received += len(piece)
            if self._received > self._max_bytes:
                raise OutcomeUnknown(f"the answer is longer than {self._max_bytes} bytes")
            if not self._call.is_expired:  # to a reader, an abort looks like the end
                return piece
            failure = OutcomeUnknown(TIME_IS_UP)
        raise failure


@contextmanager
def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    idle_timeout_seconds: float,
    deadline: Deadline,
    allow_http: bool = False,
    block_private_addresses: bool = False,
    max_bytes: int = MAX_BODY_BYTES,
) -> Iterator[ProviderResponse]:
    """Send one request, once, and lend its response.

    The call is aborted at `deadline`, or earlier when `idle_timeout_seconds` pass without a reset_idle_timer(): a
    reader who never resets it has that long for the whole response. Only name resolution cannot be aborted; the
    system's resolver limits it.

    Raises NotSent when nothing has left this machine, OutcomeUnknown when anything goes wrong after the first byte.
    `allow_http` allows plain http: only for addresses from the environment. `block_private_addresses` refuses to
    connect to any address that is not public (SSRF): for those that a provider has named.
    """
    if not (url.startswith("https://") or allow_http):
        raise ProviderMisconfigured("Only https addresses may be called.")
    with guarded_call(deadline.child(idle_timeout_seconds)) as call:
        adapter = _public_adapter() if block_private_addresses else _adapter()
        response = _respond(adapter, call, method, url, headers, body, idle_timeout_seconds)
        lent = ProviderResponse(
            response, call, idle_timeout_seconds=idle_timeout_seconds, deadline=deadline, max_bytes=max_bytes
        )
        try:
            yield lent
        finally:
            lent.close()


def fetch(
    url: str,
    *,
    hosts: Iterable[str],
    trusted_base_url: str,
    max_bytes: int,
    idle_timeout_seconds: float,
    deadline: Deadline,
) -> bytes:
    """Return the bytes behind an address that a provider has named.

    It must be https on one of the provider's `hosts` (".example.com" means all below it, ANY_HOST all) and lead to a
    public address; what lies under `trusted_base_url`, which comes from the environment, is trusted as it is. No key
    goes along.

    Raises NotSent for any other address, OutcomeUnknown for anything but a complete file within the limits.
    """
    try:
        parts, own = urlsplit(url), urlsplit(trusted_base_url)
    except ValueError:
        raise NotSent("the output's address is invalid") from None
    is_own = (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
    if not is_own and not (parts.scheme == "https" and _is_among(parts.netloc.lower(), hosts)):
        raise NotSent("the output's address is not on one of the provider's hosts")
    with send(
        "GET",
        url,
        headers={},
        idle_timeout_seconds=idle_timeout_seconds,
        deadline=deadline,
        allow_http=is_own,
        block_private_addresses=not is_own,
        max_bytes=max_bytes,
    ) as answer:
        if answer.status != 200:
            raise OutcomeUnknown("the output could not be fetched", status=answer.status)
        pieces = []
        for piece in answer.chunks():
            answer.reset_idle_timer()
            pieces.append(piece)
    return b"".join(pieces)


def _is_among(netloc: str, hosts: Iterable[str]) -> bool:
    # A port or a user name in the address makes it another one; so does a backslash, at which some end the host.
    if not HOST.fullmatch(netloc):
        return False
    return any(
        host == ANY_HOST or (netloc.endswith(host) if host.startswith(".") else netloc == host) for host in hosts
    )


def public_address_of(name: str, port: int) -> str:
    """Resolve a host name and return one of its addresses. Raises PermissionError unless all of them are public."""
    found = [info[4][0] for info in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(ipaddress.ip_address(address)):
            raise PermissionError("its address is not a public one")
    return str(found[0])


ANY_HOST = "*"  # among the hosts: any public one
HOST = re.compile(r"[a-z0-9.-]+")
UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is given out; NAT64 and old ways to write IPv4 lie outside of it
# 6to4 and Teredo hold an IPv4 address of somebody's choice; the others are reserved, which older Pythons do not know.
RESERVED = [
    ipaddress.ip_network(text) for text in ("2002::/16", "2001::/32", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24")
]


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address is out on the internet, and not one that leads back inside by another name."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address not in UNICAST:
            return False
    is_reserved = any(address in network for network in RESERVED)
    return address.is_global and not address.is_multicast and not is_reserved


def _respond(
    adapter: _Adapter,
    call: GuardedCall,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    idle_timeout_seconds: float,
) -> requests.Response:
    seconds_left = call.deadline.remaining()
    if seconds_left <= 0:
        raise NotSent(TIME_IS_UP)
    try:
        request = requests.Request(method, url, headers={**HEADERS, **headers}, data=body).prepare()
        return adapter.send(
            request, stream=True, timeout=(min(CONNECT_SECONDS, seconds_left), idle_timeout_seconds), proxies={}
        )
    except BROKEN as error:
        failure = _failure(call, error)
    raise failure


def _failure(call: GuardedCall, error: Exception) -> ProviderError:
    """Return what a broken call means: certainly not executed, or nobody knows.

    The caller raises it outside of the handler, so that `error`, which may quote what came over the wire or the key,
    does not travel along as its context.
    """
    words = TIME_IS_UP if call.is_expired else _words_of(error)
    return OutcomeUnknown(words) if call.is_sent else NotSent(words)


def _words_of(error: BaseException) -> str:
    """Name the cause at the root of requests' and urllib3's wrappings, in the system's own words where it has some."""
    while isinstance(deeper := error.__cause__ or error.__context__, BROKEN):
        error = deeper
    name = type(error).__name__
    is_systems_own = isinstance(error, OSError) and not isinstance(error, requests.RequestException)
    return f"{name}: {error}" if is_systems_own and str(error) else name

"""Every provider's every call against every fault of a network, byte by byte.

What one call does with one fault is tested at the door and in the vendors' own files. Here nobody is left out: a class
that is registered takes part, with its orders, its streams, its questions about jobs and its downloads.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from providers.backends.media_generation import JobProvider, MediaProvider
from providers.errors import NotSent, OutcomeUnknown, ProviderError, RateLimited
from providers.registry import PROVIDERS, provider_class
from providers.transport.client import MAX_BODY_BYTES
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Prompt
from tests.fakes.http_server import (
    FakeServer,
    Step,
    answer,
    close_after,
    drip,
    endless,
    gzip_bomb,
    half_body,
    hang,
    hang_after,
    head,
    reset,
    reset_after,
)
from tests.sandboxes import SHIPPED

JSON = "application/json"
DEADLINE_SECONDS = 1.5
LATE_SECONDS = 4.0  # a bound for a loaded machine; a call is cut within some milliseconds
AT_ONCE = 48  # calls, so that all slow ones wait together

# After the request has left, whatever is no complete answer has an unknown outcome, and may have been paid.
BREAKS: dict[str, Step] = {
    "reset without a word": reset,
    "reset after the head": reset_after(head(Content_Type=JSON, Content_Length=100)),
    "reset in the body": reset_after(head(Content_Type=JSON, Content_Length=100) + b'{"id": '),
    "closed without a word": close_after(b""),
    "half a head": close_after(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "half a body": half_body,
    "half a chunk": close_after(head(Content_Type=JSON, Transfer_Encoding="chunked") + b"ff\r\n{"),
    "no HTTP": close_after(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "empty": answer(b""),
    "no content": answer(b"", 204),
    "invalid JSON": answer(b'{"id": "x", '),
    "HTML": answer(b"<html><title>It works!</title></html>", content_type="text/html"),
    "another type": answer(b"%PDF-1.7 \xff\xfe\x00", content_type="application/pdf"),
    "a false compression": answer(b"not compressed", Content_Encoding="gzip"),
    "a body without an end": endless,
    "a bomb": gzip_bomb(64),
}
SLOW: dict[str, Step] = {
    "hangs": hang,
    "hangs after the head": hang_after(head(Content_Type=JSON, Content_Length=100)),
    "a head, byte by byte": drip(head(Content_Type=JSON, Content_Length=2), 0.2),
    "a body, byte by byte": drip(head(Content_Type=JSON, Content_Length=2000) + b" " * 2000, 0.01),
}


@dataclass(frozen=True)
class Caller:
    """One kind of call of one provider."""

    name: str
    call: Callable[[str, float], Any]  # with the server's address and the deadline

    def __str__(self) -> str:
        return self.name

    def fault(self, url: str, seconds: float = 20.0) -> ProviderError:
        """Make the call and return how it failed."""
        with pytest.raises(ProviderError) as caught:
            self.call(url, Deadline.after(seconds))
        return caught.value


def client(category: Category, slug: str, url: str) -> Any:
    return provider_class(category, slug)(Access("a-key", url + PROVIDERS[slug].base_path))


def wish(category: Category, slug: str) -> Prompt:
    return Prompt(category, "A quiet lake", model=SHIPPED[category, slug], submission_id="an-order")


def run(category: Category, slug: str, on_text: Any, url: str, deadline: Deadline) -> Any:
    return client(category, slug, url).run(
        wish(category, slug), timeout_seconds=60, deadline=deadline, **({"on_text": on_text} if on_text else {})
    )


def poll(category: Category, slug: str, url: str, deadline: Deadline) -> Any:
    return client(category, slug, url).poll(wish(category, slug), "a-job", deadline=deadline)


def download(category: Category, slug: str, url: str, deadline: Deadline) -> Any:
    # Its own address counts among the hosts of its outputs, as in the sandbox.
    return client(category, slug, url).fetch_output(f"{url}/out.png", deadline=deadline)


def callers() -> Iterator[Caller]:
    for slug, vendor in PROVIDERS.items():
        for category in vendor.backends:
            made_by = provider_class(category, slug)
            name = f"{slug} {category.lower()}"
            yield Caller(f"{name}", partial(run, category, slug, None))
            if category is Category.TEXT:
                yield Caller(f"{name} streamed", partial(run, category, slug, len))
            if issubclass(made_by, JobProvider):
                yield Caller(f"{name} poll", partial(poll, category, slug))
            if issubclass(made_by, MediaProvider) and made_by.output_hosts:
                yield Caller(f"{name} download", partial(download, category, slug))


CALLERS = list(callers())
# A download is tried several times and ends with bytes, whatever they are; who stores them looks into them.
ORDERS = [caller for caller in CALLERS if not caller.name.endswith("download")]
DOWNLOADS = [caller for caller in CALLERS if caller.name.endswith("download")]


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    """A server for each caller, so that all can wait at the same time."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(FakeServer())) for _ in CALLERS]


def test_nobody_is_left_out():
    registered = {f"{slug} {category.lower()}" for slug, vendor in PROVIDERS.items() for category in vendor.backends}
    assert registered == {caller.name for caller in CALLERS if len(caller.name.split()) == 2}
    assert DOWNLOADS


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_a_refused_connection_is_certain(caller):
    error = caller.fault("http://127.0.0.1:1")

    assert type(error) is NotSent
    # The output of a download was made and paid for long before.
    assert error.maybe_paid is (caller in DOWNLOADS)
    assert not error.ends_job


@pytest.mark.parametrize("caller", ORDERS, ids=str)
def test_whatever_breaks_after_the_request_may_have_been_paid(caller, server):
    for fault, step in BREAKS.items():
        server.will(step)
        asked = len(server.received)

        error = caller.fault(server.url)

        assert type(error) is OutcomeUnknown, fault
        assert error.maybe_paid, fault
        assert not error.ends_job, fault
        assert len(server.received) == asked + 1, f"{fault}: it was asked twice"


@pytest.mark.parametrize("caller", DOWNLOADS, ids=str)
def test_a_download_that_breaks_is_no_output(caller, server):
    for fault in ("reset without a word", "reset in the body", "half a body", "no HTTP", "closed without a word"):
        server.will(BREAKS[fault])

        assert caller.fault(server.url).maybe_paid, fault


def test_the_total_deadline_ends_every_call(servers):
    def ends_after(caller: Caller, server: FakeServer) -> tuple[str, float, ProviderError]:
        began = time.monotonic()
        error = caller.fault(server.url, DEADLINE_SECONDS)
        return caller.name, time.monotonic() - began, error

    for fault, step in SLOW.items():
        for server in servers:
            server.will(step)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ended = list(pool.map(ends_after, CALLERS, servers))

        late = {name: seconds for name, seconds, _ in ended if seconds > DEADLINE_SECONDS + LATE_SECONDS}
        assert late == {}, fault
        assert [name for name, _, error in ended if not error.maybe_paid or error.ends_job] == [], fault


@pytest.mark.parametrize("caller", ORDERS, ids=str)
def test_nobody_follows_a_redirect(caller, server):
    with closing(FakeServer()) as elsewhere:
        elsewhere.will(answer({"id": "x"}))
        for status in (301, 302, 303, 307, 308):
            server.will(answer(b"", status, Location=f"{elsewhere.url}/v1"))
            caller.fault(server.url)

        assert elsewhere.connections == 0


@pytest.mark.parametrize("caller", DOWNLOADS, ids=str)
def test_no_download_is_led_elsewhere(caller, server):
    with closing(FakeServer()) as elsewhere:
        elsewhere.will(answer(b"\x89PNG"))
        server.will(answer(b"", 302, Location=f"{elsewhere.url}/out.png"))
        caller.fault(server.url)

        assert elsewhere.connections == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}/x", "https://localhost:{}/x", "https://[::1]:{}/x"])
@pytest.mark.parametrize("caller", DOWNLOADS, ids=str)
def test_no_download_comes_from_an_address_that_is_not_the_vendors(caller, server, address):
    with closing(FakeServer()) as neighbour:
        neighbour.will(answer(b"\x89PNG"))
        function, category, slug = caller.call.func, *caller.call.args
        assert function is download
        with pytest.raises(ProviderError):
            client(category, slug, server.url).fetch_output(address.format(neighbour.port), deadline=Deadline.after(5))

        assert neighbour.connections == 0


@pytest.mark.parametrize("caller", ORDERS, ids=str)
def test_a_limited_rate_says_for_how_long_where_it_does(caller, server):
    said = {"error": {"message": "Too many requests"}, "message": "Too many requests", "code": 429}
    for headers, expected in (({"Retry_After": 7}, 7.0), ({}, None)):
        server.will(answer(said, 429, **headers))

        error = caller.fault(server.url)

        assert (type(error), error.retry_after) == (RateLimited, expected)
        assert not error.maybe_paid
        assert not error.ends_job


@pytest.mark.parametrize("step", [endless, gzip_bomb(512)], ids=["endless", "bomb"])
@pytest.mark.parametrize("caller", ORDERS[:2], ids=str)
def test_a_huge_answer_fills_no_memory(caller, server, step):
    server.will(step)
    tracemalloc.start()
    try:
        caller.fault(server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 * MAX_BODY_BYTES


def test_an_error_inside_a_success_is_an_error(server):
    said = {"error": {"message": "overloaded", "type": "server_error", "code": 503}, "errors": [{"code": "unheardOf"}]}
    for caller in ORDERS:
        server.will(answer(said))

        assert isinstance(caller.fault(server.url), ProviderError), caller.name

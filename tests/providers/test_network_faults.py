"""Network faults, byte by byte: the full grid on the three templates, a few on every call of every provider.

What a fault means is decided in providers/transport and in the templates. That a provider has not gone past them is
what the second part says: a class that is registered takes part, with its requests, streams, polls and downloads.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from providers.backends.base import Provider, TextProvider
from providers.backends.media_generation import JobProvider, MediaProvider
from providers.errors import NotSent, OutcomeUnknown, ProviderError, RateLimited
from providers.registry import PROVIDERS, provider_class
from providers.shipped import shipped_route
from providers.transport.client import ANY_HOST
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Prompt, UnknownPolicy
from tests.contracts.base import NOWHERE
from tests.contracts.templates import TemplateImage, TemplateJob, TemplateText
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

JSON = "application/json"
DEADLINE_SECONDS = 1.5  # long enough for a loaded machine to send all requests
LATE_SECONDS = 4.0  # a bound for a loaded machine; a call is aborted within some milliseconds
SINCE = datetime(2026, 11, 23, tzinfo=UTC)

# After the request has left, whatever is no complete answer has an unknown outcome, and may have been paid.
BREAKS: dict[str, Step] = {
    "reset without a byte": reset,
    "reset after the head": reset_after(head(Content_Type=JSON, Content_Length=100)),
    "reset in the body": reset_after(head(Content_Type=JSON, Content_Length=100) + b'{"id": '),
    "closed without a byte": close_after(b""),
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
BREAKS_OF_EACH = ("reset in the body", "half a body", "HTML")
BREAKS_OF_DOWNLOADS = ("reset without a byte", "reset in the body", "half a body", "no HTTP", "closed without a byte")
SLOW: dict[str, Step] = {
    "hangs": hang,
    "hangs after the head": hang_after(head(Content_Type=JSON, Content_Length=100)),
    "a head, byte by byte": drip(head(Content_Type=JSON, Content_Length=2), 0.1),
    "a body, byte by byte": drip(head(Content_Type=JSON, Content_Length=2000) + b" " * 2000, 0.01),
}


@dataclass(frozen=True)
class Caller:
    """One kind of call of one provider."""

    name: str
    call: Callable[[str, Deadline], Any]  # with the server's address

    def __str__(self) -> str:
        return self.name

    def failure(self, url: str, seconds: float = 20.0) -> ProviderError:
        """Make the call and return how it failed."""
        with pytest.raises(ProviderError) as caught:
            self.call(url, Deadline.after(seconds))
        return caught.value

    @property
    def is_download(self) -> bool:
        """A download is tried several times and ends with bytes, whatever they are; the storage looks into them."""
        return self.name.endswith("download")


def callers_of(name: str, backend: type[Provider], prompt: Prompt, base_path: str = "") -> Iterator[Caller]:
    """Yield one caller for each kind of call that a provider makes."""

    def at(url: str) -> Any:
        return backend(Access("a-key", f"{url}{base_path}"))

    def run(url: str, deadline: Deadline, **options: Any) -> Any:
        return at(url).run(prompt, timeout_seconds=60, deadline=deadline, **options)

    yield Caller(name, run)
    if issubclass(backend, TextProvider):
        yield Caller(f"{name} stream", partial(run, on_text=len))
    if issubclass(backend, MediaProvider) and backend.output_hosts:
        # Its own address counts among the hosts of its outputs, as in the sandbox.
        yield Caller(
            f"{name} download", lambda url, deadline: at(url).fetch_output(f"{url}/out.png", deadline=deadline)
        )
    if issubclass(backend, JobProvider):
        yield Caller(f"{name} poll", lambda url, deadline: at(url).poll(prompt, "a-job", deadline=deadline))
    if issubclass(backend, JobProvider) and backend.unknown_policy is UnknownPolicy.ADOPT:
        yield Caller(f"{name} search", lambda url, deadline: at(url).find_jobs(prompt, since=SINCE, deadline=deadline))


def template_callers() -> Iterator[Caller]:
    for backend in (TemplateText, TemplateImage, TemplateJob):
        yield from callers_of(backend.__name__, backend, Prompt(Category.TEXT, "A quiet lake", model="a-model"))


def registered_callers() -> Iterator[Caller]:
    for slug, spec in PROVIDERS.items():
        for category in spec.backends:
            route = shipped_route(category, slug)
            model = route.model if route else "a-model"
            prompt = Prompt(category, "A quiet lake", model=model, submission_id="a-submission")
            backend = provider_class(category, slug)
            yield from callers_of(f"{slug} {category.lower()}", backend, prompt, spec.base_path)


TEMPLATES = list(template_callers())
REGISTERED = list(registered_callers())
TEMPLATE_CALLS = [caller for caller in TEMPLATES if not caller.is_download]
TEMPLATE_DOWNLOADS = [caller for caller in TEMPLATES if caller.is_download]


@pytest.fixture
def own_server() -> Iterator[Callable[[Step], FakeServer]]:
    """Start a server that follows one step: one for each call, so that all can wait at the same time."""
    with ExitStack() as stack:

        def start(step: Step) -> FakeServer:
            server = stack.enter_context(closing(FakeServer()))
            server.will(step)
            return server

        yield start


def assert_ended_by_the_deadline(calls: list[tuple[str, Caller, FakeServer]]) -> None:
    """Make all calls at once and check that each ends when its time is up, with an unknown outcome."""

    def seconds_until_failure(named: tuple[str, Caller, FakeServer]) -> tuple[str, float, ProviderError]:
        name, caller, server = named
        started = time.monotonic()
        error = caller.failure(server.url, DEADLINE_SECONDS)
        return name, time.monotonic() - started, error

    with ThreadPoolExecutor(len(calls)) as pool:
        ended = list(pool.map(seconds_until_failure, calls))
    assert {name: seconds for name, seconds, _ in ended if seconds > DEADLINE_SECONDS + LATE_SECONDS} == {}
    assert [name for name, _, error in ended if not error.maybe_paid or error.ends_job] == []


# --- The full grid, on the templates ---


@pytest.mark.parametrize("caller", TEMPLATES, ids=str)
def test_a_refused_connection_is_certain(caller: Caller) -> None:
    error = caller.failure(NOWHERE)

    assert type(error) is NotSent
    # The output of a download was made and paid for long before.
    assert error.maybe_paid is caller.is_download
    assert not error.ends_job


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("caller", TEMPLATE_CALLS, ids=str)
def test_whatever_breaks_after_the_request_may_have_been_paid(caller: Caller, server: FakeServer, fault: str) -> None:
    server.will(BREAKS[fault])

    error = caller.failure(server.url)

    assert type(error) is OutcomeUnknown
    assert error.maybe_paid
    assert not error.ends_job
    assert len(server.received) == 1  # never sent twice


@pytest.mark.parametrize("fault", BREAKS_OF_DOWNLOADS)
@pytest.mark.parametrize("caller", TEMPLATE_DOWNLOADS, ids=str)
def test_a_download_that_breaks_is_no_output(caller: Caller, server: FakeServer, fault: str) -> None:
    server.will(BREAKS[fault])

    assert caller.failure(server.url).maybe_paid


def test_the_total_deadline_ends_every_call(own_server: Callable[[Step], FakeServer]) -> None:
    calls = [(f"{caller}: {fault}", caller, own_server(SLOW[fault])) for caller in TEMPLATES for fault in SLOW]

    assert_ended_by_the_deadline(calls)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("caller", TEMPLATES, ids=str)
def test_no_redirect_is_followed(caller: Caller, server: FakeServer, status: int) -> None:
    with closing(FakeServer()) as elsewhere:
        elsewhere.will(answer({"id": "x"}))
        server.will(answer(b"", status, Location=f"{elsewhere.url}/v1"))
        caller.failure(server.url)

        assert elsewhere.connections == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:{}/x", "https://localhost:{}/x", "https://[::1]:{}/x"])
@pytest.mark.parametrize("backend", [TemplateImage, TemplateJob])
def test_no_download_comes_from_another_address_than_the_providers(
    server: FakeServer, address: str, backend: type[MediaProvider]
) -> None:
    with closing(FakeServer()) as neighbour:
        neighbour.will(answer(b"\x89PNG"))
        with pytest.raises(ProviderError):
            backend(Access("a-key", server.url)).fetch_output(
                address.format(neighbour.port), deadline=Deadline.after(5)
            )

        assert neighbour.connections == 0


@pytest.mark.parametrize("caller", TEMPLATE_CALLS, ids=str)
def test_a_limited_rate_says_for_how_long_where_it_does(caller: Caller, server: FakeServer) -> None:
    for headers, expected in (({"Retry_After": 7}, 7.0), ({}, None)):
        server.will(answer({"error": {"message": "Too many requests"}}, 429, **headers))

        error = caller.failure(server.url)

        assert (type(error), error.retry_after) == (RateLimited, expected)
        assert not error.maybe_paid
        assert not error.ends_job


# --- A few faults on every call of every provider ---


def test_every_registered_provider_takes_part() -> None:
    registered = {f"{slug} {category.lower()}" for slug, spec in PROVIDERS.items() for category in spec.backends}
    assert registered == {caller.name for caller in REGISTERED if len(caller.name.split()) == 2}


@pytest.mark.parametrize("caller", REGISTERED, ids=str)
def test_each_call_that_breaks_may_have_been_paid(caller: Caller, server: FakeServer) -> None:
    for fault in BREAKS_OF_DOWNLOADS[:2] if caller.is_download else BREAKS_OF_EACH:
        server.will(BREAKS[fault])
        tries_before = len(server.received)

        error = caller.failure(server.url)

        assert type(error) is OutcomeUnknown, fault
        assert error.maybe_paid, fault
        assert not error.ends_job, fault
        assert caller.is_download or len(server.received) == tries_before + 1, fault


def test_the_total_deadline_ends_each_call(own_server: Callable[[Step], FakeServer]) -> None:
    assert_ended_by_the_deadline([(str(caller), caller, own_server(hang)) for caller in REGISTERED])


def test_every_output_host_is_a_domain_name_on_the_internet() -> None:
    backends = [provider_class(category, slug) for slug, spec in PROVIDERS.items() for category in spec.backends]
    hosts = {host for backend in backends if issubclass(backend, MediaProvider) for host in backend.output_hosts}
    assert hosts
    for host in hosts - {ANY_HOST}:
        labels = host.removeprefix(".").split(".")
        assert len(labels) >= 2, host
        assert all(label.replace("-", "a").isalnum() and label.islower() for label in labels), host
        assert labels[-1].isalpha(), host
        assert labels[-1] not in ("internal", "local", "localhost"), host

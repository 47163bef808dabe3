"""Providers that send back everything they were sent: the key, the headers, the prompt."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.fakes.http_server import FakeServer, ServerConnection, Step, answer, close_after, head
from tests.security.canaries import KEYS

STATUSES = (400, 401, 403, 429, 500, 503, 200)


@contextmanager
def leaky_servers_for(slugs: Iterable[str]) -> Iterator[dict[str, FakeServer]]:
    """Run a server for each provider that leaks with every answer; each begins with another kind of failure."""
    servers = {slug: FakeServer() for slug in slugs}
    for number, (slug, server) in enumerate(servers.items()):
        steps = [*(leak(server, status) for status in STATUSES), leak_and_cut_off(server, KEYS[slug])]
        first = number % len(steps)
        server.will(*steps[first:], *steps[:first])
    try:
        yield servers
    finally:
        for server in servers.values():
            server.close()


def received_by(server: FakeServer) -> str:
    request = server.received[-1]
    return f"{request.path} {request.headers} {request.body.decode()}"


def leak(server: FakeServer, status: int) -> Step:
    """Answer with this status and the request itself in every place where an error text may be."""

    def step(connection: ServerConnection) -> None:
        received = received_by(server)
        body = {"error": {"message": received, "code": received}, "message": received, "detail": received}
        answer(body, status)(connection)

    return step


def leak_and_cut_off(server: FakeServer, key: str) -> Step:
    """Leak in a header and in a body that ends too early."""

    def step(connection: ServerConnection) -> None:
        close_after(head(200, X_Received=key, Content_Length=10_000) + received_by(server).encode())(connection)

    return step

"""Vendors who say back all that they were told: the key, the headers, the prompt."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.fakes.http_server import FakeServer, Line, Step, answer, close_after, head
from tests.security.canaries import KEYS


@contextmanager
def gossips_for(slugs: Iterable[str]) -> Iterator[dict[str, FakeServer]]:
    """Run a server for each vendor; each begins with another of the ways to fail."""
    servers = {slug: FakeServer() for slug in slugs}
    for number, server in enumerate(servers.values()):
        steps = [gossip(server, status) for status in (400, 401, 403, 429, 500, 503, 200)] + [cut_gossip(server)]
        server.will(*steps[number:], *steps[:number])
    try:
        yield servers
    finally:
        for server in servers.values():
            server.close()


def heard_by(server: FakeServer) -> str:
    request = server.received[-1]
    return f"{request.path} {request.headers} {request.body.decode()}"


def gossip(server: FakeServer, status: int) -> Step:
    def step(line: Line) -> None:
        heard = heard_by(server)
        answer({"error": {"message": heard, "code": heard}, "message": heard, "detail": heard}, status)(line)

    return step


def cut_gossip(server: FakeServer) -> Step:
    def step(line: Line) -> None:
        close_after(head(200, X_Heard=KEYS["aimlapi"], Content_Length=10_000) + heard_by(server).encode())(line)

    return step

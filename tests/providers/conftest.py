"""Fixtures of the provider layer's tests."""

from collections.abc import Iterator

import pytest

from tests.fakes.http_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A loopback server with a script."""
    fake = FakeServer()
    yield fake
    fake.close()

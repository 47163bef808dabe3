"""Fixtures of the flows: the outside world of the processes that they start."""

from collections.abc import Iterator

import pytest

from tests.fakes.telegram import FakeTelegram


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    """A Bot API server with chat 42."""
    server = FakeTelegram()
    server.chat(42)
    yield server
    server.close()

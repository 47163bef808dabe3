"""The outside world of the processes that these tests start, and a chain that answers."""

from collections.abc import Callable, Iterator

import pytest

from providers.sandbox import Sandbox, running_sandbox
from tests.factories import make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    """A Bot API server with chat 42."""
    server = FakeTelegram()
    server.chat(42)
    yield server
    server.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """All providers, of which the chain asks the first."""
    make_model()
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    with running_sandbox() as server:
        yield server


@pytest.fixture
def variables(telegram, sandbox) -> dict[str, str]:
    """What a process must know of that world."""
    return {"SANDBOX_URL": sandbox.url, "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_BASE_URL": telegram.url}


@pytest.fixture
def answered(telegram) -> Callable[[], bool]:
    """Return whether chat 42 shows a whole answer."""
    return lambda: any("real answers." in text for text in telegram.chat(42).texts)

"""Fixtures that more than one folder uses."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from providers.transport import client
from requests_app.delivery_backend import MemoryOutlet, Outlet, get_outlet


@pytest.fixture
def memory_outlet(settings: LazySettings) -> Iterator[Outlet]:
    """The in-memory outlet instead of the chat."""
    settings.RESULT_OUTLET = "requests_app.delivery_backend.MemoryOutlet"
    get_outlet.cache_clear()
    outlet = get_outlet()
    assert isinstance(outlet, MemoryOutlet)
    yield outlet
    get_outlet.cache_clear()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | int]]:
    """What the doorbell was asked to ring, instead of ringing it."""
    rings: list[tuple[str, str | int]] = []
    monkeypatch.setattr("requests_app.dispatch._rings.put_nowait", rings.append)
    return rings


@pytest.fixture(autouse=True)
def _no_kept_connections() -> Iterator[None]:
    """Close the connections that a test has kept to its own server: there are more tests than file descriptors."""
    yield
    if client._adapter.cache_info().currsize:
        client._adapter().close()
        client._adapter.cache_clear()

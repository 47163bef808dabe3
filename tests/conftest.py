"""Fixtures that more than one folder uses."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from providers.transport import client
from requests_app.delivery_backend import DeliveryBackend, MemoryDeliveryBackend, get_delivery_backend


@pytest.fixture
def memory_backend(settings: LazySettings) -> Iterator[DeliveryBackend]:
    """The in-memory outlet instead of the chat."""
    settings.DELIVERY_BACKEND = "requests_app.delivery_backend.MemoryDeliveryBackend"
    get_delivery_backend.cache_clear()
    outlet = get_delivery_backend()
    assert isinstance(outlet, MemoryDeliveryBackend)
    yield outlet
    get_delivery_backend.cache_clear()


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | int]]:
    """What the doorbell was asked to enqueue, instead of ringing it."""
    enqueued_now: list[tuple[str, str | int]] = []
    monkeypatch.setattr("requests_app.dispatch._queue.put_nowait", enqueued_now.append)
    return enqueued_now


@pytest.fixture(autouse=True)
def _no_kept_connections() -> Iterator[None]:
    """Close the connections that a test has kept to its own server: there are more tests than file descriptors."""
    yield
    if client._adapter.cache_info().currsize:
        client._adapter().close()
        client._adapter.cache_clear()

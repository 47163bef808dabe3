"""Fixtures that more than one folder uses, and the option that lets tests without a database run once."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import pytest
from django.conf import LazySettings
from django.test import TransactionTestCase

from providers.registry import PROVIDERS
from providers.sandbox import Sandbox, running_sandbox
from providers.transport.client import close_connections
from providers.types import Access
from requests_app.delivery_backend import DeliveryBackend, MemoryDeliveryBackend, get_delivery_backend
from telegram_bot.updates.ingest import forget_known_rows
from tests.fakes.bucket import KEY_ID, NAME, SECRET, FakeBucket, running_bucket

# Fixtures by which a test opens the database: pytest-django's own, which all of its others are built on.
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup", "django_db_reset_sequences", "live_server"}
# The processes that these tests start open the database that the environment names.
PROCESS_FOLDERS = {Path(__file__).parent / "flows"}
LEFT_OUT = pytest.StashKey[int]()
# A change that was green stays green: new examples of a property are looked for where somebody asks for them.
EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "0"))
REPEATABLE = hypothesis.settings(derandomize=True, database=None)
SEARCHING = hypothesis.settings(max_examples=EXAMPLES or 1, deadline=None)
hypothesis.settings.register_profile("chosen", SEARCHING if EXAMPLES else REPEATABLE)
hypothesis.settings.load_profile("chosen")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-only",
        action="store_true",
        help="leave out the tests that open no database; for a second run on another database",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[LEFT_OUT] = 0
    if config.getoption("--database-only"):
        kept = [item for item in items if _opens_database(item)]
        left_out = [item for item in items if not _opens_database(item)]
        config.stash[LEFT_OUT] = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _opens_database(item: pytest.Item) -> bool:
    test_class = getattr(item, "cls", None)
    return (
        item.get_closest_marker("django_db") is not None
        or not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        or (isinstance(test_class, type) and issubclass(test_class, TransactionTestCase))
        or not PROCESS_FOLDERS.isdisjoint(item.path.parents)
    )


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    left_out = config.stash.get(LEFT_OUT, 0)
    if not left_out:
        return None
    return f"--database-only: {left_out} tests that open no database are left out, {len(items)} run"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # `make test ARGS="-k word"` may name tests of which the second run has none.
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash.get(LEFT_OUT, 0):
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(autouse=True)
def _no_known_rows() -> None:
    """Forget the keys of rows that the test before has rolled back."""
    forget_known_rows()


@pytest.fixture(autouse=True)
def _fresh_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the operator's switches and the routes for every prompt: a test changes them more often than an operator."""
    monkeypatch.setattr("providers.chain.candidates.CHAIN_CACHE_SECONDS", 0)
    monkeypatch.setattr("requests_app.services.maintenance.CACHE_SECONDS", 0)
    monkeypatch.setattr("requests_app.services.maintenance._cached", None)


@pytest.fixture(autouse=True)
def _nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the alerts' watch out of sweeps and of due work: its turn comes by the clock."""
    monkeypatch.setattr("aibot.alerts.watch._next_watch", float("inf"))


@pytest.fixture(autouse=True)
def _no_account_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the questions to the providers for their accounts out of sweeps: their turn comes by the clock."""
    monkeypatch.setattr("providers.reconciliation.services._next_look", float("inf"))


@pytest.fixture
def memory_backend(settings: LazySettings) -> Iterator[DeliveryBackend]:
    """The in-memory delivery backend instead of the chat."""
    settings.DELIVERY_BACKEND = "requests_app.delivery_backend.MemoryDeliveryBackend"
    get_delivery_backend.cache_clear()
    backend = get_delivery_backend()
    assert isinstance(backend, MemoryDeliveryBackend)
    yield backend
    get_delivery_backend.cache_clear()


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | int]]:
    """The wake-up messages that would have gone to the broker, as (task, key)."""
    messages: list[tuple[str, str | int]] = []
    monkeypatch.setattr("requests_app.dispatch.publish", lambda task, key, queue: messages.append((task, key)))
    return messages


@pytest.fixture
def bucket(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    """A bucket as the storage of media."""
    monkeypatch.setattr("aibot.s3_storage.MAX_TRIES", 1)
    with running_bucket() as running:
        options = {"bucket_name": NAME, "endpoint_url": running.url, "access_key": KEY_ID, "secret_key": SECRET}
        settings.STORAGES = {
            **settings.STORAGES,
            "default": {
                "BACKEND": "aibot.s3_storage.S3MediaStorage",
                "OPTIONS": {**options, "region_name": "eu-west-1"},
            },
        }
        yield running


@pytest.fixture(autouse=True)
def _no_kept_connections() -> Iterator[None]:
    """Close the connections that a test has kept to its own server: there are more tests than file descriptors."""
    yield
    close_connections()


@pytest.fixture
def sandboxed(settings, monkeypatch) -> Iterator[Sandbox]:
    """The sandbox in place of every provider: its jobs take no time and are polled at once."""
    with running_sandbox(video_seconds=0) as sandbox:
        settings.SANDBOX_ACTIVE = True
        settings.PROVIDER_ACCESS = {
            slug: Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{spec.base_path}")
            for slug, spec in PROVIDERS.items()
        }
        settings.ADMIN_ACCESS = {
            slug: Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{urlsplit(access.base_url).path}")
            for slug, access in settings.ADMIN_ACCESS.items()
        }
        monkeypatch.setattr("providers.chain.fallback.poll_delay_seconds", lambda provider, age_seconds: 0)
        yield sandbox

"""Fixtures for the proof that secrets and prompts stay where they belong."""

from collections.abc import Iterator

import pytest

from providers.registry import PROVIDERS
from providers.types import Access
from tests.fakes.bucket import SECRET
from tests.fakes.http_server import FakeServer
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.security.canaries import ADMIN_KEYS, CALLBACK_SECRETS, KEYS, SECRETS, LogRecorder, recorded_logs
from tests.security.secret_leaks import leaky_servers_for
from tests.telegram_bot.conftest import fake, say

__all__ = ["fake", "say"]


@pytest.fixture
def canaries(settings, fake: FakeTelegram) -> list[str]:
    """Every secret of the settings, each replaced by a word that is easily found again."""
    for name, secret in SECRETS.items():
        setattr(settings, name, secret)
    settings.CELERY_BROKER_URL = SECRETS["REDIS_URL"]
    settings.S3_OPTIONS = {**settings.S3_OPTIONS, "secret_key": SECRET}
    settings.PROVIDER_ACCESS = {
        slug: Access(key, settings.PROVIDER_ACCESS[slug].base_url) for slug, key in KEYS.items()
    }
    settings.ADMIN_ACCESS = {
        slug: Access(key, settings.ADMIN_ACCESS[slug].base_url) for slug, key in ADMIN_KEYS.items()
    }
    settings.PROVIDER_CALLBACK_SECRETS = CALLBACK_SECRETS
    settings.WELCOME_CREDITS = 1000
    secrets = [*KEYS.values(), *ADMIN_KEYS.values(), *CALLBACK_SECRETS.values(), *SECRETS.values(), TOKEN, SECRET]
    settings.SECRETS = sorted(secrets, key=len, reverse=True)
    return secrets


@pytest.fixture
def log() -> Iterator[LogRecorder]:
    """The lines of every logger, down to DEBUG."""
    with recorded_logs() as log:
        yield log


@pytest.fixture
def leaky_servers(settings, canaries) -> Iterator[dict[str, FakeServer]]:
    """A server for each provider that answers with whatever it was sent, each time with another status."""
    with leaky_servers_for(PROVIDERS) as servers:
        settings.PROVIDER_ACCESS = {
            slug: Access(KEYS[slug], servers[slug].url + spec.base_path) for slug, spec in PROVIDERS.items()
        }
        settings.ADMIN_ACCESS = {slug: Access(key, servers[slug].url) for slug, key in ADMIN_KEYS.items()}
        yield servers

"""Fixtures for the proof that secrets and prompts stay where they belong."""

from collections.abc import Iterator

import pytest

from providers.registry import PROVIDERS
from providers.types import Access
from tests.fakes.bucket import KEY_ID, NAME, SECRET, FakeBucket, running_bucket
from tests.fakes.http_server import FakeServer
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.security.canaries import KEYS, SECRETS, Log, everybody_talks
from tests.security.secret_leaks import gossips_for
from tests.telegram_bot.conftest import fake, say

__all__ = ["fake", "say"]


@pytest.fixture
def canaries(settings, fake: FakeTelegram) -> list[str]:
    """Every secret of the settings, each of them a word that is easily found again."""
    for name, secret in SECRETS.items():
        setattr(settings, name, secret)
    settings.CELERY_BROKER_URL = SECRETS["REDIS_URL"]
    settings.S3_OPTIONS = {**settings.S3_OPTIONS, "secret_key": SECRET}
    settings.PROVIDER_ACCESS = {
        slug: Access(key, settings.PROVIDER_ACCESS[slug].base_url) for slug, key in KEYS.items()
    }
    settings.WELCOME_CREDITS = 1000
    secrets = [*KEYS.values(), *SECRETS.values(), TOKEN, SECRET]
    settings.SECRETS = sorted(secrets, key=len, reverse=True)
    return secrets


@pytest.fixture
def log() -> Iterator[Log]:
    """What every logger says, down to DEBUG."""
    with everybody_talks() as log:
        yield log


@pytest.fixture
def bucket(settings, monkeypatch) -> Iterator[FakeBucket]:
    """A bucket for the outputs, reached with the secret among the canaries."""
    monkeypatch.setattr("aibot.s3_storage.TRIES", 1)
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


@pytest.fixture
def gossips(settings, canaries) -> Iterator[dict[str, FakeServer]]:
    """A server for each vendor that answers with whatever it was sent, each time in another way."""
    with gossips_for(PROVIDERS) as servers:
        settings.PROVIDER_ACCESS = {
            slug: Access(KEYS[slug], servers[slug].url + vendor.base_path) for slug, vendor in PROVIDERS.items()
        }
        yield servers

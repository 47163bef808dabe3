"""Fixtures for the tests of requests."""

from collections.abc import Callable

import pytest

from providers.models import ProviderConfig
from providers.types import Access
from tests.factories import make_provider
from tests.fakes.chain import ChainScript, ScriptedOutcome


@pytest.fixture
def chain(settings, monkeypatch) -> Callable[..., ChainScript]:
    """Make the chain: `chain(aimlapi=["Hello"], piapi=[ServerFault()])` in this order; no other provider has a key."""

    def make(**outcomes: list[ScriptedOutcome]) -> ChainScript:
        script = ChainScript(outcomes)
        for priority, slug in enumerate(outcomes, start=1):
            if not ProviderConfig.objects.filter(category="TEXT", provider=slug).exists():
                make_provider(slug)
            ProviderConfig.objects.filter(category="TEXT", provider=slug).update(priority=priority)
        settings.PROVIDER_ACCESS = {slug: Access(f"key-{slug}", "http://127.0.0.1:9") for slug in outcomes}
        monkeypatch.setattr("providers.access.provider_class", script.provider_class)
        return script

    return make

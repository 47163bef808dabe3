"""Fixtures for the tests of the bot: a Bot API server on the loopback, called by our real client."""

from collections.abc import Callable, Iterator

import pytest

from providers.models import ProviderConfig
from providers.types import Access, TextResult
from requests_app.delivery_backend import get_delivery_backend
from telegram_bot.api.client import close_client
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates.ingest import update_ingest
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_model, make_provider
from tests.fakes.chain import ChainScript, ScriptedOutcome
from tests.fakes.telegram import TOKEN, FakeTelegram


@pytest.fixture
def fake(settings) -> Iterator[FakeTelegram]:
    """A Bot API server with chat 42, and settings with its URL."""
    server = FakeTelegram()
    server.chat(42)
    settings.TELEGRAM_BOT_TOKEN = TOKEN
    settings.TELEGRAM_API_BASE_URL = server.url
    get_delivery_backend.cache_clear()
    yield server
    close_client()
    server.close()


@pytest.fixture
def chain(settings, monkeypatch) -> Callable[..., ChainScript]:
    """Make the chain: `chain(aimlapi=["Hello"], piapi=[ServerFault()])` in this order; no other provider has a key."""

    def make(**outcomes: list[ScriptedOutcome]) -> ChainScript:
        script = ChainScript(outcomes)
        make_model()
        for priority, slug in enumerate(outcomes, start=1):
            make_provider(slug, priority=priority)
        ProviderConfig.objects.exclude(provider__in=outcomes).delete()
        settings.PROVIDER_ACCESS = {slug: Access(f"key-{slug}", "http://127.0.0.1:9") for slug in outcomes}
        monkeypatch.setattr("providers.access.provider_class", script.provider_class)
        return script

    return make


@pytest.fixture
def streaming_chain(chain, monkeypatch):
    """Make a chain whose provider calls `thinking()`, streams half an answer, calls `reader()`, and ends its answer."""

    def make(reader: Callable[[], None], *, times: int = 1, thinking: Callable[[], None] = lambda: None) -> None:
        script = chain(aimlapi=["The whole answer."] * times)
        scripted_class = script.provider_class

        def streaming_class(category, slug, operation):
            class Streaming(scripted_class(category, slug)):
                def run(self, prompt, *, timeout_seconds, deadline, on_text=None) -> TextResult:
                    thinking()
                    if on_text:
                        on_text("Half of the answer")
                    reader()
                    return super().run(prompt, timeout_seconds=timeout_seconds, deadline=deadline)

            return Streaming

        monkeypatch.setattr("providers.access.provider_class", streaming_class)

    return make


@pytest.fixture
def say(fake, enqueued) -> Callable[[dict], str]:
    """Ingest and handle an update: `say(message("Hello"))` returns its outcome."""

    def arrive(raw: dict) -> str:
        update_ingest(raw)
        row = TelegramUpdate.objects.get(update_id=raw["update_id"])
        if row.chat_id is not None:
            queue_drain(chat_id=row.chat_id)
        row.refresh_from_db()
        return row.outcome

    return arrive

"""The facts agree with the database, the bill and the chat after requests through the product itself."""

from dataclasses import replace

import pytest

from providers.sandbox import Sandbox, running_sandbox
from providers.types import Access
from requests_app.models import Account, AIModel, Request
from requests_app.services.execution import request_advance
from telegram_bot.api.client import close_client
from telegram_bot.updates.ingest import update_ingest
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat, make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.proof.checker import check
from tests.proof.facts import BillFact, Facts
from tests.proof.loading import load_facts
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db


@pytest.fixture
def telegram(settings):
    server = FakeTelegram()
    server.chat(42)
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL = TOKEN, server.url
    yield server
    close_client()
    server.close()


@pytest.fixture
def sandbox(settings):
    with running_sandbox() as server:
        paths = {"aimlapi": "", "piapi": "", "openai": "/v1", "elevenlabs": ""}
        settings.PROVIDER_ACCESS = {
            slug: Access(f"sandbox-key-{slug}", f"{server.url}/{slug}{path}") for slug, path in paths.items()
        }
        yield server


def complete_request(text: str, model: AIModel) -> int:
    """Send a prompt for this model and complete its request; return the update's id."""
    AIModel.objects.exclude(id=model.id).update(enabled=False)
    AIModel.objects.filter(id=model.id).update(enabled=True)
    update = message(text)
    update_ingest(update)
    queue_drain(chat_id=make_chat(42).pk)
    request_advance(request_id=Request.objects.order_by("-created_at", "-id")[0].id)
    return update["update_id"]


def facts_of(telegram: FakeTelegram, sandbox: Sandbox, acknowledged: set[int]) -> Facts:
    return load_facts(bill=sandbox.billing.as_list(), telegram=telegram, acknowledged=acknowledged, max_idle_seconds=60)


def test_text_image_audio_and_a_failure_are_loaded_and_break_no_promise(telegram, sandbox, enqueued, settings):
    settings.WELCOME_CREDITS = 20
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    make_provider("piapi", priority=2, model="gpt-5.2")
    make_provider("openai", category="IMAGE", model="gpt-image-2.6-flare")
    make_provider("elevenlabs", category="AUDIO", model="eleven_v4_turbo")
    image, audio = make_model(category="IMAGE", token_cost=5), make_model(category="AUDIO", token_cost=5)
    sandbox.break_provider("aimlapi", "cut")
    ids = {complete_request(f"Number {n}", model) for n, model in enumerate((make_model(), image, audio))}
    for provider in ("piapi", "openai"):
        sandbox.break_provider(provider, "down")
    ids.add(complete_request("Number 3", make_model()))

    facts = facts_of(telegram, sandbox, ids)

    assert check(facts) == []
    assert [request.status for request in facts.requests] == ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED"]
    assert [(line.provider, line.prompt, line.is_billed) for line in facts.bill[:2]] == [
        ("aimlapi", "Number 0", True),
        ("piapi", "Number 0", True),
    ]
    assert [request.answered_prompt for request in facts.requests] == ["Number 0", "", "", ""]  # a file quotes nothing
    assert len(facts.messages) == len(facts.deliveries) == len(facts.updates) == 4
    assert facts.messages[1].content.startswith("file ")


def test_changes_behind_the_products_back_are_reported(telegram, sandbox, enqueued):
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    ids = {complete_request("Number 0", make_model())}
    Account.objects.update(balance=5)
    telegram.chat(42).messages.append(replace(telegram.chat(42).messages[0], id=5))
    facts = facts_of(telegram, sandbox, ids)

    found = check(replace(facts, bill=(*facts.bill, BillFact("aimlapi", "Number 0", is_billed=True))))

    assert {violation.rule for violation in found} == {
        "balance wrong",
        "shown twice",
        "call without an attempt",
        "cost unrecorded",
        "paid twice",
    }

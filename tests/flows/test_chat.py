"""From the webhook to the chat through real workers: one answer, even if workers are killed."""

import json
from collections.abc import Iterator

import pytest
from django.test import Client

from providers.sandbox import Sandbox, running_sandbox
from requests_app.models import LedgerEntry, Request
from telegram_bot.models import TelegramUpdate
from tests.factories import make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.flows.processes import sweeper, wait_until, worker
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "hook-secret"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as server:
        yield server


@pytest.fixture
def variables(telegram, sandbox, settings) -> dict[str, str]:
    """The variables of the processes; and the chain's routes, which an earlier test may have deleted."""
    settings.TELEGRAM_WEBHOOK_SECRET = SECRET
    make_model()
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    make_provider("piapi", priority=2, model="gpt-5.2")
    return {"SANDBOX_URL": sandbox.url, "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_BASE_URL": telegram.url}


def post(update: dict) -> int:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    response = Client().post("/telegram/webhook/", json.dumps(update), content_type="application/json", headers=headers)
    return response.status_code


def answers(telegram: FakeTelegram) -> list[str]:
    return [text for text in telegram.chat(42).texts if text.startswith("Hello from the sandbox")]


def is_finished(telegram: FakeTelegram) -> bool:
    """Return whether the whole answer is shown and committed: as a stream it may be shown a moment before."""
    is_shown = any("real answers." in text for text in answers(telegram))
    return is_shown and Request.objects.filter(status="COMPLETED").exists()


def ledger() -> list[str]:
    entries = LedgerEntry.objects.exclude(kind="TOPUP").order_by("id")
    return list(entries.values_list("kind", flat=True))


def test_a_prompt_is_answered_in_the_chat_however_often_its_update_arrives(telegram, variables):
    update = message("Say hello")
    with worker(**variables), sweeper(**variables):
        assert [post(update) for _ in range(3)] == [200, 200, 200]
        wait_until(lambda: is_finished(telegram), "the answer in the chat")

    assert len(telegram.chat(42).messages) == 1
    assert ledger() == ["HOLD", "CAPTURE"]
    assert Request.objects.count() == TelegramUpdate.objects.count() == 1


def test_after_a_worker_was_killed_in_the_middle_of_an_answer_there_is_exactly_one(telegram, sandbox, variables):
    sandbox.break_provider("aimlapi", "hang")
    with worker(**variables) as victim, sweeper(**variables):
        post(message("Say hello"))
        wait_until(lambda: telegram.chat(42).messages, "the placeholder")
        wait_until(lambda: Request.objects.filter(status="PROCESSING", lease_until__isnull=False).exists(), "the call")
        victim.kill()
        victim.wait()
        with worker(**variables):
            wait_until(lambda: is_finished(telegram), "the answer in the chat")

    assert len(answers(telegram)) == 1
    assert "PiAPI" in answers(telegram)[0]
    assert ledger() == ["HOLD", "CAPTURE"]


def test_when_every_provider_is_down_the_chat_says_so_and_the_credits_are_released(telegram, sandbox, variables):
    for provider in ("aimlapi", "piapi"):
        sandbox.break_provider(provider, "down")
    with worker(**variables), sweeper(**variables):
        post(message("Say hello"))
        wait_until(lambda: any("back" in text for text in telegram.chat(42).texts), "the failure in the chat")

    assert ledger() == ["HOLD", "RELEASE"]
    assert len(telegram.chat(42).messages) == 1

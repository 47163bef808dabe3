"""`manage.py telegram_status`: what Telegram sees, and what to do where updates do not arrive."""

import json
import time

import pytest
from django.core.management import CommandError, call_command

from aibot.env import env_url
from telegram_bot.api.client import close_client
from telegram_bot.bot_status import bot_status, webhook_url
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates.ingest import ALLOWED_UPDATES
from tests.fakes.telegram import BOT, answers, refuse
from tests.telegram_bot.updates import message

URL = "https://bot.example/telegram/webhook/"


def status_of(capsys) -> tuple[int, list[str]]:
    """Run the command; return its exit code and its lines."""
    code = 0
    try:
        call_command("telegram_status")
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, capsys.readouterr().out.splitlines()


@pytest.fixture
def webhook(fake, settings):
    """The webhook as Telegram knows it, which is as the settings say."""
    settings.TELEGRAM_WEBHOOK_URL = URL
    fake.webhook = {"url": URL, "allowed_updates": list(ALLOWED_UPDATES)}
    return fake.webhook


def test_a_webhook_as_set_is_no_problem(webhook, capsys):
    code, lines = status_of(capsys)

    assert (code, lines[:3]) == (0, ["@test_bot", f"Updates go to  {URL}", "Waiting there  0"])
    assert "mentions are not" in lines[3]


def test_with_privacy_mode_off_it_says_so(fake, webhook, capsys):
    fake.will("getMe", answers({"ok": True, "result": {**BOT, "can_read_all_group_messages": True}}))
    close_client()

    _, lines = status_of(capsys)

    assert "every message is delivered" in lines[-1]


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"url": ""}, "Telegram knows no webhook"),
        ({"url": URL.rstrip("/")}, "another address"),
        ({"allowed_updates": ["message"]}, "not send all kinds"),
    ],
)
def test_what_keeps_updates_away_is_named_with_its_remedy(webhook, capsys, known, words):
    webhook |= known

    code, lines = status_of(capsys)

    assert code == 1
    assert words in lines[-1]
    assert "manage.py telegram_setup" in lines[-1]


def test_a_webhook_beside_polling_is_named(webhook, settings, capsys):
    settings.TELEGRAM_WEBHOOK_URL = ""

    code, lines = status_of(capsys)

    assert code == 1
    assert "`manage.py bot` removes it" in lines[-1]


def test_a_failing_call_is_a_problem_while_updates_wait(fake, webhook, capsys):
    fake.webhook_faults = {"last_error_date": int(time.time()) - 5, "last_error_message": "SSL error"}
    assert status_of(capsys)[0] == 0  # over

    fake.webhook_faults["pending_update_count"] = 3
    code, lines = status_of(capsys)
    assert code == 1
    assert "SSL error" in lines[-1]

    fake.webhook_faults["last_error_date"] = 1_790_000_000  # months ago; what waits has just come
    code, lines = status_of(capsys)
    assert (code, lines[3]) == (0, "Last error     2026-09-21 14:13:20 UTC: SSL error")


def test_privacy_mode_is_asked_for_anew_by_a_process_that_has_asked_before(fake, webhook):
    assert not bot_status().identity.reads_groups
    fake.will("getMe", answers({"ok": True, "result": {**BOT, "can_read_all_group_messages": True}}))

    assert bot_status().identity.reads_groups


def test_where_telegram_refuses_one_line_says_so(fake, capsys):
    fake.will("getWebhookInfo", refuse(500, "Internal Server Error"))

    with pytest.raises(CommandError, match="Telegram did not say"):
        call_command("telegram_status")


@pytest.mark.parametrize("typed", [URL, URL.rstrip("/")])
@pytest.mark.django_db
def test_the_address_is_registered_as_typed_and_served_in_either_spelling(client, settings, monkeypatch, typed):
    settings.TELEGRAM_WEBHOOK_SECRET = "a-secret"
    monkeypatch.setenv("TELEGRAM_WEBHOOK_URL", typed)

    url = webhook_url(env_url("TELEGRAM_WEBHOOK_URL", keeps_slash=True))
    response = client.post(
        url.removeprefix("https://bot.example"),
        json.dumps(message("Hello")),
        content_type="application/json",
        headers={"X-Telegram-Bot-Api-Secret-Token": "a-secret"},
    )

    assert url == typed
    assert response.status_code == 200
    assert TelegramUpdate.objects.count() == 1

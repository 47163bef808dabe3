"""`manage.py bot` and `manage.py telegram_setup`."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.bot_status import webhook_url
from telegram_bot.models import TelegramUpdate
from telegram_bot.updates import polling
from tests.fakes.telegram import TOKEN, Hold, refuse
from tests.telegram_bot.updates import message

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def poller(fake, monkeypatch, enqueued) -> Callable[[], threading.Event]:
    """Start a poller in a thread; it stops with the test."""
    monkeypatch.setattr(polling, "MIN_PAUSE_SECONDS", 0.02)
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start() -> threading.Event:
        threads.append(threading.Thread(target=polling.poll, kwargs={"client": get_client(), "stop": stop}))
        threads[0].start()
        return stop

    yield start
    stop.set()
    fake.push(message("the end"))
    for thread in threads:
        thread.join(10)


@pytest.mark.django_db(transaction=True)
def test_updates_are_stored_before_they_are_confirmed(fake, poller):
    updates = [message("one"), message("two")]
    fake.push(*updates)

    poller()
    fake.wait_for(lambda: fake.confirmed == updates[1]["update_id"] + 1)

    assert set(TelegramUpdate.objects.values_list("update_id", flat=True)) == {u["update_id"] for u in updates}


@pytest.mark.django_db(transaction=True)
def test_an_update_that_cannot_be_stored_is_not_confirmed(fake, poller, monkeypatch):
    update = message("one")
    failures = iter([OperationalError(), OperationalError()])
    save = TelegramUpdate.save

    def fail_twice(self, **kwargs):
        for failure in failures:
            raise failure
        save(self, **kwargs)

    monkeypatch.setattr(TelegramUpdate, "save", fail_twice)
    fake.push(update)

    poller()
    fake.wait_for(lambda: fake.confirmed == update["update_id"] + 1)

    assert [call.parameters.get("offset") for call in fake.called("getUpdates")[:4]] == [
        None,
        None,
        None,
        update["update_id"] + 1,
    ]


@pytest.mark.django_db(transaction=True)
def test_it_polls_for_the_kinds_of_updates_that_it_handles(fake, poller):
    poller()
    fake.wait_for(lambda: fake.called("getUpdates"))

    parameters = fake.called("getUpdates")[0].parameters
    assert parameters["allowed_updates"] == ["message", "callback_query", "my_chat_member"]
    assert parameters["timeout"] == 30


@pytest.mark.django_db(transaction=True)
def test_a_second_poller_is_reported_once_and_waited_for(fake, poller, caplog):
    fake.will("getUpdates", *[refuse(409, "Conflict: terminated by other getUpdates request")] * 3)
    update = message("one")
    fake.push(update)

    poller()
    fake.wait_for(lambda: fake.confirmed == update["update_id"] + 1)

    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [polling.CONFLICT]


def test_without_a_token_one_line_says_what_to_do(settings):
    settings.TELEGRAM_BOT_TOKEN = ""

    for command in ("bot", "telegram_setup"):
        with pytest.raises(CommandError, match="BotFather"):
            call_command(command)


def test_an_unknown_token_ends_it_with_one_line(fake, settings):
    settings.TELEGRAM_BOT_TOKEN = "4242:wrong"

    with pytest.raises(CommandError, match="Telegram does not know this bot token"):
        call_command("bot")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly_in_the_middle_of_a_poll(fake, number, tmp_path):
    fake.webhook = {"url": "https://old.example"}
    hold = Hold()
    fake.will("getUpdates", hold)
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "x" * 50,
        "DEBUG": "True",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": fake.url,
    }
    command = subprocess.Popen(
        [sys.executable, "manage.py", "bot"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert hold.arrived.wait(30)
        command.send_signal(number)
        output, _ = command.communicate(timeout=15)
    finally:
        command.kill()
        hold.go()

    assert command.returncode == 0
    # Without a terminal no link: who reads a log is not who has the server. Without a database it polls all the same.
    assert output.splitlines() == ["@test_bot receives updates by polling. Ctrl-C stops it.", "Stopped."]
    assert fake.webhook == {}


@pytest.mark.django_db
def test_setup_registers_the_webhook_the_commands_and_the_descriptions(fake, settings, capsys):
    settings.TELEGRAM_WEBHOOK_URL = "https://bot.example"
    settings.TELEGRAM_WEBHOOK_SECRET = "a-secret"

    call_command("telegram_setup")

    assert fake.webhook["url"] == "https://bot.example/telegram/webhook/"
    assert fake.webhook["secret_token"] == "a-secret"
    assert fake.webhook["allowed_updates"] == ["message", "callback_query", "my_chat_member"]
    assert [command["command"] for command in fake.commands[""]] == ["new", "cancel", "model", "balance", "help"]
    assert fake.descriptions == {"long": texts.DESCRIPTIONS[""], "short": texts.SHORT_DESCRIPTIONS[""]}
    assert capsys.readouterr().out.splitlines()[:5] == [
        "The webhook is set.",
        "The commands and the descriptions are set. What Telegram sees now:",
        "  @test_bot",
        "  Updates go to  https://bot.example/telegram/webhook/",
        "  Waiting there  0",
    ]


@pytest.mark.django_db
def test_setup_without_a_url_leaves_the_webhook_and_says_how_to_poll(fake, capsys):
    call_command("telegram_setup")

    assert "manage.py bot" in capsys.readouterr().out
    assert not fake.called("setWebhook")


@pytest.mark.parametrize(
    ("url", "secret", "words"),
    [
        ("https://bot.example", "", "TELEGRAM_WEBHOOK_SECRET"),
        ("https://bot.example", "with spaces", "TELEGRAM_WEBHOOK_SECRET"),
        ("http://bot.example", "a-secret", "https"),
    ],
)
def test_setup_refuses_settings_that_telegram_would_refuse(fake, settings, url, secret, words):
    settings.TELEGRAM_WEBHOOK_URL, settings.TELEGRAM_WEBHOOK_SECRET = url, secret

    with pytest.raises(CommandError, match=words):
        call_command("telegram_setup")

    assert not fake.called("setWebhook")


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("https://bot.example", "https://bot.example/telegram/webhook/"),
        ("https://bot.example/", "https://bot.example/telegram/webhook/"),
        ("https://bot.example/behind/a/proxy/", "https://bot.example/behind/a/proxy/"),
    ],
)
def test_a_url_without_a_path_gets_the_webhooks_path(setting, url):
    assert webhook_url(setting) == url

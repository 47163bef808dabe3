"""The canaries through real processes: the messages on the broker and everything the processes write."""

import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator

import pytest
from django.conf import settings as project
from django.db import connection
from django.test import Client
from redis import Redis

from aibot.celery import app
from providers.models import ProviderConfig
from providers.registry import PROVIDERS
from providers.types import Category
from requests_app import dispatch
from requests_app.models import Request
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat, make_model, make_provider
from tests.fakes.http_server import FakeServer
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.flows.processes import ROOT, environment, sweeper, wait_until, worker
from tests.security.canaries import ADMIN_KEYS, CALLBACK_SECRETS, CHAINS, KEYS, PROMPT, WORD, found_in
from tests.security.secret_leaks import leaky_servers_for
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db(transaction=True)

WEBHOOK_SECRET = "canary-of-the-webhook"
BUCKET_SECRET = "canary-of-the-bucket"
CHAIN = CHAINS[Category.TEXT]


@pytest.fixture
def leaky_servers() -> Iterator[dict[str, FakeServer]]:
    with leaky_servers_for(PROVIDERS) as servers:
        yield servers


@pytest.fixture
def variables(settings, fake: FakeTelegram, leaky_servers) -> dict[str, str]:
    """The processes' environment: a canary for each secret, and the addresses of the leaky servers."""
    settings.TELEGRAM_WEBHOOK_SECRET = WEBHOOK_SECRET
    make_model()
    ProviderConfig.objects.update(enabled=False)
    for priority, slug in enumerate(CHAIN, start=1):
        make_provider(slug, priority=priority, enabled=True)
    keys = {spec.key_variable: KEYS[slug] for slug, spec in PROVIDERS.items()}
    addresses = {spec.base_url_variable: leaky_servers[slug].url + spec.base_path for slug, spec in PROVIDERS.items()}
    accounts = {slug: PROVIDERS[slug].account for slug in ADMIN_KEYS}
    return {
        **keys,
        **addresses,
        **{spec.admin_variable: ADMIN_KEYS[slug] for slug, spec in accounts.items()},
        **{spec.admin_base_url_variable: leaky_servers[slug].url for slug, spec in accounts.items()},
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": fake.url,
        "TELEGRAM_WEBHOOK_SECRET": WEBHOOK_SECRET,
        **{spec.callback.secret_variable: CALLBACK_SECRETS[slug] for slug, spec in PROVIDERS.items() if spec.callback},
        "S3_BUCKET": "media",
        "S3_ACCESS_KEY_ID": "a-key-id",
        "S3_SECRET_ACCESS_KEY": BUCKET_SECRET,
    }


def secrets() -> list[str]:
    password = connection.settings_dict["PASSWORD"]
    own = [
        TOKEN,
        WEBHOOK_SECRET,
        BUCKET_SECRET,
        project.SECRET_KEY,
        *KEYS.values(),
        *ADMIN_KEYS.values(),
        *CALLBACK_SECRETS.values(),
    ]
    return [*own, password] if password else own


def on_the_broker() -> list[str]:
    """Return every message on the broker."""
    if not project.REDIS_URL:
        return [path.read_text() for path in project.QUEUE_DIR.glob("*/*.msg")]
    with Redis.from_url(project.REDIS_URL, decode_responses=True) as broker:
        lists = [key for key in broker.scan_iter() if broker.type(key) == "list"]
        hashes = [key for key in broker.scan_iter() if broker.type(key) == "hash"]  # delivered, and not acknowledged
        return [item for key in lists for item in broker.lrange(key, 0, -1)] + [
            item for key in hashes for item in broker.hvals(key)
        ]


def waiting_tasks() -> list[tuple[str, list[str | int]]]:
    """Return the tasks that wait on the broker, with their arguments."""
    messages = [json.loads(text) for text in on_the_broker() if '"task"' in text]
    return sorted((message["headers"]["task"], json.loads(b64decode(message["body"]))[0]) for message in messages)


def post(update: dict) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": WEBHOOK_SECRET}
    body = json.dumps(update)
    assert (
        Client().post("/telegram/webhook/", body, content_type="application/json", headers=headers).status_code == 200
    )


def test_they_are_neither_on_the_broker_nor_in_the_output_of_the_processes(tmp_path, fake, variables):
    app.control.purge()
    post(message(PROMPT))
    queue_drain(chat_id=make_chat(42).pk)
    dispatch.flush(10)
    request = Request.objects.get()

    wait_until(lambda: len(waiting_tasks()) >= 2, "both tasks on the broker")
    wake_ups = [("requests_app.tasks.advance", [request.id]), ("telegram_bot.tasks.handle_chat", [make_chat(42).pk])]
    assert waiting_tasks() == wake_ups
    assert found_in("".join(on_the_broker()), [*secrets(), WORD]) == []

    written = tmp_path / "written.log"
    with written.open("wb") as output, worker(stderr=output, **variables) as process, sweeper(**variables):
        wait_until(lambda: any("back" in text for text in fake.chat(42).texts), "the message that nobody answered")
        process.terminate()
        process.wait(timeout=30)

    log = written.read_text()
    assert all(f"✗ {slug} failed for TEXT" in log for slug in CHAIN)
    assert found_in(log, [*secrets(), WORD]) == []
    assert found_in("".join(on_the_broker()), [*secrets(), WORD]) == []


def test_they_are_not_in_the_output_of_the_command_line(variables):
    outcome = subprocess.run(
        [sys.executable, "manage.py", "ask", "TEXT", PROMPT, "--json"],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert outcome.returncode == 1
    assert [attempt["provider"] for attempt in json.loads(outcome.stdout)["attempts"]] == CHAIN
    assert found_in(outcome.stdout + outcome.stderr, [*secrets(), WORD]) == []

"""Telegram's webhook: stores what Telegram sends, and accepts nothing else."""

import json
import logging
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from telegram_bot.models import TelegramUpdate
from tests.telegram_bot.updates import message

SECRET = "a-webhook-secret"
URL = "/telegram/webhook/"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _secret(settings):
    settings.TELEGRAM_WEBHOOK_SECRET = SECRET


def post(client: Client, body: Any, secret: str | None = SECRET) -> Any:
    headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(URL, content, content_type="application/json", headers=headers)


def test_an_update_is_stored_unchanged_and_its_chat_is_enqueued(client, enqueued, django_capture_on_commit_callbacks):
    update = message("Hello", something_new={"from": "a later version"})

    with django_capture_on_commit_callbacks(execute=True):
        response = post(client, update)

    assert (response.status_code, response.content) == (200, b"")
    row = TelegramUpdate.objects.get()
    assert (row.update_id, row.kind, row.raw) == (update["update_id"], "message", update)
    assert row.chat
    assert row.chat.telegram_id == row.sender_id == 42
    assert enqueued == [("telegram_bot.tasks.handle_chat", row.chat_id)]


def test_a_second_arrival_is_idempotent(client, enqueued, django_capture_on_commit_callbacks):
    update = message("Hello")
    post(client, update)

    with django_capture_on_commit_callbacks(execute=True):
        assert post(client, update).status_code == 200

    assert TelegramUpdate.objects.count() == 1
    assert enqueued == []


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], "gehëim", "\xff\xfe"])
def test_a_wrong_or_missing_secret_is_refused(client, secret):
    assert post(client, message("Hello"), secret=secret).status_code == 403
    assert not TelegramUpdate.objects.exists()


@pytest.mark.parametrize("secret", [None, "", "anything"])
def test_without_a_configured_secret_the_webhook_refuses_every_update(client, settings, caplog, secret):
    settings.TELEGRAM_WEBHOOK_SECRET = ""

    assert post(client, message("Hello"), secret=secret).status_code == 403

    assert [record.message for record in caplog.records if record.name == "telegram_bot.webhook"] == [
        "The webhook refuses every update: TELEGRAM_WEBHOOK_SECRET is not set."
    ]
    assert not TelegramUpdate.objects.exists()


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_post_is_allowed(client, method):
    assert getattr(client, method)(URL).status_code == 405


def test_a_body_over_a_megabyte_is_refused(client):
    assert post(client, b'{"update_id": 1, "x": "' + b"x" * 1024 * 1024 + b'"}').status_code == 413
    assert not TelegramUpdate.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"canary"',
        b"{}",
        b'{"update_id": "1", "canary": 1}',
        b'{"update_id": true}',
        b'{"update_id": 1.5}',
        b'{"update_id": 9223372036854775808}',
        b'{"update_id": 1, "message": {"text": "canary\\u0000"}}',
        b'{"update_id": 1, "message": {"text": "canary\\ud800"}}',
        b'{"update_id": 1, "message": {"date": NaN}}',
        b'{"update_id": 1, "message": {"date": 1e999}}',
        b'{"update_id": 1, "a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"update_id": ' + b"1" * 5000 + b"}",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_a_malformed_update_is_dropped_and_never_quoted(client, caplog, body):
    caplog.set_level(logging.DEBUG)

    assert post(client, body).status_code == 200

    assert not TelegramUpdate.objects.exists()
    assert any("was dropped" in record.message for record in caplog.records)
    assert "canary" not in caplog.text


def test_a_message_may_contain_the_escape_sequence_of_nul(client):
    post(client, message(r"What does \u0000 mean?"))

    assert TelegramUpdate.objects.get().raw["message"]["text"] == r"What does \u0000 mean?"


@pytest.mark.parametrize(
    "content",
    [{}, {"poll": {"id": "1"}}, {"message": {}}, {"message": {"chat": {"id": "x"}}}, {"a": 1}, {"callback_query": {}}],
)
def test_an_update_without_a_chat_is_stored_with_the_reason_why_it_is_ignored(client, enqueued, content):
    assert post(client, {"update_id": 7, **content}).status_code == 200

    row = TelegramUpdate.objects.get()
    assert row.handled_at
    assert row.outcome == "ignored: belongs to no chat"
    assert enqueued == []


def test_while_the_database_is_down_telegram_is_asked_to_retry(client, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OperationalError("canary")

    monkeypatch.setattr(TelegramUpdate, "save", fail)

    response = post(client, message("Hello"))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "canary" not in caplog.text


def test_no_cookie_or_csrf_token_is_needed():
    client = Client(enforce_csrf_checks=True)

    assert post(client, message("Hello")).status_code == 200

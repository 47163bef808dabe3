"""What a chat answer costs at the database: statements and durable commits, from the webhook to the last edit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from django.db import connection
from django.urls import reverse

from requests_app.models import Request
from requests_app.services.execution import request_advance
from telegram_bot.updates.queue import queue_drain
from tests.telegram_bot.updates import message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="counted where the commits are durable"),
]

# What it costs today, so that it does not grow unseen; the aim is 14 and 6 (docs/benchmarks.md).
MAX_STATEMENTS = 31
MAX_DURABLE_COMMITS = 14


@dataclass
class Count:
    """Statements, without those that open and end transactions, and transactions that wrote something."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0


@contextmanager
def counted() -> Iterator[Count]:
    count = Count()

    def note(execute, sql, params, many, context):
        count.statements.append(sql)
        return execute(sql, params, many, context)

    before = _transactions()
    with connection.execute_wrapper(note):
        yield count
    count.commits = _transactions() - before


def _transactions() -> int:
    """Return how many transactions have had a number so far: those that wrote or locked a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])


def test_a_chat_answer(client, chain, fake, enqueued, settings, monkeypatch):
    monkeypatch.setattr("providers.chain.candidates.CHAIN_CACHE_SECONDS", 3600)
    settings.TELEGRAM_WEBHOOK_SECRET = "secret"
    chain(aimlapi=["The first answer", "The second answer"])

    def answer(text: str) -> None:
        """Do what the web process and a worker do for one message."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": "secret"}
        body = json.dumps(message(text))
        client.post(reverse("telegram_webhook"), body, content_type="application/json", headers=headers)
        queue_drain(chat_id=42)
        request = Request.objects.get(input_text=text)
        request_advance(request_id=request.id)

    answer("The first")  # the account, the chat and the caches are there by then
    with counted() as count:
        answer("The second")

    assert fake.chat(42).messages[-1].text == "The second answer"
    assert len(count.statements) <= MAX_STATEMENTS
    assert count.commits <= MAX_DURABLE_COMMITS

"""What a chat answer costs at the database: statements and durable commits, from the webhook to the last edit."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from django.db import connection
from django.db.backends.signals import connection_created
from django.urls import reverse

from providers.db import LAZY, give_back_connection
from requests_app import dispatch
from requests_app.models import AIModel
from requests_app.services.execution import request_advance
from telegram_bot.delivery.streaming import live_messages
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat
from tests.flows.processes import wait_until
from tests.telegram_bot.updates import message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="counted where the commits are durable"),
]

MAX_STATEMENTS = 14
MAX_DURABLE_COMMITS = 6


@dataclass
class Count:
    """Statements of all threads, and transactions that wrote something and waited for the disk."""

    statements: list[str] = field(default_factory=list)
    durable_commits: int = 0


@contextmanager
def counted() -> Iterator[Count]:
    count = Count()

    def note(execute, sql, params, many, context):
        count.statements.append(sql)
        return execute(sql, params, many, context)

    def watch(*, connection, **_):
        if note not in connection.execute_wrappers:
            connection.execute_wrappers.append(note)

    before = _transactions()
    give_back_connection()  # the next statement of every thread takes a new one
    connection_created.connect(watch)
    try:
        yield count
    finally:
        connection_created.disconnect(watch)
    connection.execute_wrappers.remove(note)
    count.durable_commits = _transactions() - before - sum(LAZY in sql for sql in count.statements)


def _transactions() -> int:
    """Return how many transactions have had a number so far: those that wrote or locked a row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])


def test_a_chat_answer(client, streaming_chain, fake, enqueued, settings, monkeypatch):
    """As in one worker process: the request is executed while its placeholder is sent, and streams half its answer."""
    # By size, as shipped.
    AIModel.objects.update(rates={"per_thousand_input_tokens": "0.2", "per_thousand_output_tokens": "1.5"})
    monkeypatch.setattr("providers.chain.candidates.CHAIN_CACHE_SECONDS", 3600)
    monkeypatch.setattr("requests_app.services.maintenance.CACHE_SECONDS", 3600)
    monkeypatch.setattr(dispatch, "_offer", None)
    settings.TELEGRAM_WEBHOOK_SECRET = "secret"

    def wait_for_placeholder() -> None:
        (request_id,) = under_way
        wait_until(lambda: live_messages[request_id]._placeholder, "the placeholder")

    def read_half() -> None:
        fake.wait_for(lambda: any("Half of" in text for text in fake.chat(42).texts))

    streaming_chain(read_half, times=2, thinking=wait_for_placeholder)
    pool = ThreadPoolExecutor(1)
    under_way: dict[str, Future[None]] = {}

    def take(task, key, queue) -> bool:
        if task == "requests_app.tasks.advance":
            under_way[key] = pool.submit(execute, key)
            wait_until(lambda: key in live_messages, "its stream")
        return True

    def execute(request_id: str) -> None:
        request_advance(request_id=request_id)
        give_back_connection()

    dispatch.offer_first(take)

    def answer(text: str) -> None:
        headers = {"X-Telegram-Bot-Api-Secret-Token": "secret"}
        body = json.dumps(message(text))
        client.post(reverse("telegram_webhook"), body, content_type="application/json", headers=headers)
        queue_drain(chat_id=chat_id)
        under_way.popitem()[1].result(20)

    chat_id = make_chat(42).pk
    answer("The first")  # the account, the chat and the caches are there by then
    with counted() as count:
        answer("The second")

    assert fake.chat(42).messages[-1].text == "The whole answer."
    assert len(count.statements) <= MAX_STATEMENTS, "\n".join(count.statements)
    assert count.durable_commits <= MAX_DURABLE_COMMITS

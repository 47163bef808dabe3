"""What is asked for each prompt, in each round and for the admin's filters costs the same however much is on record."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aibot.alerts.conditions import service_conditions
from aibot.health import _work
from aibot.metrics import DatabaseCollector
from providers.models import Attempt
from providers.statistics.rollups import fold_attempts
from requests_app.due_work import due_work
from requests_app.models import LedgerEntry, Request, RequestEvent
from requests_app.selectors import requests_under_way
from requests_app.services.sweeper import sweep_requests
from telegram_bot.models import Delivery, TelegramUpdate
from telegram_bot.selectors import newest_open_request
from telegram_bot.sweeper import sweep_telegram
from tests.factories import make_account, make_chat, make_model, make_request

pytestmark = pytest.mark.django_db

# Of what few rows are, or none.
RARE = [
    "requests_app/request/?status__exact=QUARANTINED",
    "requests_app/request/?status__exact=PENDING",
    "requests_app/request/?status__exact=FAILED",
    "requests_app/request/?status__exact=CANCELLED",
    "requests_app/request/?category__exact=VIDEO",
    "requests_app/request/?provider=replicate",
    "requests_app/request/?answered_by=further",
    "requests_app/request/?answered_by=none",
    "requests_app/request/?q=nobody",
    "requests_app/request/?q=req_nobody",
    "requests_app/ledgerentry/?kind__exact=ADJUST",
    "requests_app/ledgerentry/?kind__exact=RELEASE",
    "requests_app/ledgerentry/?q=nobody",
    "requests_app/ledgerentry/?q=req_nobody",
    "requests_app/requestevent/?q=req_nobody",
    "providers/attempt/?state__exact=UNKNOWN",
    "providers/attempt/?state__exact=FAILED",
    "providers/attempt/?state__exact=RUNNING",
    "providers/attempt/?purpose__exact=test",
    "providers/attempt/?category__exact=VIDEO",
    "providers/attempt/?provider=replicate",
    "providers/attempt/?q=nobody",
    "telegram_bot/delivery/?q=req_nobody",
]
FEW = "_unfinished|_of_further_routes"
HISTORY = 3000
GROWING = [Request, Attempt, Delivery, TelegramUpdate]  # with rows in the history below


@pytest.fixture
def account():
    """A user with a long history, as the planner knows it, and one open request."""
    account, model, chat, now = make_account(), make_model(), make_chat(), timezone.now()
    moments = [now - timedelta(minutes=number % 20) for number in range(HISTORY)]
    values = {"user": account, "model": model, "category": "TEXT", "credits": 1, "actual_provider": "openai"}
    ended = {"status": "COMPLETED", "output_text": "Hello", "completed_at": now, "deadline_at": now, "routes_asked": 1}
    requests = Request.objects.bulk_create(
        Request(intake_key=f"old:{number}", created_at=moment, **values, **ended)
        for number, moment in enumerate(moments)
    )
    called = {"number": 1, "category": "TEXT", "provider": "openai", "model": "m", "state": "OK", "rolled_up": True}
    Attempt.objects.bulk_create(
        Attempt(caller_key=request.id, created_at=moment, finished_at=moment, **called)
        for request, moment in zip(requests, moments, strict=True)
    )
    shown = {"part": 0, "kind": "RESULT", "state": "DELIVERED", "chat": chat, "message_id": 1, "delivered_at": now}
    Delivery.objects.bulk_create(Delivery(request=request, **shown) for request in requests)
    handled = {"bot_id": chat.bot_id, "chat": chat, "kind": "message", "raw": {}, "handled_at": now, "outcome": "done"}
    TelegramUpdate.objects.bulk_create(
        TelegramUpdate(update_id=number, received_at=moment, **handled) for number, moment in enumerate(moments)
    )
    make_request(account=account)
    with connection.cursor() as cursor:
        for model_class in GROWING:
            cursor.execute(f"ANALYZE {model_class._meta.db_table}")
    return account


def rows_read(call) -> int:
    """Return how many rows of the growing tables the queries of a call read."""
    with CaptureQueriesContext(connection) as context:
        call()
    read = 0
    for query in [query["sql"] for query in context.captured_queries if query["sql"].startswith("SELECT")]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
            read += _rows_of(cursor.fetchone()[0][0]["Plan"])
    return read


def _rows_of(plan: dict[str, Any]) -> int:
    below = sum(_rows_of(child) for child in plan.get("Plans", []))
    if plan.get("Relation Name") not in {model._meta.db_table for model in GROWING}:
        return below
    return below + int((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
@pytest.mark.parametrize("address", RARE)
def test_a_page_of_few_rows_reads_nothing_of_the_history(account, admin_client, address):
    assert rows_read(lambda: admin_client.get(f"/admin/{address}")) < 30


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="PostgreSQL reads the whole of a small table")
@pytest.mark.parametrize("address", RARE)
def test_a_page_of_few_rows_searches_an_index(admin_client, address):
    with CaptureQueriesContext(connection) as context:
        assert admin_client.get(f"/admin/{address}").status_code == 200
    tables = [model._meta.db_table for model in (*GROWING, LedgerEntry, RequestEvent)]
    for query in [query["sql"] for query in context.captured_queries if query["sql"].startswith("SELECT")]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
            scans = [detail for *_, detail in cursor.fetchall() if detail.startswith("SCAN")]
        # Those indexes contain the few rows that have not ended, and those that further routes were asked for.
        assert not [scan for scan in scans if scan.split()[1] in tables and not re.search(FEW, scan)], query


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
@pytest.mark.parametrize(
    "call",
    [
        lambda account: requests_under_way(account.pk).count(),
        lambda account: newest_open_request(account=account, chat_id=make_chat().pk),
        lambda _: due_work(100),
        lambda _: sweep_requests(),
        lambda _: sweep_telegram(),
        lambda _: fold_attempts(),
        lambda _: list(service_conditions()),
        lambda _: list(DatabaseCollector().collect()),
        lambda _: _work(),
    ],
    ids=["a prompt", "cancel", "due work", "sweep", "sweep of the bot", "roll-ups", "watch", "metrics", "readyz"],
)
def test_it_reads_what_is_unfinished_and_nothing_of_the_history(account, call):
    assert rows_read(lambda: call(account)) < 30

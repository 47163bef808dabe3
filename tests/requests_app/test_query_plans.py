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
from requests_app.account_search import account_keys
from requests_app.admin import requests as requests_admin
from requests_app.analytics.periods import period_named
from requests_app.analytics.rollups import fold_requests
from requests_app.analytics.selectors import (
    compared,
    costs,
    fallbacks,
    model_margins,
    requests_by_route,
    series_of,
    success_rates,
    top_users,
)
from requests_app.due_work import due_work
from requests_app.models import Account, AIModel, LedgerEntry, Request, RequestEvent
from requests_app.selectors import requests_under_way
from requests_app.services.sweeper import sweep_requests
from telegram_bot.chats import thread_ensure
from telegram_bot.models import Delivery, TelegramUpdate
from telegram_bot.selectors import newest_open_request
from telegram_bot.sweeper import sweep_telegram
from tests.factories import make_account, make_chat, make_model, make_request, make_user

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
    "requests_app/ledgerentry/?top_up=sold",
    "requests_app/ledgerentry/?top_up=given",
    "requests_app/ledgerentry/?top_up=sold&kind__exact=ADJUST",
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
    "telegram_bot/delivery/?state__exact=SENDING",
    "telegram_bot/delivery/?state__exact=UNDELIVERABLE",
    "telegram_bot/delivery/?kind__exact=NOTICE",
]
# Of two filters: many rows fit one, many fit the other, and none fits both.
RARE_PAIRS = [
    "requests_app/request/?status__exact=FAILED&category__exact=IMAGE",
    "requests_app/request/?status__exact=FAILED&provider=openai",
    "requests_app/request/?status__exact=PENDING&provider=openai",
    "requests_app/request/?category__exact=IMAGE&provider=openai",
    "requests_app/request/?category__exact=TEXT&provider=replicate",
    "providers/attempt/?state__exact=FAILED&category__exact=IMAGE",
    "providers/attempt/?state__exact=FAILED&provider=replicate",
    "providers/attempt/?category__exact=IMAGE&provider=openai",
    "providers/attempt/?category__exact=TEXT&provider=replicate",
]
FEW = "_unfinished|_of_further_routes|_to_roll_up"
ANALYSES = [
    compared, series_of, requests_by_route, success_rates, fallbacks, model_margins, costs, top_users
]  # fmt: skip
HISTORY = 3000
BESIDE = 800
GROWING = [Request, Attempt, LedgerEntry, Delivery, TelegramUpdate]  # with rows in the history below


@pytest.fixture
def account():
    """A user with a long history, as the planner knows it, and one open request."""
    account, model, chat, now = make_account(), make_model(), make_chat(), timezone.now()
    moments = [now - timedelta(minutes=number % 20, microseconds=number) for number in range(HISTORY)]
    values = {"user": account, "model": model, "category": "TEXT", "credits": 1, "actual_provider": "openai"}
    ended = {
        "status": "COMPLETED", "output_text": "Hello", "completed_at": now, "deadline_at": now, "routes_asked": 1,
        "rolled_up": True,
    }  # fmt: skip
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
    for query in selects(context):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
            read += _rows_of(cursor.fetchone()[0][0]["Plan"])
    return read


def selects(context: CaptureQueriesContext) -> list[str]:
    # A union begins with a bracket on PostgreSQL.
    return [query["sql"] for query in context.captured_queries if query["sql"].lstrip("(").startswith("SELECT")]


def _rows_of(plan: dict[str, Any]) -> int:
    below = sum(_rows_of(child) for child in plan.get("Plans", []))
    if plan.get("Relation Name") not in {model._meta.db_table for model in GROWING}:
        return below
    return below + int((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
@pytest.mark.parametrize("address", RARE)
def test_a_page_of_few_rows_reads_nothing_of_the_history(account, admin_client, address):
    assert rows_read(lambda: admin_client.get(f"/admin/{address}")) < 30


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
def test_words_are_looked_for_in_the_newest_rows_alone(account, admin_client, monkeypatch):
    monkeypatch.setattr(requests_admin, "MAX_SEARCHED", 20)

    assert rows_read(lambda: admin_client.get('/admin/requests_app/request/?q="seal"')) < 100


@pytest.fixture
def many_of_each(account):
    """Beside the answered texts many failed ones, and many pictures."""
    now = timezone.now()
    ended = {"user": account, "model": make_model(), "credits": 1, "completed_at": now, "deadline_at": now}
    picture = {"category": "IMAGE", "status": "COMPLETED", "actual_provider": "replicate", "output_url": "/media/1.png"}
    Request.objects.bulk_create(
        Request(intake_key=f"{kind['status']}:{number}", created_at=now - timedelta(seconds=number), **ended, **kind)
        for number in range(BESIDE)
        for kind in ({"category": "TEXT", "status": "FAILED"}, picture)
    )
    called = {"number": 1, "model": "m", "rolled_up": True, "finished_at": now}
    failed = {"category": "TEXT", "provider": "openai", "state": "FAILED"}
    Attempt.objects.bulk_create(
        Attempt(caller_key=f"{kind['state']}:{number}", created_at=now - timedelta(seconds=number), **called, **kind)
        for number in range(BESIDE)
        for kind in (failed, {"category": "IMAGE", "provider": "replicate", "state": "OK"})
    )
    with connection.cursor() as cursor:
        for model_class in GROWING:
            cursor.execute(f"ANALYZE {model_class._meta.db_table}")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
def test_two_filters_that_nothing_fits_read_nothing(many_of_each, admin_client):
    read = {address: rows_read(lambda address=address: admin_client.get(f"/admin/{address}")) for address in RARE_PAIRS}
    assert {address: rows for address, rows in read.items() if rows >= 30} == {}


@pytest.mark.parametrize("query", ["", "?status__exact=PENDING", "?status__exact=FAILED"], ids=["many", "one", "none"])
def test_no_list_is_read_without_a_limit(account, admin_client, query):
    """PostgreSQL would prepare for as many rows as it guesses, and read the whole table."""
    with CaptureQueriesContext(connection) as context:
        assert admin_client.get(f"/admin/requests_app/request/{query}").status_code == 200
    lists = [sql for sql in (query["sql"] for query in context.captured_queries) if '"requests"."intake_key"' in sql]
    assert [sql for sql in lists if " LIMIT " not in sql] == []


def test_a_users_requests_are_read_in_their_order(account, admin_client):
    """Not all of them, and then sorted."""
    with CaptureQueriesContext(connection) as context:
        admin_client.get(f"/admin/requests_app/request/?user__id__exact={account.pk}")
    page = next(query["sql"] for query in context.captured_queries if "LIMIT 50" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'' if connection.vendor == 'postgresql' else 'QUERY PLAN'} {page}")
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    assert "request_of_user" in plan or "request_newest_first" in plan, plan


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="PostgreSQL reads the whole of a small table")
@pytest.mark.parametrize(
    "call",
    [lambda: due_work(100), sweep_telegram, lambda: list(DatabaseCollector().collect()), _work],
    ids=["due work", "sweep", "metrics", "readyz"],
)
def test_what_waits_for_the_chat_is_found_by_an_index(call):
    with CaptureQueriesContext(connection) as context:
        call()
    for query in [query["sql"] for query in context.captured_queries if query["sql"].startswith("SELECT")]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query.replace('%%', '%')}")
            plan = [detail for *_, detail in cursor.fetchall()]
        read = [detail for detail in plan if "telegram_bot_delivery" in detail.split()]
        assert all("delivery_unfinished" in detail for detail in read), (query, plan)


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="PostgreSQL reads the whole of a small table")
@pytest.mark.parametrize("address", RARE)
def test_a_page_of_few_rows_searches_an_index(admin_client, address):
    with CaptureQueriesContext(connection) as context:
        assert admin_client.get(f"/admin/{address}").status_code == 200
    assert_searches(context)


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="PostgreSQL reads the whole of a small table")
@pytest.mark.parametrize("words", ["telegram:777", "777"])
def test_who_is_identified_is_searched_in_indexes(words):
    user = make_user(777, username="nobody", account=make_account(key="telegram:777"))

    with CaptureQueriesContext(connection) as context:
        assert account_keys(Account.objects.all(), words, at_most=9) == [user.account_id]

    assert len(selects(context)) <= 3  # none by the name
    for query in selects(context):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
            plan = [detail for *_, detail in cursor.fetchall()]
        assert not [detail for detail in plan if re.match("SCAN requests_app_account", detail)], (query, plan)


def test_all_names_are_read_once_for_a_page_of_them(admin_client):
    make_account(key="telegram:1", name="Jörg Müller")

    with CaptureQueriesContext(connection) as context:
        assert admin_client.get("/admin/requests_app/account/?q=muller").context["cl"].result_count == 1

    assert len([query for query in selects(context) if "LIKE" in query]) == 1


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="PostgreSQL reads the whole of a small table")
@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.__name__)
def test_an_analysis_searches_an_index(analysis):
    with CaptureQueriesContext(connection) as context:
        analysis(period_named("30"))
    assert selects(context)
    assert_searches(context)


@pytest.mark.skipif(
    "connection.vendor == 'postgresql'", reason="PostgreSQL's plans are told by the rows that they read"
)
@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.__name__)
def test_an_analysis_finds_what_no_sums_have_without_reading_its_period(analysis):
    """SQLite takes a table that ANALYZE has not seen for a million rows."""
    with CaptureQueriesContext(connection) as context:
        analysis(period_named("30"))
    for query in selects(context):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
            plan = [detail for *_, detail in cursor.fetchall()]
        of_period = [detail for detail in plan if re.search(r" (requests|providers_attempt) .*created_at[<>]", detail)]
        assert not of_period, query


def assert_searches(context: CaptureQueriesContext) -> None:
    tables = [model._meta.db_table for model in (*GROWING, RequestEvent)]
    for query in selects(context):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
            scans = [detail for *_, detail in cursor.fetchall() if detail.startswith("SCAN")]
        # Those indexes contain the few rows that have not ended, and those that further routes were asked for or that
        # are in no sums yet.
        assert not [scan for scan in scans if scan.split()[1] in tables and not re.search(FEW, scan)], query


@pytest.fixture
def charged(account):
    """The user with the long history, charged for all of it, and a crowd of others as busy."""
    other = make_account()
    LedgerEntry.objects.bulk_create(
        LedgerEntry(account=account if number % 2 else other, request=request, kind=kind, amount=0, actor="test")
        for number, request in enumerate(Request.objects.filter(rolled_up=True).order_by("pk"))
        for kind in ("HOLD", "CAPTURE")
    )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {LedgerEntry._meta.db_table}")
    return account


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
def test_an_accounts_page_reads_little_of_its_history(charged, admin_client):
    few = make_account()
    for account in (charged, few):
        page = f"/admin/requests_app/account/{account.pk}/change/"
        assert rows_read(lambda page=page: admin_client.get(page)) < 100, account


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
@pytest.mark.parametrize("filters", ["", "&top_up=sold", "&top_up=given", "&kind__exact=ADJUST"])
def test_the_ledger_of_an_account_is_read_in_its_order(charged, admin_client, filters):
    few = make_account()
    for account in (charged, few):
        address = f"/admin/requests_app/ledgerentry/?account__id__exact={account.pk}{filters}"
        # The page, its row for each entry, and two counts of MAX_COUNTED at most.
        limit = 30 if filters or account == few else 2 * HISTORY + 200
        assert rows_read(lambda address=address: admin_client.get(address)) < limit, account


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.__name__)
def test_an_analysis_reads_sums_and_nothing_of_the_history(account, analysis):
    LedgerEntry.objects.bulk_create(
        LedgerEntry(account=account, request=request, kind=kind, amount=0, actor="test")
        for request in Request.objects.filter(rolled_up=True)
        for kind in ("HOLD", "CAPTURE")
    )
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {LedgerEntry._meta.db_table}")
    assert rows_read(lambda: analysis(period_named("30"))) < 30


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
@pytest.mark.parametrize(
    "call",
    [
        lambda account: requests_under_way(account.pk).count(),
        lambda account: newest_open_request(
            account=account, thread=thread_ensure(chat_id=make_chat().pk, thread_id=None)
        ),
        lambda _: due_work(100),
        lambda _: sweep_requests(),
        lambda _: sweep_telegram(),
        lambda _: fold_attempts(),
        lambda _: fold_requests(),
        lambda _: list(service_conditions()),
        lambda _: list(DatabaseCollector().collect()),
        lambda _: _work(),
    ],
    ids=[
        "a prompt",
        "cancel",
        "due work",
        "sweep",
        "sweep of the bot",
        "roll-ups",
        "sums",
        "watch",
        "metrics",
        "readyz",
    ],
)
def test_it_reads_what_is_unfinished_and_nothing_of_the_history(account, call, monkeypatch):
    monkeypatch.setattr("requests_app.margins.MAX_MEASURED", 1)  # of the newest requests a certain number is measured
    assert rows_read(lambda: call(account)) < 30


# Every filter by itself, those that find little, and pages far from the first.
LISTS = [
    "requests",
    "requests?status=FAILED",
    "requests?status=PENDING",
    "requests?category=VIDEO",
    "requests?provider=replicate",
    "requests?provider=openai",
    "requests?route=nobody",
    "requests?user={other}",
    "requests?user={account}",
    "requests?user={account}&status=FAILED",
    "requests?model={model}",
    "requests?model={model}&route=nobody&provider=replicate&from=2020-01-01",
    "requests?to=2020-01-01",
    "attempts",
    "attempts?state=UNKNOWN",
    "attempts?state=SENDING",
    "attempts?purpose=test",
    "attempts?category=AUDIO",
    "attempts?provider=replicate",
    "attempts?provider=openai&route=nobody",
    "attempts?caller=req_nobody",
    "attempts?from=2020-01-01&state=OK&category=TEXT",
    "accounts?blocked=true",
    "accounts?key=nobody",
]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite does not say how many rows it reads")
def test_no_list_of_the_api_reads_much_of_the_history(account, admin_client, monkeypatch):
    """In one test: its rows take seconds to make."""
    monkeypatch.setattr("providers.api.pages.MAX_ROWS_READ", 20)
    keys = {"account": account.pk, "other": make_account().pk, "model": AIModel.objects.exclude(slug="text-ai")[0].slug}

    def first_and_second_page(path: str) -> None:
        first = admin_client.get(path)
        assert first.status_code == 200
        if first.json()["next"]:
            assert admin_client.get(first.json()["next"]).status_code == 200

    read = {}
    for address in LISTS:
        path = f"/api/{address.format(**keys)}{'&' if '?' in address else '?'}pageSize=10"
        read[address] = rows_read(lambda path=path: first_and_second_page(path))

    # Of each page: those that are shown and one more; where filters are combined, twice those that are looked at.
    assert {address: number for address, number in read.items() if number > 2 * (11 + 2 * 20)} == {}

"""Fills an empty database with an invented history, in batches, all constraints in force."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from django.core.management import call_command
from django.db import connection, transaction

from aibot.history.stories import Cast, Person, Plan, Storyteller
from aibot.history.tables import TABLES, rows_write
from providers.access import current_purpose
from providers.db import is_postgresql
from providers.models import Attempt, ProviderConfig
from providers.types import Operation
from requests_app.models import Account, AIModel, Request
from requests_app.names import folded
from telegram_bot.bots import current_bot_id
from telegram_bot.models import TelegramChat, TelegramThread, TelegramUser

BATCH_REQUESTS = 10_000
FIRST_TELEGRAM_ID = 700_000_000
FIRST_NAMES = [
    *("Ada", "Ben", "Chiara", "Dmitri", "Élodie", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kofi", "Lena", "Mila"),
    *("Noor", "Olga", "Pavel", "Quynh", "Rosa", "Sven", "Test", "Ольга", "Иван", "小明", "✨Zoe✨"),
]
LAST_NAMES = [
    *("Abe", "Bauer", "Costa", "Diaz", "Evans", "Fischer", "García", "Haddad", "Ivanova", "Jansen", "Kim", "Lopez"),
    *("Müller", "Nguyen", "Okafor", "Park", "Quist", "Rossi", "Silva", "Tanaka", "User", "Vogel", "Wang", "Соколова"),
]


class CannotGenerate(Exception):
    """Why no history is invented here; nothing was written."""


def history_generate(plan: Plan, *, accounts: int, report: Callable[[str], None]) -> dict[str, int]:
    """Invent users and their requests up to `plan.until`; return how many rows each table got.

    The balances are the sums of the ledger, the hourly sums those of the attempts. Each batch is a transaction, so
    whoever stops it in the middle has a history whose balances are missing: begin again with an empty database. Raises
    CannotGenerate, with nothing written.
    """
    if Request.objects.exists() or Attempt.objects.exists() or Account.objects.exists():
        raise CannotGenerate(
            "This database has accounts, requests or attempts already, and an invented history would mix with them. "
            "Name an empty one in DATABASE_URL (or DATA_DIR) and run `manage.py migrate` there. Nothing was written."
        )
    routes = _by_category(
        ProviderConfig.objects.filter(enabled=True, operation=Operation.GENERATE).order_by("priority")
    )
    models = _by_category(AIModel.objects.filter(enabled=True))
    if not routes.keys() & models.keys():
        raise CannotGenerate("No category has both an enabled route and an enabled AI model. Nothing was written.")
    with transaction.atomic():
        rows, people = _people_invent(accounts)
    storyteller = Storyteller(plan, Cast(current_bot_id(), people, models, routes, current_purpose().value))
    written = {table.name: 0 for table in TABLES}
    for start in range(0, plan.requests, BATCH_REQUESTS):
        numbers = range(start, min(start + BATCH_REQUESTS, plan.requests))
        for number in numbers:
            storyteller.tell(number)
        batch = storyteller.take()
        with transaction.atomic():
            for table in TABLES:
                rows_write(table, batch.get(table, ()))
                written[table.name] += len(batch.get(table, ()))
        report(f"{numbers.stop:,} of {plan.requests:,} requests, {written['providers_attempt']:,} attempts")
    for account, balance in zip(rows, storyteller.balances, strict=True):
        account.balance = balance
    Account.objects.bulk_update(rows, ["balance"], batch_size=500)
    report("counting the hourly sums")
    call_command("recount", verbosity=0)
    with connection.cursor() as cursor:
        # Also what autovacuum would have done by the time that so many rows are there; only tests wrap calls in one
        # transaction, in which that is not possible.
        can_vacuum = is_postgresql() and not connection.in_atomic_block
        cursor.execute("VACUUM (ANALYZE)" if can_vacuum else "ANALYZE")
    return written


def _people_invent(number: int) -> tuple[list[Account], list[Person]]:
    """Write users with their accounts and private chats; the busiest come first."""
    bot_id = current_bot_id()
    names = [f"{first} {last}" for first, last in product(FIRST_NAMES, LAST_NAMES)]
    ids = range(FIRST_TELEGRAM_ID, FIRST_TELEGRAM_ID + number)
    named = {telegram_id: names[telegram_id % len(names)] for telegram_id in ids}
    accounts = Account.objects.bulk_create(
        [
            Account(
                key=f"telegram:{bot_id}:{key}",
                name=named[key],
                folded_name=folded(named[key]),
                is_blocked=key % 500 == 7,
            )
            for key in ids
        ],
        batch_size=1000,
    )
    TelegramUser.objects.bulk_create(
        [
            TelegramUser(
                bot_id=bot_id,
                telegram_id=key,
                account=account,
                username=f"user_{key}" if key % 3 else "",
                name=named[key],
                language="en",
            )
            for key, account in zip(ids, accounts, strict=True)
        ],
        batch_size=1000,
    )
    chats = TelegramChat.objects.bulk_create(
        [TelegramChat(bot_id=bot_id, telegram_id=key, type="private", is_reachable=key % 50 != 0) for key in ids],
        batch_size=1000,
    )
    threads = TelegramThread.objects.bulk_create([TelegramThread(chat=chat) for chat in chats], batch_size=1000)
    people = [
        Person(account.pk, chat.telegram_id, chat.pk, thread.conversation_key)
        for account, chat, thread in zip(accounts, chats, threads, strict=True)
    ]
    return accounts, people


def _by_category(rows: Iterable[Any]) -> dict[str, list[Any]]:
    """Return AI models or routes by their category, in their order."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.category, []).append(row)
    return found

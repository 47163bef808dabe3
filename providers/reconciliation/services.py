"""Asking the providers for their accounts, each at most once an hour, and keeping what they tell.

The sweeper has it done beside its rounds: a thread asks one account after the other, and any number of sweepers may.
"""

import logging
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from providers.access import accounts_of, current_purpose
from providers.accounts.base import AccountApi, Charge, Statement
from providers.db import give_back_connection, update_unlocked
from providers.models import ProviderAccount, ProviderCharge
from providers.registry import PROVIDERS, label_of
from providers.transport.deadlines import Deadline

logger = logging.getLogger("providers.reconciliation")

LOOK_SECONDS = 60.0  # between two looks of a process
WAIT_SECONDS = 1.0  # of a round for its thread; what takes longer goes on beside the rounds that follow
PAUSE = timedelta(hours=1)  # between two questions for the same account
MAX_JITTER_SECONDS = 600  # on top, so that not all are asked at once
STATEMENT_SECONDS = 30.0  # for all that one account is asked
DAYS = 30  # for which charges are asked: the providers correct them for a while, and the longest memory is a month

_next_look = 0.0  # on time.monotonic()
_asker: threading.Thread | None = None  # the last one of this process


def sweep_accounts() -> int:
    """Have the accounts that are due asked, if it is time to look; return how many are. Idempotent.

    Takes a second at most, however long the providers take.
    """
    global _asker, _next_look
    now = time.monotonic()
    if now < _next_look or (_asker is not None and _asker.is_alive()):
        return 0
    _next_look = now + LOOK_SECONDS
    due = list(accounts_due())
    if due:
        _asker = threading.Thread(target=_ask_each, args=(due,), name="providers' accounts", daemon=True)
        _asker.start()
        _asker.join(WAIT_SECONDS)
    return len(due)


def accounts_due() -> Iterator[tuple[AccountApi, bool]]:
    """Yield who is to be asked now, and whether for the days' charges too. Writes a row for a key that is new."""
    apis = [(api, place == 0) for slug in PROVIDERS for place, api in enumerate(accounts_of(slug))]
    if not apis:
        return
    known = dict.fromkeys(ProviderAccount.objects.values_list("provider", "key_id"), False)
    known |= dict.fromkeys(_due().values_list("provider", "key_id"), True)
    new = [ProviderAccount(provider=api.slug, key_id=api.access.key_id) for api, _ in apis if _key_of(api) not in known]
    ProviderAccount.objects.bulk_create(new, ignore_conflicts=True)
    for api, is_first in apis:
        if known.get(_key_of(api), True):
            # What is of the whole account is the same for each of its keys, and would count twice.
            yield api, is_first or not api.is_of_whole_account


def account_ask(*, api: AccountApi, with_charges: bool) -> bool:
    """Ask a provider for an account and keep what it tells; return whether it was asked.

    Whoever comes first asks, the others may within an hour. What is not told leaves what was told before, and a word
    why. Raises nothing of the provider's.
    """
    row = ProviderAccount.objects.filter(provider=api.slug, key_id=api.access.key_id)
    pause = PAUSE + timedelta(seconds=random.uniform(0, MAX_JITTER_SECONDS))  # noqa: S311 — nobody need not guess it
    if not update_unlocked(row.filter(next_at__lte=Now()), next_at=Now() + pause, asked_at=Now()):
        return False
    now: datetime = row.annotate(now=Now()).values_list("now", flat=True).get()
    today = now.astimezone(UTC).date()
    give_back_connection()
    statement = api.statement(
        today - timedelta(days=DAYS - 1),
        today,
        with_charges=with_charges,
        deadline=Deadline.after(STATEMENT_SECONDS),
    )
    for problem in statement.problems:
        logger.warning("%s did not tell its account: %s", label_of(api.slug), problem)
    with transaction.atomic():
        _keep(row, api, statement)
    return True


def _ask_each(due: list[tuple[AccountApi, bool]]) -> None:
    try:
        for api, with_charges in due:
            try:
                account_ask(api=api, with_charges=with_charges)
            except Exception:
                # One account must keep no other from being asked.
                logger.exception("%s could not be asked for its account.", label_of(api.slug))
    finally:
        give_back_connection()


def _due() -> QuerySet[ProviderAccount]:
    return ProviderAccount.objects.filter(next_at__lte=Now())


def _key_of(api: AccountApi) -> tuple[str, str]:
    return api.slug, api.access.key_id


def _keep(row: QuerySet[ProviderAccount], api: AccountApi, statement: Statement) -> None:
    row.update(problem=", ".join(dict.fromkeys(statement.problems))[:300])
    if statement.balance is not None:
        balance = statement.balance
        row.update(balance=balance.amount, unit=balance.unit, refills_at=balance.refills_at, told_at=Now())
    key_id = "" if api.is_of_whole_account else api.access.key_id
    rows = [
        ProviderCharge(
            purpose=current_purpose(),
            provider=api.slug,
            key_id=key_id,
            day=charge.day,
            amount=charge.amount,
            unit=charge.unit,
            opening=charge.opening,
            told_at=Now(),
        )
        for charge in statement.charges
    ]
    ProviderCharge.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["purpose", "day", "provider", "key_id"],
        update_fields=["amount", "unit", "opening", "told_at"],
    )
    for charge in statement.charges:
        _close_day_before(api.slug, key_id, charge)


def _close_day_before(provider: str, key_id: str, charge: Charge) -> None:
    """Correct the day before by what had been charged in all since: its last calls came after it was last told."""
    before: date = charge.day - timedelta(days=1)
    if charge.opening is not None:
        rows = ProviderCharge.objects.filter(
            purpose=current_purpose(), provider=provider, key_id=key_id, day=before, opening__lte=charge.opening
        )
        rows.update(amount=charge.opening - F("opening"))

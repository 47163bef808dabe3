"""What processes of the release before leave undone beside the upgrade is made up for by the sweeper."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from django.utils import timezone

from requests_app.analytics.periods import Period, today
from requests_app.analytics.rollups import fold_requests
from requests_app.analytics.selectors import model_margins, top_users
from requests_app.models import Account, AccountMonthRollup, AccountRollup, LedgerEntry, Request
from requests_app.services import leftovers
from requests_app.services.leftovers import sweep_leftovers
from requests_app.services.refunds import request_refund
from tests.factories import make_account, make_model, make_request

pytestmark = pytest.mark.django_db
TODAY = Period(today(), today())


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(leftovers, "_next_at", 0.0)


def make_answered() -> Request:
    request = make_request(
        account=make_account(credits=100), model=make_model(), status="COMPLETED", credits=5, actual_provider="openai",
        completed_at=timezone.now(), output_text="Hello",
    )  # fmt: skip
    for kind, amount in (("HOLD", -5), ("CAPTURE", 0)):
        LedgerEntry.objects.create(account=request.user, request=request, kind=kind, amount=amount, actor="test")
    return request


def migrate_again() -> None:
    module = import_module("requests_app.migrations.0032_fill_account_months")
    for fill in (module.fill_months, module.name_models):
        fill(apps, SimpleNamespace(connection=connection))


@pytest.mark.parametrize("mend", [sweep_leftovers, migrate_again], ids=["sweeper", "migration"])
def test_what_was_folded_into_days_alone_gets_into_its_month(mend):
    request = make_answered()
    fold_requests()
    AccountMonthRollup.objects.all().delete()

    mend()

    (month,), (day,) = AccountMonthRollup.objects.values(), AccountRollup.objects.values()
    names = ("account_id", "purpose", "requests", "completed", "credits", "cost", "unknown_costs")
    assert {name: month[name] for name in names} == {name: day[name] for name in names}
    (row,) = top_users(TODAY)
    assert (row.account, row.credits_charged) == (request.user, 5)


@pytest.mark.parametrize("mend", [sweep_leftovers, migrate_again], ids=["sweeper", "migration"])
def test_a_refund_without_its_model_gets_it(mend):
    request = make_answered()
    request_refund(request_id=request.id, actor="test", reason="")
    assert LedgerEntry.objects.get(kind="REFUND").model == request.model
    LedgerEntry.objects.update(model=None)

    mend()

    assert LedgerEntry.objects.get(kind="REFUND").model == request.model
    assert not LedgerEntry.objects.exclude(kind="REFUND").exclude(model=None).exists()


def test_a_margin_knows_the_refund_of_a_request_that_retention_has_taken():
    request = make_answered()
    request_refund(request_id=request.id, actor="test", reason="")
    fold_requests()
    Request.objects.filter(pk=request.pk).delete()

    (row,) = model_margins(TODAY)

    assert (row.model, row.credits_charged, row.credits_refunded) == (request.model, 5, 5)


def test_an_account_that_has_a_name_alone_is_found_by_it_afterwards():
    account = make_account(name="Jörg Müller")
    Account.objects.filter(pk=account.pk).update(folded_name="")

    assert sweep_leftovers() == 1

    account.refresh_from_db()
    assert account.folded_name == "jorg muller"


def test_it_looks_once_an_hour_and_changes_nothing_where_nothing_is_wrong(django_assert_num_queries):
    request = make_answered()
    request_refund(request_id=request.id, actor="test", reason="")
    fold_requests()
    AccountMonthRollup.objects.update(cost=F("cost"))

    assert sweep_leftovers() == 0
    with django_assert_num_queries(0):
        assert sweep_leftovers() == 0

"""`manage.py generate_history`: what it invents obeys the rules that real rows obey."""

import io
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count, F, OuterRef, Q, Subquery, Sum

from providers.models import Attempt
from providers.statistics.rollups import attempts_fold
from requests_app.analytics.rollups import requests_fold
from requests_app.models import Account, AccountMonthRollup, LedgerEntry, Request
from requests_app.services.sweeper import sweep_requests
from telegram_bot.models import Delivery, TelegramChat, TelegramUser
from tests.factories import make_request

pytestmark = pytest.mark.django_db

UNTIL = datetime.now(UTC).replace(microsecond=0)


def generate(**options):
    options = {"requests": 1500, "accounts": 40, "days": 3, "until": UNTIL, **options}
    call_command("generate_history", stdout=io.StringIO(), **options)


class TestAnInventedHistory:
    @pytest.fixture(autouse=True)
    def _history(self, db):
        generate()

    def test_it_is_one_that_the_product_could_have_written(self):
        entries = LedgerEntry.objects.filter(account=OuterRef("pk")).order_by().values("account")
        balanced = Account.objects.annotate(booked=Subquery(entries.annotate(sum=Sum("amount")).values("sum")))
        assert not balanced.filter(~Q(balance=F("booked")) | Q(booked=None, balance__gt=0)).exists()
        settled = Q(ledger__kind__in=["CAPTURE", "RELEASE"])
        counted = Request.objects.annotate(settlements=Count("ledger", filter=settled))
        assert not counted.filter(status__in=["COMPLETED", "FAILED", "CANCELLED"]).exclude(settlements=1).exists()
        assert not counted.exclude(status__in=["COMPLETED", "FAILED", "CANCELLED"]).filter(settlements__gt=0).exists()
        call_command("recount", check=True)  # which raises where any sum differs
        assert sweep_requests() == 0

    def test_it_has_all_that_a_filter_may_look_for(self):
        assert set(Request.objects.values_list("status", flat=True)) == set(Request.Status.values)
        assert set(Request.objects.values_list("category", flat=True)) == {"TEXT", "IMAGE", "VIDEO", "AUDIO"}
        assert {"OK", "FAILED", "UNKNOWN", "SENDING"} <= set(Attempt.objects.values_list("state", flat=True))
        assert {"HOLD", "CAPTURE", "RELEASE", "TOPUP"} <= set(LedgerEntry.objects.values_list("kind", flat=True))
        assert Attempt.objects.filter(state="UNKNOWN", cost=None, reserved_cost__gt=0).exists()
        assert Request.objects.exclude(skipped=[]).exists()
        assert 1.7 < Attempt.objects.count() / Request.objects.count() < 2.1
        busiest = Request.objects.order_by().values("user").annotate(number=Count("id")).order_by("-number")
        assert busiest[0]["number"] > 10 * busiest[len(busiest) - 1]["number"]

    def test_it_is_refused_beside_rows_of_its_own(self):
        number = Request.objects.count()
        with pytest.raises(CommandError, match="an invented history would mix with them"):
            generate()
        assert Request.objects.count() == number


@pytest.mark.parametrize("is_sandbox", [False, True])
def test_the_overview_shows_it_whether_the_sandbox_answers_or_not(admin_client, settings, is_sandbox):
    settings.SANDBOX_ACTIVE = is_sandbox
    generate()

    page = admin_client.get("/admin/", {"period": "7"})

    figures = {figure.title: figure.value for figure in page.context["figures"]}
    ended = Request.objects.filter(completed_at__isnull=False).count()
    assert int(figures["Requests"].replace(",", "")) == ended
    assert figures["Cost"] not in ("$0", "$0.00", "unknown")
    assert int(figures["Credits sold"].replace(",", "")) > 0
    assert not LedgerEntry.objects.filter(kind="TOPUP", is_paid=False).exists()


def test_the_same_seed_invents_the_same():
    def told():
        keys = Request.objects.order_by("id").values_list("id", "status", "cost", "completed_at")
        return list(keys), list(Attempt.objects.order_by("id").values_list("id", "state", "cost", "rolled_up"))

    generate(requests=300)
    first = told()
    sums = [table.model for fold in (attempts_fold, requests_fold) for table in fold.tables]
    of_users = (AccountMonthRollup, Delivery, TelegramUser, LedgerEntry, Attempt, Request, Account, TelegramChat)
    for model in (*sums, *of_users):
        model.objects.all().delete()
    generate(requests=300)
    assert told() == first


def test_it_is_refused_in_a_database_that_is_used():
    request = make_request()
    with pytest.raises(CommandError, match="Nothing was written"):
        generate()
    assert list(Request.objects.all()) == [request]

"""The Overview: its figures are those of the API, the metrics and a recount, whatever moment they are read at."""

import csv
import io
import random
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from aibot.overview import change, points, usd
from providers.models import Attempt
from providers.statistics.rollups import fold_attempts
from requests_app.analytics.rollups import fold_requests
from requests_app.models import LedgerEntry, Request
from requests_app.services.accounts import account_top_up
from requests_app.services.completion import request_end
from requests_app.services.credits import credits_capture
from requests_app.services.intake import request_accept
from requests_app.services.refunds import request_refund
from tests.factories import make_account, make_alert, make_attempt, make_model, make_request

pytestmark = pytest.mark.django_db

INDEX = "/admin/"


def figure(page, title: str):
    return next(figure for figure in page.context["figures"] if figure.title == title)


def table(page, title: str):
    return next(table for table in page.context["tables"] if table.title == title)


def number(text: str) -> int:
    return int(text.replace(",", ""))


class TestOneSum:
    def test_page_api_metrics_and_rows_agree_at_any_moment(self, admin_client):
        dice = random.Random(12)
        account, model = make_account(credits=10_000), make_model(category="TEXT", provider="openai")
        for _moment in range(20):
            for _ in range(dice.randrange(1, 4)):
                self.traffic(dice, account, model)
            dice.choice([fold_attempts, fold_requests, lambda: None])()

            page = admin_client.get(INDEX, {"period": "today"})
            rows = Attempt.objects.exclude(finished_at=None).aggregate(
                known=Sum("cost"), at_most=Sum("reserved_cost", filter=Q(cost=None) & ~Q(state="FAILED"))
            )
            known, at_most = (round(Decimal(rows[name] or 0), 10) for name in ("known", "at_most"))
            costs = admin_client.get("/api/analytics/costs/", {"period": "today"}).json()
            stats = admin_client.get("/api/providers/stats").json()

            assert figure(page, "Cost").exact == exact(known)
            assert round(sum(Decimal(str(row["cost"])) for row in costs["rows"]), 10) == known
            assert round(sum(Decimal(str(row["totalCost"])) for row in stats), 10) == known
            assert round(metric(admin_client, "aibot_cost_usd_total"), 10) == known
            assert figure(page, "Perhaps billed at most").exact == exact(at_most)
            answered = Request.objects.filter(status="COMPLETED").count()
            assert figure(page, "Success rate").note.startswith(f"{answered:,} answered")
            assert sum(number(row[3]) for row in table(page, "Fallback frequency").rows) == answered
            assert sum(number(row[1]) for row in table(page, "Top users").rows) == number(
                figure(page, "Requests").value
            )

    def test_credits_of_page_api_csv_and_ledger_agree_while_the_sandbox_answers_and_when_it_does_not(
        self, admin_client, settings
    ):
        dice = random.Random(21)
        account, model = make_account(credits=0), make_model(category="TEXT", provider="openai")
        for moment in range(20):
            settings.SANDBOX_ACTIVE = dice.random() < 0.5
            self.credits(dice, account, model)
            dice.choice([fold_attempts, fold_requests, lambda: None])()
            for settings.SANDBOX_ACTIVE in (True, False) if moment % 7 == 5 else ():  # six exports a minute
                self.assert_credits(admin_client, "sandbox" if settings.SANDBOX_ACTIVE else "user")

    def assert_credits(self, admin_client, purpose: str) -> None:
        entries = LedgerEntry.objects.filter(purpose=purpose)
        of_requests = entries.filter(kind__in=["HOLD", "CAPTURE", "RELEASE", "REFUND"])
        used, sold = (-total(of_requests), total(entries.filter(is_paid=True)))
        given = total(entries.filter(kind__in=["TOPUP", "ADJUST"], is_paid=False))
        page = admin_client.get(INDEX, {"period": "today"})
        margins = admin_client.get("/api/analytics/margins/", {"period": "today"}).json()["rows"]
        as_csv = admin_client.get("/api/analytics/margins/", {"period": "today", "format": "csv"}).getvalue().decode()
        users = admin_client.get("/api/analytics/costs/", {"period": "today", "by": "user"}).json()["rows"]

        assert number(figure(page, "Credits used").value) == used
        assert sum(number(row[2]) for row in table(page, "Cost against credits").rows) == used
        assert sum(row["creditsUsed"] for row in margins) == used
        assert sum(int(row["creditsUsed"]) for row in csv.DictReader(io.StringIO(as_csv))) == used
        assert sum(row["creditsCharged"] - row["creditsRefunded"] for row in users) == used
        assert number(figure(page, "Credits sold").value) == sold
        assert figure(page, "Credits sold").note == f"and {given:,} given"
        requests = Request.objects.filter(purpose=purpose).count()
        assert number(figure(page, "Requests").value) == sum(row["requests"] for row in margins) == requests

    def credits(self, dice, account, model) -> None:
        """Credits sold or given, and a request that ends at once, answered by a call or not."""
        account_top_up(account_id=account.pk, amount=dice.randrange(20, 99), actor="test", is_paid=dice.random() < 0.5)
        account.refresh_from_db()
        request = request_accept(
            intake_key=f"test:{Request.objects.count()}", account=account, model=model, text="Hello", wakes_worker=False
        )
        if dice.random() < 0.3:
            request_end(request=request, to=Request.Status.FAILED, error_code="X", actor="worker", reason="")
            return
        credits_capture(request=request)
        answered = {"actual_provider": "openai", "actual_route": "openai", "output_text": "Hi"}
        Request.objects.filter(pk=request.pk).update(status="COMPLETED", completed_at=timezone.now(), **answered)
        make_attempt(caller_key=request.pk, label=str(model.pk), purpose=request.purpose)
        if dice.random() < 0.3:
            request_refund(request_id=request.pk, actor="test", reason="")

    def traffic(self, dice, account, model) -> None:
        status = dice.choice(["COMPLETED", "COMPLETED", "FAILED"])
        answered = {"actual_provider": "openai", "actual_route": "openai", "output_text": "Hi"}
        request = make_request(
            account=account, model=model, status=status, completed_at=timezone.now(), credits=dice.randrange(5),
            **(answered if status == "COMPLETED" else {}),
        )  # fmt: skip
        for place in range(dice.randrange(1, 3)):
            state = dice.choice(["OK", "FAILED", "UNKNOWN"])
            make_attempt(
                caller_key=request.pk, number=place + 1, state=state, label=str(model.pk), provider="openai",
                route="openai", reserved_cost=Decimal("0.1"), finished_at=timezone.now() - timedelta(hours=2),
                created_at=timezone.now(),
                cost=Decimal(dice.randrange(1, 10**6)).scaleb(-7) if state == "OK" and dice.random() < 0.8 else None,
            )  # fmt: skip


def total(entries) -> int:
    return sum(entries.values_list("amount", flat=True))


def exact(amount: Decimal) -> str:
    return f"${amount.normalize():f}"


def metric(client, name: str) -> Decimal:
    families = text_string_to_metric_families(client.get("/metrics").content.decode())
    return sum(
        (Decimal(str(sample.value)) for family in families for sample in family.samples if sample.name == name),
        Decimal(0),
    )


class TestPage:
    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("?period=tomorrow", "period must be one of"),
            ("?from=2026-11-02&to=2026-11-01", "must not be after"),
            ("?from=2026-11-02", "Give both"),
            ("?from=<script>&to=2026-11-01", "must be a date"),
            ("?from=0001-01-01&to=9999-12-31", "at most"),
            ("?days=99999", "days must be"),
        ],
    )
    def test_a_period_that_cannot_be_is_said_and_the_usual_one_shown(self, admin_client, address, words):
        page = admin_client.get(INDEX + address)

        assert words in page.context["problem"]
        assert page.context["chosen"] == "7"
        assert "<script>&" not in page.content.decode()

    def test_400_days_are_shown(self, admin_client):
        page = admin_client.get(INDEX, {"days": "400"})

        assert page.context["problem"] == ""
        assert page.context["period"].days == 400

    def test_each_number_leads_to_its_rows(self, admin_client):
        now, account, model = timezone.now(), make_account(), make_model()
        failed = make_request(account=account, model=model, status="FAILED", completed_at=now)
        cancelled = make_request(account=account, model=model, status="CANCELLED", completed_at=now)
        make_request(account=account, model=model)  # it has not ended
        make_request(account=account, model=model, status="FAILED", completed_at=now, purpose="sandbox")
        account_top_up(account_id=account.pk, amount=7, actor="test", is_paid=True)
        account_top_up(account_id=account.pk, amount=8, actor="test")
        ended = {"caller_key": failed.pk, "provider": "openai"}
        paid = make_attempt(**ended, number=1, route="openai")
        earlier = make_attempt(**ended, number=2, route="", cost=None)
        expired = make_attempt(**ended, number=3, route="openai-2", state="EXPIRED", cost=None)
        test = make_attempt(caller_key="test:1", provider="openai", route="openai", purpose="test")
        make_attempt(caller_key=failed.pk, number=4, provider="openai", route="openai", purpose="sandbox")
        make_attempt(caller_key=failed.pk, number=5, provider="openai", route="openai", state="SENDING",
                     finished_at=None, cost=None)  # fmt: skip
        page = admin_client.get(INDEX, {"period": "today"})

        def rows(link: str) -> set[Any]:
            return {row.pk for row in admin_client.get(link).context["cl"].result_list}

        assert rows(figure(page, "Requests").link) == {failed.pk, cancelled.pk}
        assert figure(page, "Requests").value == "2"
        assert rows(figure(page, "Success rate").link) == {failed.pk}
        assert rows(figure(page, "Cost").link) == {paid.pk, earlier.pk, expired.pk, test.pk}
        assert rows(figure(page, "Perhaps billed at most").link) == {earlier.pk, expired.pk}
        (sold,) = LedgerEntry.objects.filter(pk__in=rows(figure(page, "Credits sold").link))
        assert sold.amount == 7
        by_route = {
            str(row[0]).partition(">")[2].removesuffix("</a>"): row
            for row in table(page, "Provider success rates").rows
        }
        links = {name: unescape(str(row[0]).split('href="')[1].split('"')[0]) for name, row in by_route.items()}
        assert {name: rows(link) for name, link in links.items()} == {
            "OpenAI": {paid.pk, earlier.pk},
            "OpenAI (openai-2)": {expired.pk},
        }
        assert [row[3] for row in by_route.values()] == ["2", "1"]
        for shown in page.context["figures"]:
            if shown.link.startswith("/"):
                assert admin_client.get(shown.link).status_code == 200, shown.title
        for shown in page.context["tables"]:
            assert not shown.csv or admin_client.get(shown.csv).status_code == 200

    def test_what_needs_the_operator_is_at_the_top(self, admin_client):
        alert = make_alert()

        assert alert.title in admin_client.get(INDEX).content.decode()

    def test_who_may_not_see_sums_sees_none(self, client):
        client.force_login(User.objects.create_user("helper", is_staff=True))

        page = client.get(INDEX)

        assert "figures" not in page.context
        assert "need the permission" in page.content.decode()

    def test_who_may_not_see_accounts_sees_no_users(self, client):
        user = User.objects.create_user("helper", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_attemptrollup"))
        client.force_login(user)

        assert "Top users" not in [shown.title for shown in client.get(INDEX).context["tables"]]

    def test_the_search_above_all_pages_finds_requests_and_users(self, admin_client):
        account = make_account(name="Ada Lovelace")
        request = make_request(account=account, model=make_model())

        def found(words: str) -> str:
            return admin_client.get(
                reverse("admin:search"), {"s": words, "extended": "1", "page": "x"}
            ).content.decode()

        assert request.pk in found(request.pk[:12])
        assert "Ada Lovelace" in found("lovelace")


def test_words_of_numbers():
    assert [usd(amount) for amount in (None, Decimal(0), Decimal("0.00012"), Decimal("-3"), Decimal("1234.5"))] == [
        "unknown", "$0.00", "$0.0001", "-$3.00", "$1,234.50",
    ]  # fmt: skip
    assert (change(3, 2), change(3, 0), change(None, 2)) == ("+50%", "", "")
    assert points(Decimal("99.5"), Decimal("98")) == "+1.5 points"

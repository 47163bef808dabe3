"""An account's page: where its credits came from and went, what it has cost, and what is on record of its user."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from providers.models import Attempt
from providers.statistics.rollups import fold_attempts
from requests_app.analytics.accounts import AccountCredits, account_figures
from requests_app.analytics.rollups import fold_requests
from requests_app.models import Account, AccountRollup, LedgerEntry, Request
from requests_app.services.accounts import account_take_back, account_top_up
from requests_app.services.completion import request_end
from requests_app.services.credits import credits_capture
from requests_app.services.intake import request_accept
from requests_app.services.refunds import request_refund
from tests.factories import make_account, make_attempt, make_chat, make_model, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]


def page_of(account: Account) -> str:
    return f"/admin/requests_app/account/{account.pk}/change/"


def accept(account: Account, *, credits: int = 5) -> Request:
    number = Request.objects.count()
    account.refresh_from_db()
    return request_accept(
        intake_key=f"test:accounts:{number}", account=account, model=make_model(token_cost=credits), text="a canary"
    )


def answered(account: Account, *, days_ago: float = 0, cost: str | None = "0.02") -> Request:
    request, then = accept(account), timezone.now() - timedelta(days=days_ago)
    credits_capture(request=request)
    ended = {"status": "COMPLETED", "actual_provider": "aimlapi", "output_text": "Yes", "created_at": then}
    Request.objects.filter(pk=request.pk).update(**ended, completed_at=then)
    known = {"cost": Decimal(cost)} if cost else {"cost": None, "state": Attempt.State.UNKNOWN, "cost_source": ""}
    make_attempt(caller_key=request.id, created_at=then, finished_at=then, **known)
    return request


@pytest.fixture
def account() -> Account:
    """Somebody who was sold 30 and given 20, has paid 25 and got 5 of them back, and has a request under way."""
    account = make_account(credits=15)
    account_top_up(account_id=account.pk, amount=30, actor="shop", is_paid=True)
    account_top_up(account_id=account.pk, amount=10, actor="admin:anna")
    account_take_back(account_id=account.pk, amount=5, actor="admin:anna", reason="typo")
    for days_ago in (0, 1, 29, 40):
        answered(account, days_ago=days_ago)
    given_back = answered(account, cost=None)
    request_refund(request_id=given_back.id, actor="admin:anna", reason="wrong")
    failed = accept(account)
    assert request_end(request=failed, to=Request.Status.FAILED, error_code="X", actor="worker", reason="")
    accept(account)
    account.refresh_from_db()
    return account


@pytest.mark.parametrize("is_folded", [False, True])
def test_it_says_where_credits_came_from_and_went_and_what_they_cost(account, settings, is_folded):
    settings.CREDIT_PRICE_USD = Decimal("0.01")
    answered(make_account())  # of somebody else
    if is_folded:
        fold_attempts()
        fold_requests()
        assert AccountRollup.objects.filter(account=account).exists()

    figures = account_figures(account)

    assert figures.credits == AccountCredits(
        balance=25, held=5, sold=30, given=20, expired=0, refunded=5, used=20
    )  # fmt: skip
    lately, in_all = figures.lately, figures.in_all
    assert (in_all.requests, in_all.completed, in_all.credits_used, in_all.unknown_costs) == (6, 5, 20, 1)
    assert (lately.requests, lately.credits_used, lately.cost, in_all.cost) == (5, 15, Decimal("0.06"), Decimal("0.08"))
    assert (lately.profit, in_all.profit) == (Decimal("0.09"), Decimal("0.12"))
    assert [request.status for request in figures.under_way] == ["PENDING"]


def test_the_parts_add_up_to_the_balance_of_an_empty_account():
    figures = account_figures(make_account(credits=0))

    assert figures.credits == AccountCredits(balance=0, held=0, sold=0, given=0, expired=0, refunded=0, used=0)
    assert (figures.in_all.cost, figures.in_all.margin, figures.under_way) == (0, None, [])


def test_the_page_shows_figures_movements_and_requests_with_links(account, admin_client, settings):
    settings.CREDIT_PRICE_USD = Decimal("0.01")

    page = admin_client.get(page_of(account)).content.decode()

    newest = Request.objects.filter(user=account).latest("created_at")
    assert "30 sold + 20 given − 20 used − 5 held for requests under way" in page
    assert "at most $0.1200 (60%)" in page
    assert page.count(f"/admin/requests_app/request/{newest.pk}/change/") == 2  # under way, and among the newest
    assert page.count("/admin/requests_app/ledgerentry/") >= 10
    assert "a canary" not in page


def test_without_a_price_there_is_no_margin(account, admin_client, settings):
    settings.CREDIT_PRICE_USD = Decimal(0)

    assert "unknown: credits have no price" in admin_client.get(page_of(account)).content.decode()


def test_the_page_costs_as_many_queries_with_much_on_record_as_with_little(account, admin_client):
    admin_client.get(page_of(account))
    with_little = count_of_queries(lambda: admin_client.get(page_of(account)))
    for _ in range(5):
        answered(account)

    assert count_of_queries(lambda: admin_client.get(page_of(account))) == with_little < 20


def test_who_may_not_view_requests_and_the_ledger_sees_none_on_the_page(account, client):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_account"))
    client.force_login(viewer)

    page = client.get(page_of(account)).content.decode()

    assert "30 sold" in page
    assert "typo" not in page
    assert "Movements" not in page


def test_the_telegram_user_and_chat_are_linked(admin_client):
    account = make_account()
    user, chat = make_user(42, account=account, username="ada", name="Ada <b>"), make_chat(42, is_reachable=False)

    page = admin_client.get(page_of(account)).content.decode()

    assert f"/admin/telegram_bot/telegramuser/{user.pk}/change/" in page
    assert f"/admin/telegram_bot/telegramchat/{chat.pk}/change/" in page
    assert "Ada &lt;b&gt; · @ada · 42" in page
    assert "42, cannot be reached" in page


def count_of_queries(call) -> int:
    with CaptureQueriesContext(connection) as context:
        call()
    return len(context)


def test_nothing_of_the_ledger_is_lost_between_the_figures(account):
    """What the page says beside the sum of all entries, of which it adds up none of the charges."""
    LedgerEntry.objects.create(account=account, kind="GIFT", amount=-3, actor="t")
    LedgerEntry.objects.create(account=account, kind="EXPIRE", amount=-2, actor="t")
    LedgerEntry.objects.create(account=account, kind="PAYMENT_REFUND", amount=-4, actor="t")
    Account.objects.filter(pk=account.pk).update(balance=account.balance - 9)

    figures = account_figures(account).credits

    charges = account.ledger.filter(kind__in=["HOLD", "CAPTURE", "RELEASE"])
    assert figures.charged + figures.held == -sum(charges.values_list("amount", flat=True))
    assert (figures.sold, figures.given, figures.expired) == (26, 17, 2)
    assert figures.balance == figures.sold + figures.given - figures.expired - figures.used - figures.held

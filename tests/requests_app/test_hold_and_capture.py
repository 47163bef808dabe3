"""Credits: a request is charged exactly once, or its hold is released."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from providers.chain.attempts import Answer
from providers.types import CostSource, TextResult
from requests_app.errors import TooManyOpenRequests
from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.accounts import account_ensure, account_top_up
from requests_app.services.cancellation import request_cancel
from requests_app.services.completion import request_complete, request_end
from requests_app.services.intake import request_accept
from requests_app.states import transition
from tests.factories import make_account, make_model, make_request

ANSWER = Answer(TextResult("Hello"), "aimlapi", "aimlapi", "m", Decimal("0.001"), CostSource.COMPUTED, 12)


def accept(account: Account, key: str = "test:1", **fields) -> Request:
    return request_accept(intake_key=key, account=account, model=make_model(), text="Hi", **fields)


def start(request: Request) -> None:
    transition(request_id=request.id, sources=["PENDING"], to=Request.Status.PROCESSING, actor="test")


def entry_kinds(request: Request) -> list[str]:
    return list(request.ledger.order_by("id").values_list("kind", flat=True))


def balance(account: Account) -> int:
    account.refresh_from_db()
    assert account.balance == sum(account.ledger.values_list("amount", flat=True))
    return account.balance


@pytest.mark.django_db
class TestOneRequest:
    def test_acceptance_holds_the_price(self):
        account = make_account(credits=10)

        request = accept(account)

        assert balance(account) == 9
        assert entry_kinds(request) == ["HOLD"]

    def test_an_answer_is_stored_and_captured_together(self):
        account = make_account(credits=10)
        request = accept(account)
        start(request)

        assert request_complete(request=request, answer=ANSWER, processing_ms=5)

        request.refresh_from_db()
        assert (request.status, request.actual_provider, request.output_text) == ("COMPLETED", "aimlapi", "Hello")
        assert entry_kinds(request) == ["HOLD", "CAPTURE"]
        assert balance(account) == 9

    def test_a_second_answer_changes_nothing(self):
        request = accept(make_account())
        start(request)
        request_complete(request=request, answer=ANSWER, processing_ms=5)

        assert not request_complete(request=request, answer=ANSWER, processing_ms=5)

        assert entry_kinds(request) == ["HOLD", "CAPTURE"]

    def test_a_failure_releases_the_credits_once(self):
        account = make_account(credits=10)
        request = accept(account)
        end = {"request": request, "to": Request.Status.FAILED, "error_code": "X", "actor": "test", "reason": "why"}

        assert request_end(**end)
        assert not request_end(**end)

        assert balance(account) == 10
        assert entry_kinds(request) == ["HOLD", "RELEASE"]

    def test_a_cancelled_request_is_released_and_a_late_answer_is_not_charged(self):
        account = make_account(credits=10)
        request = accept(account)
        start(request)

        assert request_cancel(request_id=request.id, actor="user")
        assert not request_complete(request=request, answer=ANSWER, processing_ms=5)

        assert balance(account) == 10

    def test_an_older_fencing_token_cannot_fail_a_request_that_another_has_claimed(self):
        request = accept(make_account())
        Request.objects.filter(id=request.id).update(fence=2)

        assert not request_end(request=request, to=Request.Status.FAILED, error_code="X", actor="t", reason="", fence=1)

        assert entry_kinds(request) == ["HOLD"]


@pytest.mark.django_db
def test_without_enough_credits_the_request_is_rejected_and_nothing_is_held():
    account = make_account(credits=0)

    request = accept(account)

    assert (request.status, request.error_code) == ("REJECTED", "NO_CREDITS")
    assert entry_kinds(request) == []
    assert balance(account) == 0


@pytest.mark.django_db
def test_accepting_the_same_message_twice_is_idempotent():
    account = make_account(credits=10)

    first, second = accept(account), accept(account)

    assert first.id == second.id
    assert balance(account) == 9


@pytest.mark.django_db
def test_too_many_open_requests_are_refused_with_nothing_written(settings):
    settings.MAX_OPEN_REQUESTS = 2
    account = make_account(credits=10)
    accept(account, "a")
    accept(account, "b")

    with pytest.raises(TooManyOpenRequests):
        accept(account, "c")

    assert Request.objects.count() == 2
    assert balance(account) == 8


@pytest.mark.django_db
def test_a_top_up_with_the_same_reference_is_booked_once():
    account = make_account(credits=0)

    assert account_top_up(account_id=account.pk, amount=5, actor="shop", external_ref="charge-1")
    assert account_top_up(account_id=account.pk, amount=5, actor="shop", external_ref="charge-1") is None

    assert balance(account) == 5


@pytest.mark.django_db
def test_a_new_account_gets_the_welcome_credits_once(settings):
    settings.WELCOME_CREDITS = 20

    assert account_ensure(key="telegram:1").balance == 20
    assert account_ensure(key="telegram:1").balance == 20


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "HOLD", "amount": -1},  # a second hold
        {"kind": "CAPTURE", "amount": -5},  # a capture that takes more than was held
        {"kind": "TOPUP", "amount": -5, "request": None},
    ],
)
def test_the_database_refuses_an_invalid_ledger_entry(fields):
    request = make_request()
    LedgerEntry.objects.create(account=request.user, request=request, kind="HOLD", amount=-1, actor="t")

    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(**{"account": request.user, "request": request, "actor": "t", **fields})


@pytest.mark.django_db
def test_the_database_refuses_a_capture_beside_a_release():
    request = make_request()
    LedgerEntry.objects.create(account=request.user, request=request, kind="RELEASE", amount=1, actor="t")

    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(account=request.user, request=request, kind="CAPTURE", amount=0, actor="t")


@pytest.mark.django_db
def test_the_database_refuses_a_negative_balance():
    account = make_account(credits=1)

    with pytest.raises(IntegrityError), transaction.atomic():
        Account.objects.filter(id=account.pk).update(balance=-1)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_concurrent_prompts_with_credits_for_one_only_one_is_held(settings):
    settings.MAX_OPEN_REQUESTS = 100
    account = make_account(credits=1)

    def send(number: int) -> str:
        try:
            return accept(account, f"burst:{number}").status
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(send, range(20)))

    assert statuses.count("PENDING") == 1
    assert statuses.count("REJECTED") == 19
    assert balance(account) == 0


@pytest.mark.django_db(transaction=True)
def test_one_message_accepted_by_eight_workers_at_once_is_one_request():
    account = make_account(credits=10)

    def send(_: int) -> str:
        try:
            return accept(account, "same").id
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(send, range(8)))

    assert len(ids) == 1
    assert balance(account) == 9

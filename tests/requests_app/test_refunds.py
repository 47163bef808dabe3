"""Refunds: what an answer has cost goes back once, and never more than that."""

import threading

import pytest
from django.db import connection, transaction

from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.credits import credits_capture, credits_release
from requests_app.services.intake import request_accept
from requests_app.services.refunds import credits_charged, request_refund
from tests.factories import make_account, make_model

pytestmark = pytest.mark.django_db


def make_held(*, price: int = 5) -> Request:
    account, model = make_account(credits=20), make_model(token_cost=price)
    return request_accept(intake_key=account.key, account=account, model=model, text="Hi", wakes_worker=False)


def refund(request: Request) -> bool:
    return request_refund(request_id=request.id, actor="test", reason="not shown")


def balance(request: Request) -> int:
    return Account.objects.get(id=request.user_id).balance


def test_a_captured_request_is_refunded_once():
    request = make_held()
    credits_capture(request=request)
    assert credits_charged(request.id) == 5

    assert refund(request)
    assert not refund(request)

    assert balance(request) == 20
    assert credits_charged(request.id) == 0
    assert LedgerEntry.objects.get(kind="REFUND").amount == 5


def test_what_the_capture_has_given_back_is_not_given_back_again():
    request = make_held()
    LedgerEntry.objects.create(account_id=request.user_id, request=request, kind="CAPTURE", amount=3, actor="system")
    Account.objects.filter(id=request.user_id).update(balance=18)

    assert refund(request)

    assert balance(request) == 20


@pytest.mark.parametrize("price", [5, 0])
def test_what_was_not_charged_is_not_refunded(price):
    held, released, free = make_held(price=price), make_held(), make_held(price=0)
    with transaction.atomic():
        credits_release(request=released, reason="failed")
    credits_capture(request=free)

    assert not any(refund(request) for request in (held, released, free))

    assert not LedgerEntry.objects.filter(kind="REFUND").exists()
    assert [balance(request) for request in (held, released, free)] == [20 - price, 20, 20]


@pytest.mark.django_db(transaction=True)
def test_of_two_refunds_at_once_one_gives_back():
    request = make_held()
    credits_capture(request=request)
    barrier = threading.Barrier(4)
    results: list[bool] = []

    def give_back() -> None:
        barrier.wait(10)
        results.append(refund(request))
        connection.close()

    threads = [threading.Thread(target=give_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sorted(results) == [False, False, False, True]
    assert balance(request) == 20

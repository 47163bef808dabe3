"""Requests and credits of the sandbox are told from real ones as of acceptance, in every figure."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from providers.models import Attempt, AttemptRollup, FoldState
from providers.statistics.rollups import attempts_fold, fold_attempts
from providers.types import Purpose
from requests_app.analytics.accounts import account_figures
from requests_app.analytics.periods import period_named
from requests_app.analytics.rollups import fold_requests, requests_fold
from requests_app.analytics.selectors import model_margins, top_users, totals_of
from requests_app.models import LedgerEntry, Request, RequestRollup
from requests_app.services.accounts import account_take_back, account_top_up
from requests_app.services.completion import request_end
from requests_app.services.credits import credits_capture
from requests_app.services.intake import request_accept
from requests_app.services.refunds import request_refund
from tests.factories import make_account, make_attempt, make_model, make_request

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]

Status = Request.Status


def accept(account, model) -> Request:
    number = Request.objects.count()
    account.refresh_from_db()
    return request_accept(intake_key=f"test:purpose:{number}", account=account, model=model, text="Hello")


def answer(request: Request) -> None:
    credits_capture(request=request)
    Request.objects.filter(pk=request.pk).update(
        status=Status.COMPLETED, actual_provider="aimlapi", output_text="Yes", completed_at=timezone.now()
    )


def live_through(account, model) -> None:
    """Credits sold, given and taken back; an answer, one that was refunded, one that failed, one without credits.

    No call was made for the last two.
    """
    account_top_up(account_id=account.pk, amount=20, actor="shop", is_paid=True)
    account_top_up(account_id=account.pk, amount=7, actor="admin:anna")
    account_take_back(account_id=account.pk, amount=2, actor="admin:anna", reason="typo")
    answered, refunded, failed = (accept(account, model) for _ in range(3))
    for request in (answered, refunded):
        answer(request)
    assert request_refund(request_id=refunded.pk, actor="admin:anna", reason="wrong")
    assert request_end(request=failed, to=Status.FAILED, error_code="X", actor="worker", reason="")
    assert accept(make_account(credits=0), model).status == Status.REJECTED


@pytest.mark.parametrize("is_folded", [False, True])
def test_each_figure_is_of_one_purpose(settings, is_folded):
    account, model = make_account(credits=0), make_model(token_cost=5, provider="openai")
    settings.SANDBOX_ACTIVE = True
    live_through(account, model)
    settings.SANDBOX_ACTIVE = False
    today = period_named("today")
    assert figures_now(today) == (0, 0, 0, 0, 0, 0)
    assert model_margins(today) == top_users(today) == []

    live_through(account, model)
    live_through(account, model)
    if is_folded:
        assert fold_requests() == 12

    both = {"real": figures_now(today)}
    assert [row.requests for row in top_users(today)] == [6, 1, 1]
    assert [(row.credits_used, row.requests) for row in model_margins(today)] == [(10, 8)]
    assert account_figures(account).in_all.credits_used == account_figures(account).lately.credits_used == 10
    settings.SANDBOX_ACTIVE = True
    both["sandbox"] = figures_now(today)
    assert [(row.credits_used, row.requests) for row in model_margins(today)] == [(5, 4)]
    assert account_figures(account).in_all.credits_used == account_figures(account).lately.credits_used == 5
    assert both == {"real": (8, 4, 2, 40, 10, 10), "sandbox": (4, 2, 1, 20, 5, 5)}
    # There is one balance, and so one account of where it comes from.
    assert account_figures(account).credits.used == 15


def figures_now(period) -> tuple[int, ...]:
    totals = totals_of(period)
    return (
        totals.requests, totals.completed, totals.rejected, totals.credits_sold, totals.credits_given,
        totals.credits_used,
    )  # fmt: skip


def test_a_request_stays_what_it_was_accepted_as(settings):
    """Where a key is set before it is answered, the call is real, and on the bill; the request is no user's."""
    settings.SANDBOX_ACTIVE = True
    request = accept(make_account(), make_model())
    settings.SANDBOX_ACTIVE = False
    answer(request)
    request_refund(request_id=request.pk, actor="test", reason="")

    entries = LedgerEntry.objects.filter(request=request)
    assert {*entries.values_list("kind", "purpose")} == {
        (kind, "sandbox") for kind in ("HOLD", "CAPTURE", "REFUND")
    }  # fmt: skip


class TestMigration:
    """Of a database of an earlier release."""

    migration = import_module("requests_app.migrations.0023_purpose_of_earlier_requests")

    def test_what_the_sandbox_has_answered_is_marked_in_batches(self, monkeypatch, django_assert_max_num_queries):
        monkeypatch.setattr(self.migration, "BATCH_ROWS", 2)
        account, model = make_account(), make_model()
        requests = [accept(account, model) for _ in range(3)] + [accept(make_account(), model)]
        for request in requests[:3]:
            for number in (1, 2):
                make_attempt(caller_key=request.pk, number=number, purpose="sandbox")
        make_attempt(caller_key=requests[3].pk)
        assert {*Request.objects.values_list("purpose", flat=True)} == {"user"}

        with django_assert_max_num_queries(30):
            self.migration.mark_sandbox(apps, None)
        self.migration.mark_sandbox(apps, None)

        of_sandbox = Request.objects.filter(purpose=Purpose.SANDBOX)
        assert {*of_sandbox} == {*requests[:3]}
        assert {*LedgerEntry.objects.filter(purpose=Purpose.SANDBOX).values_list("request", flat=True)} == {
            request.pk for request in requests[:3]
        }

    def test_what_the_sums_have_and_the_rows_do_not_was_deleted(self):
        then = timezone.now() - timedelta(days=9)
        for days in (0, 1, 2):
            for _ in range(3):
                moment = then + timedelta(days=days)
                request = make_request(
                    status="COMPLETED",
                    created_at=moment,
                    completed_at=moment,
                    actual_provider="openai",
                    output_text="Hello",
                )
                make_attempt(caller_key=request.pk, created_at=moment)
        fold_attempts()
        fold_requests()
        FoldState.objects.all().delete()
        edge = then + timedelta(days=1)
        last = Request.objects.filter(created_at=edge).first()
        for model in (Attempt, Request):
            model.objects.filter(created_at__lt=edge).delete()
        Attempt.objects.filter(caller_key=last.pk).delete()
        last.delete()

        import_module("providers.migrations.0031_fold_state").begin(apps, None)
        self.migration.begin(apps, None)

        for fold, sums in ((attempts_fold, AttemptRollup), (requests_fold, RequestRollup)):
            state = FoldState.objects.get(name=fold.name)
            assert state.deleted_rows == 4
            assert edge <= state.deleted_until < edge + timedelta(days=1)
            before = sorted(sums.objects.values_list("requests", flat=True))
            fold.rebuild()
            assert sorted(sums.objects.values_list("requests", flat=True)) == before
            assert not fold.totals().wrong

"""A call that a lost worker has left open while its request ended: nobody owns it, and the sweeper closes it."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from providers.chain.attempts import OpenAttempt, attempt_open
from providers.models import Attempt
from requests_app.models import Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.sweeper import sweep_requests
from tests.factories import make_account, make_model
from tests.requests_app.conftest import chain

__all__ = ["chain"]

pytestmark = pytest.mark.django_db


class WorkerCrash(BaseException):
    """Ends a worker in the middle of a call."""


def crash() -> str:
    raise WorkerCrash


def test_the_sweeper_closes_it_as_unknown(chain, enqueued, monkeypatch, settings):
    chain(aimlapi=[crash])
    request = request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="Hi")

    def open_and_cancel(**facts) -> OpenAttempt:
        attempt = attempt_open(**facts)
        request_cancel(request_id=request.id, actor="operator")
        return attempt

    monkeypatch.setattr("providers.chain.fallback.attempt_open", open_and_cancel)
    with pytest.raises(WorkerCrash):
        request_advance(request_id=request.id)
    sweep_requests()
    assert Attempt.objects.get().finished_at is None  # its worker may still be there, and records what became of it

    Request.objects.update(completed_at=Now() - timedelta(seconds=2 * settings.LEASE_SECONDS + 1))
    sweep_requests()

    attempt = Attempt.objects.get()
    assert attempt.state == "UNKNOWN"
    assert attempt.finished_at is not None

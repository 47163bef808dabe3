"""The sweeper: due requests without a worker are enqueued, overdue ones are ended."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import Request
from requests_app.services.intake import request_accept
from requests_app.services.leases import lease_claim
from requests_app.services.sweeper import sweep_requests
from tests.factories import make_account, make_model

pytestmark = pytest.mark.django_db

ADVANCE = "requests_app.tasks.advance"
DELIVER = "requests_app.tasks.deliver"


@pytest.fixture
def request_row(enqueued) -> Request:
    return request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="Hi")


def change(request: Request, **fields) -> None:
    Request.objects.filter(id=request.id).update(**fields)


def ago(seconds: float):
    return timezone.now() - timedelta(seconds=seconds)


def test_it_enqueues_a_request_whose_wake_up_was_lost(request_row, enqueued):
    enqueued.clear()

    sweep_requests()

    assert enqueued == [(ADVANCE, request_row.id)]


def test_it_leaves_a_request_alone_that_a_worker_owns(request_row, enqueued):
    lease_claim(request_id=request_row.id)
    enqueued.clear()

    assert sweep_requests() == 0
    assert enqueued == []


def test_it_enqueues_a_request_once_the_lease_of_a_dead_worker_has_run_out(request_row, enqueued):
    lease_claim(request_id=request_row.id)
    change(request_row, lease_until=ago(1))
    enqueued.clear()

    sweep_requests()

    assert enqueued == [(ADVANCE, request_row.id)]


def test_it_does_not_enqueue_a_request_before_it_is_due(request_row, enqueued):
    change(request_row, next_at=timezone.now() + timedelta(minutes=1))
    enqueued.clear()

    sweep_requests()

    assert enqueued == []


def test_it_ends_an_overdue_request_and_releases_its_credits(request_row, enqueued):
    change(request_row, deadline_at=ago(1))
    enqueued.clear()

    sweep_requests()

    request_row.refresh_from_db()
    request_row.user.refresh_from_db()
    assert (request_row.status, request_row.error_code) == ("FAILED", "DEADLINE")
    assert request_row.user.balance == 5
    assert enqueued == [(DELIVER, request_row.id)]


def test_it_leaves_an_overdue_request_to_the_worker_that_still_owns_it(request_row):
    lease_claim(request_id=request_row.id)
    change(request_row, deadline_at=ago(1))

    sweep_requests()

    request_row.refresh_from_db()
    assert request_row.status == "PROCESSING"


def test_it_leaves_ended_requests_alone(request_row, enqueued):
    change(request_row, status="FAILED", deadline_at=ago(1))
    enqueued.clear()

    assert sweep_requests() == 0
    assert enqueued == []

"""The sweeper: whatever everyone forgot is enqueued for or ended."""

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


def move(request: Request, **fields) -> None:
    Request.objects.filter(id=request.id).update(**fields)


def ago(seconds: float):
    return timezone.now() - timedelta(seconds=seconds)


def test_it_rings_for_a_request_whose_first_ring_was_lost(request_row, enqueued):
    enqueued.clear()

    sweep_requests()

    assert enqueued == [(ADVANCE, request_row.id)]


def test_it_leaves_a_request_alone_that_a_worker_holds(request_row, enqueued):
    lease_claim(request_id=request_row.id)
    enqueued.clear()

    assert sweep_requests() == 0
    assert enqueued == []


def test_it_rings_again_once_the_lease_of_a_dead_worker_has_run_out(request_row, enqueued):
    lease_claim(request_id=request_row.id)
    move(request_row, lease_until=ago(1))
    enqueued.clear()

    sweep_requests()

    assert enqueued == [(ADVANCE, request_row.id)]


def test_it_does_not_ring_before_the_time_that_a_request_waits_for(request_row, enqueued):
    move(request_row, next_at=timezone.now() + timedelta(minutes=1))
    enqueued.clear()

    sweep_requests()

    assert enqueued == []


def test_it_ends_what_is_past_its_deadline_and_gives_the_credits_back(request_row, enqueued):
    move(request_row, deadline_at=ago(1))
    enqueued.clear()

    sweep_requests()

    request_row.refresh_from_db()
    request_row.user.refresh_from_db()
    assert (request_row.status, request_row.error_code) == ("FAILED", "DEADLINE")
    assert request_row.user.balance == 5
    assert enqueued == [(DELIVER, request_row.id)]


def test_it_leaves_an_overdue_request_to_the_worker_that_still_holds_it(request_row):
    lease_claim(request_id=request_row.id)
    move(request_row, deadline_at=ago(1))

    sweep_requests()

    request_row.refresh_from_db()
    assert request_row.status == "PROCESSING"


def test_ended_requests_are_never_touched(request_row, enqueued):
    move(request_row, status="FAILED", deadline_at=ago(1))
    enqueued.clear()

    assert sweep_requests() == 0
    assert enqueued == []

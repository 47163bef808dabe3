"""The sweeper ends what is overdue and removes what is dead. It wakes nobody: the workers find what is due."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import Request, WorkerHeartbeat
from requests_app.services import sweeper
from requests_app.services.heartbeats import Heartbeat
from requests_app.services.intake import request_accept
from requests_app.services.leases import lease_claim
from requests_app.services.sweeper import sweep_requests
from tests.factories import make_account, make_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_row(enqueued) -> Request:
    return request_accept(intake_key="k", account=make_account(credits=5), model=make_model(), text="Hi")


def change(request: Request, **fields) -> None:
    Request.objects.filter(id=request.id).update(**fields)


def ago(seconds: float):
    return timezone.now() - timedelta(seconds=seconds)


def test_it_enqueues_nothing_however_long_a_request_waits(request_row, enqueued):
    change(request_row, created_at=ago(60))
    enqueued.clear()

    for _ in range(3):
        assert sweep_requests() == 0

    assert enqueued == []


def test_it_ends_an_overdue_request_and_releases_its_credits(request_row, enqueued):
    change(request_row, deadline_at=ago(1))
    enqueued.clear()

    sweep_requests()

    request_row.refresh_from_db()
    request_row.user.refresh_from_db()
    assert (request_row.status, request_row.error_code) == ("FAILED", "DEADLINE")
    assert request_row.user.balance == 5
    assert enqueued == []


def test_it_leaves_an_overdue_request_to_the_worker_that_still_owns_it(request_row):
    lease_claim(request_id=request_row.id)
    change(request_row, deadline_at=ago(1))

    sweep_requests()

    request_row.refresh_from_db()
    assert request_row.status == "PROCESSING"


def test_it_leaves_a_request_that_a_worker_claims_after_the_query_to_that_worker(request_row, monkeypatch):
    change(request_row, deadline_at=ago(1))
    end_overdue = sweeper._end_overdue

    def claimed_first(request_id: str) -> bool:
        change(request_row, status="PROCESSING", lease_until=ago(-15))
        return end_overdue(request_id)

    monkeypatch.setattr(sweeper, "_end_overdue", claimed_first)

    sweep_requests()

    request_row.refresh_from_db()
    assert request_row.status == "PROCESSING"


def test_it_leaves_ended_requests_alone(request_row):
    change(request_row, status="FAILED", deadline_at=ago(1))

    assert sweep_requests() == 0


def test_it_removes_the_heartbeats_of_the_dead():
    Heartbeat("sweeper").beat()
    WorkerHeartbeat.objects.create(name="worker@gone:1", kind="worker", seen_at=ago(121))

    sweep_requests()

    assert list(WorkerHeartbeat.objects.values_list("kind", flat=True)) == ["sweeper"]

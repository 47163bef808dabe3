"""Claims and leases: of all workers that try to claim a request, one succeeds."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from requests_app.models import Request
from requests_app.services.leases import LeaseKeeper, lease_claim
from tests.factories import make_request


def expire_lease(request: Request) -> None:
    Request.objects.filter(id=request.id).update(lease_until=timezone.now() - timedelta(seconds=1))


@pytest.mark.django_db
def test_a_claimed_request_cannot_be_claimed_again():
    request = make_request()

    assert lease_claim(request_id=request.id)
    assert lease_claim(request_id=request.id) is None


@pytest.mark.django_db
def test_a_request_whose_lease_ran_out_goes_to_the_next_worker_with_a_higher_fencing_token():
    request = make_request()
    first, _ = lease_claim(request_id=request.id)
    expire_lease(request)

    second, _ = lease_claim(request_id=request.id)

    assert second.fence == first.fence + 1


@pytest.mark.django_db
def test_a_frozen_worker_learns_that_it_has_lost_the_lease():
    request = make_request()
    frozen, _ = lease_claim(request_id=request.id)
    expire_lease(request)
    lease_claim(request_id=request.id)

    with transaction.atomic():
        assert not frozen.hold()


@pytest.mark.django_db
@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "REJECTED", "CANCELLED", "QUARANTINED"])
def test_an_ended_request_cannot_be_claimed(status):
    request = make_request(status=status, output_text="x", actual_provider="aimlapi", completed_at=timezone.now())

    assert lease_claim(request_id=request.id) is None


@pytest.mark.django_db
def test_an_unknown_id_claims_nothing():
    assert lease_claim(request_id="req_unknown") is None


@pytest.mark.django_db(transaction=True)
def test_of_eight_workers_at_once_one_claims():
    request = make_request()

    def claim(_: int) -> bool:
        try:
            return lease_claim(request_id=request.id) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim, range(8)))

    assert claims.count(True) == 1


@pytest.mark.django_db(transaction=True)
def test_the_keeper_renews_a_lease_until_it_is_let_go(settings):
    settings.LEASE_SECONDS = 600
    request = make_request()
    lease, _ = lease_claim(request_id=request.id)
    expire_lease(request)
    keeper = LeaseKeeper()
    keeper.keep(lease)

    keeper.renew()
    request.refresh_from_db()
    assert request.lease_until > timezone.now() + timedelta(minutes=9)

    keeper.let_go(lease)
    expire_lease(request)
    keeper.renew()
    request.refresh_from_db()
    assert request.lease_until < timezone.now()


@pytest.mark.django_db(transaction=True)
def test_the_keeper_marks_a_lease_as_lost_that_another_worker_has_taken_over():
    request = make_request()
    lease, _ = lease_claim(request_id=request.id)
    keeper = LeaseKeeper()
    keeper.keep(lease)
    Request.objects.filter(id=request.id).update(fence=lease.fence + 1)

    keeper.renew()

    assert lease.is_lost


@pytest.mark.django_db(transaction=True)
def test_the_keeper_renews_no_lease_beyond_the_deadline():
    request = make_request(deadline_at=timezone.now() - timedelta(seconds=1))
    lease, _ = lease_claim(request_id=request.id)
    keeper = LeaseKeeper()
    keeper.keep(lease)

    keeper.renew()

    assert lease.is_lost


@pytest.mark.django_db
def test_a_lease_runs_by_the_databases_clock(monkeypatch):
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(hours=1))
    claim = lease_claim(request_id=make_request().id)

    assert claim is not None
    assert claim[1].lease_until - claim[1].now < timedelta(minutes=30)

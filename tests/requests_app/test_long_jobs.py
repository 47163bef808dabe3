"""Long jobs: ordered once, asked for until they end, stored before they count, and never ordered twice."""

import errno
import io
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image

from providers.chain.jobs import job_cancel
from providers.errors import AccessDenied, NotSent, OutcomeUnknown, ServerFault
from providers.models import Attempt, ProviderConfig
from providers.types import Access, Job, MediaResult, UnknownPolicy, Usage
from requests_app.models import Account, Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.leases import lease_claim
from requests_app.services.sweeper import sweep_requests
from tests.factories import make_account, make_model, make_provider
from tests.fakes.chain import JobScript

pytestmark = pytest.mark.django_db

FILM = b"\x00\x00\x00\x18ftypisom" + bytes(100)
DONE = MediaResult(url="https://replicate.delivery/film.mp4", usage=Usage(images=1))


@pytest.fixture
def account() -> Account:
    return make_account(credits=10)


@pytest.fixture(autouse=True)
def _outlet(memory_backend, enqueued):
    """No test here enqueued_now Celery or shows anything in a chat."""


@pytest.fixture
def vendor(settings, monkeypatch):
    """Make the one vendor of films: `vendor(submissions=[Job("j1")], polls=[…])`."""

    def make(*, category: str = "VIDEO", **script) -> JobScript:
        jobs = JobScript(**script)
        jobs.file = FILM
        ProviderConfig.objects.filter(category=category).delete()
        make_provider("replicate", category=category, timeout_seconds=900)
        settings.PROVIDER_ACCESS = {"replicate": Access("key", "http://127.0.0.1:9")}
        monkeypatch.setattr("providers.chain.candidates.provider_class", jobs.provider_class)
        return jobs

    return make


def order(account: Account, category: str = "VIDEO") -> Request:
    model = make_model(category=category, token_cost=5)
    return request_accept(intake_key="k", account=account, model=model, text="A cat on a bicycle")


def look(request: Request) -> Request:
    """Let it be time to look again, and look."""
    Request.objects.filter(id=request.id).update(next_at=None, lease_until=None)
    request_advance(request_id=request.id)
    request.refresh_from_db()
    return request


def attempt_of(request: Request) -> Attempt:
    return Attempt.objects.get(caller_key=request.id)


def balance(account: Account) -> int:
    account.refresh_from_db()
    return account.balance


def make_older(request: Request, seconds: float) -> None:
    Attempt.objects.filter(caller_key=request.id).update(created_at=timezone.now() - timedelta(seconds=seconds))


class Unreachable:
    """Where the cancelled jobs are noted, of a vendor that nobody reaches."""

    def append(self, job_id: str) -> None:
        raise NotSent


def test_the_jobs_id_is_kept_and_the_worker_is_free(vendor, account):
    vendor(submissions=[Job("job-1")])

    request = look(order(account))

    assert (request.status, request.lease_until) == ("PROCESSING", None)
    assert request.next_at > timezone.now()
    assert (attempt_of(request).state, attempt_of(request).job_id) == ("RUNNING", "job-1")


def test_the_same_job_is_asked_for_until_it_is_done_and_its_file_is_ours(vendor, account, memory_backend):
    jobs = vendor(submissions=[Job("job-1")], polls=[Job("job-1"), Job("job-1"), DONE])
    request = order(account)

    for _ in range(4):
        look(request)

    request.refresh_from_db()
    stored = request.output_media[0]
    assert (request.status, request.actual_provider) == ("COMPLETED", "replicate")
    assert jobs.polled == ["job-1"] * 3
    assert default_storage.open(stored["name"]).read() == FILM
    assert stored["content_type"] == "video/mp4"
    assert request.output_url == default_storage.url(stored["name"])
    assert balance(account) == 5
    assert memory_backend.delivered == [request.id]


def test_a_quick_vendor_answers_at_once(vendor, account):
    vendor(submissions=[DONE])

    assert look(order(account)).status == "COMPLETED"


def test_a_job_that_is_done_at_once_is_on_record_before_its_output_is_fetched(vendor, account, monkeypatch):
    jobs = vendor(submissions=[replace(DONE, job_id="job-1")], polls=[DONE])
    request = order(account)
    with monkeypatch.context() as patched:
        fill_the_disk(patched)
        look(request)
    assert (attempt_of(request).state, attempt_of(request).job_id) == ("UNKNOWN", "job-1")

    assert look(request).status == "COMPLETED"
    assert jobs.polled == ["job-1"]


def test_an_answer_that_is_here_is_kept_though_another_has_taken_its_job(vendor, account):
    Attempt.objects.create(
        caller_key="other", number=1, category="VIDEO", provider="replicate", model="m", state="RUNNING", job_id="job-1"
    )
    vendor(submissions=[replace(DONE, job_id="job-1")])

    assert look(order(account)).status == "COMPLETED"


def test_a_question_that_fails_does_not_end_the_job(vendor, account):
    vendor(submissions=[Job("job-1")], polls=[NotSent(), OutcomeUnknown(), ServerFault(), AccessDenied(), DONE])
    request = order(account)

    for _ in range(6):
        look(request)

    assert request.status == "COMPLETED"
    assert Attempt.objects.filter(caller_key=request.id).count() == 1


def test_a_job_that_failed_is_over_and_the_credits_come_back(vendor, account):
    failed = ServerFault("interrupted")
    failed.ends_job = True
    vendor(submissions=[Job("job-1")], polls=[failed])
    request = order(account)

    look(look(request))

    assert (request.status, request.error_code) == ("FAILED", "ALL_PROVIDERS_FAILED")
    assert attempt_of(request).state == "FAILED"
    assert balance(account) == 10


def test_a_job_that_never_ends_expires_and_is_stopped(vendor, account):
    jobs = vendor(submissions=[Job("job-1")], polls=[Job("job-1")])
    request = look(order(account))
    make_older(request, 1000)

    look(request)

    assert attempt_of(request).state == "EXPIRED"
    assert jobs.cancelled == ["job-1"]
    assert request.status == "FAILED"


def test_an_output_that_is_no_film_is_no_result(vendor, account):
    jobs = vendor(submissions=[Job("job-1")], polls=[DONE])
    jobs.file = b"<html>gone</html>"
    request = order(account)

    look(look(request))

    assert request.status == "FAILED"
    assert attempt_of(request).state == "UNKNOWN"  # it was made, and may be billed


class TestAnOrderWhoseAnswerWasLost:
    def test_it_is_looked_for_before_anything_else_is_bought(self, vendor, account):
        jobs = vendor(submissions=[OutcomeUnknown("cut")], found=[[], [Job("job-7")]], polls=[DONE])
        request = order(account)

        look(request)
        assert (attempt_of(request).state, attempt_of(request).finished_at) == ("UNKNOWN", None)
        look(request)  # not in the list yet
        look(request)  # there it is
        assert (attempt_of(request).state, attempt_of(request).job_id) == ("RUNNING", "job-7")
        look(request)

        assert request.status == "COMPLETED"
        assert jobs.polled == ["job-7"]

    def test_after_five_minutes_it_is_given_up(self, vendor, account):
        vendor(submissions=[OutcomeUnknown("cut")], found=[[]])
        request = look(order(account))
        make_older(request, 301)

        look(request)

        assert attempt_of(request).finished_at is not None
        assert request.status == "FAILED"
        assert balance(account) == 10

    def test_the_job_of_another_request_is_never_taken(self, vendor, account):
        other = Attempt.objects.create(
            caller_key="other", number=1, category="VIDEO", provider="replicate", model="m", state="RUNNING",
            job_id="job-1",
        )  # fmt: skip
        vendor(submissions=[OutcomeUnknown("cut")], found=[[Job("job-1")]])
        request = look(order(account))

        look(request)

        assert attempt_of(request).job_id == ""
        assert other.job_id == "job-1"

    def test_two_lost_orders_in_the_same_words_are_both_found(self, vendor, account):
        Attempt.objects.create(
            caller_key="other", number=1, category="VIDEO", provider="replicate", model="m", state="RUNNING",
            job_id="job-1",
        )  # fmt: skip
        vendor(submissions=[OutcomeUnknown("cut")], found=[[Job("job-1"), Job("job-2")]])

        request = look(look(order(account)))

        assert attempt_of(request).job_id == "job-2"

    def test_a_vendor_that_cannot_be_searched_stops_the_chain(self, vendor, account):
        vendor(submissions=[OutcomeUnknown("cut")]).policy = UnknownPolicy.STOP
        request = look(order(account))

        assert (request.status, request.error_code) == ("FAILED", "PAYMENT_UNCERTAIN")
        assert balance(account) == 10

    def test_so_is_one_whose_worker_was_killed_in_the_middle_of_the_order(self, vendor, account):
        vendor(submissions=[], found=[[Job("job-3")]], polls=[DONE])
        request = order(account)
        Request.objects.filter(id=request.id).update(status="PROCESSING", fence=1, tries=1)
        Attempt.objects.create(
            caller_key=request.id, number=1, category="VIDEO", provider="replicate", model="m", state="SENDING"
        )

        look(look(request))

        assert request.status == "COMPLETED"
        assert attempt_of(request).job_id == "job-3"


def test_cancelling_gives_the_credits_back_and_stops_the_job(vendor, account, enqueued):
    jobs = vendor(submissions=[Job("job-1")])
    request = look(order(account))
    enqueued.clear()

    assert request_cancel(request_id=request.id, actor="user")

    attempt = attempt_of(request)
    assert attempt.state == "ABANDONED"
    assert balance(account) == 10
    assert jobs.cancelled == []
    job_cancel(attempt_id=attempt.id)
    assert jobs.cancelled == ["job-1"]


class TestAJobThatNobodyWaitsForAnyMore:
    """Its vendor is told, however little of us was alive when it was let go."""

    def sweep_later(self, enqueued) -> list[tuple[str, str | int]]:
        Attempt.objects.exclude(finished_at=None).update(finished_at=timezone.now() - timedelta(seconds=6))
        enqueued.clear()
        sweep_requests()
        return enqueued

    def test_the_sweeper_rings_for_it_until_the_vendor_knows(self, vendor, account, enqueued):
        jobs = vendor(submissions=[Job("job-1")])
        request = look(order(account))
        request_cancel(request_id=request.id, actor="user")
        attempt_id = str(attempt_of(request).id)

        assert self.sweep_later(enqueued) == [("requests_app.tasks.cancel_job", attempt_id)]
        job_cancel(attempt_id=attempt_id)

        assert jobs.cancelled == ["job-1"]
        assert self.sweep_later(enqueued) == []

    def test_a_vendor_that_is_not_reached_is_told_later(self, vendor, account, enqueued, monkeypatch):
        jobs = vendor(submissions=[Job("job-1")])
        request = look(order(account))
        request_cancel(request_id=request.id, actor="user")
        with monkeypatch.context() as patched:
            patched.setattr(jobs, "cancelled", Unreachable())
            job_cancel(attempt_id=attempt_of(request).id)

        assert len(self.sweep_later(enqueued)) == 1

    def test_a_film_that_was_ordered_just_after_its_end_is_stopped_too(self, vendor, account, enqueued, monkeypatch):
        jobs = vendor(submissions=[Job("job-1")])
        request = order(account)

        def claim_too_early(**names: str) -> Any:
            claim = lease_claim(**names)
            request_cancel(request_id=request.id, actor="user")
            return claim

        monkeypatch.setattr("requests_app.services.execution.lease_claim", claim_too_early)
        look(request)
        assert attempt_of(request).state == "RUNNING"
        sweep_requests()
        assert attempt_of(request).state == "ABANDONED"

        for _, attempt_id in self.sweep_later(enqueued):
            job_cancel(attempt_id=attempt_id)

        assert jobs.cancelled == ["job-1"]

    def test_an_order_that_was_on_its_way_when_its_user_cancelled_is_stopped_too(self, vendor, account, enqueued):
        def cancel_meanwhile() -> Job:
            request_cancel(request_id=Request.objects.get().id, actor="user")
            return Job("job-1")

        jobs = vendor(submissions=[cancel_meanwhile])
        request = look(order(account))
        attempt = attempt_of(request)
        assert (request.status, attempt.state, attempt.job_id) == ("CANCELLED", "UNKNOWN", "job-1")

        for _, attempt_id in self.sweep_later(enqueued):
            job_cancel(attempt_id=attempt_id)

        assert jobs.cancelled == ["job-1"]


def test_past_its_deadline_a_job_is_let_go(vendor, account):
    vendor(submissions=[Job("job-1")])
    request = look(order(account))
    Request.objects.filter(id=request.id).update(deadline_at=timezone.now() - timedelta(seconds=1))

    sweep_requests()

    request.refresh_from_db()
    assert (request.status, request.error_code) == ("FAILED", "DEADLINE")
    assert attempt_of(request).state == "ABANDONED"


def test_a_waiting_request_never_comes_nearer_to_quarantine(vendor, account):
    vendor(submissions=[Job("job-1")], polls=[Job("job-1")] * 20 + [DONE])
    request = order(account)

    for _ in range(22):
        look(request)

    assert request.status == "COMPLETED"


def test_a_picture_is_checked_as_a_picture(vendor, account):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    jobs = vendor(category="IMAGE", submissions=[MediaResult(content=buffer.getvalue(), usage=Usage(images=1))])
    jobs.file = b""

    request = look(order(account, "IMAGE"))

    assert request.output_media[0]["content_type"] == "image/png"


# --- A storage that fails ---


def fill_the_disk(monkeypatch) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(default_storage, "save", full)


def test_a_jobs_output_that_cannot_be_stored_is_fetched_again_later(vendor, account, monkeypatch):
    vendor(submissions=[Job("job-1")], polls=[DONE, DONE])
    request = look(order(account))
    with monkeypatch.context() as patched:
        fill_the_disk(patched)
        look(request)
    assert (request.status, attempt_of(request).state) == ("PROCESSING", "RUNNING")

    assert look(request).status == "COMPLETED"


def test_an_output_that_comes_once_and_cannot_be_stored_is_not_bought_again(vendor, account, monkeypatch):
    usage = Usage(images=1, reported_cost=Decimal("0.04"))
    vendor(submissions=[replace(DONE, content=FILM, url="", usage=usage)]).policy = UnknownPolicy.RESPEND
    fill_the_disk(monkeypatch)

    request = look(order(account))

    attempt = attempt_of(request)
    assert (request.status, request.error_code) == ("FAILED", "STORAGE_FAILED")
    assert (attempt.state, attempt.error_class, attempt.cost) == ("UNKNOWN", "NotStored", Decimal("0.04"))
    assert balance(account) == 10

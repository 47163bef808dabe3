"""Long jobs: submitted once, polled until they end, stored before they count, and never submitted twice."""

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
from providers.errors import AccessDenied, JobGone, NotSent, OutcomeUnknown, ServerFault
from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.types import Access, Job, MediaResult, UnknownPolicy, Usage
from requests_app.due_work import due_work
from requests_app.models import Account, Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.leases import lease_claim
from requests_app.services.sweeper import sweep_requests
from tests.factories import make_account, make_model, make_provider
from tests.fakes.chain import JobScript

pytestmark = pytest.mark.django_db

VIDEO_FILE = b"\x00\x00\x00\x18ftypisom" + bytes(100)
DONE = MediaResult(url="https://replicate.delivery/video.mp4", usage=Usage(images=1))


@pytest.fixture
def account() -> Account:
    return make_account(credits=10)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr("providers.chain.outputs.PAUSES_SECONDS", (0, 0))


@pytest.fixture(autouse=True)
def _in_memory(memory_backend, enqueued):
    """No test here sends a wake-up to Celery or a message to a chat."""


@pytest.fixture
def provider(settings, monkeypatch):
    """Make the only provider of a category: `provider(submissions=[Job("j1")], polls=[…])`."""

    def make(*, category: str = "VIDEO", **script) -> JobScript:
        jobs = JobScript(**script)
        jobs.file = VIDEO_FILE
        ProviderConfig.objects.filter(category=category).delete()
        make_provider("replicate", category=category, timeout_seconds=900)
        settings.PROVIDER_ACCESS = {"replicate": Access("key", "http://127.0.0.1:9")}
        monkeypatch.setattr("providers.access.provider_class", jobs.provider_class)
        return jobs

    return make


def accept(account: Account, category: str = "VIDEO") -> Request:
    model = make_model(category=category, token_cost=5)
    return request_accept(intake_key="k", account=account, model=model, text="A cat on a bicycle")


def step(request: Request) -> Request:
    """Make the request due, and advance it."""
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


class UnreachableList:
    """The list of cancelled jobs of a provider that cannot be reached."""

    def append(self, job_id: str) -> None:
        raise NotSent


def test_the_jobs_id_is_stored_and_the_worker_is_free(provider, account):
    provider(submissions=[Job("job-1")])

    request = step(accept(account))

    assert (request.status, request.lease_until) == ("PROCESSING", None)
    assert request.next_at > timezone.now()
    assert (attempt_of(request).state, attempt_of(request).job_id) == ("RUNNING", "job-1")


def test_the_same_job_is_polled_until_it_is_done_and_its_file_is_stored(provider, account, memory_backend):
    jobs = provider(submissions=[Job("job-1")], polls=[Job("job-1"), Job("job-1"), DONE])
    request = accept(account)

    for _ in range(4):
        step(request)

    request.refresh_from_db()
    stored = request.output_media[0]
    assert (request.status, request.actual_provider) == ("COMPLETED", "replicate")
    assert jobs.polled == ["job-1"] * 3
    assert default_storage.open(stored["name"]).read() == VIDEO_FILE
    assert stored["content_type"] == "video/mp4"
    assert request.output_url == default_storage.url(stored["name"])
    assert balance(account) == 5
    assert memory_backend.delivered == [request.id]


def test_a_quick_provider_answers_at_once(provider, account):
    provider(submissions=[DONE])

    assert step(accept(account)).status == "COMPLETED"


def test_a_job_that_is_done_at_once_is_recorded_before_its_output_is_fetched(provider, account, monkeypatch):
    jobs = provider(submissions=[replace(DONE, job_id="job-1")], polls=[DONE])
    request = accept(account)
    with monkeypatch.context() as patched:
        fill_the_disk(patched)
        step(request)
    assert (attempt_of(request).state, attempt_of(request).job_id) == ("RUNNING", "job-1")

    assert step(request).status == "COMPLETED"
    assert jobs.polled == ["job-1"]


def test_an_answer_at_once_is_kept_though_another_attempt_has_its_job_id(provider, account):
    Attempt.objects.create(
        caller_key="other", number=1, category="VIDEO", provider="replicate", model="m", state="RUNNING", job_id="job-1"
    )
    provider(submissions=[replace(DONE, job_id="job-1")])

    assert step(accept(account)).status == "COMPLETED"


def test_a_poll_that_fails_does_not_end_the_job(provider, account):
    provider(submissions=[Job("job-1")], polls=[NotSent(), OutcomeUnknown(), ServerFault(), AccessDenied(), DONE])
    request = accept(account)

    for _ in range(6):
        step(request)

    assert request.status == "COMPLETED"
    assert Attempt.objects.filter(caller_key=request.id).count() == 1


def test_a_failed_job_ends_the_attempt_and_the_credits_are_released(provider, account):
    provider(submissions=[Job("job-1")], polls=[ServerFault("interrupted", ends_job=True)])
    request = accept(account)

    step(step(request))

    assert (request.status, request.error_code) == ("FAILED", "ALL_PROVIDERS_FAILED")
    assert attempt_of(request).state == "FAILED"
    assert balance(account) == 10


def test_a_young_job_that_the_provider_does_not_know_yet_goes_on(provider, account):
    provider(submissions=[Job("job-1")], polls=[JobGone(), JobGone(), DONE])
    request = step(accept(account))

    for _ in range(3):
        step(request)

    assert request.status == "COMPLETED"


def test_a_job_that_the_provider_no_longer_knows_has_ended_after_a_minute(provider, account):
    provider(submissions=[Job("job-1")], polls=[JobGone(status=404)])
    request = step(accept(account))
    make_older(request, 61)

    step(request)

    attempt = attempt_of(request)
    assert (attempt.state, attempt.error_class, attempt.http_status) == ("UNKNOWN", "OutcomeUnknown", 404)
    assert attempt.error_text == "The provider does not know this job, or no longer (HTTP 404)"
    assert (request.status, request.error_code) == ("FAILED", "ALL_PROVIDERS_FAILED")
    assert balance(account) == 10


def test_a_job_that_never_ends_expires_and_is_cancelled(provider, account):
    jobs = provider(submissions=[Job("job-1")], polls=[Job("job-1")])
    request = step(accept(account))
    make_older(request, 1000)

    step(request)

    assert attempt_of(request).state == "EXPIRED"
    assert jobs.cancelled == ["job-1"]
    assert request.status == "FAILED"


def test_an_output_that_is_no_video_is_no_result(provider, account):
    jobs = provider(submissions=[Job("job-1")], polls=[DONE])
    jobs.file = b"<html>gone</html>"
    request = accept(account)

    step(step(request))

    assert request.status == "FAILED"
    assert attempt_of(request).state == "UNKNOWN"  # it was made, and may be billed


class TestASubmissionWhoseResponseWasLost:
    def test_its_job_is_looked_for_before_any_other_provider_is_called(self, provider, account):
        jobs = provider(submissions=[OutcomeUnknown("cut")], found=[[], [Job("job-7")]], polls=[DONE])
        request = accept(account)

        step(request)
        assert (attempt_of(request).state, attempt_of(request).finished_at) == ("UNKNOWN", None)
        step(request)  # not in the list yet
        step(request)  # there it is
        assert (attempt_of(request).state, attempt_of(request).job_id) == ("RUNNING", "job-7")
        step(request)

        assert request.status == "COMPLETED"
        assert jobs.polled == ["job-7"]

    def test_after_five_minutes_it_is_abandoned(self, provider, account):
        provider(submissions=[OutcomeUnknown("cut")], found=[[]])
        request = step(accept(account))
        make_older(request, 301)

        step(request)

        attempt = attempt_of(request)
        assert attempt.finished_at is not None
        assert (attempt.state, attempt.error_class, attempt.cost) == ("ABANDONED", "OutcomeUnknown", None)
        assert request.status == "FAILED"
        assert balance(account) == 10

    def test_the_job_of_another_request_is_never_taken(self, provider, account):
        other = Attempt.objects.create(
            caller_key="other", number=1, category="VIDEO", provider="replicate", model="m", state="RUNNING",
            job_id="job-1",
        )  # fmt: skip
        provider(submissions=[OutcomeUnknown("cut")], found=[[Job("job-1")]])
        request = step(accept(account))

        step(request)

        assert attempt_of(request).job_id == ""
        other.refresh_from_db()
        assert other.job_id == "job-1"

    def test_the_jobs_of_two_equal_prompts_are_both_found(self, provider, account):
        Attempt.objects.create(
            caller_key="other", number=1, category="VIDEO", provider="replicate", model="m", state="RUNNING",
            job_id="job-1",
        )  # fmt: skip
        provider(submissions=[OutcomeUnknown("cut")], found=[[Job("job-1"), Job("job-2")]])

        request = step(step(accept(account)))

        assert attempt_of(request).job_id == "job-2"

    def test_a_provider_whose_jobs_cannot_be_looked_for_stops_the_chain(self, provider, account):
        provider(submissions=[OutcomeUnknown("cut")]).policy = UnknownPolicy.STOP
        request = step(accept(account))

        assert (request.status, request.error_code) == ("FAILED", "PAYMENT_UNCERTAIN")
        assert balance(account) == 10

    def test_it_is_looked_for_too_after_its_worker_was_killed_during_the_submission(self, provider, account):
        provider(submissions=[], found=[[Job("job-3")]], polls=[DONE])
        request = accept(account)
        Request.objects.filter(id=request.id).update(status="PROCESSING", fence=1, tries=1)
        Attempt.objects.create(
            caller_key=request.id, number=1, category="VIDEO", provider="replicate", model="m", state="SENDING"
        )

        step(step(request))

        assert request.status == "COMPLETED"
        assert attempt_of(request).job_id == "job-3"


def test_cancelling_releases_the_credits_and_cancels_the_job(provider, account, enqueued):
    jobs = provider(submissions=[Job("job-1")])
    request = step(accept(account))
    enqueued.clear()

    assert request_cancel(request_id=request.id, actor="user")

    attempt = attempt_of(request)
    assert attempt.state == "ABANDONED"
    assert balance(account) == 10
    assert jobs.cancelled == []
    job_cancel(attempt_id=attempt.id)
    assert jobs.cancelled == ["job-1"]


class TestAJobThatNoRequestWaitsFor:
    """It is cancelled at its provider, whatever had crashed when it was abandoned."""

    def due_later(self) -> list[tuple[str, str | int]]:
        Attempt.objects.exclude(finished_at=None).update(finished_at=timezone.now() - timedelta(seconds=6))
        return due_work(10)

    def test_it_is_due_until_it_is_cancelled(self, provider, account):
        jobs = provider(submissions=[Job("job-1")])
        request = step(accept(account))
        request_cancel(request_id=request.id, actor="user")
        attempt_id = str(attempt_of(request).id)

        assert self.due_later() == [("requests_app.tasks.cancel_job", attempt_id)]
        job_cancel(attempt_id=attempt_id)

        assert jobs.cancelled == ["job-1"]
        assert self.due_later() == []

    def test_a_provider_that_cannot_be_reached_is_tried_again_later(self, provider, account, monkeypatch):
        jobs = provider(submissions=[Job("job-1")])
        request = step(accept(account))
        request_cancel(request_id=request.id, actor="user")
        with monkeypatch.context() as patched:
            patched.setattr(jobs, "cancelled", UnreachableList())
            job_cancel(attempt_id=attempt_of(request).id)

        assert len(self.due_later()) == 1

    def test_nothing_is_submitted_once_the_request_has_ended(self, provider, account, monkeypatch):
        provider(submissions=[])
        request = accept(account)

        def claim_too_early(**names: str) -> Any:
            claim = lease_claim(**names)
            request_cancel(request_id=request.id, actor="user")
            return claim

        monkeypatch.setattr("requests_app.services.execution.lease_claim", claim_too_early)

        assert step(request).status == "CANCELLED"
        assert not Attempt.objects.exists()

    def test_a_job_that_was_being_submitted_when_its_user_cancelled_is_cancelled_too(self, provider, account):
        def cancel_meanwhile() -> Job:
            request_cancel(request_id=Request.objects.get().id, actor="user")
            return Job("job-1")

        jobs = provider(submissions=[cancel_meanwhile])
        request = step(accept(account))
        attempt = attempt_of(request)
        assert (request.status, attempt.state, attempt.job_id) == ("CANCELLED", "ABANDONED", "job-1")

        for _, attempt_id in self.due_later():
            job_cancel(attempt_id=attempt_id)

        assert jobs.cancelled == ["job-1"]


def test_past_its_deadline_a_job_is_abandoned(provider, account):
    provider(submissions=[Job("job-1")])
    request = step(accept(account))
    Request.objects.filter(id=request.id).update(deadline_at=timezone.now() - timedelta(seconds=1))

    sweep_requests()

    request.refresh_from_db()
    assert (request.status, request.error_code) == ("FAILED", "DEADLINE")
    assert attempt_of(request).state == "ABANDONED"


def test_polling_brings_a_request_no_nearer_to_quarantine(provider, account):
    provider(submissions=[Job("job-1")], polls=[Job("job-1")] * 20 + [DONE])
    request = accept(account)

    for _ in range(22):
        step(request)

    assert request.status == "COMPLETED"


def test_an_image_is_checked_as_an_image(provider, account):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    jobs = provider(category="IMAGE", submissions=[MediaResult(content=buffer.getvalue(), usage=Usage(images=1))])
    jobs.file = b""

    request = step(accept(account, "IMAGE"))

    assert request.output_media[0]["content_type"] == "image/png"


def fill_the_disk(monkeypatch) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(default_storage, "save", full)


def test_a_jobs_output_that_cannot_be_stored_is_fetched_again_later(provider, account, monkeypatch):
    provider(submissions=[Job("job-1")], polls=[DONE, DONE])
    request = step(accept(account))
    with monkeypatch.context() as patched:
        fill_the_disk(patched)
        step(request)
    assert (request.status, attempt_of(request).state) == ("PROCESSING", "RUNNING")

    assert step(request).status == "COMPLETED"


def test_while_an_output_cannot_be_stored_nothing_else_is_bought(provider, account, settings, monkeypatch):
    provider(submissions=[Job("job-1")], polls=[DONE] * 3)
    make_provider("aimlapi", category="VIDEO", priority=2)
    settings.PROVIDER_ACCESS |= {"aimlapi": Access("key", "http://127.0.0.1:9")}
    request = step(accept(account))
    fill_the_disk(monkeypatch)

    Attempt.objects.update(created_at=timezone.now() - timedelta(seconds=901))  # the route's time is over
    assert step(request).status == "PROCESSING"
    assert request.next_at is not None
    assert (request.next_at - timezone.now()).total_seconds() > 200  # seldom, for each is a download
    Request.objects.update(deadline_at=timezone.now() + timedelta(seconds=60))
    step(request)

    attempt = attempt_of(request)
    assert (request.status, request.error_code) == ("FAILED", "STORAGE_FAILED")
    assert (attempt.state, attempt.error_class) == ("EXPIRED", "NotStored")
    assert balance(account) == 10
    assert not ProviderHealth.objects.filter(failures__gt=0).exists()


def test_a_storage_that_fails_for_a_moment_loses_nothing(provider, account, monkeypatch):
    provider(submissions=[replace(DONE, content=VIDEO_FILE, url="")])
    save, failures = default_storage.save, iter([OSError("a moment"), OSError("another")])

    def at_last(*arguments: Any) -> str:
        for error in failures:
            raise error
        return save(*arguments)

    monkeypatch.setattr(default_storage, "save", at_last)

    assert step(accept(account)).status == "COMPLETED"


def test_an_output_that_is_sent_once_and_cannot_be_stored_is_not_generated_again(provider, account, monkeypatch):
    usage = Usage(images=1, reported_cost=Decimal("0.04"))
    provider(submissions=[replace(DONE, content=VIDEO_FILE, url="", usage=usage)]).policy = UnknownPolicy.RESPEND
    fill_the_disk(monkeypatch)

    request = step(accept(account))

    attempt = attempt_of(request)
    assert (request.status, request.error_code) == ("FAILED", "STORAGE_FAILED")
    assert (attempt.state, attempt.error_class, attempt.cost) == ("UNKNOWN", "NotStored", Decimal("0.04"))
    assert balance(account) == 10

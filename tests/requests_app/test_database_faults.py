"""Requests beside a database that is locked, away or read at the wrong moment: what was paid for is kept, once."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from providers.chain.attempts import JOB_CANCELLED, OpenAttempt
from providers.errors import ServerFault
from providers.models import Attempt
from requests_app import statements
from requests_app.models import LedgerEntry, Request, WorkerHeartbeat
from requests_app.services import execution
from requests_app.services.cancellation import request_cancel, request_resume
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.leases import CLAIMS_BEFORE_QUARANTINE, Lease, LeaseKeeper, lease_claim
from requests_app.services.sweeper import sweep_requests
from tests.factories import make_account, make_model, make_request
from tests.row_locks import needs_row_locks, row_locked_by_another

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_memory(memory_backend, enqueued):
    """No test here sends a wake-up to Celery or a message to a chat."""


def accept(**fields) -> Request:
    model = make_model()
    return request_accept(intake_key="k", account=make_account(credits=10), model=model, text="Hi", **fields)


def attempts_of(request: Request) -> list[tuple[str, str]]:
    return list(Attempt.objects.filter(caller_key=request.id).order_by("number").values_list("provider", "state"))


def take_over(request: Request) -> None:
    """Let another worker take the request over, as after the lease of a frozen one has run out."""
    Request.objects.filter(id=request.id).update(lease_until=timezone.now() - timedelta(seconds=1))
    request_advance(request_id=request.id)


def failing_first(write: Callable) -> Callable:
    """Return `write` with a database that goes away before its first three commits."""
    faults = iter(range(3))

    def flaky(*args, **fields):
        if next(faults, None) is not None:
            raise OperationalError("server closed the connection unexpectedly")
        return write(*args, **fields)

    return flaky


class TestAStaleRead:
    """No call is begun without the proof that the request is open and the fencing token still the caller's."""

    def test_a_worker_that_read_before_the_answer_came_buys_nothing(self, chain, monkeypatch):
        chain(aimlapi=["never called"], piapi=["never called"])
        request = accept()
        frozen = lease_claim(request_id=request.id)
        assert frozen is not None
        # The worker that took over has read the attempts: one is open. Before it writes that one off, it is answered.
        Attempt.objects.create(
            caller_key=request.id, number=1, category="TEXT", provider="openai", model="m", state="SENDING"
        )

        def answered_meanwhile(attempt: Attempt, **_: bool) -> None:
            Attempt.objects.filter(id=attempt.id).update(state="OK", finished_at=timezone.now())
            Request.objects.filter(id=request.id).update(
                status="COMPLETED", output_text="Hi", actual_provider="openai", completed_at=timezone.now()
            )
            attempt.refresh_from_db()

        monkeypatch.setattr("providers.chain.fallback.attempt_write_off", answered_meanwhile)
        take_over(request)

        assert attempts_of(request) == [("openai", "OK")]

    def test_an_overtaken_worker_begins_no_further_call(self, chain):
        request = accept()

        def overtaken() -> str:
            chain(piapi=["The answer"])
            take_over(request)
            raise ServerFault

        script = chain(aimlapi=[overtaken], piapi=["never called"])
        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert request.actual_provider == "piapi"
        assert script.outcomes["piapi"] == ["never called"]

    def test_the_proof_fails_once_the_request_has_ended(self):
        request = accept()
        lease, _ = lease_claim(request_id=request.id)
        request_cancel(request_id=request.id, actor="user")

        with transaction.atomic():
            assert not lease.hold()

    @needs_row_locks
    def test_a_claim_waits_for_no_attempt_that_is_being_written(self):
        request = make_request()
        lease_claim(request_id=request.id)
        Request.objects.filter(id=request.id).update(lease_until=timezone.now() - timedelta(seconds=1))

        with row_locked_by_another(request):
            assert lease_claim(request_id=request.id) is None  # at once: it is looked at again a moment later
        assert lease_claim(request_id=request.id) is not None


class TestAnOutcomeThatCannotBeCommitted:
    """It is kept in memory and committed again."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch):
        monkeypatch.setattr("providers.db.MIN_RETRY_SECONDS", 0.001)

    def test_a_paid_answer_outlives_a_restart_of_the_database(self, chain, monkeypatch):
        chain(aimlapi=["Paid for once"], piapi=["never called"])
        monkeypatch.setattr(statements, "request_complete", failing_first(statements.request_complete))
        request = accept()

        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert (request.status, request.output_text) == ("COMPLETED", "Paid for once")
        assert attempts_of(request) == [("aimlapi", "OK")]
        assert list(request.ledger.order_by("id").values_list("kind", flat=True)) == ["HOLD", "CAPTURE"]

    @pytest.mark.parametrize("method", ["fail", "succeed"])
    def test_no_provider_is_asked_twice_for_it(self, chain, monkeypatch, method):
        script = chain(aimlapi=[ServerFault(status=500), "never called"], piapi=["Hi", "never called"])
        monkeypatch.setattr(OpenAttempt, method, failing_first(getattr(OpenAttempt, method)))
        request = accept()

        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert (request.status, request.actual_provider) == ("COMPLETED", "piapi")
        assert script.outcomes == {"aimlapi": ["never called"], "piapi": ["never called"]}

    def test_the_credits_go_back_though_the_end_could_not_be_written(self, chain, monkeypatch):
        chain(aimlapi=[ServerFault(status=500)])
        monkeypatch.setattr(execution, "request_end", failing_first(execution.request_end))
        request = accept()

        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert request.status == "FAILED"
        assert list(request.ledger.order_by("id").values_list("kind", flat=True)) == ["HOLD", "RELEASE"]


class TestQuarantine:
    @pytest.fixture
    def quarantined(self, chain) -> Request:
        """A request in quarantine, whose eighth worker's call is still under way."""
        chain(aimlapi=["never called"])
        request = accept()
        Attempt.objects.create(
            caller_key=request.id, number=1, category="TEXT", provider="aimlapi", model="m", state="SENDING"
        )
        Request.objects.filter(id=request.id).update(
            status="PROCESSING", fence=8, tries=CLAIMS_BEFORE_QUARANTINE, started_at=timezone.now()
        )
        request_advance(request_id=request.id)
        request.refresh_from_db()
        assert request.status == "QUARANTINED"
        return request

    def test_its_open_call_is_recorded_as_perhaps_billed(self, quarantined):
        assert attempts_of(quarantined) == [("aimlapi", "UNKNOWN")]

    def test_it_has_a_deadline_after_which_the_credits_go_back(self, quarantined):
        assert quarantined.deadline_at > timezone.now() + timedelta(hours=23)
        Request.objects.filter(id=quarantined.id).update(deadline_at=timezone.now() - timedelta(seconds=1))

        sweep_requests()

        quarantined.refresh_from_db()
        assert (quarantined.status, quarantined.error_code) == ("FAILED", "DEADLINE")
        assert quarantined.ledger.filter(kind="RELEASE").exists()

    @pytest.mark.parametrize("is_cancelled", [False, True])
    def test_after_it_is_resumed_the_only_provider_is_asked_again(self, chain, is_cancelled):
        chain(aimlapi=["Answered after all"])
        request = accept()
        Attempt.objects.create(
            caller_key=request.id, number=1, category="TEXT", provider="aimlapi", model="m", state="RUNNING", job_id="j"
        )
        Request.objects.filter(id=request.id).update(
            status="PROCESSING", fence=8, tries=CLAIMS_BEFORE_QUARANTINE, started_at=timezone.now()
        )
        request_advance(request_id=request.id)
        if is_cancelled:
            Attempt.objects.update(error_class=JOB_CANCELLED)

        assert request_resume(request_id=request.id, actor="operator")
        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert (request.status, request.output_text) == ("COMPLETED", "Answered after all")
        assert attempts_of(request) == [("aimlapi", "ABANDONED"), ("aimlapi", "OK")]

    def test_a_late_answer_completes_it_and_nothing_more_is_bought(self, chain):
        request = accept()

        def quarantine_meanwhile() -> str:
            Request.objects.filter(id=request.id).update(
                tries=CLAIMS_BEFORE_QUARANTINE, lease_until=timezone.now() - timedelta(seconds=1)
            )
            request_advance(request_id=request.id)
            assert Request.objects.get(id=request.id).status == "QUARANTINED"
            return "Late, but paid for"

        chain(aimlapi=[quarantine_meanwhile])
        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert (request.status, request.output_text) == ("COMPLETED", "Late, but paid for")
        assert not request_resume(request_id=request.id, actor="operator")
        assert attempts_of(request) == [("aimlapi", "OK")]


class TestOneRowsFault:
    def test_a_row_that_cannot_be_swept_stops_only_itself(self):
        poisoned, overdue = (
            make_request(account=make_account(credits=10), deadline_at=timezone.now() - timedelta(seconds=seconds))
            for seconds in (20, 10)
        )
        for request in (poisoned, overdue):
            LedgerEntry.objects.create(account=request.user, request=request, kind="HOLD", amount=-1, actor="t")
        # Made by hand: the sweeper's own RELEASE breaks the constraint.
        LedgerEntry.objects.create(account=poisoned.user, request=poisoned, kind="RELEASE", amount=1, actor="t")

        sweep_requests()

        poisoned.refresh_from_db()
        overdue.refresh_from_db()
        assert (poisoned.status, overdue.status) == ("PENDING", "FAILED")

    def test_it_is_put_aside_and_not_tried_in_every_round(self, monkeypatch):
        poisoned = make_request(deadline_at=timezone.now() - timedelta(seconds=20))
        tried = []

        def fail(**names) -> bool:
            tried.append(names["request"].id)
            raise IntegrityError

        monkeypatch.setattr("requests_app.services.sweeper.request_end", fail)
        for _ in range(3):
            sweep_requests()

        assert tried == [poisoned.id]


@needs_row_locks
class TestALockedRow:
    def test_the_other_leases_of_the_process_are_renewed(self):
        locked, other = make_request(), make_request()
        keeper = LeaseKeeper()
        leases = {request.id: lease_claim(request_id=request.id)[0] for request in (locked, other)}
        Request.objects.update(lease_until=timezone.now() + timedelta(seconds=1))
        for lease in leases.values():
            keeper.keep(lease)

        with row_locked_by_another(locked):
            keeper.renew()

        locked.refresh_from_db()
        other.refresh_from_db()
        assert other.lease_until > timezone.now() + timedelta(minutes=9)
        assert locked.lease_until < timezone.now() + timedelta(seconds=2)
        assert not any(lease.is_lost for lease in leases.values())  # the locked one is not lost, only not renewed

    def test_the_sweeper_ends_the_others_and_this_one_as_soon_as_it_is_free(self, caplog):
        past = timezone.now() - timedelta(seconds=20)
        locked, other = make_request(deadline_at=past), make_request(deadline_at=past)

        with row_locked_by_another(locked):
            assert sweep_requests() == 1
        other.refresh_from_db()
        assert (other.status, other.error_code) == ("FAILED", "DEADLINE")
        assert "put aside" not in caplog.text

        assert sweep_requests() == 1

    def test_the_sweeper_removes_the_heartbeats_of_the_other_dead(self):
        for name in ("frozen", "dead"):
            WorkerHeartbeat.objects.create(name=name, kind="worker", seen_at=timezone.now() - timedelta(days=1))

        with row_locked_by_another(WorkerHeartbeat.objects.get(name="frozen")):
            sweep_requests()

        assert list(WorkerHeartbeat.objects.values_list("name", flat=True)) == ["frozen"]


class TestTheWorkersClock:
    """Every age and deadline comes from the database: a worker's clock may be an hour off, either way."""

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_a_text_is_answered(self, chain, monkeypatch, hours):
        chain(aimlapi=["Hi"])
        now = timezone.now
        monkeypatch.setattr("django.utils.timezone.now", lambda: now() + timedelta(hours=hours))

        request = accept()
        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert request.status == "COMPLETED"
        assert 0 <= request.processing_ms < 60_000
        assert timedelta(seconds=80) < request.deadline_at - request.created_at < timedelta(seconds=100)

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_a_lease_ends_by_the_databases_clock(self, settings, monkeypatch, hours):
        now = timezone.now
        monkeypatch.setattr("django.utils.timezone.now", lambda: now() + timedelta(hours=hours))
        request = accept()

        lease_claim(request_id=request.id)

        row = Request.objects.annotate(now=Now()).get(id=request.id)
        left = (row.lease_until - row.now).total_seconds()
        assert settings.LEASE_SECONDS - 60 < left <= settings.LEASE_SECONDS


def test_a_lost_lease_aborts_the_call_that_is_under_way():
    lease = Lease("req_1", 1)
    lease.lose()
    assert lease.is_lost
    assert lease.token.is_cancelled

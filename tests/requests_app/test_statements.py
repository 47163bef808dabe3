"""The compound statements for PostgreSQL and their ORM twins leave the same rows."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from providers.chain import statements as attempt_statements
from providers.chain.statements import attempt_insert
from providers.models import Attempt
from requests_app import statements
from requests_app.models import Account, LedgerEntry, Request, RequestEvent
from requests_app.services.leases import Lease, lease_claim, leases_renew
from requests_app.statements import Acceptance, request_claim, request_complete, request_insert
from tests.factories import make_account, make_model, make_request

pytestmark = pytest.mark.django_db

# Times and ids differ from run to run; what matters is whether they are set.
MOMENTS = {"created_at", "started_at", "completed_at", "deadline_at", "lease_until", "next_at"}


@pytest.fixture(params=["compound", "twin"])
def variant(request, monkeypatch) -> str:
    """Run the test with the compound statement where there is one, and with its twin."""
    if request.param == "twin":
        for module in (statements, attempt_statements):
            monkeypatch.setattr(module, "is_postgresql", lambda: False)
    elif connection.vendor != "postgresql":
        pytest.skip("The compound statements are for PostgreSQL.")
    return request.param


ANSWER = {"output_text": "Hello", "actual_provider": "aimlapi", "completed_at": timezone.now()}


def row(instance: Any, *ignored: str) -> dict[str, Any]:
    """Return a row as it is in the database, in a form that two runs share."""
    values = type(instance).objects.filter(pk=instance.pk).values().get()
    kept = {name: value for name, value in values.items() if name not in {"id", *ignored}}
    return {name: (value is not None) if name in MOMENTS else value for name, value in kept.items()}


def entries(request: Request) -> list[tuple[Any, ...]]:
    fields = ("account_id", "kind", "amount", "actor", "reason", "external_ref", "purpose")
    return list(LedgerEntry.objects.filter(request=request).order_by("id").values_list(*fields))


def events(request: Request) -> list[tuple[Any, ...]]:
    fields = ("from_status", "to_status", "actor", "reason")
    return list(RequestEvent.objects.filter(request=request).order_by("id").values_list(*fields))


def new_request(account: Account, **fields: Any) -> Request:
    model = make_model()
    return Request(
        **{
            "user": account,
            "model": model,
            "category": "TEXT",
            "conversation": "telegram:1:0:1",
            "input_text": "Say “hello” 🐤",
            "input_media": [{"name": "a.png", "content_type": "image/png", "size": 1}],
            "options": {"seconds": 5},
            "tag": "fast",
            "terms": {"least": 3, "rates": {"per_second": "0.5"}, "max_output_tokens": 900},
            "credits": 3,
            "intake_key": "telegram:1",
            **fields,
        }
    )


def insert(request: Request, *, max_under_way: int = 3, is_in_turn: bool = False) -> Acceptance:
    return request_insert(
        request=request, actor="telegram:1", max_under_way=max_under_way, deadline_seconds=90, is_in_turn=is_in_turn
    )


class TestInsert:
    def test_it_writes_request_hold_and_event(self, variant):
        account = make_account(credits=10)
        request = new_request(account, purpose="sandbox")

        assert insert(request) is Acceptance.ACCEPTED

        account.refresh_from_db()
        assert account.balance == 7
        assert entries(request) == [(account.pk, "HOLD", -3, "system", "", "", "sandbox")]
        assert events(request) == [("", "PENDING", "telegram:1", "")]
        assert row(request) == {
            "user_id": account.pk,
            "model_id": request.model_id,
            "category": "TEXT",
            "purpose": "sandbox",
            "conversation": "telegram:1:0:1",
            "input_text": "Say “hello” 🐤",
            "input_media": [{"name": "a.png", "content_type": "image/png", "size": 1}],
            "transcript": None,
            "input_seconds": 0,
            "options": {"seconds": 5},
            "output_text": "",
            "output_media": [],
            "output_url": "",
            "status": "PENDING",
            "actual_provider": None,
            "actual_route": "",
            "finish_reason": "",
            "skipped": [],
            "routes_asked": 0,
            "routes_passed_by": 0,
            "cost": None,
            "cost_source": "",
            "processing_ms": None,
            "credits": 3,
            "error_code": "",
            "intake_key": "telegram:1",
            "fence": 0,
            "lease_until": False,
            "next_at": False,
            "tries": 0,
            "deadline_at": True,
            "created_at": True,
            "started_at": False,
            "completed_at": False,
            "content_erased_at": None,
            "rolled_up": False,
            "tag": "fast",
            "terms": {"least": 3, "rates": {"per_second": "0.5"}, "max_output_tokens": 900},
        }
        assert timedelta(seconds=89) < request.deadline_at - request.created_at < timedelta(seconds=91)

    @pytest.mark.parametrize(
        ("earlier", "expected"),
        [
            ({}, Acceptance.BEHIND),
            ({"status": "PROCESSING"}, Acceptance.BEHIND),
            ({"status": "QUARANTINED"}, Acceptance.ACCEPTED),
            ({"category": "IMAGE"}, Acceptance.ACCEPTED),
            ({"conversation": "telegram:1:0:2"}, Acceptance.ACCEPTED),
            ({"user": "another"}, Acceptance.ACCEPTED),
            ({"status": "FAILED", "completed_at": timezone.now()}, Acceptance.ACCEPTED),
        ],
        ids=["open", "processing", "quarantined", "an image", "another conversation", "another user", "ended"],
    )
    def test_a_text_in_turn_waits_for_an_open_one_of_its_conversation(self, variant, earlier, expected):
        account = make_account(credits=10)
        earlier = {"account": account, "conversation": "telegram:1:0:1", **earlier}
        if earlier.pop("user", None):
            earlier["account"] = make_account()
        make_request(**earlier)

        assert insert(new_request(account), is_in_turn=True) is expected

        account.refresh_from_db()
        assert account.balance == (7 if expected is Acceptance.ACCEPTED else 10)
        if expected is Acceptance.BEHIND:
            assert insert(new_request(account)) is Acceptance.ACCEPTED  # for one that need not wait

    @pytest.mark.parametrize(
        ("fields", "credits", "max_under_way", "expected"),
        [
            ({"intake_key": "known"}, 10, 3, Acceptance.KNOWN),
            ({}, 10, 1, Acceptance.BUSY),
            ({}, 2, 3, Acceptance.UNPAID),
        ],
    )
    def test_or_it_writes_nothing(self, variant, fields, credits, max_under_way, expected):
        account = make_account(credits=credits)
        make_request(account=account, intake_key="known")

        assert insert(new_request(account, **fields), max_under_way=max_under_way) is expected

        account.refresh_from_db()
        assert (account.balance, Request.objects.count(), RequestEvent.objects.count()) == (credits, 1, 0)


class TestClaim:
    def test_the_first_claim_moves_the_request_and_tells_it(self, variant):
        request = make_request()

        claimed = request_claim(request_id=request.id, lease_seconds=15)

        assert claimed is not None
        assert (claimed.fence, claimed.tries, claimed.status) == (1, 1, "PROCESSING")
        assert claimed.now  # type: ignore[attr-defined]
        assert events(request) == [("PENDING", "PROCESSING", "worker", "")]
        assert row(request)["lease_until"]

    def test_a_later_claim_tells_nothing_and_keeps_the_start(self, variant):
        started_at = timezone.now() - timedelta(minutes=1)
        request = make_request(status="PROCESSING", fence=4, tries=2, started_at=started_at)

        claimed = request_claim(request_id=request.id, lease_seconds=15)

        assert claimed is not None
        assert (claimed.fence, claimed.tries, claimed.started_at) == (5, 3, started_at)
        assert events(request) == []

    def test_it_brings_the_earlier_turns_of_the_conversation(self, variant):
        account, begin = make_account(), timezone.now()
        make_request(account=account, conversation="chat:2", status="COMPLETED", **ANSWER)
        make_request(account=account, conversation="chat:1", status="FAILED")
        for number in range(12):
            made_at = begin - timedelta(minutes=number + 1)
            answered = make_request(account=account, conversation="chat:1", status="COMPLETED", **ANSWER)
            Request.objects.filter(id=answered.id).update(created_at=made_at, input_text=f"Question {number} 🐤")
        request = make_request(account=account, conversation="chat:1")

        claimed = request_claim(request_id=request.id, lease_seconds=15)

        assert claimed is not None
        turns = [list(turn) for turn in claimed.earlier_turns]  # type: ignore[attr-defined]
        assert turns == [[f"Question {number} 🐤", None, "Hello"] for number in range(10)]

    @pytest.mark.parametrize("fields", [{}, {"conversation": "chat:1", "category": "IMAGE"}])
    def test_or_none_where_it_has_no_conversation_or_is_no_text(self, variant, fields):
        account = make_account()
        make_request(account=account, status="COMPLETED", **fields, **ANSWER)
        request = make_request(account=account, **fields)

        claimed = request_claim(request_id=request.id, lease_seconds=15)

        assert claimed is not None
        assert not claimed.earlier_turns  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "fields",
        [
            {"lease_until": timezone.now() + timedelta(hours=1)},
            {"next_at": timezone.now() + timedelta(hours=1)},
            {"status": "QUARANTINED"},
            {"status": "CANCELLED", "completed_at": timezone.now()},
        ],
    )
    def test_what_is_not_due_is_not_claimed(self, variant, fields):
        request = make_request(**fields)

        assert request_claim(request_id=request.id, lease_seconds=15) is None
        assert row(request)["fence"] == 0


class TestRenew:
    def test_it_extends_what_is_still_owned_and_open(self):
        owned, overtaken, ended, late = (make_request(fence=2, status="PROCESSING") for _ in range(4))
        Request.objects.filter(id=overtaken.id).update(fence=3)
        Request.objects.filter(id=ended.id).update(status="CANCELLED")
        Request.objects.filter(id=late.id).update(deadline_at=timezone.now() - timedelta(seconds=1))

        leases = [Lease(request.id, 2) for request in (owned, overtaken, ended, late)]

        assert leases_renew(leases=leases) == {owned.id}
        assert [row(request)["lease_until"] for request in (owned, overtaken, ended, late)] == [True] + [False] * 3


class TestComplete:
    VALUES = {
        "output_text": "Hello",
        "actual_provider": "aimlapi",
        "actual_route": "fast",
        "skipped": [{"route": "piapi", "provider": "piapi", "reason": "no key"}],
        "routes_asked": 1,
        "routes_passed_by": 1,
        "cost": Decimal("0.0015"),
        "cost_source": "computed",
        "processing_ms": 1200,
    }

    @pytest.mark.parametrize("status", ["PROCESSING", "QUARANTINED"])
    def test_it_writes_answer_event_and_capture(self, variant, status):
        request = make_request(status=status, fence=1, lease_until=timezone.now() + timedelta(hours=1))

        assert request_complete(request=request, reason="answered by aimlapi", charged=1, values=self.VALUES)

        after = row(request)
        assert (after["status"], after["lease_until"], after["completed_at"]) == ("COMPLETED", False, True)
        assert {name: after[name] for name in self.VALUES} == self.VALUES
        assert events(request) == [(status, "COMPLETED", "worker", "answered by aimlapi")]
        assert entries(request) == [(request.user_id, "CAPTURE", 0, "system", "", "", "user")]

    def test_the_capture_gives_back_what_was_held_too_much(self, variant):
        account = make_account(credits=10)
        request = make_request(account=account, status="PROCESSING", credits=7, purpose="sandbox")

        assert request_complete(request=request, reason="answered by aimlapi", charged=3, values=self.VALUES)

        account.refresh_from_db()
        assert (account.balance, row(request)["credits"]) == (14, 3)
        assert entries(request) == [(account.pk, "CAPTURE", 4, "system", "", "", "sandbox")]

    @pytest.mark.parametrize("status", ["PENDING", "FAILED", "CANCELLED"])
    def test_what_has_ended_stays_as_it_is(self, variant, status):
        request = make_request(status=status)

        assert not request_complete(request=request, reason="too late", charged=1, values=self.VALUES)
        assert (row(request)["status"], events(request), entries(request)) == (status, [], [])


class TestAttempt:
    @pytest.fixture
    def lease(self) -> Lease:
        claim = lease_claim(request_id=make_request().id)
        assert claim is not None
        return claim[0]

    def attempt(self, lease: Lease) -> Attempt:
        return Attempt(
            caller_key=lease.request_id,
            number=1,
            label="7",
            category="TEXT",
            purpose="sandbox",
            provider="aimlapi",
            route="fast",
            key_id="a-key",
            model="m",
            reserved_cost=Decimal("0.25"),
        )

    def test_it_is_written_while_the_claim_holds(self, variant, lease):
        attempt = self.attempt(lease)

        assert attempt_insert(attempt=attempt, proof=lease)

        assert row(attempt, "finished_at") == {
            "caller_key": lease.request_id,
            "number": 1,
            "label": "7",
            "category": "TEXT",
            "operation": "generate",
            "purpose": "sandbox",
            "provider": "aimlapi",
            "route": "fast",
            "key_id": "a-key",
            "model": "m",
            "answered_by": "",
            "state": "SENDING",
            "job_id": "",
            "error_class": "",
            "error_text": "",
            "http_status": None,
            "usage": {},
            "cost": None,
            "cost_source": "",
            "reserved_cost": Decimal("0.25"),
            "duration_ms": None,
            "first_token_ms": None,
            "created_at": True,
            "rolled_up": False,
        }

    @pytest.mark.parametrize("change", [{"fence": 2}, {"status": "CANCELLED"}, {"status": "QUARANTINED"}])
    def test_and_not_once_it_was_overtaken_or_the_request_has_ended(self, variant, lease, change):
        Request.objects.filter(id=lease.request_id).update(**change)

        assert not attempt_insert(attempt=self.attempt(lease), proof=lease)
        assert not Attempt.objects.exists()

    def test_a_second_call_under_way_is_refused(self, variant, lease):
        assert attempt_insert(attempt=self.attempt(lease), proof=lease)

        second = self.attempt(lease)
        second.number = 2
        with pytest.raises(IntegrityError), transaction.atomic():
            attempt_insert(attempt=second, proof=lease)

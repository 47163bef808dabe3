"""The page of a request tells its life: what was asked and passed by, what it cost, what was shown, who did what."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from providers.errors import ServerFault
from providers.models import ProviderConfig
from requests_app.delivery_backend import get_delivery_backend
from requests_app.models import Request
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.leases import lease_claim, lease_give_back
from requests_app.services.refunds import request_refund
from requests_app.timeline import request_timeline, why_this_route
from telegram_bot.models import Delivery
from tests.factories import make_account, make_attempt, make_chat, make_model, make_request

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]


@pytest.fixture
def told(chain, admin_client) -> Request:
    """A request whose first route failed and whose second was out of its cap, refunded and shown in a chat."""
    chain(aimlapi=[ServerFault(status=503)], piapi=[], openrouter=["Hello"])
    ProviderConfig.objects.filter(provider="piapi").update(daily_cap_usd=Decimal(0))
    account = make_account(credits=10)
    request = request_accept(intake_key="k", account=account, model=make_model(token_cost=3), text="Hi")
    shown = {"state": "DELIVERED", "chat": make_chat(42), "message_id": 5, "delivered_at": timezone.now()}
    assert request_advance(request_id=request.id)
    Delivery.objects.create(request=request, part=0, kind="RESULT", **shown)
    assert request_refund(request_id=request.id, actor="admin:admin", reason="Nonsense")
    operator = User.objects.get(username="admin")
    LogEntry.objects.log_actions(operator.pk, [request], 2, change_message="Refunded: Nonsense", single_object=True)
    request.refresh_from_db()
    return request


def test_it_merges_all_that_is_on_record_in_order(told):
    timeline = request_timeline(told)

    entries = [(entry.kind.value, entry.words) for entry in timeline.entries]
    assert [entry.at for entry in timeline.entries] == sorted(entry.at for entry in timeline.entries)
    assert set(entries) == {
        ("status", "waiting for a worker"),
        ("credits", "HOLD -3 credits"),
        ("status", "being answered"),
        *(("passed by", f"{route} was passed by") for route in ("openai", "anthropic", "xai", "piapi")),
        ("attempt", "aimlapi: failed, certainly not executed"),
        ("attempt", "openrouter: succeeded"),
        ("status", "answered"),
        ("credits", "CAPTURE, nothing given back"),
        ("message", "message 1: shown"),
        ("credits", "REFUND +3 credits"),
        ("operator", "Refunded: Nonsense"),
    }
    failed, answered = (entry for entry in timeline.entries if entry.kind == "attempt")
    assert "HTTP 503" in failed.facts
    assert failed.reason.startswith("ServerFault: The provider says that it cannot do it now")
    assert answered.attempt.number == 2
    refund = next(entry for entry in timeline.entries if entry.words.startswith("REFUND"))
    assert (refund.actor, refund.reason) == ("admin:admin", "Nonsense")


def test_the_row_and_the_sentence_say_how_many_were_asked(told):
    assert (told.routes_asked, told.routes_passed_by) == (2, 1)
    sentence = request_timeline(told).why
    assert re.fullmatch(
        r"2nd of 3 tried: aimlapi failed after \d+\.\d s \(The provider says .+HTTP 503\)\); "
        r"piapi was passed by: .+ cap .+; openrouter answered in \d+\.\d s \(3 without a key\)\.",
        sentence,
    ), sentence


def test_the_page_shows_it_with_few_queries(told, admin_client):
    address = f"/admin/requests_app/request/{told.id}/change/"
    admin_client.get(address)  # content types are kept

    with CaptureQueriesContext(connection) as context:
        page = admin_client.get(address).content.decode()

    # Session, operator, maintenance mode; request, user, model; messages and charges, on which the buttons depend;
    # events, attempts, ledger, messages, history.
    assert len(context) <= 13, "\n".join(query["sql"] for query in context.captured_queries)
    assert "2nd of 3 tried" in page
    assert "by admin:admin" in page
    assert "message 1: shown" in page


@pytest.mark.parametrize(
    ("fields", "attempts", "sentence"),
    [
        ({"status": "PENDING"}, [], "No route was tried."),
        (
            {"status": "FAILED", "completed_at": timezone.now(), "skipped": [{"route": "fast", "reason": "too long"}]},
            [{"state": "FAILED", "error_text": "It is down.", "duration_ms": 30_000}],
            "1 of 2 was tried: aimlapi failed after 30.0 s (It is down); fast was passed by: too long.",
        ),
        (
            {"status": "FAILED", "completed_at": timezone.now(), "skipped": [{"route": "fast", "reason": "no key"}]},
            [],
            "No route was tried (1 without a key).",
        ),
        (
            {"status": "PROCESSING"},
            [{"state": "UNKNOWN", "error_class": "WorkerLost", "duration_ms": None}, {"state": "RUNNING"}],
            "1 of 1 was tried so far: aimlapi gave no answer that is known (WorkerLost); aimlapi is being asked.",
        ),
    ],
)
def test_the_sentence_of_what_was_not_answered(fields, attempts, sentence):
    request = make_request(**fields)
    rows = [
        make_attempt(caller_key=request.id, number=number, **values) for number, values in enumerate(attempts, start=1)
    ]

    assert why_this_route(request, rows) == sentence


def test_what_may_be_billed_says_how_much_at_most():
    request = make_request()
    make_attempt(caller_key=request.id, state="UNKNOWN", cost=None, cost_source="unknown", reserved_cost=Decimal("0.2"))

    (entry,) = request_timeline(request).entries

    assert "perhaps billed, at most $0.2" in entry.facts


def test_a_long_answer_is_folded_and_nothing_in_it_is_markup(admin_client):
    text = "<script>alert(1)</script>\n" * 100
    ended = {"status": "COMPLETED", "actual_provider": "openai", "completed_at": timezone.now()}
    request = make_request(output_text=text, **ended)

    page = admin_client.get(f"/admin/requests_app/request/{request.id}/change/").content.decode()

    assert "<details>" in page
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 100


class TestList:
    @pytest.fixture(autouse=True)
    def _rows(self):
        now = timezone.now()
        ended = {"completed_at": now, "output_text": "Yes", "actual_provider": "openai"}
        self.first = make_request(status="COMPLETED", routes_asked=1, routes_passed_by=2, **ended)
        self.further = make_request(status="COMPLETED", routes_asked=2, **ended)
        self.none = make_request(status="FAILED", routes_asked=3, completed_at=now)
        make_request(status="COMPLETED", **ended)  # of an earlier release
        make_request()

    @pytest.mark.parametrize("which", ["first", "further", "none"])
    def test_requests_are_found_by_the_route_that_answered(self, admin_client, which):
        page = admin_client.get("/admin/requests_app/request/", {"answered_by": which})

        assert [row.id for row in page.context["cl"].result_list] == [getattr(self, which).id]

    def test_a_column_says_how_many_were_asked(self, admin_client):
        page = admin_client.get("/admin/requests_app/request/").content.decode()

        assert re.findall(r"field-shown_routes[^>]*>\s*([^<]+?)\s*<", page) == ["–", "–", "3 of 3", "2 of 2", "1 of 3"]


def test_what_was_passed_by_is_kept_while_a_job_goes_on():
    claim = lease_claim(request_id=make_request().id)
    assert claim
    skipped = [{"route": "fast", "provider": "openai", "reason": "too long"}]

    assert lease_give_back(claim[0], seconds=5, skipped=skipped)

    assert Request.objects.get().skipped == skipped


def test_what_an_earlier_step_of_a_job_passed_by_is_kept(memory_backend):
    earlier = timezone.now() - timedelta(seconds=5)
    skipped = [{"route": "fast", "provider": "openai", "reason": "no key"}]
    request = make_request(status="PROCESSING", skipped=skipped, started_at=earlier)

    assert request_advance(request_id=request.id)

    request.refresh_from_db()
    assert (request.status, request.skipped[0]) == ("FAILED", skipped[0])
    assert get_delivery_backend().delivered == [request.id]

"""The execution of a request: claimed, run down the chain, answered or its credits released, delivered."""

import logging
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from providers.chain import candidates
from providers.errors import AccessDenied, ContentRefused, NotSent, NotStored, OutcomeUnknown, ServerFault
from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.types import TextResult, Turn, UnknownPolicy, Usage
from requests_app.models import Account, Request
from requests_app.selectors import earlier_turns
from requests_app.services.cancellation import request_cancel, request_resume
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.leases import CLAIMS_BEFORE_QUARANTINE, keeper
from tests.factories import make_account, make_model, make_provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account(credits=10)


@pytest.fixture(autouse=True)
def _in_memory(memory_backend, enqueued):
    """No test here sends a wake-up to Celery or a message to a chat."""


def accept(account: Account, key: str = "k", **fields) -> Request:
    return request_accept(
        intake_key=key, account=account, model=make_model(), text=fields.pop("text", "Say hello"), **fields
    )


def advance(request: Request) -> Request:
    request_advance(request_id=request.id)
    request.refresh_from_db()
    return request


def trail(request: Request) -> list[tuple[str, str, str]]:
    attempts = Attempt.objects.filter(caller_key=request.id).order_by("number")
    return list(attempts.values_list("provider", "state", "error_class"))


def assert_released(request: Request) -> None:
    request.user.refresh_from_db()
    assert request.user.balance == 10
    assert list(request.ledger.order_by("id").values_list("kind", flat=True)) == ["HOLD", "RELEASE"]


def assert_charged_once(request: Request) -> None:
    request.user.refresh_from_db()
    assert request.user.balance == 9
    assert list(request.ledger.order_by("id").values_list("kind", flat=True)) == ["HOLD", "CAPTURE"]


def test_the_first_provider_answers_and_the_request_records_it(chain, account, memory_backend):
    chain(aimlapi=["Hello!"], piapi=["never called"])

    request = advance(accept(account))

    assert (request.status, request.output_text, request.actual_provider) == ("COMPLETED", "Hello!", "aimlapi")
    assert request.processing_ms is not None
    assert trail(request) == [("aimlapi", "OK", "")]
    assert_charged_once(request)
    assert memory_backend.delivered == [request.id]


def test_the_chain_is_read_again_when_the_cache_is_too_old(chain, account, monkeypatch):
    monkeypatch.setattr(candidates, "_chains", {})
    monkeypatch.setattr(candidates, "CHAIN_CACHE_SECONDS", 3600)
    chain(aimlapi=["one", "two"], piapi=["three"])
    assert advance(accept(account, "one")).output_text == "one"
    ProviderConfig.objects.filter(category="TEXT", provider="aimlapi").update(enabled=False)

    assert advance(accept(account, "two")).output_text == "two"

    monkeypatch.setattr(candidates, "CHAIN_CACHE_SECONDS", 0)
    assert advance(accept(account, "three")).output_text == "three"


def test_a_failing_provider_is_followed_by_the_next(chain, account):
    chain(aimlapi=[ServerFault(status=503)], piapi=[NotSent()], openai=["Hi"])

    request = advance(accept(account))

    assert request.actual_provider == "openai"
    assert trail(request) == [
        ("aimlapi", "FAILED", "ServerFault"),
        ("piapi", "FAILED", "NotSent"),
        ("openai", "OK", ""),
    ]
    assert_charged_once(request)


def test_an_unknown_outcome_stays_recorded_beside_the_answer_that_followed(chain, account):
    chain(aimlapi=[OutcomeUnknown("cut")], piapi=["Hi"])

    request = advance(accept(account))

    assert trail(request) == [("aimlapi", "UNKNOWN", "OutcomeUnknown"), ("piapi", "OK", "")]
    assert_charged_once(request)


def test_an_unknown_outcome_with_policy_stop_ends_the_chain_and_releases_the_credits(chain, account):
    chain(aimlapi=[OutcomeUnknown("cut")], piapi=["never called"]).policy = UnknownPolicy.STOP

    request = advance(accept(account))

    assert (request.status, request.error_code) == ("FAILED", "PAYMENT_UNCERTAIN")
    assert len(trail(request)) == 1
    assert_released(request)


def test_when_all_fail_the_credits_are_released_and_the_end_is_delivered(chain, account, memory_backend):
    chain(aimlapi=[NotSent()], piapi=[NotSent()])

    request = advance(accept(account))

    assert (request.status, request.error_code) == ("FAILED", "ALL_PROVIDERS_FAILED")
    assert_released(request)
    assert memory_backend.delivered == [request.id]


def test_without_any_key_the_request_fails_with_no_provider(chain, account):
    chain()

    request = advance(accept(account))

    assert (request.status, request.error_code) == ("FAILED", "NO_PROVIDER")
    assert_released(request)


def test_a_second_content_refusal_ends_the_chain(chain, account):
    chain(aimlapi=[ContentRefused()], piapi=["Fine by me"])
    assert advance(accept(account, "one")).status == "COMPLETED"

    chain(aimlapi=[ContentRefused()], piapi=[ContentRefused()], openai=["never called"])
    request = advance(accept(account, "two"))

    assert request.error_code == "CONTENT_REFUSED"
    assert len(trail(request)) == 2


class WorkerDied(BaseException):
    """The worker is gone, and with it everything that it has not committed."""


@pytest.mark.parametrize(
    ("outcomes", "policy", "error_code"),
    [
        ([OutcomeUnknown("cut")], UnknownPolicy.STOP, "PAYMENT_UNCERTAIN"),
        ([NotStored()], UnknownPolicy.RESPEND, "STORAGE_FAILED"),
        ([ContentRefused(), ContentRefused()], UnknownPolicy.RESPEND, "CONTENT_REFUSED"),
    ],
)
def test_the_decision_of_an_attempt_outlives_its_worker(chain, account, monkeypatch, outcomes, policy, error_code):
    first, *others = outcomes
    chain(aimlapi=[first], piapi=[*others, "never called"], openai=["never called"]).policy = policy
    request = accept(account)
    with monkeypatch.context() as patched:
        patched.setattr("requests_app.services.execution.request_end", die)
        with pytest.raises(WorkerDied):
            advance(request)
    Request.objects.update(lease_until=None)

    assert advance(request).error_code == error_code
    assert len(trail(request)) == len(outcomes)
    assert_released(request)


def die(**_: object) -> None:
    raise WorkerDied


def test_the_operators_priorities_and_switches_apply_without_a_restart(chain, account):
    chain(aimlapi=["a", "a"], piapi=["p", "p"], openai=["o"])
    assert advance(accept(account, "1")).actual_provider == "aimlapi"

    ProviderConfig.objects.filter(provider="piapi").update(priority=0)
    assert advance(accept(account, "2")).actual_provider == "piapi"

    ProviderConfig.objects.filter(provider__in=["piapi", "aimlapi"]).update(enabled=False)
    assert advance(accept(account, "3")).actual_provider == "openai"


def test_equal_priorities_share_the_load_by_weight(chain, account):
    chain(aimlapi=["a"] * 200, piapi=["p"] * 200)
    ProviderConfig.objects.filter(provider="aimlapi").update(priority=1, weight=3)
    ProviderConfig.objects.filter(provider="piapi").update(priority=1, weight=1)
    account.balance = 1000
    account.save()

    served = [advance(accept(account, str(number))).actual_provider for number in range(100)]

    # 75 are expected; fewer than 50 or more than 95 happen less than once in a million runs.
    assert 50 <= served.count("aimlapi") <= 95


def test_a_provider_over_its_daily_cap_is_skipped(chain, account):
    chain(aimlapi=[TextResult("a", Usage(reported_cost=Decimal("1.00"))), "never called"], piapi=["p"])
    make_provider("aimlapi", priority=1, daily_cap_usd=1)

    assert advance(accept(account, "1")).actual_provider == "aimlapi"
    assert advance(accept(account, "2")).actual_provider == "piapi"


def test_what_was_spent_before_midnight_does_not_count_for_the_daily_cap(chain, account):
    chain(aimlapi=[TextResult("a", Usage(reported_cost=Decimal("1.00"))), "b"])
    make_provider("aimlapi", priority=1, daily_cap_usd=1)
    advance(accept(account, "1"))
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    Attempt.objects.update(created_at=midnight - timedelta(seconds=1))

    assert advance(accept(account, "2")).actual_provider == "aimlapi"


def test_an_open_circuit_breaker_skips_the_route_without_a_call(chain, account):
    chain(aimlapi=[AccessDenied(status=401)], piapi=["one", "two"])
    advance(accept(account, "1"))

    request = advance(accept(account, "2"))

    assert trail(request) == [("piapi", "OK", "")]


def test_paused_routes_are_tried_in_their_order_when_nothing_else_is_left(chain, account):
    chain(aimlapi=[NotSent("still away")], piapi=["I work again"], openrouter=["never called"])
    later = timezone.now() + timedelta(seconds=300)
    for provider in ("aimlapi", "piapi", "openrouter"):
        ProviderHealth.objects.create(
            category="TEXT", provider=provider, route=provider, failures=3, open_until=later, reason="HTTP 500"
        )

    request = advance(accept(account))

    assert request.actual_provider == "piapi"
    assert ProviderHealth.objects.get(provider="piapi").open_until is None
    assert [provider for provider, _, _ in trail(request)] == ["aimlapi", "piapi"]


def test_the_request_says_which_routes_were_passed_by_and_why(chain, account):
    chain(aimlapi=["never called"], piapi=["Hi"])
    later = timezone.now() + timedelta(seconds=300)
    ProviderHealth.objects.create(
        category="TEXT", provider="aimlapi", route="aimlapi", failures=3, open_until=later, reason="HTTP 500"
    )

    request = advance(accept(account))

    assert request.actual_route == "piapi"
    (skip,) = [skip for skip in request.skipped if skip["reason"] != "no key"]
    assert skip["route"] == "aimlapi"
    assert re.fullmatch(r"paused for another \d+ s \(HTTP 500\)", skip["reason"])


def test_a_route_that_another_request_probes_is_passed_by_and_says_so(chain, account):
    chain(aimlapi=["never called"], piapi=["Hi"])
    earlier, later = (timezone.now() + timedelta(seconds=seconds) for seconds in (-1, 300))
    ProviderHealth.objects.create(
        category="TEXT",
        provider="aimlapi",
        route="aimlapi",
        failures=3,
        open_until=earlier,
        probe_until=later,
        reason="HTTP 500",
    )

    request = advance(accept(account))

    (skip,) = [skip for skip in request.skipped if skip["reason"] != "no key"]
    assert skip["reason"] == "another request tries whether it works again (HTTP 500)"


def test_the_log_shows_each_step_of_the_chain(chain, account, caplog):
    chain(aimlapi=[NotSent("connection refused")], piapi=["Hi"])

    with caplog.at_level(logging.INFO, logger="providers"):
        request = advance(accept(account))

    lines = [record.getMessage() for record in caplog.records if record.name == "providers"]
    assert lines[0] == "Trying aimlapi for TEXT"
    assert lines[1].startswith("✗ aimlapi failed for TEXT: ")
    assert lines[2:] == [
        "Trying piapi for TEXT",
        "✓ piapi succeeded for TEXT",
        f"Request {request.id} served by provider: piapi",
    ]


def test_costs_come_from_the_provider_or_the_routes_prices_and_are_null_without_either(chain, account):
    usage = Usage(input_tokens=1000, output_tokens=500, raw={"total_tokens": 1500})
    chain(aimlapi=[TextResult("a", usage), TextResult("b", Usage(reported_cost=Decimal("0.0042"))), TextResult("c")])
    make_provider("aimlapi", prices={"input_per_million": "2", "output_per_million": "6"})

    computed, reported, unknown = (advance(accept(account, key)) for key in "abc")

    assert (computed.cost, computed.cost_source) == (Decimal("0.005"), "computed")
    assert (reported.cost, reported.cost_source) == (Decimal("0.0042"), "provider_reported")
    assert (unknown.cost, unknown.cost_source) == (None, "unknown")
    assert Attempt.objects.get(caller_key=computed.id).usage == {"total_tokens": 1500}


def test_earlier_turns_of_the_conversation_are_sent_along(chain, account):
    script = chain(aimlapi=["Blue.", "Because of the light."])
    advance(accept(account, "1", text="Which colour has the sky?", conversation="chat:1"))
    advance(accept(account, "2", text="Why?", conversation="chat:1"))

    assert script.prompts[1].history == (Turn("user", "Which colour has the sky?"), Turn("assistant", "Blue."))
    assert script.prompts[1].text == "Why?"


@pytest.mark.parametrize("category", ["IMAGE", "VIDEO", "AUDIO"])
def test_a_second_output_in_a_conversation_is_generated_without_history(account, category):
    model = make_model(category=category)
    fields = {"account": account, "model": model, "conversation": "chat:1"}
    first, second = (request_accept(intake_key=number, text="A fox", **fields) for number in "12")
    Request.objects.filter(id=first.id).update(
        status="COMPLETED", output_url="/media/fox.png", actual_provider="replicate", completed_at=timezone.now()
    )

    assert list(earlier_turns(second)) == []


def test_another_conversation_starts_empty(chain, account):
    script = chain(aimlapi=["one", "two"])
    advance(accept(account, "1", conversation="chat:1"))
    advance(accept(account, "2", conversation="chat:1#2"))

    assert script.prompts[1].history == ()


def test_a_second_run_finds_nothing_to_do(chain, account):
    chain(aimlapi=["Hello!"])
    request = advance(accept(account))

    assert request_advance(request_id=request.id) is False
    assert_charged_once(request)


class TestAfterAWorkerWasLost:
    """The rows as a killed worker leaves them, and what the next worker does with them."""

    @pytest.fixture
    def orphan(self, account) -> Request:
        """A request whose worker died in the middle of its call to aimlapi."""
        request = accept(account)
        Request.objects.filter(id=request.id).update(
            status="PROCESSING", fence=1, tries=1, lease_until=timezone.now() - timedelta(seconds=1)
        )
        make_provider("aimlapi", priority=1)
        Attempt.objects.create(
            caller_key=request.id, number=1, category="TEXT", provider="aimlapi", model="m", state="SENDING"
        )
        return request

    def test_the_open_attempt_becomes_unknown_and_the_chain_goes_on(self, chain, orphan):
        chain(aimlapi=["never called"], piapi=["Here I am"])

        request = advance(orphan)

        assert trail(request) == [("aimlapi", "UNKNOWN", "WorkerLost"), ("piapi", "OK", "")]
        assert_charged_once(request)

    def test_the_same_provider_is_called_again_where_there_is_no_other(self, chain, orphan):
        chain(aimlapi=["Second time"])

        request = advance(orphan)

        assert trail(request) == [("aimlapi", "UNKNOWN", "WorkerLost"), ("aimlapi", "OK", "")]

    def test_a_provider_that_has_failed_for_this_request_is_not_called_again(self, chain, orphan):
        Attempt.objects.filter(caller_key=orphan.id).update(state="FAILED", error_class="ServerFault")
        chain(aimlapi=["never called"], piapi=["Here I am"])

        assert advance(orphan).actual_provider == "piapi"

    def test_a_request_that_crashes_every_worker_is_quarantined_with_its_credits_held(self, chain, orphan):
        Request.objects.filter(id=orphan.id).update(tries=CLAIMS_BEFORE_QUARANTINE)
        chain(aimlapi=["never called"])

        request = advance(orphan)

        assert request.status == "QUARANTINED"
        assert list(request.ledger.values_list("kind", flat=True)) == ["HOLD"]

    def test_an_operator_can_resume_a_quarantined_request(self, chain, orphan):
        Request.objects.filter(id=orphan.id).update(tries=CLAIMS_BEFORE_QUARANTINE)
        chain(aimlapi=["At last"])
        advance(orphan)

        assert request_resume(request_id=orphan.id, actor="operator")

        assert advance(orphan).status == "COMPLETED"
        assert_charged_once(orphan)


def test_calls_that_their_users_cancel_open_no_circuit(chain, account):
    def cancelled() -> str:
        request = Request.objects.filter(status="PROCESSING").get()
        request_cancel(request_id=request.id, actor="user")
        keeper.lose(request.id)
        raise OutcomeUnknown("time is up")

    chain(aimlapi=[cancelled] * 3)
    for key in "abc":
        assert advance(accept(account, key)).status == "CANCELLED"

    assert not ProviderHealth.objects.exists()


class TestAFrozenWorker:
    """A worker that is frozen until its lease has run out and another worker owns the request."""

    def take_over(self, request: Request) -> None:
        Request.objects.filter(id=request.id).update(lease_until=timezone.now() - timedelta(seconds=1))
        request_advance(request_id=request.id)

    def test_its_late_answer_is_recorded_with_its_cost_and_not_charged_again(self, chain, account):
        request = accept(account)

        def freeze() -> str:
            self.take_over(request)
            return "late"

        chain(aimlapi=[freeze], piapi=["in time"])

        advance(request)

        assert (request.output_text, request.actual_provider) == ("in time", "piapi")
        assert trail(request) == [("aimlapi", "OK", "WorkerLost"), ("piapi", "OK", "")]  # why there were two
        assert_charged_once(request)

    def test_it_calls_no_further_provider_after_its_call_failed(self, chain, account):
        request = accept(account)

        def freeze() -> str:
            self.take_over(request)
            raise ServerFault(status=503)

        chain(aimlapi=[freeze], piapi=["in time"], openai=["never called"])

        advance(request)

        assert request.actual_provider == "piapi"
        assert [provider for provider, *_ in trail(request)] == ["aimlapi", "piapi"]

    def test_the_answer_is_delivered_again_in_case_a_partial_edit_has_replaced_it(self, chain, account, memory_backend):
        request = accept(account)

        def freeze() -> str:
            self.take_over(request)
            raise ServerFault(status=503)

        chain(aimlapi=[freeze], piapi=["in time"])

        advance(request)

        assert memory_backend.delivered == [request.id, request.id]

    def test_its_stream_is_stopped_while_its_successor_is_still_at_work(self, chain, account, memory_backend):
        request = accept(account)

        def lose_lease() -> str:
            Request.objects.filter(id=request.id).update(fence=request.fence + 2)
            raise ServerFault(status=503)

        chain(aimlapi=[lose_lease], piapi=["never called"])

        assert advance(request).status == "PROCESSING"
        assert memory_backend.delivered == [request.id]


def test_a_cancelled_request_takes_no_late_answer_and_its_credits_are_released(chain, account):
    request = accept(account)

    def cancel_meanwhile() -> str:
        request_cancel(request_id=request.id, actor="user")
        return "too late"

    chain(aimlapi=[cancel_meanwhile])

    advance(request)

    assert (request.status, request.output_text) == ("CANCELLED", "")
    assert Attempt.objects.get(caller_key=request.id).state == "OK"
    assert_released(request)


def test_past_the_deadline_no_further_provider_is_called(chain, account):
    request = accept(account)
    Request.objects.filter(id=request.id).update(deadline_at=timezone.now() + timedelta(milliseconds=500))
    chain(aimlapi=["never called"])

    advance(request)

    assert (request.status, request.error_code) == ("FAILED", "DEADLINE")
    assert trail(request) == []
    assert_released(request)

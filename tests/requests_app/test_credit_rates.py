"""Credits by size: the worst case is held, what was used is kept, and no size of answer costs more than it brings."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from providers.models import ProviderConfig
from providers.shipped import SHIPPED_ROUTES
from providers.size_estimates import tokens_at_most
from providers.types import CUT, TextResult, Usage
from requests_app.credit_rates import Size, Terms, validate_rates
from requests_app.margins import margin_of
from requests_app.models import Account, AIModel, LedgerEntry, Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.refunds import request_refund
from tests.factories import make_account, make_model, make_request

RATES = {"per_thousand_input_tokens": "0.2", "per_thousand_output_tokens": "1.5"}
TERMS = Terms(1, RATES)


class TestTerms:
    def test_a_flat_price_is_the_same_for_every_size(self):
        assert Terms(5, {}).agreed(Size(input_tokens=10**6, characters=10**5), balance=0) == (Terms(5, {}), 5)
        assert Terms(5, {}).as_dict() == {}

    @pytest.mark.parametrize(
        ("size", "credits"),
        [
            (Size(), 1),
            (Size(input_tokens=500, output_tokens=400), 1),  # 0.7
            (Size(input_tokens=500, output_tokens=600), 1),  # exactly 1
            (Size(input_tokens=500, output_tokens=601), 2),
            (Size(output_tokens=4096), 7),  # 6.144
        ],
    )
    def test_whole_credits_are_rounded_up(self, size, credits):
        assert TERMS.credits_for(size) == credits

    def test_speech_and_video_go_by_what_was_ordered(self):
        assert Terms(5, {"per_thousand_characters": "6"}).agreed(Size(characters=10_000), balance=20)[1] == 60
        assert Terms(0, {"per_second": "10.5"}).agreed(Size(seconds=5), balance=0)[1] == 53

    @given(st.integers(0, 30), st.integers(0, 20_000))
    def test_a_small_balance_buys_a_shorter_answer(self, balance, input_tokens):
        agreed, hold = TERMS.agreed(Size(input_tokens=input_tokens), balance=balance)

        assert 512 <= agreed.output_limit <= 4096
        assert hold == agreed.credits_for(Size(input_tokens=input_tokens, output_tokens=agreed.output_limit))
        if hold > balance:  # refused, since not even the shortest answer is paid for
            assert TERMS.credits_for(Size(input_tokens=input_tokens, output_tokens=512)) > balance
        assert agreed.is_shortened == (agreed.output_limit < 4096)
        if hold <= balance and agreed.is_shortened:  # the whole balance is used
            assert TERMS.credits_for(Size(input_tokens=input_tokens, output_tokens=agreed.output_limit + 1)) > balance

    def test_they_survive_the_database(self):
        assert Terms.from_dict(TERMS.as_dict()) == TERMS

    @pytest.mark.parametrize(
        "rates",
        [[], None, {"per_token": "1"}, {"per_second": 1}, {"per_second": "-1"}, {"per_second": "NaN"},
         {"per_second": "1e9"}, {"per_second": "Infinity"}, {"per_second": ""}],
    )  # fmt: skip
    def test_wrong_rates_are_refused_where_they_are_typed(self, rates):
        with pytest.raises(ValidationError):
            validate_rates(rates)

    def test_the_dearest_request_fits_its_column(self):
        dearest = Terms(1_000_000, dict.fromkeys(("per_thousand_characters", "per_second"), "100000"))
        assert dearest.credits_for(Size(characters=1_000_000, seconds=3_600)) < 2**31


@pytest.mark.django_db
class TestFlow:
    @pytest.fixture(autouse=True)
    def _in_memory(self, memory_backend, enqueued):
        """No test here sends a wake-up to Celery or a message to a chat."""

    @pytest.fixture
    def account(self) -> Account:
        return make_account(credits=20)

    @pytest.fixture
    def model(self) -> AIModel:
        return make_model(rates=RATES)

    def accept(self, account: Account, model: AIModel, **fields: Any) -> Request:
        key = f"test:{Request.objects.count()}"
        return request_accept(
            intake_key=key, account=account, model=model, text=fields.pop("text", "Say hello"), **fields
        )

    def sums(self, account: Account) -> tuple[int, list[tuple[str, int]]]:
        account.refresh_from_db()
        entries = list(LedgerEntry.objects.filter(account=account).order_by("id").values_list("kind", "amount"))
        assert account.balance == sum(amount for _, amount in entries)
        return account.balance, entries[1:]

    @pytest.mark.parametrize(
        ("usage", "charged"),
        [
            (Usage(input_tokens=20, output_tokens=30), 1),
            (Usage(input_tokens=20, cached_input_tokens=1_000, output_tokens=2_000), 4),  # 3.204
            (Usage(input_tokens=10**6, output_tokens=10**6), 7),  # never more than was held
            (Usage(), 1),  # not told: by the length of its text
        ],
    )
    def test_what_was_used_is_kept_and_the_rest_comes_back(self, account, model, chain, usage, charged):
        chain(aimlapi=[TextResult("Hello", usage)])
        request = self.accept(account, model)
        assert (request.credits, account.balance) == (7, 20)

        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert (request.status, request.credits) == ("COMPLETED", charged)
        assert self.sums(account) == (20 - charged, [("HOLD", -7), ("CAPTURE", 7 - charged)])

    def test_a_refund_gives_back_what_was_charged(self, account, model, chain):
        chain(aimlapi=[TextResult("Hello", Usage(input_tokens=20, output_tokens=2_000))])
        request = self.accept(account, model)
        request_advance(request_id=request.id)

        assert request_refund(request_id=request.id, actor="test", reason="not shown")

        assert self.sums(account) == (20, [("HOLD", -7), ("CAPTURE", 3), ("REFUND", 4)])

    def test_a_failure_costs_nothing(self, account, model, chain):
        chain()
        request = self.accept(account, model)

        request_advance(request_id=request.id)

        assert self.sums(account) == (20, [("HOLD", -7), ("RELEASE", 7)])

    def test_the_provider_is_asked_for_no_more_than_was_agreed(self, model, chain):
        script = chain(aimlapi=[TextResult("Hello", finish_reason=CUT)])
        ProviderConfig.objects.update(max_output_tokens=100_000)
        account = make_account(credits=1)
        request = self.accept(account, model)

        request_advance(request_id=request.id)

        prompt = script.prompts[0]
        limit = Request.objects.get().terms["max_output_tokens"]
        assert 512 <= prompt.max_output_tokens == limit < 700
        assert self.sums(account)[0] == 0

    def test_a_balance_that_has_changed_meanwhile_is_read_again(self, model):
        account = make_account(credits=20)
        Account.objects.filter(id=account.id).update(balance=2)

        request = self.accept(account, model)

        assert (request.status, request.credits) == ("PENDING", 2)

    def test_what_no_balance_pays_for_is_refused(self, model):
        account = make_account(credits=1)

        request = self.accept(account, model, text="word " * 6_000)

        assert (request.status, request.error_code) == ("REJECTED", "NO_CREDITS")
        assert self.sums(account) == (1, [])

    def test_a_conversation_is_held_with_its_earlier_turns(self, account, model):
        earlier = {"account": account, "model": model, "conversation": "c", "status": "COMPLETED",
                   "actual_provider": "aimlapi", "completed_at": account.created_at}  # fmt: skip
        make_request(**earlier, input_text="x" * 9_000, output_text="y" * 1_000)

        alone, together = self.accept(account, model), self.accept(account, model, conversation="c")

        assert (alone.credits, together.credits) == (7, 10)  # 10,000 tokens more, or 16,000 where they are paid for

    def test_the_agreed_rates_hold_whatever_the_operator_changes(self, account, model, chain):
        chain(aimlapi=[TextResult("Hello", Usage(input_tokens=20, output_tokens=2_000))])
        request = self.accept(account, model)
        AIModel.objects.update(rates={}, token_cost=100)

        request_advance(request_id=request.id)

        assert self.sums(account)[0] == 20 - 4

    @pytest.mark.parametrize(("shown", "charged"), [(None, 0), (0, 1), (4_000, 2), (10**6, 7)])
    def test_a_cancelled_request_costs_what_was_seen_of_it(
        self, account, model, memory_backend, monkeypatch, shown, charged
    ):
        monkeypatch.setattr(type(memory_backend), "bytes_shown", lambda *_: shown)
        request = self.accept(account, model)

        assert request_cancel(request_id=request.id, actor="user")

        assert self.sums(account)[0] == 20 - charged
        request.refresh_from_db()
        assert request.credits == (charged or 7)  # of one that costs nothing, what was held


@pytest.mark.django_db
class TestShipped:
    @pytest.fixture
    def ai_models(self) -> list[AIModel]:
        return list(AIModel.objects.all())

    def test_no_answer_on_a_shipped_route_costs_more_than_its_credits_bring(self, ai_models):
        routes = list(ProviderConfig.objects.all())
        assert len(routes) == len(SHIPPED_ROUTES)

        margins = [margin_of(model, routes) for model in ai_models]

        assert {margin.model.slug: str(margin.worst) for margin in margins if margin.is_loss} == {}
        assert all(margin.usual for margin in margins)

    def test_a_flat_price_of_text_speech_or_changed_images_would_lose_money(self, ai_models):
        for model in ai_models:
            model.rates = {}
        losses = {model.slug for model in ai_models if margin_of(model, ProviderConfig.objects.all()).is_loss}
        assert losses == {"text-ai", "image-ai", "audio-ai"}

    @pytest.mark.parametrize(
        ("rates", "prices"),
        [
            # A long question with a short answer, and the other way round.
            ({"per_thousand_output_tokens": "15"}, {"input_per_million": "2", "output_per_million": "2"}),
            ({"per_thousand_input_tokens": "15"}, {"input_per_million": "2", "output_per_million": "20"}),
        ],
    )
    def test_each_corner_of_what_can_be_asked_is_looked_at(self, rates, prices):
        model = make_model(rates=rates)
        route = ProviderConfig(name="r", category="TEXT", provider="openai", model="m", prices=prices)

        assert margin_of(model, [route]).is_loss

    def test_hardware_that_is_billed_by_the_second_may_run_until_the_deadline(self, settings):
        settings.DEADLINE_SECONDS = {**settings.DEADLINE_SECONDS, "IMAGE": 100}
        prices = {"per_compute_second": "0.01"}
        route = ProviderConfig(name="r", category="IMAGE", provider="replicate", model="m", prices=prices)
        model = make_model(category="IMAGE", token_cost=3)

        assert margin_of(model, [route]).worst.cost == Decimal(1)

    def test_of_a_service_that_sells_nothing_nothing_is_a_loss(self, ai_models, settings):
        settings.CREDIT_PRICE_USD = Decimal(0)
        assert not any(margin_of(model, ProviderConfig.objects.all()).is_loss for model in ai_models)


@given(st.text())
def test_a_text_has_a_token_at_least(text):
    assert tokens_at_most(text) >= 1

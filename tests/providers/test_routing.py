"""The order of the routes by a category's rule: the operator's, the cheapest or the fastest first, and why."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from providers.chain import candidates, routing
from providers.chain.candidates import Skip, candidates_for
from providers.errors import ContentRefused
from providers.models import Attempt, ProviderConfig, RoutingRule
from providers.statistics.rollups import fold_attempts
from providers.types import Access, Category, Prompt
from tests.factories import make_attempt, make_provider

pytestmark = pytest.mark.django_db

ROUTES = ("openai", "anthropic", "xai")


@pytest.fixture(autouse=True)
def _chain(settings, monkeypatch):
    """Three routes of TEXT in this order, and no exploration."""
    monkeypatch.setattr(routing, "EXPLORED", 0.0)
    ProviderConfig.objects.all().delete()
    settings.PROVIDER_ACCESS = {slug: Access("a-key", "http://127.0.0.1:9") for slug in ROUTES}
    for priority, slug in enumerate(ROUTES, start=1):
        make_provider(slug, priority=priority)


def obey(rule: str, category: str = "TEXT") -> None:
    RoutingRule.objects.filter(category=category).update(rule=rule)


def order(skips: list[Skip] | None = None, category: Category = Category.TEXT) -> list[str]:
    candidates._chains.clear()
    routing._routings.clear()
    prompt = Prompt(category, "Hello")
    return [candidate.route.name for candidate in candidates_for(prompt, [], [] if skips is None else skips)]


def answers(route: str, number: int = 5, **fields: object) -> None:
    for _ in range(number):
        make_attempt(**{"provider": route, "route": route, "key_id": "k", **fields})


def test_one_that_cannot_answer_is_not_tried_for_its_figures(monkeypatch):
    """Exploration is among those that could answer: a draw that is thrown away would be none."""
    monkeypatch.setattr(routing, "EXPLORED", 1.0)
    obey("cheapest")
    answers("openai", cost=Decimal("0.003"))
    fold_attempts()
    ProviderConfig.objects.filter(name="anthropic").update(capabilities={"max_prompt_characters": 2})
    skips: list[Skip] = []

    assert {tuple(order(skips)) for _ in range(20)} == {("xai", "openai")}
    assert skips[-1].reason == "cheapest first: xai is not measured yet, so it comes first now and then"


def test_the_operators_order_is_the_default():
    answers("xai", cost=Decimal(0))
    fold_attempts()
    skips: list[Skip] = []

    assert order(skips) == list(ROUTES)
    assert skips == []


class TestCheapest:
    def test_the_measured_cost_of_an_answer_decides_and_the_trail_says_so(self):
        obey("cheapest")
        answers("openai", cost=Decimal("0.003"))
        answers("anthropic", cost=Decimal("0.002"))
        answers("xai", cost=Decimal("0.001"))
        fold_attempts()
        skips: list[Skip] = []

        assert order(skips) == ["xai", "anthropic", "openai"]
        assert [(skip.route, skip.reason) for skip in skips] == [
            ("openai", "cheapest first: xai ($0.001000 an answer) before openai ($0.003000 an answer)"),
            ("anthropic", "cheapest first: xai ($0.001000 an answer) before anthropic ($0.002000 an answer)"),
        ]

    def test_failures_that_were_billed_make_answers_dearer(self):
        obey("cheapest")
        answers("openai", 10, cost=Decimal("0.002"))
        answers("xai", 10, cost=Decimal("0.0018"))
        answers("xai", 2, state=Attempt.State.EXPIRED, cost=Decimal("0.0018"))
        fold_attempts()

        assert order()[0] == "openai"

    def test_one_that_fails_often_is_not_cheap(self):
        obey("cheapest")
        answers("openai", cost=Decimal("0.003"))
        answers("xai", 8, cost=Decimal("0.001"))
        answers("xai", 2, state=Attempt.State.FAILED, cost=None, error_class="ServerFault")
        fold_attempts()

        assert order() == ["openai", "anthropic", "xai"]

    def test_refused_content_says_nothing_of_it(self):
        obey("cheapest")
        answers("openai", cost=Decimal("0.003"))
        answers("xai", cost=Decimal("0.001"))
        answers("xai", 5, state=Attempt.State.FAILED, cost=None, error_class=ContentRefused.error_class)
        fold_attempts()

        assert order()[0] == "xai"

    def test_unknown_costs_and_too_few_answers_are_no_figures(self):
        obey("cheapest")
        answers("anthropic", cost=None, cost_source="unknown")
        answers("xai", 4, cost=Decimal("0.001"))
        fold_attempts()

        assert order() == list(ROUTES)

    def test_a_cost_that_few_calls_tell_is_no_figure(self):
        obey("cheapest")
        answers("openai", cost=Decimal("0.003"))
        answers("xai", 1, cost=Decimal("0.0001"))
        answers("xai", 49, cost=None, cost_source="unknown")
        fold_attempts()

        assert order() == list(ROUTES)

    def test_what_nobody_knows_of_a_cost_counts_as_it_was_reserved(self):
        obey("cheapest")
        answers("openai", 10, cost=Decimal("0.003"))
        answers("xai", 10, cost=Decimal("0.002"))
        answers("xai", 2, state=Attempt.State.EXPIRED, cost=None, reserved_cost=Decimal("0.02"))
        fold_attempts()

        assert order()[0] == "openai"

    def test_one_that_fails_often_is_not_tried_for_its_figures(self, monkeypatch):
        monkeypatch.setattr(routing, "EXPLORED", 1.0)
        obey("cheapest")
        answers("openai", cost=Decimal("0.003"))
        answers("anthropic", cost=Decimal("0.004"))
        answers("xai", 10, state=Attempt.State.FAILED, cost=None, error_class="ServerFault")
        fold_attempts()

        assert order() == ["openai", "anthropic", "xai"]

    def test_what_was_long_ago_does_not_count(self):
        obey("cheapest")
        answers("xai", cost=Decimal("0.001"), created_at=timezone.now() - timedelta(days=2))
        fold_attempts()

        assert order() == list(ROUTES)


class TestFastest:
    def test_a_route_that_nobody_has_asked_for_a_while_is_tried_again(self, monkeypatch):
        monkeypatch.setattr(routing, "EXPLORED", 1.0)
        obey("fastest")
        answers("openai", 10, first_token_ms=9_000, created_at=timezone.now() - timedelta(hours=2))
        answers("anthropic", 10, first_token_ms=500)
        answers("xai", 10, first_token_ms=400)
        fold_attempts()

        assert order() == ["openai", "xai", "anthropic"]

    def test_the_first_words_decide(self):
        obey("fastest")
        answers("openai", first_token_ms=900, duration_ms=1_000)
        answers("xai", first_token_ms=200, duration_ms=9_000)
        answers("anthropic", first_token_ms=None, duration_ms=500)  # came whole
        fold_attempts()
        skips: list[Skip] = []

        assert order(skips) == ["xai", "anthropic", "openai"]
        assert (
            skips[0].reason
            == "fastest first: xai (200 ms to the first words) before openai (900 ms to the first words)"
        )

    def test_the_newer_calls_count_more(self):
        obey("fastest")
        answers("openai", first_token_ms=500)
        answers("xai", 20, first_token_ms=100, created_at=timezone.now() - timedelta(hours=2))
        answers("xai", 5, first_token_ms=800)
        fold_attempts()

        assert order()[0] == "openai"

    def test_media_go_by_the_whole_answer(self):
        ProviderConfig.objects.all().delete()
        for priority, slug in enumerate(("openai", "xai"), start=1):
            make_provider(slug, category="IMAGE", priority=priority)
        obey("fastest", "IMAGE")
        answers("openai", category="IMAGE", duration_ms=9_000)
        answers("xai", category="IMAGE", duration_ms=4_000)
        fold_attempts()

        assert order(category=Category.IMAGE) == ["xai", "openai"]


def test_a_route_without_figures_is_tried_now_and_then(monkeypatch):
    monkeypatch.setattr(routing, "EXPLORED", 0.5)
    obey("cheapest")
    answers("openai", cost=Decimal("0.003"))
    fold_attempts()

    first = Counter(order()[0] for _ in range(300))

    assert set(first) == set(ROUTES)
    assert first["openai"] > first["xai"]


def test_the_figures_are_read_once_in_a_while(django_assert_num_queries):
    obey("fastest")
    answers("xai", first_token_ms=1)
    fold_attempts()
    assert order()[0] == "xai"

    with django_assert_num_queries(0):
        routing.read_routing("TEXT", RoutingRule.Rule.FASTEST)


def test_every_category_has_its_rule():
    assert Counter(RoutingRule.objects.values_list("category", flat=True)) == Counter(Category)
    assert set(RoutingRule.objects.values_list("rule", flat=True)) == {"order"}


def test_the_admin_changes_it(admin_client):
    rows = list(RoutingRule.objects.order_by("id"))
    form = {"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": len(rows), "_save": "Save"}
    for number, row in enumerate(rows):
        form |= {f"form-{number}-id": row.pk, f"form-{number}-rule": "cheapest" if row.category == "TEXT" else "order"}

    assert admin_client.post("/admin/providers/routingrule/", form).status_code == 302

    assert RoutingRule.objects.get(category="TEXT").rule == "cheapest"
    assert admin_client.get("/admin/providers/routingrule/add/").status_code == 403

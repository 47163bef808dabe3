"""What the statistics say about a provider, and which one they recommend."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from providers.models import Attempt, ProviderConfig
from providers.statistics.rollups import fold_attempts
from providers.statistics.selectors import ProviderStats, cost_comparison, provider_stats, recommended
from providers.types import Access, Category
from tests.factories import make_attempt, make_provider

pytestmark = pytest.mark.django_db
State = Attempt.State


@pytest.fixture(autouse=True)
def _own_chain():
    """Three providers instead of the shipped ones."""
    ProviderConfig.objects.all().delete()
    make_provider("aimlapi", priority=1, list_price="0.0015", price_unit="1k_tokens")
    make_provider("piapi", priority=2, list_price="0.0012", price_unit="1k_tokens")
    make_provider("openai", priority=3, list_price="0.0025", price_unit="1k_tokens")


def make_traffic(provider: str, *, successes: int = 0, failures: int = 0, cost: str | None = "0.001") -> None:
    price = None if cost is None else Decimal(cost)
    for _ in range(successes):
        make_attempt(provider=provider, cost=price)
    for _ in range(failures):
        make_attempt(provider=provider, state=State.FAILED, cost=None)


def stats_of(provider: str) -> ProviderStats:
    return next(stats for stats in provider_stats(Category.TEXT) if stats.provider == provider)


def give_keys(settings, *providers: str) -> None:
    settings.PROVIDER_ACCESS = {
        slug: Access("key" if slug in providers else "", access.base_url)
        for slug, access in settings.PROVIDER_ACCESS.items()
    }


class TestFigures:
    def test_every_end_of_an_attempt_counts_and_only_ok_is_a_success(self):
        for state in (State.OK, State.FAILED, State.UNKNOWN, State.EXPIRED, State.ABANDONED):
            make_attempt(state=state, cost=None)
        make_attempt(state=State.SENDING, finished_at=None)

        stats = stats_of("aimlapi")

        assert (stats.requests, stats.successes, stats.failures) == (5, 1, 4)
        assert stats.success_rate == Decimal("20.00")

    def test_the_success_rate_has_two_decimals(self):
        make_traffic("aimlapi", successes=44, failures=1)

        assert stats_of("aimlapi").success_rate == Decimal("97.78")

    def test_an_answer_costs_what_all_known_bills_make_per_priced_success(self):
        make_attempt(cost=Decimal("0.010"))
        make_attempt(cost=Decimal("0.020"))
        make_attempt(cost=None)  # answered, but nobody knows the price
        make_attempt(state=State.EXPIRED, cost=Decimal("0.006"))  # paid for nothing: it makes the answers dearer

        stats = stats_of("aimlapi")

        assert stats.total_cost == Decimal("0.036")
        assert stats.avg_cost == Decimal("0.018")

    def test_unknown_costs_are_counted_where_a_bill_is_possible(self):
        make_attempt(cost=None)
        make_attempt(state=State.UNKNOWN, cost=None)
        make_attempt(state=State.FAILED, cost=None)

        stats = stats_of("aimlapi")

        assert stats.unknown_costs == 2
        assert stats.avg_cost is None

    def test_the_time_is_the_mean_of_the_successes_in_whole_milliseconds(self):
        make_attempt(duration_ms=1000)
        make_attempt(duration_ms=1501)
        make_attempt(state=State.FAILED, cost=None, duration_ms=30_000)

        assert stats_of("aimlapi").avg_time == 1250

    def test_without_traffic_the_list_price_is_the_expectation(self):
        stats = stats_of("piapi")

        assert stats.expected
        assert stats.avg_cost == Decimal("0.0012")
        assert (stats.requests, stats.success_rate, stats.avg_time) == (0, None, None)

    def test_the_operators_order_is_kept_category_by_category(self):
        make_provider("replicate", category="IMAGE", priority=1)
        make_provider("elevenlabs", category="AUDIO", priority=1)
        make_provider("xai", priority=0)

        order = [(stats.category, stats.provider) for stats in provider_stats()]

        assert order == [
            ("TEXT", "xai"),
            ("TEXT", "aimlapi"),
            ("TEXT", "piapi"),
            ("TEXT", "openai"),
            ("IMAGE", "replicate"),
            ("AUDIO", "elevenlabs"),
        ]

    def test_a_provider_whose_row_was_removed_keeps_its_figures_at_the_end(self):
        make_traffic("xai", successes=1)

        stats = provider_stats(Category.TEXT)[-1]

        assert (stats.provider, stats.priority, stats.enabled, stats.requests) == ("xai", None, False, 1)

    def test_since_narrows_to_whole_hours_folded_or_not(self):
        now = timezone.now()
        make_attempt(created_at=now - timedelta(days=3))
        fold_attempts()
        make_attempt(created_at=now - timedelta(days=3))
        make_attempt(created_at=now)

        (stats, *_) = provider_stats(Category.TEXT, since=now - timedelta(days=1))

        assert stats.requests == 1
        assert stats.since == (now - timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
        assert provider_stats(Category.TEXT)[0].requests == 3

    def test_they_take_two_queries(self, django_assert_num_queries):
        make_traffic("aimlapi", successes=2)
        fold_attempts()
        make_traffic("piapi", successes=2)

        with django_assert_num_queries(2):
            provider_stats()


class TestComparison:
    def test_the_cheapest_answer_comes_first_and_unknown_costs_last(self):
        make_traffic("aimlapi", successes=1, cost=None)
        make_traffic("openai", successes=1, cost="0.0001")

        order = [(stats.provider, stats.avg_cost) for stats in cost_comparison(Category.TEXT)]

        assert order == [("openai", Decimal("0.0001")), ("piapi", Decimal("0.0012")), ("aimlapi", None)]


class TestRecommendation:
    def test_it_is_the_cheapest_that_mostly_succeeds(self):
        make_traffic("aimlapi", successes=9, failures=1, cost="0.002")
        make_traffic("piapi", successes=7, failures=3, cost="0.001")
        make_traffic("openai", successes=10, cost="0.003")

        recommendation = recommended(Category.TEXT)

        assert recommendation.recommended == "aimlapi"
        assert recommendation.explanation == (
            "It costs $0.002 an answer and succeeds in 90.00 % of 10 attempts: the cheapest of 2 with a success rate "
            "over 80 %."
        )

    def test_exactly_eighty_per_cent_is_not_over_it(self):
        make_traffic("aimlapi", successes=8, failures=2)

        assert recommended(Category.TEXT).recommended is None

        make_traffic("aimlapi", successes=1)
        assert recommended(Category.TEXT).recommended == "aimlapi"

    def test_a_provider_that_is_switched_off_is_never_recommended(self):
        make_traffic("piapi", successes=10, cost="0.0001")
        make_traffic("openai", successes=10, cost="0.003")
        ProviderConfig.objects.filter(provider="piapi").update(enabled=False)

        assert recommended(Category.TEXT).recommended == "openai"

    def test_an_unknown_cost_is_recommended_only_where_nothing_known_is_as_reliable(self):
        make_traffic("aimlapi", successes=5, cost=None)

        recommendation = recommended(Category.TEXT)
        assert recommendation.recommended == "aimlapi"
        assert "an unknown amount" in recommendation.explanation

        make_traffic("openai", successes=5, cost="9")
        assert recommended(Category.TEXT).recommended == "openai"

    def test_nobody_reliable_means_nobody(self):
        make_traffic("aimlapi", successes=1, failures=1)

        recommendation = recommended(Category.TEXT)

        assert recommendation.recommended is None
        assert recommendation.explanation == "None of the 1 used providers has a success rate over 80 %."

    def test_before_any_traffic_it_is_the_cheapest_by_list_price_that_has_a_key(self, settings):
        give_keys(settings, "aimlapi", "openai")

        recommendation = recommended(Category.TEXT)

        assert recommendation.recommended == "aimlapi"
        assert recommendation.explanation == (
            "No enabled provider was used yet: this is the cheapest by list price ($0.0015 per 1,000 tokens)."
        )

    def test_before_any_traffic_and_without_a_key_it_is_nobody(self, settings):
        give_keys(settings)

        recommendation = recommended(Category.TEXT)

        assert recommendation.recommended is None
        assert recommendation.explanation == "No enabled provider has a key and is supported here."

    def test_traffic_of_providers_that_are_off_counts_as_none(self, settings):
        give_keys(settings, "openai")
        make_traffic("piapi", successes=10)
        ProviderConfig.objects.filter(provider="piapi").update(enabled=False)

        assert recommended(Category.TEXT).recommended == "openai"


def test_refused_content_says_nothing_of_the_provider():
    for _ in range(9):
        make_attempt(state="FAILED", error_class="ContentRefused", cost=None)
    make_attempt()
    make_attempt(state="FAILED", error_class="ServerFault", cost=None)
    for _ in range(5):
        make_attempt()

    for _ in range(2):  # before they are folded, and after
        (stats,) = [stats for stats in provider_stats(Category.TEXT) if stats.provider == "aimlapi"]
        assert (stats.requests, stats.refusals, stats.successes) == (16, 9, 6)
        assert stats.success_rate == Decimal("85.71")
        assert recommended(Category.TEXT).recommended == "aimlapi"
        fold_attempts()


def test_an_expectation_compares_with_what_was_measured():
    make_provider("replicate", category="VIDEO", list_price="0.084", price_unit="second")
    make_provider("piapi", category="VIDEO", list_price="0.10", price_unit="second")
    make_attempt(category="VIDEO", provider="piapi", cost=Decimal("0.30"))

    measured, expected = cost_comparison(Category.VIDEO)

    assert (measured.provider, measured.avg_cost) == ("piapi", Decimal("0.3"))
    assert (expected.provider, expected.avg_cost) == ("replicate", Decimal("0.42"))  # a film of five seconds


def test_each_route_has_its_own_figures_and_what_was_before_routes_had_names_is_its_providers():
    make_provider("aimlapi", name="smart", priority=7)
    make_attempt(route="smart", cost=Decimal("0.5"))
    make_attempt(route="", cost=Decimal("0.1"))
    make_attempt(route="aimlapi", cost=Decimal("0.1"))

    for _ in range(2):
        figures = {stats.route: stats for stats in provider_stats(Category.TEXT) if stats.provider == "aimlapi"}
        assert (figures["smart"].requests, figures["smart"].total_cost) == (1, Decimal("0.5"))
        assert (figures["aimlapi"].requests, figures["aimlapi"].total_cost) == (2, Decimal("0.2"))
        fold_attempts()

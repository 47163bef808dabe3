"""What a call cost: the provider's figure, our rates, the list price, or unknown; never 0 for lack of knowledge."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from providers.pricing import cost_at_most, cost_of, validate_prices
from providers.types import CostSource, Usage

RATES = {"input_per_million": "2.00", "cached_input_per_million": "0.50", "output_per_million": "6.00"}


def cost(usage: Usage, prices=RATES, list_price="0.005", unit="1k_tokens"):
    return cost_of(usage, prices=prices, list_price=Decimal(list_price) if list_price else None, price_unit=unit)


def test_the_providers_own_figure_comes_first():
    usage = Usage(input_tokens=1, output_tokens=1, reported_cost=Decimal("0.0123456789012"))

    assert cost(usage) == (Decimal("0.0123456789"), CostSource.PROVIDER_REPORTED)


def test_tokens_are_priced_by_their_kind():
    usage = Usage(input_tokens=1000, cached_input_tokens=2000, output_tokens=500)

    assert cost(usage) == (Decimal("0.006"), CostSource.COMPUTED)


def test_cached_tokens_cost_as_much_as_others_where_no_rate_is_known():
    usage = Usage(input_tokens=0, cached_input_tokens=1000, output_tokens=0)

    assert cost(usage, {"input_per_million": "2", "output_per_million": "6"})[0] == Decimal("0.002")


def test_what_is_written_to_a_cache_has_a_rate_of_its_own():
    usage = Usage(input_tokens=0, cache_write_tokens=1000, output_tokens=0)

    assert cost(usage, {**RATES, "cache_write_per_million": "2.50"})[0] == Decimal("0.0025")
    assert cost(usage)[0] == Decimal("0.002")


def test_at_most_the_whole_input_is_written_to_a_cache():
    known = {"list_price": None, "price_unit": "1k_tokens"}
    usage = Usage(input_tokens=1000, output_tokens=0)

    assert cost_at_most(usage, prices={**RATES, "cache_write_per_million": "2.50"}, **known) == Decimal("0.0025")
    assert cost_at_most(usage, prices=RATES, **known) == Decimal("0.002")
    assert cost_at_most(usage, prices={}, **known) is None


def test_at_most_what_a_shorter_call_costs_where_a_tier_is_cheaper():
    tiers = [{"above_input_tokens": 100_000, "input_per_million": "0.1"}]
    usage = Usage(input_tokens=150_000, output_tokens=0)

    at_most = cost_at_most(usage, prices={**RATES, "tiers": tiers}, list_price=None, price_unit="1k_tokens")

    assert at_most == Decimal("0.3")  # as it would cost below the tier
    assert cost(usage, {**RATES, "tiers": tiers})[0] == Decimal("0.015")


def test_at_most_the_longest_that_the_hardware_may_run():
    known = {"list_price": None, "price_unit": "image"}
    usage = Usage(images=1, compute_seconds=Decimal(100))

    assert cost_at_most(usage, prices={"per_compute_second": "0.001"}, **known) == Decimal("0.1")
    assert cost_at_most(usage, prices={"per_compute_second": "0.001", "per_image": "0.5"}, **known) == Decimal("0.5")
    assert cost_at_most(usage, prices={"per_image": "0.5"}, **known) == Decimal("0.5")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(input_tokens=100_000, output_tokens=1_000), "0.206"),
        (Usage(input_tokens=100_001, output_tokens=1_000), "0.412004"),  # of all its tokens
        (Usage(input_tokens=1, cached_input_tokens=90_000, cache_write_tokens=20_000, output_tokens=0), "0.125004"),
        (Usage(input_tokens=300_000, output_tokens=0), "3"),
    ],
)
def test_a_long_input_makes_the_whole_call_dearer(usage, expected):
    tiers = [
        {"above_input_tokens": 200_000, "input_per_million": "10"},
        {"above_input_tokens": 100_000, "input_per_million": "4", "output_per_million": "12"},
    ]
    assert cost(usage, {**RATES, "tiers": tiers})[0] == Decimal(expected)


@pytest.mark.parametrize(
    "tiers",
    [{}, [1], [{}], [{"above_input_tokens": "1"}], [{"above_input_tokens": 0}],
     [{"above_input_tokens": 1, "per_image": "1"}], [{"above_input_tokens": 1, "input_per_million": 1}]],
)  # fmt: skip
def test_wrong_tiers_are_refused_where_they_are_typed(tiers):
    with pytest.raises(ValidationError):
        validate_prices({**RATES, "tiers": tiers})


def test_without_rates_the_list_price_estimates():
    assert cost(Usage(input_tokens=800, output_tokens=200), {}) == (Decimal("0.005"), CostSource.ESTIMATED)


@pytest.mark.parametrize(
    ("usage", "unit", "expected"),
    [
        (Usage(images=2), "image", "0.010"),
        (Usage(seconds=Decimal("7.5")), "second", "0.0375"),
        (Usage(characters=1500), "1k_characters", "0.0075"),
        (Usage(), "call", "0.005"),
    ],
)
def test_each_unit_has_its_list_price(usage, unit, expected):
    assert cost(usage, {}, unit=unit) == (Decimal(expected), CostSource.ESTIMATED)


def test_each_unit_has_its_rate():
    usage = Usage(images=1, characters=2000)

    assert cost(usage, {"per_image": "0.04", "per_thousand_characters": "0.1"})[0] == Decimal("0.24")


def test_a_unit_without_a_rate_is_not_free():
    usage = Usage(images=1, characters=2000)

    assert cost(usage, {"per_image": "0.04"}, list_price=None) == (None, CostSource.UNKNOWN)


def test_what_the_provider_has_metered_comes_before_the_units():
    speech = Usage(characters=1000, credits=Decimal(500))
    image = Usage(images=1, compute_seconds=Decimal("2.5"))

    assert cost(speech, {"per_thousand_characters": "0.04", "per_thousand_credits": "0.22"})[0] == Decimal("0.11")
    assert cost(speech, {"per_thousand_characters": "0.04"})[0] == Decimal("0.04")
    assert cost(image, {"per_compute_second": "0.0014"})[0] == Decimal("0.0035")
    assert cost(Usage(images=1), {"per_compute_second": "0.0014"}, list_price=None)[1] is CostSource.UNKNOWN


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5)])
def test_without_usage_the_cost_is_unknown(usage):
    assert cost(usage) == (None, CostSource.UNKNOWN)


@pytest.mark.parametrize(
    ("prices", "hint"),
    [
        ([], "JSON object"),
        ({"input": "1"}, "Unknown price 'input'"),
        ({"input_per_million": 0.1}, 'such as "0.50"'),
        ({"input_per_million": "-1"}, 'such as "0.50"'),
        ({"input_per_million": "NaN"}, 'such as "0.50"'),
        ({"as_of": "yesterday"}, 'such as "2026-11-23"'),
    ],
)
def test_invalid_prices_are_refused_with_a_hint(prices, hint):
    with pytest.raises(ValidationError, match=hint.replace("(", r"\(")):
        validate_prices(prices)

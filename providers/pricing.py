"""What a route's prices may contain, and what a call cost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError

from providers.types import CostSource, Usage

TOKEN_RATES = (
    "input_per_million", "cached_input_per_million", "cache_write_per_million", "image_input_per_million",
    "output_per_million",
)  # fmt: skip
UNIT_RATES = ("per_image", "per_second", "per_thousand_characters")
METERED_RATES = ("per_thousand_credits", "per_compute_second")  # by what the provider has metered; they come first
SEARCH_RATE = "per_thousand_searches"  # of the web, on top of tokens
RATES = TOKEN_RATES + UNIT_RATES + METERED_RATES + (SEARCH_RATE,)
NOTES = ("as_of", "source")
TIERS = "tiers"  # other token rates for a whole call whose input is longer
ABOVE = "above_input_tokens"
THOUSAND = Decimal(1_000)
MILLION = Decimal(1_000_000)
# The column keeps ten decimals: xAI reports in ticks of 1e-10 dollars, and nobody bills finer.
COST_QUANTUM = Decimal("1e-10")
MAX_COST_USD = Decimal(10**5)  # of one call, and a slip where it is more; the column holds a little more


def validate_prices(prices: Any) -> None:
    """Refuse a price object that cost_of() could not use, in words that say what to type."""
    if not isinstance(prices, dict):
        raise ValidationError("Prices must be a JSON object.")
    for name, value in prices.items():
        if name in RATES:
            _validate_rate(name, value)
        elif name == "as_of":
            _validate_date(value)
        elif name == TIERS:
            _validate_tiers(value)
        elif name not in NOTES:
            raise ValidationError(f"Unknown price {name!r}. Use {', '.join((*RATES, TIERS, *NOTES))}.")


def _validate_tiers(tiers: Any) -> None:
    example = f'[{{"{ABOVE}": 200000, "input_per_million": "4.00", "output_per_million": "12.00"}}]'
    if not isinstance(tiers, list) or not all(isinstance(tier, dict) for tier in tiers):
        raise ValidationError(f"tiers must be a list, such as {example}.")
    for tier in tiers:
        if type(tier.get(ABOVE)) is not int or tier[ABOVE] <= 0:
            raise ValidationError(f"Each tier needs {ABOVE}, a whole number above 0, as in {example}.")
        for name in tier.keys() - {ABOVE}:
            if name not in TOKEN_RATES:
                raise ValidationError(f"Unknown rate {name!r} in a tier. Use {', '.join(TOKEN_RATES)}.")
            _validate_rate(name, tier[name])


def is_rate(value: Any, *, largest: Decimal = Decimal("Infinity")) -> bool:
    """Return whether this is a finite decimal number in a string, from 0 to `largest`."""
    try:
        return isinstance(value, str) and Decimal(value).is_finite() and 0 <= Decimal(value) <= largest
    except InvalidOperation:
        return False


def _validate_rate(name: str, value: Any) -> None:
    if not is_rate(value, largest=MAX_COST_USD):
        raise ValidationError(f'{name} must be a decimal number in quotes, such as "0.50", not {value!r}.')


def _validate_date(value: Any) -> None:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(f'as_of must be a date such as "2026-11-23", not {value!r}.') from error


def cost_of(
    usage: Usage, *, prices: Mapping[str, Any], list_price: Decimal | None, price_unit: str
) -> tuple[Decimal | None, CostSource]:
    """Return what a call cost in USD and where the figure comes from.

    Best first: the provider's own figure, usage times the detailed rates, usage times the list price. Without any of
    them the cost is None, never 0.
    """
    if usage.reported_cost is not None:
        return usage.reported_cost.quantize(COST_QUANTUM), CostSource.PROVIDER_REPORTED
    if usage.searches and SEARCH_RATE not in prices:
        return None, CostSource.UNKNOWN
    computed = _by_units(usage, prices) if _has_units(usage) else None
    if computed is None:
        computed = _by_tokens(usage, prices)  # some bill images by tokens
    if computed is not None and computed <= MAX_COST_USD:
        return computed.quantize(COST_QUANTUM), CostSource.COMPUTED
    quantity = _quantity(usage, price_unit)
    if list_price is not None and quantity is not None:
        return (list_price * quantity + _searches(usage, prices)).quantize(COST_QUANTUM), CostSource.ESTIMATED
    return None, CostSource.UNKNOWN


def rates_of_unit(prices: Mapping[str, Any], price_unit: str) -> tuple[Decimal, Decimal] | None:
    """Return the least and the most that a unit of the list price costs by the rates, None where they do not say."""
    rates = {
        "1k_tokens": [(name, Decimal("0.001")) for name in TOKEN_RATES],
        "image": [("per_image", Decimal(1))],
        "second": [("per_second", Decimal(1))],
        "1k_characters": [("per_thousand_characters", Decimal(1))],
    }
    levels = [prices, *prices.get(TIERS, ())]
    costs = [
        Decimal(level[name]) * units for level in levels for name, units in rates.get(price_unit, ()) if name in level
    ]
    return (min(costs), max(costs)) if costs else None


def cost_at_most(
    usage: Usage, *, prices: Mapping[str, Any], list_price: Decimal | None, price_unit: str
) -> Decimal | None:
    """Return the most that a call of up to this size may cost in USD, None where nobody knows.

    Whether its input is written to a cache, which some providers bill at a higher rate, is the provider's decision. A
    tier may be cheaper than what lies below it. `usage.compute_seconds` is for how long the hardware may run.
    """
    written = replace(usage, input_tokens=0, cache_write_tokens=usage.input_tokens or 0)
    unmetered = replace(usage, compute_seconds=None)
    usages = [usage, unmetered] if usage.input_tokens is None else [usage, written]
    costs = [
        cost_of(each, prices=rates, list_price=list_price, price_unit=price_unit)[0]
        for each in usages
        for rates in _rates_up_to(usage.input_tokens or 0, prices)
    ]
    return max((cost for cost in costs if cost is not None), default=None)


def _has_units(usage: Usage) -> bool:
    return bool(usage.images or usage.seconds or usage.characters)


def _by_tokens(usage: Usage, prices: Mapping[str, Any]) -> Decimal | None:
    if usage.input_tokens is None or usage.all_input_tokens is None or usage.output_tokens is None:
        return None
    if "input_per_million" not in prices or "output_per_million" not in prices:
        return None
    rates = _rates_for(usage.all_input_tokens, prices)
    input_rate = rates["input_per_million"]
    total = (
        usage.input_tokens * Decimal(input_rate)
        + usage.cached_input_tokens * Decimal(rates.get("cached_input_per_million", input_rate))
        + usage.cache_write_tokens * Decimal(rates.get("cache_write_per_million", input_rate))
        + usage.image_tokens * Decimal(rates.get("image_input_per_million", input_rate))
        + usage.output_tokens * Decimal(rates["output_per_million"])
    )
    return total / MILLION + _searches(usage, prices)


def _searches(usage: Usage, prices: Mapping[str, Any]) -> Decimal:
    return usage.searches * Decimal(prices.get(SEARCH_RATE, 0)) / THOUSAND


def _rates_for(input_tokens: int, prices: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the rates of a call with so much input: a tier changes those of the whole call."""
    return _rates_up_to(input_tokens, prices)[-1]


def _rates_up_to(input_tokens: int, prices: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rates of each tier that a call with at most so much input may be in, from the lowest tier up."""
    reached = sorted(
        (tier for tier in prices.get(TIERS, ()) if input_tokens > tier[ABOVE]), key=lambda tier: tier[ABOVE]
    )
    return [{**prices, **tier, TIERS: ()} for tier in ({}, *reached)]


def _by_units(usage: Usage, prices: Mapping[str, Any]) -> Decimal | None:
    """Return the sum over the units that were used; None where one of them has no rate."""
    metered = {
        "per_thousand_credits": None if usage.credits is None else usage.credits / THOUSAND,
        "per_compute_second": usage.compute_seconds,
    }
    for rate, quantity in metered.items():
        if rate in prices and quantity is not None:
            return Decimal(prices[rate]) * quantity
    used = {
        "per_image": Decimal(usage.images),
        "per_second": usage.seconds or Decimal(0),
        "per_thousand_characters": Decimal(usage.characters) / THOUSAND,
    }
    needed = {rate: quantity for rate, quantity in used.items() if quantity}
    if any(rate not in prices for rate in needed):
        return None
    return sum((Decimal(prices[rate]) * quantity for rate, quantity in needed.items()), Decimal(0))


def _quantity(usage: Usage, price_unit: str) -> Decimal | None:
    """Return how many units of the list price were used; None where the provider does not say."""
    if price_unit == "1k_tokens" and usage.all_input_tokens is not None and usage.output_tokens is not None:
        return Decimal(usage.all_input_tokens + usage.output_tokens) / THOUSAND
    quantities = {
        "image": Decimal(usage.images),
        "second": usage.seconds or Decimal(0),
        "1k_characters": Decimal(usage.characters) / THOUSAND,
        "call": Decimal(1),
    }
    return quantities.get(price_unit) or None

"""What a price row may hold, and what a call cost."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError

from providers.types import CostSource, Usage

RATES = ("input_per_million", "cached_input_per_million", "output_per_million")
NOTES = ("as_of", "source")
MILLION = Decimal(1_000_000)
# The column keeps ten decimals: xAI reports in ticks of 1e-10 dollars, and nobody bills finer.
SMALLEST = Decimal("1e-10")


def validate_prices(prices: Any) -> None:
    """Refuse a price object that cost_of() could not use, in words that say what to type."""
    if not isinstance(prices, dict):
        raise ValidationError("Prices must be a JSON object.")
    for name, value in prices.items():
        if name in RATES:
            _validate_rate(name, value)
        elif name == "as_of":
            _validate_date(value)
        elif name not in NOTES:
            raise ValidationError(f"Unknown price {name!r}. Use {', '.join(RATES + NOTES)}.")


def _validate_rate(name: str, value: Any) -> None:
    try:
        valid = isinstance(value, str) and Decimal(value).is_finite() and Decimal(value) >= 0
    except InvalidOperation:
        valid = False
    if not valid:
        raise ValidationError(f'{name} must be a decimal number in quotes, such as "0.50", not {value!r}.')


def _validate_date(value: Any) -> None:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(f'as_of must be a date such as "2026-11-23", not {value!r}.') from error


def cost_of(
    usage: Usage, *, prices: Mapping[str, str], list_price: Decimal | None, price_unit: str
) -> tuple[Decimal | None, CostSource]:
    """Return what a text call cost in USD and where the figure comes from.

    Best first: the vendor's own figure, usage times the detailed rates, usage times the list price.
    Without any of them the cost is None, never 0.
    """
    if usage.reported_cost is not None:
        return usage.reported_cost.quantize(SMALLEST), CostSource.PROVIDER_REPORTED
    if usage.input_tokens is None or usage.output_tokens is None:
        return None, CostSource.UNKNOWN
    if "input_per_million" in prices and "output_per_million" in prices:
        input_rate = Decimal(prices["input_per_million"])
        cached_rate = Decimal(prices.get("cached_input_per_million", prices["input_per_million"]))
        total = (
            usage.input_tokens * input_rate
            + usage.cached_input_tokens * cached_rate
            + usage.output_tokens * Decimal(prices["output_per_million"])
        )
        return (total / MILLION).quantize(SMALLEST), CostSource.COMPUTED
    if list_price is not None and price_unit == "1k_tokens":
        tokens = usage.input_tokens + usage.cached_input_tokens + usage.output_tokens
        return (list_price * tokens / 1000).quantize(SMALLEST), CostSource.ESTIMATED
    return None, CostSource.UNKNOWN

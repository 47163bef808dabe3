"""What a request costs its user: the AI model's own rates by size. Pure values; no row is read or written.

The rates are the AI model's, never those of the route that answers: users choose an AI model and know no routes. They
are agreed at acceptance, where the most that the request may cost is held; the end settles what was used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from django.core.exceptions import ValidationError

from providers.pricing import THOUSAND, is_rate
from providers.types import MAX_OUTPUT_TOKENS, Usage

INPUT, OUTPUT = "per_thousand_input_tokens", "per_thousand_output_tokens"
CHARACTERS, SECONDS = "per_thousand_characters", "per_second"
HEARD = "per_minute_heard"  # of audio in the prompt that becomes text first
INPUT_IMAGES = "per_input_image"  # that an output is made from; those that a text answers about are input tokens
SEARCHES = "per_search"  # of the web, where the route that answers has it switched on
RATES = (INPUT, OUTPUT, CHARACTERS, SECONDS, HEARD, INPUT_IMAGES, SEARCHES)
SECONDS_OF_A_MINUTE = Decimal(60)
MAX_RATE = Decimal(100_000)  # credits; with it the dearest request still fits into its column
MIN_OUTPUT_TOKENS = 512  # of an answer that is worth asking for: models that reason write nothing with fewer


def validate_rates(rates: Any) -> None:
    """Raise ValidationError, saying what to type, for rates that Terms could not use."""
    if not isinstance(rates, dict):
        raise ValidationError(f'Rates must be a JSON object, such as {{"{OUTPUT}": "1.5"}}.')
    for name, value in rates.items():
        if name not in RATES:
            raise ValidationError(f"Unknown rate {name!r}. Use {', '.join(RATES)}.")
        if not is_rate(value, largest=MAX_RATE):
            raise ValidationError(
                f'{name} must be a number of credits in quotes, at most {MAX_RATE:,}, such as "1.5", not {value!r}.'
            )


@dataclass(frozen=True, slots=True)
class Size:
    """How large a request and its answer are."""

    input_tokens: int = 0  # earlier turns and files included
    output_tokens: int = 0  # reasoning included
    characters: int = 0  # of the prompt
    seconds: int = 0  # of the output that was ordered
    heard_seconds: int = 0  # of audio in the prompt that becomes text first
    input_images: int = 0  # that an output is made from
    searches: int = 0  # of the web


def tokens_of_bytes(number: int) -> int:
    """Return how many tokens a text of so many bytes has, rather too few than too many."""
    return number // 4


@dataclass(frozen=True, slots=True)
class Terms:
    """What a user agrees to pay for a request."""

    least: int  # credits, whatever the size
    rates: Mapping[str, str]  # credits by size, as validate_rates() takes them; empty: the price is flat
    output_limit: int = MAX_OUTPUT_TOKENS  # the longest answer that it pays for, in tokens
    is_shortened: bool = False  # by the balance

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Terms":
        """Return the terms by size that as_dict() has stored."""
        return cls(stored["least"], stored["rates"], stored["max_output_tokens"], stored.get("shortened", False))

    def as_dict(self) -> dict[str, Any]:
        """Return the terms as a JSON column takes them; nothing for a flat price."""
        if not self.rates:
            return {}
        return {
            "least": self.least,
            "rates": dict(self.rates),
            "max_output_tokens": self.output_limit,
            "shortened": self.is_shortened,
        }

    def credits_for(self, size: Size) -> int:
        """Return the price of a request of this size: whole credits, rounded up, at least `least`."""
        return max(self.least, int(self._exact(size).to_integral_value(ROUND_CEILING)))

    def before_rounding(self, size: Size) -> Decimal:
        """Return the price of a request of this size before it is rounded up: the least of those of its kind."""
        return max(Decimal(self.least), self._exact(size))

    def agreed(self, size: Size, *, balance: int) -> tuple["Terms", int]:
        """Return the terms for what is known of a request at acceptance, and the most that it may cost under them.

        Where the balance does not pay for the longest answer, a shorter one is agreed on instead of a refusal. The
        price is above the balance only where that would be too short to be of use.
        """
        price = self.most(size)
        rate = Decimal(self.rates.get(OUTPUT, 0))
        if price <= balance or not rate:
            return self, price
        affordable = int(((balance - self._exact(size)) / rate * THOUSAND).to_integral_value(ROUND_FLOOR))
        limit = min(self.output_limit, max(affordable, MIN_OUTPUT_TOKENS))
        shorter = replace(self, output_limit=limit, is_shortened=limit < self.output_limit)
        return shorter, shorter.most(size)

    def most(self, size: Size) -> int:
        """Return the price of a request of this size with the longest answer."""
        return self.credits_for(replace(size, output_tokens=self.output_limit))

    def _exact(self, size: Size) -> Decimal:
        amounts = {
            INPUT: size.input_tokens / THOUSAND,
            OUTPUT: size.output_tokens / THOUSAND,
            CHARACTERS: size.characters / THOUSAND,
            SECONDS: Decimal(size.seconds),
            HEARD: size.heard_seconds / SECONDS_OF_A_MINUTE,
            INPUT_IMAGES: Decimal(size.input_images),
            SEARCHES: Decimal(size.searches),
        }
        return sum((Decimal(rate) * amounts[name] for name, rate in self.rates.items()), Decimal(0))


def used_size(usage: Usage, *, asked: Size, output_bytes: int) -> Size:
    """Return the size of an answered request, by the provider's figures where it tells them."""
    input_tokens, output_tokens = usage.all_input_tokens, usage.output_tokens
    return replace(
        asked,
        input_tokens=asked.input_tokens if input_tokens is None else input_tokens,
        output_tokens=tokens_of_bytes(output_bytes) if output_tokens is None else output_tokens,
        searches=usage.searches,
    )

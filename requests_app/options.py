"""Output options as AI models and requests store them, and their conversion to providers.types.OutputOptions."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from providers.backends.media_generation import MediaProvider
from providers.types import MAX_OUTPUT_TOKENS, OutputOptions

OUTPUT_OPTIONS: Mapping[str, type] = {
    "seconds": int,
    "aspect_ratio": str,
    "voice": str,
    "language": str,
    "negative_prompt": str,
    "seed": int,
    "quality": str,
}
OPTION_TYPES: Mapping[str, type] = {**OUTPUT_OPTIONS, "max_output_tokens": int}
LARGEST = {"seconds": 3_600, "max_output_tokens": 1_000_000, "seed": 2**31 - 1}
SMALLEST = {"seed": 0}  # else 1
QUALITIES = ("low", "medium", "high")


def validate_options(options: Any) -> None:
    """Raise ValidationError, saying what to type, for options that output_options_of() cannot read."""
    if not isinstance(options, dict):
        raise ValidationError("Options must be a JSON object.")
    for name, value in options.items():
        if name not in OPTION_TYPES:
            raise ValidationError(f"Unknown option {name!r}. Use {', '.join(OPTION_TYPES)}.")
        if type(value) is not OPTION_TYPES[name]:
            expected = "whole number" if OPTION_TYPES[name] is int else "text in quotes"
            raise ValidationError(f"{name} must be a {expected}.")
        smallest = SMALLEST.get(name, 1)
        if isinstance(value, int) and not smallest <= value <= LARGEST[name]:
            raise ValidationError(f"{name} must be between {smallest} and {LARGEST[name]:,}.")
        if name == "quality" and value not in QUALITIES:
            raise ValidationError(f"quality must be one of {', '.join(QUALITIES)}.")


def seconds_of(options: Mapping[str, Any]) -> int:
    """Return how long an output is that is ordered with these options."""
    return int(options.get("seconds", MediaProvider.default_seconds))


def max_output_tokens_of(options: Mapping[str, Any]) -> int:
    """Return how long a text may become where no route says so."""
    return int(options.get("max_output_tokens", MAX_OUTPUT_TOKENS))


def output_options_of(options: Mapping[str, Any]) -> OutputOptions:
    """Return a request's options as providers take them."""
    return OutputOptions(**{name: options[name] for name in OUTPUT_OPTIONS if name in options})

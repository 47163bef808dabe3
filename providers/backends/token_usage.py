"""Token counts in the words of all who copy OpenAI's: what lies inside of what, `total_tokens` decides."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from providers.transport.json_fields import count_at
from providers.types import Usage

INPUT = (("prompt_tokens",), ("input_tokens",))
OUTPUT = (("completion_tokens",), ("output_tokens",))
CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
    ("cache_read_input_tokens",),  # Anthropic behind a gateway
)
WRITTEN = (  # to a cache; a part of the input
    ("prompt_tokens_details", "cache_write_tokens"),
    ("input_tokens_details", "cache_write_tokens"),
    ("cache_creation_input_tokens",),  # Anthropic behind a gateway
)
REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),
)


def token_usage(usage: Any, *, reasoning_is_inside: bool) -> Usage:
    """Return the counts of a usage block, which do not overlap any more. Never raises.

    Cached tokens are a part of the input, and reasoning of the output, unless the total says otherwise;
    `reasoning_is_inside` is for a block without a total.
    """
    prompt, completion = _first(usage, INPUT), _first(usage, OUTPUT)
    cached, reasoning = _first(usage, CACHED) or 0, _first(usage, REASONING) or 0
    if prompt is None or completion is None:
        return Usage(input_tokens=prompt, output_tokens=completion)
    total = count_at(usage, "total_tokens") or None  # a zero that nobody counted
    beside = 0 if total is None else total - prompt - completion
    # Without a total, a part that is larger than the whole lies beside it.
    has_cached_beside = (
        cached > prompt if total is None else cached != reasoning and beside in (cached, cached + reasoning)
    )
    if total is not None:
        rest = beside - cached if has_cached_beside else beside
        reasoning_is_inside = not reasoning or rest < reasoning
    reasoning_is_inside = reasoning_is_inside and reasoning <= completion
    uncached = prompt if has_cached_beside else max(0, prompt - cached)
    written = min(uncached, _first(usage, WRITTEN) or 0)
    return Usage(
        input_tokens=uncached - written,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=completion if reasoning_is_inside else completion + reasoning,
    )


def _first(usage: Any, paths: tuple[tuple[str, ...], ...]) -> int | None:
    return next((count for path in paths if (count := count_at(usage, *path)) is not None), None)


def larger_counts(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return two usage blocks of one stream as one: counts grow, and a later zero is not the count."""
    merged = dict(known)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[name] = larger_counts(before, value)
        elif isinstance(value, int | Decimal) and isinstance(before, int | Decimal):
            merged[name] = max(before, value)
        elif value is not None or before is None:
            merged[name] = value
    return merged

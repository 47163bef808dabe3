"""What the sandbox would have charged: one line per call, to be compared with the attempts that we recorded."""

import threading
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from importlib import import_module
from itertools import count
from pkgutil import iter_modules
from typing import Any

from providers import migrations
from providers.pricing import cost_of
from providers.sandbox.chat_answers import Tokens
from providers.types import Category, Usage

LONGEST = 100_000  # lines kept; the oldest go first


@dataclass(frozen=True, slots=True)
class Line:
    """One call."""

    provider: str
    model: str
    usage: Usage | None  # None: refused or stopped, so nothing was used
    cost: Decimal | None  # USD; None where the vendor neither tells it nor has a shipped price
    job_id: str = ""
    asked: str = field(default="", repr=False)  # the prompt, which tells whose call it was

    def as_dict(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "model": self.model,
            "usage": _as_dict(self.usage) if self.usage else {},
            "billed": self.usage is not None,
            "cost": None if self.cost is None else f"{self.cost:f}",
            "asked": self.asked,
            **({"job_id": self.job_id} if self.job_id else {}),
        }


class Bill:
    """The lines so far. Handler threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}  # oldest first
        self._numbers = count()

    def add(self, line: Line) -> None:
        """Add a line. A job has one: its newest takes the place of the one before, and keeps the prompt."""
        with self._lock:
            key = line.job_id or f"#{next(self._numbers)}"
            earlier = self._lines.get(key)
            self._lines[key] = replace(line, asked=earlier.asked) if earlier else line
            if len(self._lines) > LONGEST:
                del self._lines[next(iter(self._lines))]

    def clear(self) -> None:
        with self._lock:
            self._lines.clear()

    def as_list(self) -> list[dict[str, Any]]:
        with self._lock:
            return [line.as_dict() for line in self._lines.values()]


def usage_of(tokens: Tokens) -> Usage:
    return Usage(
        input_tokens=tokens.input,
        cached_input_tokens=tokens.cached_input,
        output_tokens=tokens.output + tokens.reasoning,
    )


def cost_of_tokens(slug: str, tokens: Tokens) -> Decimal:
    """Return what the vendor charges for a text, in USD. Raises LookupError where no price is shipped."""
    cost = cost_of_usage(Category.TEXT, slug, usage_of(tokens))
    if cost is None:
        raise LookupError(f"There is no shipped price for the texts of {slug}.")
    return cost


def cost_of_usage(category: Category, slug: str, usage: Usage) -> Decimal | None:
    """Return what the vendor charges, in USD: the tariff that we ship for it, whatever the operator's row says.

    None where none is shipped.
    """
    tariff = _tariffs().get((category, slug))
    if tariff is None:
        return None
    list_price, price_unit, prices = tariff
    cost, _ = cost_of(usage, prices=prices, list_price=list_price, price_unit=price_unit)
    return cost


def shipped_rows() -> list[tuple[Any, ...]]:
    """Return the rows that our migrations bring, oldest first.

    Each begins with category, provider, priority, model, list price, its unit and detailed rates.
    """
    names = sorted(module.name for module in iter_modules(migrations.__path__))
    modules = [import_module(f"{migrations.__name__}.{name}") for name in names]
    return [row for module in modules for row in getattr(module, "ROWS", ())]


@cache
def _tariffs() -> dict[tuple[str, str], tuple[Decimal | None, str, dict[str, str]]]:
    # A later migration leaves rows alone that are there, so the first one of each counts.
    return {(row[0], row[1]): (Decimal(row[4]) if row[4] else None, row[5], row[6]) for row in reversed(shipped_rows())}


def _as_dict(usage: Usage) -> dict[str, Any]:
    units = {"images": usage.images, "seconds": usage.seconds and f"{usage.seconds:f}", "characters": usage.characters}
    if usage.input_tokens is None:
        return {name: value for name, value in units.items() if value}
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }

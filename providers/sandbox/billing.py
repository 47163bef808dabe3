"""What the sandbox would have charged: one line per call, to be compared with the attempts that were recorded."""

import threading
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from typing import Any

from providers.pricing import cost_of
from providers.shipped import shipped_route
from providers.types import Category, Operation, Usage

MAX_LINES = 100_000  # kept; the oldest are dropped first


@dataclass(frozen=True, slots=True)
class BillingLine:
    """One call."""

    provider: str
    model: str
    usage: Usage | None  # None: refused or stopped, so nothing was used
    cost: Decimal | None  # USD; None where the vendor neither reports it nor has a shipped price
    job_id: str = ""
    prompt: str = field(default="", repr=False)  # identifies whose call it was

    def as_dict(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "model": self.model,
            "usage": _as_dict(self.usage) if self.usage else {},
            "billed": self.usage is not None,
            "cost": None if self.cost is None else f"{self.cost:f}",
            "prompt": self.prompt,
            **({"job_id": self.job_id} if self.job_id else {}),
        }


class BillingLog:
    """The lines so far. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, BillingLine] = {}  # oldest first
        self._numbers = count()

    def add(self, line: BillingLine) -> None:
        """Add a line. A job has one: its newest replaces the one before, and keeps the prompt."""
        with self._lock:
            key = line.job_id or f"#{next(self._numbers)}"
            earlier = self._lines.get(key)
            self._lines[key] = replace(line, prompt=earlier.prompt) if earlier else line
            if len(self._lines) > MAX_LINES:
                del self._lines[next(iter(self._lines))]

    def charged(self, provider: str) -> Decimal:
        """Return what a provider has charged since the sandbox began, in USD, as far as that is known."""
        with self._lock:
            costs = [line.cost for line in self._lines.values() if line.provider == provider]
        return sum((cost for cost in costs if cost is not None), Decimal(0))

    def as_list(self) -> list[dict[str, Any]]:
        with self._lock:
            return [line.as_dict() for line in self._lines.values()]


def shipped_cost(
    category: Category, slug: str, usage: Usage, operation: Operation = Operation.GENERATE
) -> Decimal | None:
    """Return what the vendor charges, in USD: the shipped prices, whatever an operator has changed in the route.

    None where no price is shipped.
    """
    route = shipped_route(category, slug, operation)
    if route is None:
        return None
    list_price = None if route.list_price is None else Decimal(route.list_price)
    cost, _ = cost_of(usage, prices=route.prices, list_price=list_price, price_unit=route.price_unit)
    return cost


def _as_dict(usage: Usage) -> dict[str, Any]:
    units = {"images": usage.images, "seconds": usage.seconds and f"{usage.seconds:f}", "characters": usage.characters}
    if usage.input_tokens is None:
        return {name: value for name, value in units.items() if value}
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        **({"image_tokens": usage.image_tokens} if usage.image_tokens else {}),
        "output_tokens": usage.output_tokens,
    }

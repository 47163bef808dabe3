"""What the sandbox would have charged: one line per call, to be compared with the attempts that we recorded."""

import threading
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Any

from providers.prices import cost_of
from providers.sandbox.answers import Tokens
from providers.types import Category, Usage

LONGEST = 100_000  # lines kept; the oldest go first


@dataclass(frozen=True, slots=True)
class Line:
    """One call."""

    provider: str
    model: str
    tokens: Tokens | None  # None: refused, so nothing was used
    cost: Decimal  # USD

    def as_dict(self) -> dict[str, Any]:
        usage = {}
        if self.tokens:
            usage = {
                "input_tokens": self.tokens.input,
                "cached_input_tokens": self.tokens.cached_input,
                "output_tokens": self.tokens.output + self.tokens.reasoning,
            }
        return {
            "provider": self.provider,
            "model": self.model,
            "usage": usage,
            "billed": self.tokens is not None,
            "cost": f"{self.cost:f}",
        }


class Bill:
    """The lines so far. Handler threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque(maxlen=LONGEST)

    def add(self, line: Line) -> None:
        with self._lock:
            self._lines.append(line)

    def clear(self) -> None:
        with self._lock:
            self._lines.clear()

    def as_list(self) -> list[dict[str, Any]]:
        with self._lock:
            return [line.as_dict() for line in self._lines]


def cost_of_tokens(slug: str, tokens: Tokens) -> Decimal:
    """Return what the vendor charges, in USD: the tariff that we ship for it, whatever the operator's row says."""
    usage = Usage(
        input_tokens=tokens.input,
        cached_input_tokens=tokens.cached_input,
        output_tokens=tokens.output + tokens.reasoning,
    )
    list_price, price_unit, prices = _tariffs()[slug]
    cost, _ = cost_of(usage, prices=prices, list_price=list_price, price_unit=price_unit)
    return cost if cost is not None else Decimal(0)


@cache
def _tariffs() -> dict[str, tuple[Decimal | None, str, dict[str, str]]]:
    rows = import_module("providers.migrations.0002_shipped_rows").ROWS
    return {
        provider: (Decimal(list_price) if list_price else None, price_unit, prices)
        for category, provider, _, _, list_price, price_unit, prices, _ in rows
        if category == Category.TEXT
    }

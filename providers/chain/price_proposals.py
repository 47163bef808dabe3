"""What public lists say that the models of our routes cost, beside what the routes say. Nothing changes by itself.

Two sources, the nearer first: the provider's own list of models, where it holds prices, and genai-prices, which
collects those of the makers and comes with its package, so that no server is asked for it. A reseller of a maker's
model (PiAPI) publishes none; for it the maker's price is proposed, and says so.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from django.db import transaction

from providers.backends.base import Provider
from providers.chain.model_audit import ModelLists
from providers.errors import ProviderError
from providers.models import ProviderConfig
from providers.pricing import ABOVE, COST_QUANTUM, RATES, TIERS, TOKEN_RATES, validate_prices
from providers.types import Category, Operation
from providers.versioning import sign

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

# Our slugs, and those of genai-prices.
LISTED_AS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "openrouter": "openrouter",
    "xai": "x-ai",
    "groq": "groq",
    "mistral": "mistral",
}
MAKERS = ("openai", "anthropic", "x-ai", "google")  # of the models that resellers offer under the maker's name
# Our rates, and those of genai-prices; both are USD for a million tokens.
NAMES = {
    "input_per_million": "input_mtok",
    "cached_input_per_million": "cache_read_mtok",
    "cache_write_per_million": "cache_write_mtok",
    "output_per_million": "output_mtok",
}
MAX_CHANGE = Decimal(3)  # times, up or down; what changes by more is applied only where it is named


@dataclass(frozen=True, slots=True)
class Proposal:
    """Other prices for a route, and where they come from."""

    route: ProviderConfig
    prices: Mapping[str, Any]  # whole, as the route takes them
    source: str

    @property
    def is_drastic(self) -> bool:
        """Some rate changes so far that nobody should take it over unread: it may be a slip of the list."""
        pairs = [
            (Decimal(self.route.prices[name]), Decimal(self.prices[name]))
            for name in TOKEN_RATES
            if name in self.route.prices and name in self.prices
        ]
        # Nor tiers that are others, or a rate that the list does not have: without one a cost may become unknown.
        is_lost = any(name in self.route.prices and name not in self.prices for name in (*TOKEN_RATES, TIERS))
        has_other_tiers = TIERS in self.prices and self.prices[TIERS] != _rates(self.route.prices).get(TIERS)
        is_far = any(new > MAX_CHANGE * old or old > MAX_CHANGE * new for old, new in pairs)
        return is_far or is_lost or (has_other_tiers and bool(pairs))

    def __str__(self) -> str:
        old = {name: value for name, value in self.route.prices.items() if self.prices.get(name) != value}
        new = {name: value for name, value in self.prices.items() if self.route.prices.get(name) != value}
        words = f"{self.route} ({self.route.model}): {_shown(old)} → {_shown(new)}, says {self.source}"
        return f"{words}; that is far from the old one: name the route to apply it" if self.is_drastic else words


def _shown(prices: Mapping[str, Any]) -> str:
    names = [name for name in (*TOKEN_RATES, TIERS) if name in prices]
    return ", ".join(f"{name} {prices[name]}" for name in names) or "no rates"


def proposals_for(routes: Sequence[tuple[ProviderConfig, Provider]], *, now: datetime) -> Iterator[Proposal]:
    """Yield a proposal for each text route whose rates differ from those of the nearest list. Asks the providers."""
    lists = ModelLists()
    for route, provider in routes:
        if route.category != Category.TEXT or route.operation == Operation.TRANSCRIBE:
            continue  # other prices are by image, second or character, and no list tells them
        rates, source = _from_provider(route, provider, lists), f"{route.provider}'s own list"
        if not rates:
            rates, source = _from_makers(route, now)
        if rates and rates != _rates(route.prices):
            kept = {name: rate for name, rate in route.prices.items() if name in RATES and name not in TOKEN_RATES}
            yield Proposal(route, {**kept, **rates, "as_of": str(now.date()), "source": source}, source)


def proposal_apply(proposal: Proposal, *, actor: str) -> bool:
    """Write the proposed prices. Returns False where the route's prices have changed since they were proposed."""
    validate_prices(proposal.prices)
    with transaction.atomic():
        route = ProviderConfig.objects.select_for_update().filter(pk=proposal.route.pk).first()
        if route is None or (route.prices, route.model) != (proposal.route.prices, proposal.route.model):
            return False
        route.prices = dict(proposal.prices)
        sign(route, actor=actor, reason=f"prices of {proposal.source}")
        route.save(update_fields=["prices", "updated_at"])
    return True


def _rates(prices: Mapping[str, Any]) -> dict[str, Any]:
    """Return token rates and tiers with their numbers in one spelling, so that they can be compared."""
    rates: dict[str, Any] = {name: _spelled(prices[name]) for name in TOKEN_RATES if name in prices}
    tiers = [
        {ABOVE: tier[ABOVE], **{name: _spelled(tier[name]) for name in TOKEN_RATES if name in tier}}
        for tier in prices.get(TIERS, ())
    ]
    return {**rates, TIERS: tiers} if tiers else rates


def _spelled(rate: Any) -> str:
    return f"{Decimal(rate).quantize(COST_QUANTUM).normalize():f}"


def _from_provider(route: ProviderConfig, provider: Provider, lists: ModelLists) -> dict[str, Any]:
    call = provider.models_call(route.model)
    try:
        listed = lists.find(provider, call, route.model) if call else None
    except ProviderError:
        return {}  # `prices` without --propose says so
    return _rates(listed.prices) if listed else {}


def _from_makers(route: ProviderConfig, now: datetime) -> tuple[dict[str, Any], str]:
    from genai_prices.data import providers  # takes half a second, which no other command should wait for

    by_id = {provider.id: provider for provider in providers}
    listed_as = LISTED_AS.get(route.provider)
    for provider_id in (listed_as,) if listed_as else MAKERS:
        model = by_id[provider_id].find_model(route.model)
        if model:
            source = "genai-prices" if listed_as else f"genai-prices, of its maker {provider_id}"
            return _rates(_as_ours(model.get_prices(now))), source
    return {}, ""


def _as_ours(price: "ModelPrice") -> dict[str, Any]:
    listed = {ours: getattr(price, theirs) for ours, theirs in NAMES.items() if getattr(price, theirs) is not None}
    tiers: dict[int, dict[str, Any]] = {}
    for name, rate in listed.items():
        for tier in getattr(rate, "tiers", ()):
            tiers.setdefault(tier.start, {ABOVE: tier.start})[name] = str(tier.price)
    rates: dict[str, Any] = {name: str(getattr(rate, "base", rate)) for name, rate in listed.items()}
    # There each rate has tiers of its own; here the highest tier that is reached holds all that differ.
    whole = list(accumulate((tiers[start] for start in sorted(tiers)), operator.or_))
    return {**rates, TIERS: whole} if tiers else rates

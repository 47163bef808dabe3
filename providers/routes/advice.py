"""What an operator should know of a change to a route: what cannot be, and what may do harm."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from providers.chain.candidates import provider_for
from providers.chain.model_audit import ModelLists, findings_on_model, findings_on_price
from providers.db import give_back_connection
from providers.errors import ProviderError
from providers.models import ProviderConfig
from providers.pricing import rates_of_unit
from providers.registry import is_implemented, label_of, provider_class
from providers.statistics.selectors import shown_usd
from providers.types import Category, Feature, Operation

MODEL_SECONDS = 3.0  # for a provider's list of models, while an operator waits for the page
LISTS_AGE_SECONDS = 600.0  # for which a process keeps what it has read, failures too

CATEGORIES_OF = {
    Operation.GENERATE: tuple(Category),
    Operation.EDIT: (Category.IMAGE, Category.VIDEO),
    Operation.TRANSCRIBE: (Category.TEXT,),  # which the answer is
}

_lists: tuple[float, ModelLists] | None = None  # when it was begun, on this machine's monotonic clock


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a route could never be asked."""

    field: str  # which is to be changed
    words: str


def unservable(category: Category, provider: str, operation: Operation, *, web_search: bool) -> Problem | None:
    """Return why nothing here could serve such a route, None where its provider can."""
    categories = CATEGORIES_OF[operation]
    if category not in categories:
        return Problem("operation", f"{operation} needs the category {' or '.join(categories)}.")
    if not is_implemented(category, provider, operation):
        return Problem("provider", f"{label_of(provider)} cannot {operation} {category} here.")
    features = provider_class(category, provider, operation).features
    if operation == Operation.EDIT and Feature.IMAGE_INPUT not in features:
        return Problem("operation", f"{label_of(provider)} takes no image for {category} here.")
    if web_search and Feature.WEB_SEARCH not in features:
        return Problem("web_search", f"{label_of(provider)} has no web search here.")
    return None


def warnings_of_route(route: ProviderConfig, *, was_enabled: bool, today: date) -> list[str]:
    """Return what follows from a route as it was just saved, from the database alone."""
    return [*_on_last_route(route, was_enabled=was_enabled), *_on_price(route, today)]


def warnings_of_list_price(route: ProviderConfig) -> list[str]:
    """Return that the list price is none that the rates could come to."""
    rates = rates_of_unit(route.prices, route.price_unit)
    if route.list_price is None or rates is None or rates[0] <= route.list_price <= rates[1]:
        return []
    unit = ProviderConfig.PriceUnit(route.price_unit).label
    least, most = map(shown_usd, rates)
    by_rates = least if least == most else f"{least} to {most}"
    return [
        f"{route}: the list price of {shown_usd(route.list_price)} / {unit} contradicts the rates, by which it is "
        f"{by_rates}. Costs are computed from the rates; correct the one that is wrong."
    ]


def warnings_of_model(route: ProviderConfig) -> list[str]:
    """Return whether the provider no longer lists the route's model, or will shut it down.

    Asks the provider, for at most MODEL_SECONDS: call it outside of transactions. Where its list cannot be read nothing
    is known, and nothing is said; `manage.py prices` says so.
    """
    provider = provider_for(route)
    if provider is None:
        return []
    give_back_connection()
    try:
        return [str(each) for each in findings_on_model(route, provider, _fresh_lists()) if each.is_urgent]
    except ProviderError:
        return []


def _fresh_lists() -> ModelLists:
    global _lists
    now = time.monotonic()
    if _lists is None or now - _lists[0] > LISTS_AGE_SECONDS:
        _lists = (now, ModelLists(seconds=MODEL_SECONDS))
    return _lists[1]


def _on_last_route(route: ProviderConfig, *, was_enabled: bool) -> Iterator[str]:
    if not was_enabled or route.enabled or not provider_for(route):
        return
    operation = Operation(route.operation)
    others = ProviderConfig.objects.in_service().filter(category=route.category).exclude(pk=route.pk)
    if not any(other.does(operation) and provider_for(other) for other in others):
        kind = route.category if operation == Operation.GENERATE else f"{route.category}, {operation}"
        yield (
            f"{route} was the last enabled route with a key for {kind}: users get no answer there until another one "
            "is on. Versions → Return to this takes it back."
        )


def _on_price(route: ProviderConfig, today: date) -> Iterator[str]:
    if route.enabled:
        yield from (str(each) for each in findings_on_price(route, today) if each.is_urgent)

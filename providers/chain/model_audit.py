"""Auditing the routes against what the providers offer today: retired models, and prices that have aged.

Asking for a list is free and changes nothing. Nothing is written here: what follows is the operator's decision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from providers.backends.base import Provider
from providers.chain.candidates import provider_for
from providers.errors import ModelGone, OutcomeUnknown, ProviderError
from providers.models import ProviderConfig
from providers.pricing import RATES
from providers.registry import label_of
from providers.shipped import SHIPPED_ROUTES
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import date_at, decode_any
from providers.transport.redaction import Redactor
from providers.types import Call, Category, ListedModel, Prompt

PRICE_AGE = timedelta(days=90)  # after which a price may be wrong
LIST_SECONDS = 30.0  # for one list of models


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the operator should know."""

    about: str
    words: str
    is_urgent: bool = True  # False: nothing to do, only to know

    def __str__(self) -> str:
        return f"{self.about}: {self.words}"


class ModelLists:
    """The providers' lists of models; each list is fetched once, within `seconds` (by default LIST_SECONDS)."""

    def __init__(self, *, seconds: float | None = None) -> None:
        self._seconds = LIST_SECONDS if seconds is None else seconds
        self._answers: dict[tuple[str, str], list[ListedModel] | ProviderError] = {}

    def find(self, provider: Provider, call: Call, model: str) -> ListedModel | None:
        """Return the model as its provider lists it, None where it is gone. Raises a ProviderError."""
        is_about_one = "{model}" in provider.models_path
        asked = (provider.slug, call.path)
        if asked not in self._answers:
            self._answers[asked] = _ask(provider, call, self._seconds)
        answer = self._answers[asked]
        if isinstance(answer, ModelGone) and is_about_one:
            return None
        if isinstance(answer, ProviderError):
            raise answer
        return next((listed for listed in answer if is_about_one or listed.id == model), None)


def _ask(provider: Provider, call: Call, seconds: float) -> list[ListedModel] | ProviderError:
    redactor = Redactor(provider.access.key, Prompt(Category.TEXT, ""))
    deadline = Deadline.after(seconds)
    try:
        with provider.exchange(call, redactor, timeout_seconds=seconds, deadline=deadline) as answer:
            try:
                listed = provider.parse_models(decode_any(answer.body().decode("utf-8-sig", "replace")))
            except ValueError as error:
                raise OutcomeUnknown("the list of models is not JSON") from error
            if not listed:
                raise OutcomeUnknown("the list of models holds none")
            return listed
    except ProviderError as error:
        return error


def routes_to_audit() -> list[tuple[ProviderConfig, Provider]]:
    """Return the enabled routes that are ready, with their providers."""
    routes = ProviderConfig.objects.filter(enabled=True)
    return [(route, provider) for route in routes if (provider := provider_for(route))]


def audit_routes(routes: Sequence[tuple[ProviderConfig, Provider]], *, today: date) -> Iterator[Finding]:
    """Yield what the operator should know about these routes, as soon as it is known."""
    lists = ModelLists()
    silent: set[str] = set()  # providers that were reported already as not reachable
    for route, provider in routes:
        try:
            yield from findings_on_model(route, provider, lists)
        except ProviderError as error:
            if route.provider not in silent:
                yield Finding(label_of(route.provider), f"could not be asked for its models: {_reason(error)}")
            silent.add(route.provider)
        yield from findings_on_price(route, today)


def findings_on_model(route: ProviderConfig, provider: Provider, lists: ModelLists) -> Iterator[Finding]:
    """Yield what the provider's list says of the route's model. Raises a ProviderError where it cannot be read."""
    call = provider.models_call(route.model)
    if call is None:
        yield Finding(_name_of(route), "the provider documents no list of models; look at its site", is_urgent=False)
        return
    listed = lists.find(provider, call, route.model)
    if listed is None:
        yield Finding(_name_of(route), "the provider no longer has this model")
    elif listed.ends_on:
        yield Finding(_name_of(route), f"the model shuts down on {listed.ends_on}")


def findings_on_price(route: ProviderConfig, today: date) -> Iterator[Finding]:
    """Yield what is wrong with the route's price: missing, without a date, or old."""
    as_of = date_at(route.prices, "as_of")
    if route.list_price is None and not any(rate in route.prices for rate in RATES):
        yield Finding(_name_of(route), "there is no price; costs stay unknown unless the provider reports them")
    elif as_of is None and _is_price_as_shipped(route):
        yield Finding(_name_of(route), "the price is as shipped, which has no date; compare it", is_urgent=False)
    elif as_of is None:
        yield Finding(_name_of(route), 'the price has no date; fill in "As of" below its prices')
    elif today - as_of > PRICE_AGE:
        yield Finding(_name_of(route), f"the price is of {as_of}, more than {PRICE_AGE.days} days ago")


def _is_price_as_shipped(route: ProviderConfig) -> bool:
    fields = ("category", "provider", "model", "list_price", "price_unit", "prices")
    price = {name: getattr(route, name) for name in fields}
    return any(price.items() <= shipped.as_fields().items() for shipped in SHIPPED_ROUTES)


def _reason(error: ProviderError) -> str:
    """Return the facts alone: an error's own summary is about prompts and bills."""
    facts = [f"HTTP {error.status}" if error.status else "", error.excerpt]
    return ", ".join(fact for fact in facts if fact) or error.error_class


def _name_of(route: ProviderConfig) -> str:
    return f"{route} ({route.model})"

"""What the answers of an AI model cost the operator, beside the price of the credits that they bring."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.conf import settings

from providers.access import backend_for
from providers.backends.media_generation import MediaProvider
from providers.chain.spending import compute_seconds_at_most
from providers.models import ProviderConfig
from providers.pricing import ABOVE, TIERS, cost_at_most
from providers.size_estimates import TOKENS_OF_A_SEARCH, TOKENS_OF_AN_IMAGE, TOKENS_PER_CHARACTER, tokens_at_most
from providers.types import MAX_SEARCHES, Access, Attachment, Category, Operation, Overrides, Prompt, Usage
from requests_app.credit_rates import Size
from requests_app.models import AIModel
from requests_app.options import output_options_of
from requests_app.selectors import MAX_HISTORY_CHARACTERS

USUAL = Size(input_tokens=500, output_tokens=400, characters=300)
HEARD = Size(heard_seconds=3_600)
IMAGE = Attachment("image/png", b"")
NO_ACCESS = Access("", "")


@dataclass(frozen=True, slots=True)
class Case:
    """An answer of one size, given by one route."""

    route: str
    credits: Decimal  # before they are rounded up: an answer a little longer costs more, and brings no more
    cost: Decimal  # USD

    @property
    def income(self) -> Decimal:
        """The price of its credits in USD."""
        return self.credits * settings.CREDIT_PRICE_USD

    @property
    def margin(self) -> Decimal:
        """The share of the income that remains; below 0 the answer costs more than it brings."""
        return 1 - self.cost / self.income if self.income else -self.cost

    def __str__(self) -> str:
        number = f"{self.credits:.2f}".rstrip("0").rstrip(".")
        left = f", {self.margin:.0%} left" if self.income else ""
        return f"${self.cost:.4f} for {number} credit{'s' * (number != '1')} (${self.income:.2f}) on {self.route}{left}"


@dataclass(frozen=True, slots=True)
class Margin:
    """What an AI model brings and costs, on the routes that serve it."""

    model: AIModel
    usual: Case | None  # an answer of usual size, on the dearest route; None: no route has a price
    worst: Case | None  # the answer of any size that leaves the least
    unpriced: Sequence[str]  # routes of which nobody knows what a call costs

    @property
    def is_loss(self) -> bool:
        """Some answer costs more than its credits bring."""
        return bool(settings.CREDIT_PRICE_USD) and self.worst is not None and self.worst.margin < 0


def margin_of(model: AIModel, routes: Iterable[ProviderConfig]) -> Margin:
    """Return what the answers of an AI model cost on those of these routes that serve it.

    Routes that turn speech into text serve each model of texts; what they cost counts among the worst cases.
    """
    usual, worst, unpriced = [], [], []
    for route in routes:
        if route.category != model.category:
            continue
        if route.operation == Operation.TRANSCRIBE:
            cases = [_case(route, model, HEARD)]
        elif route.serves(model.tag):
            usual_case = _case(route, model, USUAL) or _case(route, model, USUAL, is_worst=True)
            usual += [usual_case] if usual_case else []
            cases = [usual_case, *(_case(route, model, size, is_worst=True) for size in _extreme_sizes(model, route))]
        else:
            continue
        priced = [case for case in cases if case]
        worst += priced
        unpriced += [] if priced else [route.name]
    return Margin(
        model,
        max(usual, key=lambda case: case.cost, default=None),
        min(worst, key=lambda case: case.margin, default=None),
        unpriced,
    )


def _extreme_sizes(model: AIModel, route: ProviderConfig) -> list[Size]:
    """Return the corners of what can be asked: costs and credits grow evenly between them, but where a tier begins."""
    characters = min(
        settings.MAX_PROMPT_CHARACTERS, route.capabilities.get("max_prompt_characters", settings.MAX_PROMPT_CHARACTERS)
    )
    limit = model.terms.output_limit
    longest = route.max_output_tokens or limit
    most = (characters + MAX_HISTORY_CHARACTERS) * TOKENS_PER_CHARACTER + TOKENS_OF_AN_IMAGE
    system = tokens_at_most(settings.SYSTEM_PROMPT)
    tiers = [tier[ABOVE] + 1 for tier in route.prices.get(TIERS, ())]
    images = int(route.category in (Category.IMAGE, Category.VIDEO) and route.does(Operation.EDIT))
    return [
        Size(input_tokens=input_tokens, output_tokens=output_tokens, characters=spoken, input_images=images)
        for input_tokens in (system, *(tier for tier in tiers if system < tier < system + most), system + most)
        for output_tokens in (1, min(longest, limit) if model.rates else longest)
        for spoken in (1, characters)
    ]


def _case(route: ProviderConfig, model: AIModel, size: Size, *, is_worst: bool = False) -> Case | None:
    """Return what an answer of this size costs and brings, None where nobody knows."""
    backend = backend_for(Category(route.category), route.provider, Operation(route.operation))
    if backend is None:
        return None
    provider = backend(NO_ACCESS)
    if isinstance(provider, MediaProvider):
        prompt = Prompt(
            Category(model.category),
            "x" * size.characters,
            model=route.model,
            attachments=(IMAGE,) * size.input_images,
            output_options=output_options_of(model.options),
            overrides=Overrides(route.extra_body),
        )
        size = replace(size, seconds=provider.seconds_of(prompt))
        usage = provider.used_at_most(prompt)
        if is_worst:
            usage = replace(usage, compute_seconds=compute_seconds_at_most(prompt.category))
    elif size.heard_seconds:
        usage = Usage(seconds=Decimal(size.heard_seconds))
    else:
        output_tokens = size.output_tokens + (provider.unlimited_tokens if is_worst else 0)
        searches = MAX_SEARCHES if route.web_search and is_worst else 0
        size = replace(size, input_tokens=size.input_tokens + searches * TOKENS_OF_A_SEARCH, searches=searches)
        usage = Usage(input_tokens=size.input_tokens, output_tokens=output_tokens, searches=searches)
        # What is used is charged, up to what was agreed.
        size = replace(size, output_tokens=min(output_tokens, max(size.output_tokens, model.terms.output_limit)))
    cost = cost_at_most(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)
    return None if cost is None else Case(route.name, model.terms.before_rounding(size), cost)

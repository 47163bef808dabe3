"""What the answers of an AI model cost the operator, beside the price of the credits that they bring."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.conf import settings

from providers.chain.spending import compute_seconds_at_most
from providers.models import ProviderConfig
from providers.pricing import cost_at_most
from providers.size_estimates import TOKENS_OF_AN_IMAGE, TOKENS_PER_CHARACTER
from providers.types import Category, Usage
from requests_app.credit_rates import Size
from requests_app.models import AIModel
from requests_app.options import seconds_of
from requests_app.selectors import MAX_HISTORY_CHARACTERS

USUAL = Size(input_tokens=500, output_tokens=400, characters=300)


@dataclass(frozen=True, slots=True)
class Case:
    """An answer of one size, given by one route."""

    route: str
    credits: int
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
        unit = "credit" if self.credits == 1 else "credits"
        left = f", {self.margin:.0%} left" if self.income else ""
        return f"${self.cost:.4f} for {self.credits} {unit} (${self.income:.2f}) on {self.route}{left}"


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
    """Return what the answers of an AI model cost on those of these routes that serve it."""
    usual, worst, unpriced = [], [], []
    for route in routes:
        if route.category != model.category or not route.serves(model.tag):
            continue
        cases = [case for size in _extreme_sizes(model, route) if (case := _case(route, model, size, is_worst=True))]
        usual_case = _case(route, model, _usual_size(model)) or next(iter(cases), None)
        if usual_case is None:
            unpriced.append(route.name)
            continue
        usual.append(usual_case)
        worst += [usual_case, *cases]
    return Margin(
        model,
        max(usual, key=lambda case: case.cost, default=None),
        min(worst, key=lambda case: case.margin, default=None),
        unpriced,
    )


def _usual_size(model: AIModel) -> Size:
    return replace(USUAL, seconds=seconds_of(model.options))


def _extreme_sizes(model: AIModel, route: ProviderConfig) -> list[Size]:
    """Return the corners of what can be asked: costs and credits grow evenly between them."""
    largest = _largest_size(model, route)
    return [
        replace(largest, input_tokens=input_tokens, output_tokens=output_tokens, characters=characters)
        for input_tokens in (largest.input_tokens, 1)
        for output_tokens in (largest.output_tokens, 1)
        for characters in (largest.characters, 1)
    ]


def _largest_size(model: AIModel, route: ProviderConfig) -> Size:
    characters = min(
        settings.MAX_PROMPT_CHARACTERS, route.capabilities.get("max_prompt_characters", settings.MAX_PROMPT_CHARACTERS)
    )
    limit = model.terms.output_limit
    longest = route.max_output_tokens or limit
    return replace(
        _usual_size(model),
        input_tokens=(characters + MAX_HISTORY_CHARACTERS) * TOKENS_PER_CHARACTER + TOKENS_OF_AN_IMAGE,
        output_tokens=min(longest, limit) if model.rates else longest,
        characters=characters,
    )


def _case(route: ProviderConfig, model: AIModel, size: Size, *, is_worst: bool = False) -> Case | None:
    category = Category(model.category)
    usage = {
        Category.TEXT: Usage(input_tokens=size.input_tokens, output_tokens=size.output_tokens),
        Category.IMAGE: Usage(images=1),
        Category.VIDEO: Usage(seconds=Decimal(size.seconds)),
    }.get(category, Usage(characters=size.characters))
    if is_worst and category != Category.TEXT:
        usage = replace(usage, compute_seconds=compute_seconds_at_most(category))
    cost = cost_at_most(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)
    return None if cost is None else Case(route.name, model.terms.credits_for(size), cost)

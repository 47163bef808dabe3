"""What the answers of an AI model cost the operator, beside the price of the credits that they bring."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models.functions import Now

from providers.access import backend_for, current_purpose
from providers.backends.base import TextProvider
from providers.backends.media_generation import MediaProvider
from providers.capabilities import unsupported_reason
from providers.chain.spending import compute_seconds_at_most
from providers.errors import Unsupported
from providers.models import Attempt, ProviderConfig
from providers.pricing import ABOVE, TIERS, cost_at_most
from providers.size_estimates import TOKENS_OF_A_SEARCH, TOKENS_OF_AN_IMAGE, TOKENS_PER_CHARACTER, tokens_at_most
from providers.types import MAX_SEARCHES, Access, Attachment, Category, Operation, Overrides, Prompt, Usage
from requests_app.credit_rates import Size
from requests_app.models import AIModel, LedgerEntry, Request
from requests_app.options import output_options_of
from requests_app.selectors import MAX_HISTORY_CHARACTERS

USUAL = Size(input_tokens=500, output_tokens=400, characters=300)
HEARD = Size(heard_seconds=3_600)
SEARCHED = ((MAX_SEARCHES, 0), (MAX_SEARCHES, MAX_SEARCHES * TOKENS_OF_A_SEARCH))  # and found nothing, or much
IMAGE = Attachment("image/png", b"")
NO_ACCESS = Access("", "")
MAX_MEASURED = 1_000  # requests


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


@dataclass(frozen=True, slots=True)
class MeasuredMargin:
    """What the newest requests for an AI model have cost and brought, whatever became of them."""

    model: AIModel
    requests: int  # that have ended
    cost: Decimal  # USD of all their attempts, as far as it is known
    credits: int  # that their users paid, without what was given back

    @property
    def income(self) -> Decimal:
        """The price of these credits in USD."""
        return self.credits * settings.CREDIT_PRICE_USD


def measured_margins(*, hours: int) -> list[MeasuredMargin]:
    """Return what the newest requests of the last hours have cost and brought, by AI model.

    MAX_MEASURED of them, so that it takes as long with ten million of them as with a thousand.
    """
    newest = Request.objects.filter(created_at__gte=Now() - timedelta(hours=hours)).order_by("-created_at")
    rows = newest.values_list("id", "model_id", "completed_at")[:MAX_MEASURED]
    model_of = {request_id: model_id for request_id, model_id, completed_at in rows if completed_at is not None}
    ids = list(model_of)
    requests = Counter(model_of.values())
    costs: dict[int, Decimal] = defaultdict(Decimal)
    attempts = Attempt.objects.filter(caller_key__in=ids, cost__isnull=False, purpose=current_purpose())
    for request_id, cost in attempts.order_by().values_list("caller_key", "cost"):
        costs[model_of[request_id]] += cost or 0  # none of them is unknown
    paid = Counter[int]()
    entries = LedgerEntry.objects.filter(request_id__in=ids).order_by()
    for request_id, amount in entries.values_list("request_id", "amount"):
        paid[model_of[request_id]] -= amount
    models = AIModel.objects.in_bulk(list(requests))
    return [MeasuredMargin(models[key], number, costs[key], paid[key]) for key, number in requests.items()]


def margin_of(model: AIModel, routes: Iterable[ProviderConfig]) -> Margin:
    """Return what the answers of an AI model cost on those of these routes that serve it.

    Routes that turn speech into text serve each model of texts; what they cost counts among the worst cases.
    """
    usual, worst, unpriced = [], [], []
    for route in routes:
        backend = backend_for(Category(route.category), route.provider, Operation(route.operation))
        if backend is None or route.category != model.category:
            continue
        call = _Call(route, backend(NO_ACCESS), model)
        if route.operation == Operation.TRANSCRIBE:
            sizes = [HEARD]
        elif route.serves(model.tag):
            sizes = [size for size in _extreme_sizes(model, route) if call.can_be_made(size)]
        else:
            continue
        cases = [call.case(size) for size in sizes]
        if route.operation == Operation.GENERATE and call.can_be_made(USUAL):
            usual_case = call.case(USUAL, is_usual=True) or call.case(USUAL)
            usual += [usual_case] if usual_case else []
        worst += [case for case in cases if case]
        unpriced += [] if all(cases) else [route.name]
    return Margin(
        model,
        max(usual, key=lambda case: case.cost, default=None),
        min([*usual, *worst], key=lambda case: case.margin, default=None),
        unpriced,
    )


def _extreme_sizes(model: AIModel, route: ProviderConfig) -> list[Size]:
    """Return the corners of what can be asked: costs and credits grow evenly between them, but where a tier begins."""
    characters = min(
        settings.MAX_PROMPT_CHARACTERS, route.capabilities.get("max_prompt_characters", settings.MAX_PROMPT_CHARACTERS)
    )
    if model.category != Category.TEXT:
        images = (0, 1) if route.operation == Operation.GENERATE else (1,)
        return [Size(characters=spoken, input_images=number) for spoken in (1, characters) for number in images]
    least = tokens_at_most(settings.SYSTEM_PROMPT)
    most = least + (characters + MAX_HISTORY_CHARACTERS) * TOKENS_PER_CHARACTER + TOKENS_OF_AN_IMAGE
    tiers = [tier[ABOVE] + 1 for tier in route.prices.get(TIERS, ()) if least < tier[ABOVE] < most]
    limit = model.terms.output_limit
    longest = route.max_output_tokens or limit
    return [
        Size(input_tokens=input_tokens + found, output_tokens=output_tokens, searches=searches)
        for input_tokens in (least, *tiers, most)
        for output_tokens in (1, min(longest, limit) if model.rates else longest)
        for searches, found in ((0, 0), *(SEARCHED if route.web_search else ()))
    ]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call on a route for an AI model, of any size."""

    route: ProviderConfig
    provider: TextProvider | MediaProvider
    model: AIModel

    def can_be_made(self, size: Size) -> bool:
        """Return whether the route would be asked for this."""
        if not isinstance(self.provider, MediaProvider):
            return True
        prompt = self._prompt(size)
        try:
            self.provider.check(prompt)
        except Unsupported:
            return False
        return self.route.does(prompt.operation) and not unsupported_reason(self.route.capabilities, prompt)

    def case(self, size: Size, *, is_usual: bool = False) -> Case | None:
        """Return what an answer of this size costs at most and brings, None where nobody knows."""
        if isinstance(self.provider, MediaProvider):
            prompt = self._prompt(size)
            size = replace(size, seconds=self.provider.seconds_of(prompt))
            usage = self.provider.used_at_most(prompt)
            if not is_usual:
                usage = replace(usage, compute_seconds=compute_seconds_at_most(prompt.category))
        elif size.heard_seconds:
            usage = Usage(seconds=Decimal(size.heard_seconds))
        else:
            output_tokens = size.output_tokens + (0 if is_usual else self.provider.unlimited_tokens)
            usage = Usage(input_tokens=size.input_tokens, output_tokens=output_tokens, searches=size.searches)
            # What is used is charged, up to what was agreed.
            agreed = max(size.output_tokens, self.model.terms.output_limit)
            size = replace(size, output_tokens=min(output_tokens, agreed))
        route = self.route
        cost = cost_at_most(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)
        return None if cost is None else Case(route.name, self.model.terms.before_rounding(size), cost)

    def _prompt(self, size: Size) -> Prompt:
        return Prompt(
            Category(self.model.category),
            "x" * size.characters,
            model=self.route.model,
            operation=Operation.EDIT if size.input_images else Operation.GENERATE,
            attachments=(IMAGE,) * size.input_images,
            output_options=output_options_of(self.model.options),
            overrides=Overrides(self.route.extra_body),
        )

"""Questions about providers that change nothing: statistics, cost comparison, recommendation."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from providers.access import is_ready
from providers.models import ProviderConfig
from providers.statistics.sums import AttemptSums, Narrowed, attempt_sums, figures_of
from providers.types import Category, Operation

RECOMMENDED_ABOVE = 80  # per cent of successes
# What an answer usually takes of the unit of a list price, so that an expectation compares with what was measured: a
# film of five seconds, a spoken message of 300 characters; else one.
USUAL_SIZES = {
    ProviderConfig.PriceUnit.SECOND.value: Decimal(5),
    ProviderConfig.PriceUnit.THOUSAND_CHARACTERS.value: Decimal("0.3"),
}
CATEGORY_ORDER = {category.value: position for position, category in enumerate(Category)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStats(AttemptSums):
    """What one route did. Money is in USD; a figure that nobody knows is None, never 0."""

    category: str
    provider: str
    route: str  # its name
    priority: int | None  # None: the operator has removed its row, but it was used
    enabled: bool
    list_price: Decimal | None
    price_unit: str  # what the list price buys, in words
    usual_size: Decimal  # how much of that an answer usually takes
    since: datetime | None  # the first hour that is counted; None counts everything

    @property
    def expected(self) -> bool:
        """Nothing was measured: the average cost is the list price of an answer of the usual size."""
        return not self.requests

    @property
    def avg_cost(self) -> Decimal | None:
        """What an answer costs: failures that were billed make the answers dearer."""
        if self.expected:
            return None if self.list_price is None else round(self.list_price * self.usual_size, 10)
        return self.measured_cost

    @property
    def avg_time(self) -> int | None:
        """Milliseconds of a success."""
        return round(self.success_ms / self.successes) if self.successes else None

    @property
    def is_reliable(self) -> bool:
        # Whole numbers: a rate of 80.001 % is above the line, though it is shown as 80.00.
        return self.successes * 100 > (self.requests - self.refusals) * RECOMMENDED_ABOVE


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The provider that the figures speak for, and why."""

    category: str
    recommended: str | None  # its slug; None: nobody qualifies
    route: str | None  # the route that is meant
    explanation: str
    since: datetime | None


def provider_stats(category: Category | None = None, since: datetime | None = None) -> list[ProviderStats]:
    """Return the statistics of each route in the operator's order, used or not.

    They are those of the sandbox while it answers, and of real calls otherwise. `since` is taken back to its full hour.
    Routes that were used but have no row any more come last in their category, so that the sums stay whole.
    """
    since = since and since.replace(minute=0, second=0, microsecond=0)
    configs = ProviderConfig.objects.filter(category=category.value) if category else ProviderConfig.objects.all()
    only = Narrowed(since=since, category=category.value if category else "")
    sums = {key: figures_of(row) for key, row in attempt_sums("category", "provider", "route_name", only=only).items()}
    stats = [
        ProviderStats(
            category=config.category,
            provider=config.provider,
            route=config.name,
            priority=config.priority,
            enabled=config.enabled,
            list_price=config.list_price,
            price_unit=config.get_price_unit_display(),
            usual_size=USUAL_SIZES.get(config.price_unit, Decimal(1)),
            since=since,
            **{**sums.pop((config.category, config.provider, config.name), {}), "operation": config.operation},
        )
        for config in configs
    ]
    stats += [
        ProviderStats(
            category=removed_category,
            provider=provider,
            route=route,
            priority=None,
            enabled=False,
            list_price=None,
            price_unit="",
            usual_size=Decimal(1),
            since=since,
            **figures,
        )
        for (removed_category, provider, route), figures in sums.items()
    ]
    return sorted(stats, key=_operators_order)


def cost_comparison(category: Category, since: datetime | None = None) -> list[ProviderStats]:
    """Return the statistics of a category's routes, the cheapest answer first, unknown costs last; no transcripts."""
    answering = [stats for stats in provider_stats(category, since) if stats.operation != Operation.TRANSCRIBE]
    return sorted(answering, key=_cheapest_first)


def recommended(category: Category, since: datetime | None = None) -> Recommendation:
    """Return the cheapest enabled provider with a success rate over 80 %.

    Where no enabled provider has been used, it is the cheapest by list price among those that could be.
    """
    enabled = [stats for stats in cost_comparison(category, since) if stats.enabled]
    used = [stats for stats in enabled if not stats.expected]
    choice, explanation = _of_used(used) if used else _of_unused(enabled, since)
    return Recommendation(
        category.value,
        choice.provider if choice else None,
        choice.route if choice else None,
        explanation,
        enabled[0].since if enabled else since,
    )


def _of_used(used: list[ProviderStats]) -> tuple[ProviderStats | None, str]:
    reliable = [stats for stats in used if stats.is_reliable]
    if not reliable:
        return None, f"None of the {len(used)} used providers has a success rate over {RECOMMENDED_ABOVE} %."
    best = reliable[0]
    cost = "an unknown amount" if best.avg_cost is None else f"{shown_usd(best.avg_cost)} an answer"
    return best, (
        f"It costs {cost} and succeeds in {best.success_rate} % of {best.requests} attempts: the cheapest of "
        f"{len(reliable)} with a success rate over {RECOMMENDED_ABOVE} %."
    )


def _of_unused(enabled: list[ProviderStats], since: datetime | None) -> tuple[ProviderStats | None, str]:
    ready = [stats for stats in enabled if is_ready(Category(stats.category), stats.provider)]
    if not ready:
        return None, "No enabled provider has a key and is supported here."
    best = ready[0]
    when = f"since {since:%Y-%m-%d}" if since else "yet"
    price = "it has no list price" if best.list_price is None else f"{shown_usd(best.list_price)} per {best.price_unit}"
    return best, f"No enabled provider was used {when}: this is the cheapest by list price ({price})."


def shown_usd(amount: Decimal | None) -> str:
    """Return an amount as people read it, without the zeros at its end; None is unknown."""
    return "unknown" if amount is None else f"${amount.normalize():f}"


def _operators_order(stats: ProviderStats) -> tuple[int, bool, bool, int, str, str]:
    priority, is_transcript = stats.priority, stats.operation == Operation.TRANSCRIBE
    return (
        CATEGORY_ORDER[stats.category], is_transcript, priority is None, priority or 0, stats.provider, stats.route
    )  # fmt: skip


def _cheapest_first(stats: ProviderStats) -> tuple[bool, Decimal, tuple[int, bool, bool, int, str, str]]:
    cost = stats.avg_cost
    return cost is None, cost or Decimal(0), _operators_order(stats)

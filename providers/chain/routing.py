"""In which order the routes of a category are asked: the operator's, the cheapest first or the fastest first.

The figures are measured, not promised: those of the last day, from the statistics, and for the first words of texts
those of the newest calls, of which the fresher count more. A route without figures keeps its place behind those that
have them, and comes first now and then, else it would never get any.
"""

import math
import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db.models.functions import Now
from django.utils import timezone

from providers.access import current_purpose
from providers.models import Attempt, ProviderConfig, RoutingRule
from providers.statistics.selectors import ProviderStats, cost_comparison
from providers.types import Category, Purpose

Rule = RoutingRule.Rule

FIGURES_SECONDS = 30.0  # for which a process keeps what it has read
WINDOW = timedelta(days=1)
NEWEST_CALLS = 2_000  # looked at for the first words, whatever their category
HALF_LIFE_SECONDS = 600.0  # after which a call counts half
FRESH_SECONDS = 1800.0  # for which a route's last call says how fast it is
FEWEST_ANSWERS = 5  # fewer prove nothing
EXPLORED = 0.05  # of the requests begin with a route without figures, where there is one


@dataclass(frozen=True, slots=True)
class Figure:
    """What a route is ordered by. The smaller comes first."""

    value: Decimal
    words: str


@dataclass(frozen=True, slots=True)
class Routing:
    """A category's rule, and the figures of its routes by their names, as read at one moment."""

    rule: Rule
    figures: Mapping[str, Figure]
    unreliable: Collection[str]  # routes that fail too often to be tried for their figures
    read_at: float  # on this machine's monotonic clock

    def ordered(self, routes: Sequence[ProviderConfig]) -> list[ProviderConfig]:
        """Return the routes, given in the operator's order, in the order of the rule."""
        if self.rule == Rule.ORDER:
            return list(routes)
        measured = sorted((route for route in routes if route.name in self.figures), key=self._value)
        others = [route for route in routes if route.name not in self.figures]
        unknown = [route for route in others if route.name not in self.unreliable]
        if unknown and random.random() < EXPLORED:  # noqa: S311 — a sample, not a secret
            first = random.choice(unknown)  # noqa: S311
            return [first, *measured, *(route for route in others if route is not first)]
        return measured + others

    def reason_behind(self, route: ProviderConfig, first: ProviderConfig) -> str:
        """Return why a route that the operator has put before another is asked after it."""
        if first.name not in self.figures:
            return f"{self.rule.label}: {first.name} is not measured yet, so it comes first now and then"
        return f"{self.rule.label}: {self._words_of(first)} before {self._words_of(route)}"

    def _words_of(self, route: ProviderConfig) -> str:
        figure = self.figures.get(route.name)
        return f"{route.name} ({figure.words if figure else 'not measured'})"

    def _value(self, route: ProviderConfig) -> Decimal:
        return self.figures[route.name].value


_routings: dict[str, Routing] = {}  # by category; replaced whole, so that threads may share it


def read_routing(category: str, rule: Rule) -> Routing:
    """Return the figures for this rule, at most FIGURES_SECONDS old."""
    if current_purpose() == Purpose.SANDBOX:
        rule = Rule.ORDER  # what the sandbox answers is not in the sums
    known = _routings.get(category)
    now = time.monotonic()
    if known is None or known.rule != rule or now - known.read_at >= FIGURES_SECONDS:
        figures, unreliable = _figures(category, rule)
        known = _routings[category] = Routing(rule, figures, unreliable, read_at=now)
    return known


def rule_of(category: str) -> Rule:
    """Return the operator's rule for a category."""
    return Rule(RoutingRule.objects.filter(category=category).values_list("rule", flat=True).first() or Rule.ORDER)


def _figures(category: str, rule: Rule) -> tuple[dict[str, Figure], set[str]]:
    """Return the figures of the routes that are reliable and have some, and the names of those that are not."""
    if rule == Rule.ORDER:
        return {}, set()
    stats = cost_comparison(Category(category), since=timezone.now() - WINDOW)
    reliable = {each.route: each for each in stats if each.successes >= FEWEST_ANSWERS and each.is_reliable}
    unreliable = {each.route for each in stats if each.requests >= FEWEST_ANSWERS and not each.is_reliable}
    if rule == Rule.CHEAPEST:
        return _costs(reliable.values()), unreliable
    if category == Category.TEXT:
        return _first_words(category, reliable), unreliable
    times = {name: each.avg_time for name, each in reliable.items()}
    figures = {
        name: Figure(Decimal(ms), f"{ms / 1000:.1f} s an answer") for name, ms in times.items() if ms is not None
    }
    return figures, unreliable


def _costs(reliable: Iterable[ProviderStats]) -> dict[str, Figure]:
    """Return what an answer costs at most on each route: what nobody knows of a cost counts as it was reserved."""
    figures = {}
    for each in reliable:
        if each.priced_successes >= FEWEST_ANSWERS:
            cost = (each.total_cost + each.reserved_cost) / each.successes
            figures[each.route] = Figure(cost, f"${cost:.6f} an answer")
    return figures


def _first_words(category: str, reliable: Iterable[str]) -> dict[str, Figure]:
    """Return the median time to the first words of each reliable route; a call counts half after HALF_LIFE_SECONDS."""
    recent = Attempt.objects.annotate(now=Now()).filter(created_at__gte=Now() - WINDOW)
    recent = recent.exclude(purpose=Purpose.TEST).order_by("-created_at")
    columns = ("category", "state", "route", "provider", "first_token_ms", "duration_ms", "created_at", "now")
    times: dict[str, list[tuple[int, float]]] = defaultdict(list)
    newest: dict[str, float] = {}  # age in seconds
    for called, state, route, provider, first_ms, whole_ms, began_at, now in recent.values_list(*columns)[
        :NEWEST_CALLS
    ]:
        milliseconds = whole_ms if first_ms is None else first_ms  # one that was not streamed came whole
        if called == category and state == Attempt.State.OK and milliseconds is not None:
            age = (now - began_at).total_seconds()
            newest.setdefault(route or provider, age)
            times[route or provider].append((milliseconds, 0.5 ** (age / HALF_LIFE_SECONDS)))
    # A route that nobody has asked for a while may have recovered; as one without figures it is tried again.
    fresh = [name for name in reliable if newest.get(name, math.inf) < FRESH_SECONDS]
    medians = {name: _weighted_median(times[name]) for name in fresh if len(times[name]) >= FEWEST_ANSWERS}
    return {name: Figure(Decimal(median), f"{median} ms to the first words") for name, median in medians.items()}


def _weighted_median(samples: Iterable[tuple[int, float]]) -> int:
    ordered = sorted(samples)
    half = sum(weight for _, weight in ordered) / 2
    for value, weight in ordered:
        half -= weight
        if half <= 0:
            return value
    return ordered[-1][0]

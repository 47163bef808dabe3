"""What another order of routes would have cost: a drafted order, replayed over requests that were really made.

For each request the first route of the draft is taken that serves its tag and that was not passed by then (paused, or
unable to do it; the request's row says so, and of a pause also the others of the same minute). Routes in one group
share it by their weights. The route then gives the request what was measured of it in the period, for that size:

    success = its successes among the attempts that were not refused for their content
    cost    = success x the cost of an answer of this size
    time    = the time of an answer of this size

Of a size that a route has answered at least MIN_ANSWERS times in the sample, cost and time are the means of these. Of
another size they are the route's means of the period times how much dearer and slower that size is on all routes. What
follows a failure is not replayed: a draft with a lower success asks its second route that much more often.

The uncertainty is two standard errors: of the sample (it consists of stretches of time, so between these) and of what
was measured of each route, together.
"""

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from providers.chain.candidates import is_pause
from providers.models import AttemptRollup, ProviderConfig, RoutingRule
from providers.routes.order import Order
from providers.statistics.selectors import ProviderStats, provider_stats
from providers.types import Category, Operation
from requests_app.models import Request

MAX_REQUESTS = 1_000  # that are replayed; of more, stretches are drawn
STRETCHES = 25  # each from an hour that is drawn by its traffic
MIN_ANSWERS = 20  # from which on a size of a route has figures of its own
TWO_ERRORS = 2.0
SHORT_CHARACTERS, LONG_CHARACTERS = 500, 4_000  # where a prompt is called short, and long
RULES = tuple(f"{rule.label}: " for rule in RoutingRule.Rule)  # how skips begin that are an order, not an obstacle
ENDED = (Request.Status.COMPLETED, Request.Status.FAILED)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, and how far the truth may be from it."""

    value: float
    plus_minus: float  # two standard errors


@dataclass(frozen=True, slots=True)
class Share:
    """What one route gets of the requests, and what was measured of it."""

    route: str  # its label
    requests: float  # of all replayed, 0 to 1
    attempts: int  # on which its figures rest; 0: it was not used in the period
    success: float | None  # 0 to 1; None: nothing was measured
    cost: float | None  # USD of an answer, over all sizes
    seconds: float | None  # of an answer, over all sizes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an order would have brought, for each request."""

    shares: Sequence[Share]  # in its order
    unserved: float  # share of the requests that none of its routes could have been asked for
    unmeasured: float  # share of the requests that go to routes without figures; in none of the estimates
    success: Estimate | None  # 0 to 1, of the first route asked; None: nothing was measured
    cost: Estimate | None  # USD of a request
    seconds: Estimate | None  # of an answer


@dataclass(frozen=True, slots=True)
class Recorded:
    """What really came of the replayed requests, second and further routes included."""

    success: float | None  # 0 to 1
    cost: float | None  # USD of an answer, where it is known
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """A draft beside the present order, over the same requests."""

    requests: int  # that were replayed
    is_sample: bool  # there were more
    since: datetime
    draft: Outcome
    present: Outcome
    recorded: Recorded


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, as far as the replay needs it."""

    stretch: int
    size: str
    tag: str
    blocked: frozenset[str]  # routes that could not have been asked
    paused: frozenset[str]  # those of them that were paused then
    minute: int
    route: str  # that answered it, "" where none did
    is_answered: bool
    cost: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Figures:
    """What was measured of one route for one size; spreads are standard deviations of one call."""

    success: float
    attempts: int
    cost: float | None
    cost_spread: float
    seconds: float
    seconds_spread: float
    answers: int  # on which cost and time rest


def replay(*, category: Category, draft: Order, days: int, seed: int | None = None) -> Replay:
    """Replay the newest `days` under a drafted order and under the present one, as the module says. Writes nothing.

    `draft` has keys of routes in groups; a route that is in none is left out. At most MAX_REQUESTS requests are read,
    by index, and the hourly sums of the category. With a `seed` the same sample is drawn again.
    """
    since = timezone.now() - timedelta(days=days)
    routes = {
        route.pk: route
        for route in ProviderConfig.objects.filter(category=category.value, operation=Operation.GENERATE.value)
    }
    asked, is_sample = _sample(category, since, random.Random(seed))  # noqa: S311 — a sample, not a secret
    stats = {each.route: each for each in provider_stats(category, since)}
    figures = _Measured(asked, stats)
    present: dict[int, list[ProviderConfig]] = defaultdict(list)
    for route in routes.values():
        if route.enabled:
            present[route.priority].append(route)
    drafted = [[routes[pk] for pk in group if pk in routes] for group in draft]
    return Replay(
        requests=len(asked),
        is_sample=is_sample,
        since=since,
        draft=_outcome(drafted, asked, figures),
        present=_outcome([present[priority] for priority in sorted(present)], asked, figures),
        recorded=_recorded(asked),
    )


def _sample(category: Category, since: datetime, draw: random.Random) -> tuple[list[_Asked], bool]:
    """Return the requests to replay, and whether there were more.

    Hours are drawn by their traffic, which the hourly sums know, so that each request is as likely as another.
    """
    hours = list(
        AttemptRollup.objects.filter(category=category.value, hour__gte=since)
        .order_by("hour").values_list("hour").annotate(attempts=Sum("requests"))
    )  # fmt: skip
    rows = Request.objects.filter(category=category.value, status__in=ENDED)
    if sum(attempts for _, attempts in hours) <= MAX_REQUESTS:
        newest = list(_columns(rows.filter(created_at__gte=since).order_by("-created_at")[: MAX_REQUESTS + 1]))
        count = min(len(newest), MAX_REQUESTS)
        whole = [_asked(row, number * STRETCHES // count) for number, row in enumerate(newest[:count])]
        return _with_pauses(whole), len(newest) > MAX_REQUESTS
    drawn = draw.choices([hour for hour, _ in hours], weights=[attempts for _, attempts in hours], k=STRETCHES)
    starts = sorted(hour + timedelta(seconds=draw.uniform(0, 3_600)) for hour in drawn)
    sampled: list[_Asked] = []
    for stretch, start in enumerate(starts):
        part = rows.filter(created_at__gte=max(start, since)).order_by("created_at")[: MAX_REQUESTS // STRETCHES]
        sampled += [_asked(row, stretch) for row in _columns(part)]
    return _with_pauses(sampled), True


def _columns(rows: QuerySet[Request]) -> Iterable[tuple[Any, ...]]:
    return rows.annotate(characters=Length("input_text")).values_list(
        "category", "characters", "options", "tag", "skipped", "created_at", "actual_route", "actual_provider",
        "status", "cost", "processing_ms",
    )  # fmt: skip


def _asked(row: tuple[Any, ...], stretch: int) -> _Asked:
    category, characters, options, tag, skipped, created_at, route, provider, status, cost, milliseconds = row
    skips = [skip for skip in skipped or () if isinstance(skip, dict) and not _is_order(skip)]
    return _Asked(
        stretch=stretch,
        size=_size(category, characters or 0, options if isinstance(options, dict) else {}),
        tag=tag,
        blocked=frozenset(str(skip.get("route")) for skip in skips),
        paused=frozenset(str(skip.get("route")) for skip in skips if is_pause(str(skip.get("reason")))),
        minute=int(created_at.timestamp() // 60),
        route=route or provider or "",
        is_answered=status == Request.Status.COMPLETED,
        cost=None if cost is None else float(cost),
        seconds=None if milliseconds is None else milliseconds / 1_000,
    )


def _is_order(skip: Mapping[str, Any]) -> bool:
    """Return whether the route stood behind another by a rule, and could have been asked."""
    return str(skip.get("reason")).startswith(RULES)


def _size(category: str, characters: int, options: Mapping[str, Any]) -> str:
    """Return what makes a request of this category dear: its length, its seconds, its quality."""
    if category == Category.VIDEO:
        return f"{options.get('seconds') or 'usual'} s"
    if category == Category.IMAGE:
        return str(options.get("quality") or "usual")
    return "short" if characters < SHORT_CHARACTERS else "long" if characters >= LONG_CHARACTERS else "middle"


def _with_pauses(asked: list[_Asked]) -> list[_Asked]:
    """Add to each request what the others of its minute say of pauses: nobody looks at a route that is not needed."""
    paused: dict[int, set[str]] = defaultdict(set)
    for each in asked:
        paused[each.minute] |= each.paused
    for each in asked:
        paused[each.minute].discard(each.route)  # it answered then, so it was not paused for all of that minute
    return [
        replace(each, blocked=each.blocked | paused[each.minute]) if paused[each.minute] - each.blocked else each
        for each in asked
    ]


class _Measured:
    """The figures of routes, by name and size."""

    def __init__(self, asked: Sequence[_Asked], stats: Mapping[str, ProviderStats]) -> None:
        self._stats = stats
        self._means: dict[str, _Figures | None] = {}
        self._costs: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        cost_ratios: dict[str, list[float]] = defaultdict(list)
        time_ratios: dict[str, list[float]] = defaultdict(list)
        for each in asked:
            mean = self.means(each.route) if each.is_answered else None
            if mean is None:
                continue
            if each.cost is not None:
                self._costs[each.route, each.size].append(each.cost)
                cost_ratios[each.size] += [each.cost / mean.cost] if mean.cost else []
            if each.seconds is not None:
                self._seconds[each.route, each.size].append(each.seconds)
                time_ratios[each.size] += [each.seconds / mean.seconds] if mean.seconds else []
        self._dearer = {size: statistics.fmean(ratios) for size, ratios in cost_ratios.items() if ratios}
        self._slower = {size: statistics.fmean(ratios) for size, ratios in time_ratios.items() if ratios}
        self._known: dict[tuple[str, str], _Figures | None] = {}

    def means(self, route: str) -> _Figures | None:
        """Return the route's figures over all sizes, None where it was not used."""
        if route not in self._means:
            self._means[route] = self._mean_of(route)
        return self._means[route]

    def _mean_of(self, route: str) -> _Figures | None:
        stats = self._stats.get(route)
        counted = stats.requests - stats.refusals if stats else 0
        if stats is None or counted <= 0:
            return None
        cost = None if stats.avg_cost is None else float(stats.avg_cost)
        seconds = (stats.avg_time or 0) / 1_000
        # Nothing is known of the spread: one as large as the mean is what costs and times usually have.
        return _Figures(stats.successes / counted, counted, cost, cost or 0.0, seconds, seconds, stats.successes)

    def of(self, route: str, size: str) -> _Figures | None:
        """Return the route's figures for a size, None where it was not used."""
        if (route, size) not in self._known:
            self._known[route, size] = self._of(route, size)
        return self._known[route, size]

    def _of(self, route: str, size: str) -> _Figures | None:
        mean = self.means(route)
        if mean is None:
            return None
        costs, times = self._costs[route, size], self._seconds[route, size]
        dearer, slower = self._dearer.get(size, 1.0), self._slower.get(size, 1.0)
        cost, cost_spread = None if mean.cost is None else mean.cost * dearer, mean.cost_spread * dearer
        seconds, seconds_spread, answers = mean.seconds * slower, mean.seconds_spread * slower, mean.answers
        if len(costs) >= MIN_ANSWERS:
            cost, cost_spread, answers = statistics.fmean(costs), statistics.stdev(costs), len(costs)
        if len(times) >= MIN_ANSWERS:
            seconds, seconds_spread = statistics.fmean(times), statistics.stdev(times)
        return _Figures(mean.success, mean.attempts, cost, cost_spread, seconds, seconds_spread, max(1, answers))


_Group = Sequence[tuple[str, int, frozenset[str]]]  # name, weight and tags of each of its routes


@dataclass(frozen=True, slots=True)
class _Part:
    """What part of the requests of one stretch and size one route gets, and one figure of it."""

    route: str
    stretch: int
    weight: float  # in requests
    value: float
    error: float  # standard error of the value


def _outcome(order: Sequence[Sequence[ProviderConfig]], asked: Sequence[_Asked], figures: _Measured) -> Outcome:
    """Return what the requests would have got under an order of routes, in groups."""
    groups = [[(route.name, route.weight, frozenset(route.tags)) for route in group] for group in order if group]
    cells: dict[tuple[str, str, int], float] = defaultdict(float)  # requests by route, size and stretch
    unserved = 0
    for each in asked:
        chosen = _first(groups, each)
        unserved += not chosen
        for name, part in chosen:
            cells[name, each.size, each.stretch] += part
    total = len(asked) or 1
    given: dict[str, float] = defaultdict(float)
    successes, costs, times, unmeasured = [], [], [], 0.0
    for (name, size, stretch), weight in cells.items():
        given[name] += weight
        known = figures.of(name, size)
        if known is None:
            unmeasured += weight
            continue
        success, uncertain = known.success, _error_of_share(known.success, known.attempts)
        successes.append(_Part(name, stretch, weight, success, uncertain))
        answered = math.sqrt(known.answers)
        times.append(_Part(name, stretch, weight * success, known.seconds, known.seconds_spread / answered))
        if known.cost is not None:
            error = math.hypot(success * known.cost_spread / answered, known.cost * uncertain)
            costs.append(_Part(name, stretch, weight, success * known.cost, error))
    return Outcome(
        shares=[_share(route, given[route.name] / total, figures) for group in order for route in group],
        unserved=unserved / total,
        unmeasured=unmeasured / total,
        success=_estimate(successes),
        cost=_estimate(costs),
        seconds=_estimate(times),
    )


def _first(groups: Sequence[_Group], asked: _Asked) -> list[tuple[str, float]]:
    """Return the routes of the first group that could be asked, with the part of the request that each gets."""
    for group in groups:
        able = [
            (name, weight) for name, weight, tags in group
            if name not in asked.blocked and (not asked.tag or asked.tag in tags)
        ]  # fmt: skip
        if able:
            whole = sum(weight for _, weight in able)
            return [(name, weight / whole if whole else 1 / len(able)) for name, weight in able]
    return []


def _error_of_share(share: float, number: int) -> float:
    """Return the standard error of a share.

    One of 100 % of a few is not certain, so two are added, a success and a failure.
    """
    share = (share * number + 1) / (number + 2)
    return math.sqrt(share * (1 - share) / (number + 2))


def _estimate(parts: Sequence[_Part]) -> Estimate | None:
    whole = sum(part.weight for part in parts)
    if not whole:
        return None
    mean = sum(part.weight * part.value for part in parts) / whole
    by_stretch: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    by_route: dict[str, float] = defaultdict(float)  # the figures of one route err together
    for part in parts:
        by_stretch[part.stretch][0] += part.weight * part.value
        by_stretch[part.stretch][1] += part.weight
        by_route[part.route] += part.weight / whole * part.error
    means = [total / weight for total, weight in by_stretch.values() if weight]
    of_sample = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    return Estimate(mean, TWO_ERRORS * math.hypot(of_sample, *by_route.values()))


def _share(route: ProviderConfig, requests: float, figures: _Measured) -> Share:
    known = figures.means(route.name)
    if known is None:
        return Share(route.label, requests, 0, None, None, None)
    return Share(route.label, requests, known.attempts, known.success, known.cost, known.seconds)


def _recorded(asked: Sequence[_Asked]) -> Recorded:
    answered = [each for each in asked if each.is_answered]
    costs = [each.cost for each in answered if each.cost is not None]
    times = [each.seconds for each in answered if each.seconds is not None]
    return Recorded(
        success=len(answered) / len(asked) if asked else None,
        cost=statistics.fmean(costs) if costs else None,
        seconds=statistics.fmean(times) if times else None,
    )

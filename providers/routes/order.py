"""The order in which the routes of a category are asked, as groups: those of one group share the load."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db import transaction

from providers.models import ProviderConfig
from providers.types import Category, Operation
from providers.versioning import sign

FIRST_PRIORITY = 1  # of an order that keeps no number
MAX_PRIORITY = 32_767  # that the column holds

Order = Sequence[Sequence[int]]  # keys of routes, the first group is asked first


class StaleOrder(Exception):
    """The order is another one than its reader saw. Nothing was written."""


class InvalidOrder(ValueError):
    """The groups do not hold each route of the category and operation once. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A route whose priority has changed."""

    route: str  # its name
    before: int  # priority
    now: int


def route_order(category: Category, operation: Operation = Operation.GENERATE) -> list[list[ProviderConfig]]:
    """Return all routes of a category and operation, enabled or not, in groups of equal priority. One query."""
    return _grouped(_routes(category, operation))


def _routes(category: Category, operation: Operation) -> Iterable[ProviderConfig]:
    rows = ProviderConfig.objects.filter(category=category.value, operation=operation.value)
    return rows.order_by("priority", "provider", "name")


def _grouped(routes: Iterable[ProviderConfig]) -> list[list[ProviderConfig]]:
    return [list(group) for _, group in groupby(routes, key=lambda route: route.priority)]


def routes_reorder(
    *, category: Category, operation: Operation, order: Order, expected: Order, actor: str, reason: str = ""
) -> list[Moved]:
    """Give the routes of a category and operation priorities in this order; return those that have changed.

    As few rows as possible are written, each as a version. `expected` is the order that its reader saw: raises
    StaleOrder where there is another one by now. Raises InvalidOrder where `order` does not hold each of these routes
    once. Called again with what is the order now, it writes nothing.
    """
    with transaction.atomic():
        rows = {route.pk: route for route in ProviderConfig.objects.select_for_update().order_by("pk").filter(
            category=category.value, operation=operation.value
        )}  # fmt: skip
        present = _grouped(sorted(rows.values(), key=lambda route: (route.priority, route.provider, route.name)))
        if _as_sets(expected) != [{route.pk for route in group} for group in present]:
            words = " → ".join(" = ".join(route.name for route in group) for group in present)
            raise StaleOrder(f"Meanwhile the order of {category} has become: {words}. Look again, then decide.")
        if sorted(pk for group in order for pk in group) != sorted(rows) or not all(order):
            raise InvalidOrder(f"The order must hold each route of {category}, {operation}, once.")
        groups = [[rows[pk] for pk in group] for group in order]
        moved = []
        for group, priority in zip(groups, _priorities(groups), strict=True):
            for route in group:
                if route.priority != priority:
                    moved.append(Moved(route.name, route.priority, priority))
                    route.priority = priority
                    sign(route, actor=actor, reason=reason)
                    route.save(update_fields=["priority", "updated_at"])
    return moved


def _as_sets(order: Order) -> list[set[int]]:
    return [set(group) for group in order]


def _priorities(groups: Sequence[Sequence[ProviderConfig]]) -> list[int]:
    """Return a rising priority for each group, so that as few routes as possible change theirs."""
    # A number can stay where the groups before it find room below it, and those between two that stay between them:
    # where `priority - position` does not fall. The best chain of such numbers is found group by group.
    best: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []  # slack, routes that stay, (position, priority) …
    for position, group in enumerate(groups):
        room = len(groups) - 1 - position
        for priority in sorted({route.priority for route in group}):
            slack = priority - position
            if slack < 0 or priority + room > MAX_PRIORITY:
                continue
            stay = sum(route.priority == priority for route in group)
            before = [chain for chain in best if chain[0] <= slack and chain[2][-1][0] < position]
            _, kept, places = max(before, key=lambda chain: chain[1], default=(0, 0, ()))
            best.append((slack, kept + stay, (*places, (position, priority))))
    kept_places = dict(max(best, key=lambda chain: chain[1], default=(0, 0, ()))[2])
    if not kept_places:
        return list(range(FIRST_PRIORITY, FIRST_PRIORITY + len(groups)))
    first = min(kept_places)
    priorities = [kept_places[first] - first + position for position in range(first)]
    for position in range(first, len(groups)):
        priorities.append(kept_places.get(position, priorities[-1] + 1 if priorities else 0))
    return priorities

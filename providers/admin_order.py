"""The pages of the order: the routes of a category, dragged, switched and paused."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from providers.admin_routes import RouteToolsAdmin
from providers.models import ProviderConfig, RoutingRule
from providers.routes.advice import warnings_of_route
from providers.routes.order import InvalidOrder, StaleOrder, route_order, routes_reorder
from providers.routes.pauses import route_pause, route_resume
from providers.routes.switches import route_switch
from providers.statistics.selectors import ProviderStats, provider_stats, shown_usd
from providers.types import Category, Operation
from providers.versioning import MAX_REASON, actor_of

Kind = tuple[Category, Operation]

KINDS: dict[Kind, str] = {
    **{(category, Operation.GENERATE): category.value for category in Category},
    (Category.IMAGE, Operation.EDIT): "IMAGE, edit",
    (Category.VIDEO, Operation.EDIT): "VIDEO, edit",
    (Category.TEXT, Operation.TRANSCRIBE): "Speech to text",
}
WINDOW = timedelta(hours=24)
RULES = {
    RoutingRule.Rule.ORDER: "Asked from top to bottom; those that share the load take turns by their weight.",
    RoutingRule.Rule.CHEAPEST: "Asked the cheapest first, by its rule; this order counts for routes without figures.",
    RoutingRule.Rule.FASTEST: "Asked the fastest first, by its rule; this order counts for routes without figures.",
}
MAX_POSTED_CHARACTERS = 10_000  # of an order


@dataclass(frozen=True, slots=True)
class Row:
    """A route as its page of the order shows it."""

    route: Any  # ProviderConfig, as the list's query returns it
    is_together: bool  # with the one above it
    is_paused: bool
    state: str
    price: str
    figures: str  # of the last day
    address: str
    test_address: str


class RouteOrderAdmin(RouteToolsAdmin):
    """The order of routes as a page a category. Its subclass says how a route is shown."""

    def state_of(self, route: Any) -> str:
        """Return whether a route would be asked now, and why not."""
        raise NotImplementedError

    def price_of(self, route: Any) -> str:
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.order_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_order"
        return [path("order/<str:category>/<str:operation>/", view, name=name), *super().get_urls()]

    def order_view(self, request: HttpRequest, category: str, operation: str) -> HttpResponse:
        """Show the routes of a category in their order; a POST changes it, or switches, pauses or resumes one."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        try:
            kind = Category(category), Operation(operation)
        except ValueError:
            raise Http404("There is no such category or operation.") from None
        if kind not in KINDS:
            raise Http404("No route does that.")
        if request.method == "POST":
            if not self.has_change_permission(request):
                raise PermissionDenied
            self._change(request, kind)
            return HttpResponseRedirect(request.path)
        groups = route_order(*kind)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Routes of {KINDS[kind]}",
            "opts": self.opts,
            "tabs": [
                {"title": title, "address": self._order_address(*each), "is_shown": each == kind}
                for each, title in KINDS.items()
            ],
            "rows": self._rows(request, kind, groups),
            "rule": RULES[_rule_of(kind[0])],
            "expected": json.dumps([[route.pk for route in group] for group in groups]),
            "may_change": self.has_change_permission(request),
            "may_resume": self.has_resume_permission(request),
            "may_add": self.has_add_permission(request),
            "add_url": reverse(self._address("add")),
            "list_url": reverse(self._address("changelist")),
        }
        return TemplateResponse(request, "admin/route_order.html", context)

    def _order_address(self, category: Category, operation: Operation) -> str:
        return reverse(self._address("order"), args=[category.value, operation.value])

    def _rows(self, request: HttpRequest, kind: Kind, groups: list[list[ProviderConfig]]) -> list[Row]:
        # As the list knows them: with their pauses.
        known = {route.pk: route for route in self.get_queryset(request).filter(category=kind[0], operation=kind[1])}
        stats = last_day_of(kind[0])
        return [
            Row(
                route=known[route.pk],
                is_together=place > 0,
                is_paused=_is_paused(known[route.pk]),
                state=self.state_of(known[route.pk]),
                price=self.price_of(known[route.pk]),
                figures=shown_figures(stats.get(route.name)),
                address=reverse(self._address("change"), args=[route.pk]),
                test_address=reverse(self._address("test"), args=[route.pk]),
            )
            for group in groups
            for place, route in enumerate(group)
            if route.pk in known  # it may have been deleted between the two queries
        ]

    def _change(self, request: HttpRequest, kind: Kind) -> None:
        """Do what the pressed button says."""
        changes: dict[str, Callable[[HttpRequest, Kind], None]] = {
            "switch": self._switch,
            "pause": self._pause,
            "resume": self._resume,
            "save": self._reorder,
        }
        for button, change in changes.items():
            if button in request.POST:
                change(request, kind)
                return
        self.message_user(request, "Nothing was changed: no button was pressed.", messages.WARNING)

    def _reorder(self, request: HttpRequest, kind: Kind) -> None:
        why = request.POST.get("why", "").replace("\0", "")[:MAX_REASON]
        try:
            order = _posted_order(request)
            expected = json.loads(request.POST.get("expected", "")[:MAX_POSTED_CHARACTERS])
            moved = routes_reorder(
                category=kind[0], operation=kind[1], order=order, expected=expected, actor=actor_of(request), reason=why
            )
        except StaleOrder as error:
            self.message_user(request, str(error), messages.ERROR)
        except InvalidOrder as error:
            self.message_user(request, f"{error} Nothing was changed.", messages.ERROR)
        except (TypeError, ValueError):
            self.message_user(request, "That was no order of routes. Nothing was changed.", messages.ERROR)
        else:
            words = ", ".join(f"{each.route} {each.before} → {each.now}" for each in moved)
            self.message_user(request, f"The order is saved: {words}." if moved else "It is the order already.")

    def _switch(self, request: HttpRequest, kind: Kind) -> None:
        pk, _, state = request.POST["switch"].partition(":")
        route = self._route(pk, kind)
        if route and route_switch(route_id=route.pk, enabled=state == "on", actor=actor_of(request)):
            self.message_user(request, f"{route.label} is {'on' if state == 'on' else 'off'}.")
            route.enabled = state == "on"
            for words in warnings_of_route(route, was_enabled=not route.enabled, today=timezone.now().date()):
                self.message_user(request, words, messages.WARNING)
        elif route:
            self.message_user(request, f"{route.label} was switched already.")

    def _pause(self, request: HttpRequest, kind: Kind) -> None:
        route = self._route(request.POST["pause"], kind)
        if route and route_pause(route_id=route.pk, actor=actor_of(request)):
            self.message_user(request, f"{route.label} is paused for an hour. Jobs under way end as usual.")

    def _resume(self, request: HttpRequest, kind: Kind) -> None:
        if not self.has_resume_permission(request):
            raise PermissionDenied
        route = self._route(request.POST["resume"], kind)
        if route:
            done = route_resume(route_id=route.pk, actor=actor_of(request))
            words = f"{route.label} is asked again." if done else f"{route.label} was not paused."
            self.message_user(request, words)

    def _route(self, pk: str, kind: Kind) -> ProviderConfig | None:
        if not (pk.isascii() and pk.isdecimal() and len(pk) < 19):
            return None
        return ProviderConfig.objects.filter(pk=int(pk), category=kind[0], operation=kind[1]).first()


def _is_paused(route: Any) -> bool:
    """Return whether an operator or the circuit breaker keeps a route from being asked."""
    return route.is_paused or (route.open_until is not None and route.open_until > route.now)


def _rule_of(category: Category) -> RoutingRule.Rule:
    rule = RoutingRule.objects.filter(category=category).values_list("rule", flat=True).first()
    return RoutingRule.Rule(rule) if rule else RoutingRule.Rule.ORDER


def _posted_order(request: HttpRequest) -> list[list[int]]:
    """Return the groups that a page shows: its routes from top to bottom, each alone or with the one above."""
    together = set(request.POST.getlist("together"))
    order: list[list[int]] = []
    for pk in request.POST.getlist("route"):
        if pk in together and order:
            order[-1].append(int(pk))
        else:
            order.append([int(pk)])
    return order


def last_day_of(category: Category) -> dict[str, ProviderStats]:
    """Return what the calls of each route of a category have brought of late, by the route's name."""
    return {row.route: row for row in provider_stats(category, timezone.now() - WINDOW)}


def shown_figures(stats: ProviderStats | None) -> str:
    """Return success rate, calls and cost in words."""
    if stats is None or stats.expected:
        return "not asked"
    rate = "–" if stats.success_rate is None else f"{stats.success_rate} %"
    return f"{rate} of {stats.requests:,}, {shown_usd(stats.total_cost)}"

"""The page that replays a drafted order of routes over requests that were made."""

from collections import defaultdict
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from providers.admin_routes import RouteToolsAdmin
from providers.models import ProviderConfig
from providers.routes.order import MAX_PRIORITY, route_order
from providers.types import Category
from requests_app.analytics.replay import MAX_REQUESTS, MIN_ANSWERS, STRETCHES, Estimate, Replay, replay

PERIODS = {1: "24 hours", 7: "7 days", 30: "30 days"}
PER = 1_000  # requests, of which costs are shown


class DraftForm(forms.Form):
    """A category, a period, and a place for each of the category's routes; equal places share the load."""

    category = forms.ChoiceField(
        choices=[(each.value, each.value) for each in Category], widget=UnfoldAdminSelectWidget()
    )
    days = forms.TypedChoiceField(
        choices=list(PERIODS.items()), coerce=int, label="Of the last", widget=UnfoldAdminSelectWidget()
    )

    def __init__(self, data: Any, *, routes: list[ProviderConfig]) -> None:
        self.routes = routes
        # What a link leaves out is as it is now; an empty place leaves its route out.
        present = {f"place_{route.pk}": route.priority for route in routes if route.enabled}
        is_drafted = any(name.startswith("place_") for name in data)
        values = {"days": 7, "category": Category.TEXT.value, **({} if is_drafted else present), **data.dict()}
        super().__init__(values)
        for route in routes:
            self.fields[f"place_{route.pk}"] = forms.IntegerField(
                label=f"{route.label}, {route.model}",
                required=False,
                min_value=0,
                max_value=MAX_PRIORITY,
                widget=UnfoldAdminIntegerFieldWidget(),
            )

    def draft(self) -> list[list[int]]:
        """Return the keys of the routes in groups of equal places; of a valid form."""
        groups: dict[int, list[int]] = defaultdict(list)
        for route in self.routes:
            place = self.cleaned_data[f"place_{route.pk}"]
            if place is not None:
                groups[place].append(route.pk)
        return [groups[place] for place in sorted(groups)]


class ReplayPage:
    """A part of an admin that has the page."""

    admin_site: Any
    opts: Any

    def get_urls(self) -> list[URLPattern]:
        page = path("replay/", self.admin_site.admin_view(self.replay_view), name="requests_app_request_replay")
        return [page, *super().get_urls()]  # type: ignore[misc]  # of the admin beside it

    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, and what its draft would have brought beside the present order. Changes nothing."""
        if not request.user.has_perms(["requests_app.view_request", "providers.view_providerconfig"]):
            raise PermissionDenied
        category = Category(request.GET.get("category", "")) if _is_category(request) else Category.TEXT
        routes = [route for group in route_order(category) for route in group]
        form = DraftForm(request.GET, routes=routes)
        found = None
        if form.is_valid():
            found = replay(category=category, draft=form.draft(), days=form.cleaned_data["days"], seed=0)
        context = {
            **self.admin_site.each_context(request),
            "title": "What would it have cost",
            "subpage": "What would it have cost",
            "opts": ProviderConfig._meta,  # it is a page of routes, though requests are what it reads
            "form": form,
            "replay": found,
            "rows": _rows(found) if found else [],
            "limits": {"requests": MAX_REQUESTS, "stretches": STRETCHES, "answers": MIN_ANSWERS, "per": PER},
        }
        return TemplateResponse(request, "admin/requests_app/replay.html", context)


def _is_category(request: HttpRequest) -> bool:
    return request.GET.get("category") in Category.__members__


def _rows(found: Replay) -> list[tuple[str, str, str, str]]:
    """Return what is compared: its name, under the draft, under the present order, and what was recorded."""
    recorded = found.recorded
    return [
        (
            "First route answers",
            _shown(found.draft.success, 100, " %"),
            _shown(found.present.success, 100, " %"),
            "–" if recorded.success is None else f"{100 * recorded.success:.1f} % (further routes included)",
        ),
        (
            f"Cost of {PER:,} requests",
            _shown(found.draft.cost, PER, " USD", digits=4),
            _shown(found.present.cost, PER, " USD", digits=4),
            "–" if recorded.cost is None else f"{PER * recorded.cost:.4f} USD (of as many answers)",
        ),
        (
            "Time of an answer",
            _shown(found.draft.seconds, 1, " s"),
            _shown(found.present.seconds, 1, " s"),
            "–" if recorded.seconds is None else f"{recorded.seconds:.1f} s",
        ),
    ]


def _shown(estimate: Estimate | None, factor: float, unit: str, digits: int = 1) -> str:
    if estimate is None:
        return "nothing was measured"
    return f"{factor * estimate.value:.{digits}f} ± {factor * estimate.plus_minus:.{digits}f}{unit}"


RouteToolsAdmin.further_tools.append(("What would it have cost", "admin:requests_app_request_replay"))

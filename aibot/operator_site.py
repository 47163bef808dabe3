"""The admin's site: its navigation by the operator's tasks, and the search above all pages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from unfold.dataclasses import SearchResult

from aibot.overview import overview_of
from requests_app.account_search import account_identified, accounts_named
from requests_app.models import Account, Request

if TYPE_CHECKING:  # as in providers/admin_base.py
    from django.contrib.admin import AdminSite as UnfoldAdminSite
else:
    from unfold.sites import UnfoldAdminSite

MAX_FOUND = 10  # of each table


@dataclass(frozen=True, slots=True)
class _Page:
    """A line of the navigation: the list of a table, or a page about it, for those who may view it."""

    title: str
    icon: str  # of Material Symbols, which come with unfold
    table: str  # such as "requests_app.request"
    view: str = "changelist"
    arguments: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("view", "change")  # any of these permissions shows the line

    def may_see(self, request: HttpRequest) -> bool:
        app, model = self.table.split(".")
        return any(request.user.has_perm(f"{app}.{verb}_{model}") for verb in self.verbs)

    def as_item(self) -> dict[str, str]:
        return {
            "title": self.title,
            "icon": self.icon,
            "link": reverse(f"admin:{self.table.replace('.', '_')}_{self.view}", args=self.arguments),
        }


NAVIGATION: dict[str, list[_Page]] = {
    "Requests": [
        _Page("Requests", "forum", "requests_app.request"),
        _Page("Attempts", "outbound", "providers.attempt"),
        _Page("Status changes", "history", "requests_app.requestevent"),
        _Page("Deliveries", "send", "telegram_bot.delivery"),
    ],
    "Routes and models": [
        _Page("Routes", "alt_route", "providers.providerconfig", "order", ("TEXT", "generate")),
        _Page("Playground", "science", "providers.providerconfig", "playground", ("TEXT",), verbs=("change",)),
        _Page("Circuits", "electrical_services", "providers.providerhealth"),
        _Page("Routing rules", "low_priority", "providers.routingrule"),
        _Page("Models", "neurology", "requests_app.aimodel"),
    ],
    "Users and credits": [
        _Page("Accounts", "group", "requests_app.account"),
        _Page("Ledger", "receipt_long", "requests_app.ledgerentry"),
        _Page("Telegram users", "person", "telegram_bot.telegramuser"),
        _Page("Chats", "chat", "telegram_bot.telegramchat"),
    ],
    "System": [
        _Page("Alerts", "notifications", "aibot.alert"),
        _Page("Hourly sums", "functions", "providers.attemptrollup"),
        _Page("Reconciliation", "balance", "providers.attemptrollup", "reconciliation"),
        _Page("Updates", "inbox", "telegram_bot.telegramupdate"),
        _Page("Maintenance", "construction", "requests_app.maintenancemode"),
        _Page("API tokens", "key", "aibot.apitoken"),
        _Page("Old tokens", "key_off", "authtoken.tokenproxy"),
        _Page("Staff", "badge", "auth.user"),
        _Page("Roles", "shield_person", "auth.group"),
    ],
}


class OperatorSite(UnfoldAdminSite):
    """The pages from which the operator runs the service."""

    index_title = "Overview"
    index_template = "admin/overview.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the Overview."""
        return super().index(request, {**overview_of(request), **(extra_context or {})})

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer the search box above all pages, with its first page whatever the address asks for."""
        first_page: Any = request.GET.copy()
        first_page.pop("page", None)
        request.GET = first_page
        response: HttpResponse = super().search(request, extra_context)  # type: ignore[misc]  # unfold's own
        return response


def favicon(*_: HttpRequest) -> str:
    """Return the address of the icon that browsers show."""
    return static("aibot/favicon.svg")


def subheader(*_: HttpRequest) -> str:
    """Return what stands below the site's name on every page."""
    return f"All times in {settings.TIME_ZONE}"


def found(request: HttpRequest, words: str) -> list[SearchResult]:
    """Return the requests and accounts that these words name, for those who may view them."""
    results: list[SearchResult] = []
    if request.user.has_perm("requests_app.view_request") and words.startswith("req_"):
        # A range too, since an index serves LIKE on no database of another collation than C.
        requests = Request.objects.filter(pk__startswith=words, pk__gte=words, pk__lt=f"{words}g").order_by("pk")
        results += [_result(row, "Request", "forum") for row in requests.only("pk")[:MAX_FOUND]]
    if request.user.has_perm("requests_app.view_account"):
        accounts = Account.objects.filter(account_identified(words) | accounts_named(words)).order_by("-pk")
        results += [_result(row, row.key, "person") for row in accounts[:MAX_FOUND]]
    return results


def _result(row: Model, description: str, icon: str) -> SearchResult:
    page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return SearchResult(title=str(row), description=description, link=page, icon=icon)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's groups of links, without what the reader may not see."""
    groups: list[dict[str, Any]] = [
        {"items": [{"title": "Overview", "icon": "monitoring", "link": reverse("admin:index")}]}
    ]
    for title, pages in NAVIGATION.items():
        items = [page.as_item() for page in pages if page.may_see(request)]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups

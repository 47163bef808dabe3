"""The admin's site: the Overview as its first page, and the search above all pages."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, URLResolver, path, reverse
from unfold.dataclasses import SearchResult

from aibot.overview import overview_of
from aibot.sign_in import one_time_codes_page
from requests_app.account_search import account_keys
from requests_app.models import Account, Request

if TYPE_CHECKING:  # as in providers/admin_base.py
    from django.contrib.admin import AdminSite as UnfoldAdminSite
else:
    from unfold.sites import UnfoldAdminSite

MAX_FOUND = 10  # of each table


class OperatorSite(UnfoldAdminSite):
    """The pages from which the operator runs the service."""

    index_title = "Overview"
    index_template = "admin/overview.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the Overview."""
        return super().index(request, {**overview_of(request), **(extra_context or {})})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        own = path("one-time-codes/", self.admin_view(self.one_time_codes), name="one_time_codes")
        return [own, *super().get_urls()]

    def one_time_codes(self, request: HttpRequest) -> TemplateResponse:
        """Show and switch the reader's own one-time codes."""
        return one_time_codes_page(request, self.each_context(request))

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


def stylesheet(*_: HttpRequest) -> str:
    """Return the address of what pages look like beyond unfold's own."""
    return static("aibot/admin.css")


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
        keys = account_keys(Account.objects.all(), words, at_most=MAX_FOUND)
        accounts = Account.objects.filter(pk__in=keys).order_by("-pk")
        results += [_result(row, row.key, "person") for row in accounts]
    return results


def _result(row: Model, description: str, icon: str) -> SearchResult:
    page = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return SearchResult(title=str(row), description=description, link=page, icon=icon)

"""The admin pages of requests and their events. What their actions do is in services."""

from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from providers.admin_base import (
    CategoryFilter,
    ChoiceFilter,
    LargeTableChangeList,
    ProviderFilter,
    ReadOnlyAdmin,
    shown_cost,
    shown_ms,
)
from providers.db import Constant
from requests_app.account_search import account_keys
from requests_app.admin.operations import OperationsMixin, action_of
from requests_app.admin.replay import ReplayPage
from requests_app.admin.request_operations import OPERATIONS
from requests_app.models import VIEW_PROMPTS, Account, Request, RequestEvent
from requests_app.timeline import Timeline, request_timeline

MAX_ACCOUNTS = 100  # of which requests are searched
MAX_SEARCHED = 5_000  # requests in whose texts words are looked for: no index leads to them
MAX_UNFOLDED = 1000  # characters of a text that are shown at once
BEGIN = 200  # characters of a longer one
TEXTS = ("input_text", "transcript", "output_text")
CONTENT_FIELDSETS = {"Prompt", "Answer"}  # what users wrote and received

Status = Request.Status


class StatusFilter(ChoiceFilter):
    usual = [Request.Status.COMPLETED, *Request.OPEN]

    def index_condition(self, choice: str) -> Q:
        return Q(completed_at__isnull=True) if choice in Request.OPEN else super().index_condition(choice)


class ActualProviderFilter(ProviderFilter):
    title = "actual provider"
    field = "actual_provider"


class RoutesFilter(admin.SimpleListFilter):
    """Filters by which of the routes that were asked has answered."""

    title = "answered by"
    parameter_name = "answered_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("first", "The first route"), ("further", "A further route"), ("none", "None of them")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Request]) -> QuerySet[Request]:
        if self.value() == "first":
            return queryset.filter(status=Status.COMPLETED, routes_asked=1)
        if self.value() == "further":
            # As in the condition of their index.
            return queryset.filter(status=Status.COMPLETED, routes_asked__gt=Constant(1))
        if self.value() == "none":
            not_usual = (~Q(status=Constant(usual)) for usual in StatusFilter.usual)
            return queryset.filter(*not_usual, status=Status.FAILED)
        return queryset


class RequestChangeList(LargeTableChangeList):
    """The list shows no texts, so it does not read them."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Request]:
        rows: QuerySet[Request] = super().get_queryset(request, exclude_parameters)
        return rows.defer(*TEXTS)


@admin.register(Request)
class RequestAdmin(ReplayPage, OperationsMixin, ReadOnlyAdmin):
    """Requests. Their texts are on each request's own page only."""

    list_display = [
        "created_at",
        "user",
        "model",
        "outcome",
        "actual_provider",
        "shown_routes",
        "shown_cost",
        "credits",
        "shown_time",
    ]
    list_prefetch_related = ["user", "model"]
    list_filter = [
        "created_at",
        ("status", StatusFilter),
        ("category", CategoryFilter),
        ActualProviderFilter,
        RoutesFilter,
    ]
    search_fields = ["id__exact"]  # get_search_results() looks for more
    search_help_text = (
        "A request's id or its beginning, an intake key in full, or a user as on the page of accounts. "
        f'Words in quotes, such as "penguin", are looked for in what the newest {MAX_SEARCHED:,} wrote and received.'
    )
    ordering = ["-created_at"]
    sortable_by = ["created_at"]
    operations = OPERATIONS
    actions = [action_of(operation) for operation in OPERATIONS]
    fieldsets = [
        (
            None,
            {"fields": ["id", "status", "error_code", "why", "user", "model", "category", "purpose", "conversation"]},
        ),
        ("Prompt", {"fields": ["prompt", "spoken", "input_files", "options"]}),
        ("Answer", {"fields": ["answer", "output_files"]}),
        (
            "Route and cost",
            {"fields": ["actual_provider", "actual_route", "shown_cost", "cost_source", "credits"]},
        ),
        ("Timeline", {"fields": ["timeline"]}),
        (
            "Execution",
            {
                "fields": [
                    ("created_at", "started_at", "completed_at"),
                    ("deadline_at", "next_at", "lease_until"),
                    ("shown_time", "tries", "fence"),
                    "intake_key",
                ]
            },
        ),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Request | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if request.user.has_perm(VIEW_PROMPTS):
            return fieldsets
        return [(title, options) for title, options in fieldsets if title not in CONTENT_FIELDSETS]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RequestChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Request], search_term: str
    ) -> tuple[QuerySet[Request], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        if words.startswith("req_"):
            # Hexadecimal digits follow. SQLite needs the range: its LIKE reads every id.
            return queryset.filter(id__startswith=words, id__gte=words, id__lt=f"{words}g"), False
        if quoted := words.removeprefix('"').removesuffix('"') if words.startswith('"') else "":
            return self._with_words(request, queryset, quoted), False
        # Apart: one condition over both tables would read all requests.
        accounts = account_keys(Account.objects.all(), words, at_most=MAX_ACCOUNTS + 1)
        if len(accounts) > MAX_ACCOUNTS:
            warning = f"More than {MAX_ACCOUNTS} users are called so; these are requests of {MAX_ACCOUNTS} of them."
            self.message_user(request, warning, messages.WARNING)
        if accounts:
            return queryset.filter(user_id__in=accounts[:MAX_ACCOUNTS]), False
        return queryset.filter(intake_key=words), False

    def _with_words(self, request: HttpRequest, queryset: QuerySet[Request], words: str) -> QuerySet[Request]:
        """Return those of the newest requests of a list that have these words in a text."""
        if not request.user.has_perm(VIEW_PROMPTS):
            self.message_user(request, "You may not look for what users wrote and received.", messages.WARNING)
            return queryset.none()
        moments = queryset.order_by("-created_at").values_list("created_at", flat=True)
        oldest = next(iter(moments[MAX_SEARCHED - 1 : MAX_SEARCHED]), None)
        if oldest and request.method == "GET":
            self.message_user(
                request,
                f"Looked through the newest {MAX_SEARCHED:,} requests of this list, back to "
                f"{localtime(oldest):%Y-%m-%d %H:%M}. A filter reaches further.",
                messages.INFO,
            )
        if oldest:
            queryset = queryset.filter(created_at__gte=oldest)
        return queryset.filter(_has_words(words))

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("requests_app.change_request")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("requests_app.retry_requests")

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"requests_app.{name}") for name in ("refund_requests", "add_credits"))

    @admin.display(description="status")
    def outcome(self, row: Request) -> SafeString | str:
        return format_html("{}<br>{}", row.status, row.error_code) if row.error_code else row.status

    @admin.display(description="cost")
    def shown_cost(self, row: Request) -> str:
        return shown_cost(row.cost, is_billed=row.status == Request.Status.COMPLETED)

    @admin.display(description="routes asked")
    def shown_routes(self, row: Request) -> str:
        total = row.routes_asked + row.routes_passed_by
        return f"{row.routes_asked} of {total}" if total else "–"

    @admin.display(description="prompt")
    def prompt(self, row: Request) -> SafeString:
        return _shown_text(row.input_text)

    @admin.display(description="what was spoken")
    def spoken(self, row: Request) -> SafeString:
        return _shown_text(row.transcript or "")

    @admin.display(description="answer")
    def answer(self, row: Request) -> SafeString:
        return _shown_text(row.output_text)

    @admin.display(description="why this route")
    def why(self, row: Request) -> str:
        return self._timeline_of(row).why

    @admin.display(description="what happened")
    def timeline(self, row: Request) -> SafeString:
        return render_to_string("admin/requests_app/timeline.html", {"timeline": self._timeline_of(row)})

    def _timeline_of(self, row: Request) -> Timeline:
        # Two fields of the page show it; the row lives as long as the page.
        if not hasattr(row, "_timeline"):
            row._timeline = request_timeline(row)  # type: ignore[attr-defined]
        return row._timeline  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="time")
    def shown_time(self, row: Request) -> str:
        return shown_ms(row.processing_ms)

    @admin.display(description="input files")
    def input_files(self, row: Request) -> SafeString:
        return _shown_media(row.input_media)

    @admin.display(description="output files")
    def output_files(self, row: Request) -> SafeString:
        return _shown_media(row.output_media)


def _has_words(words: str) -> Q:
    """Return the condition for requests with these words in a text, in capitals or not."""
    # SQLite folds the letters of ASCII alone, and PostgreSQL those of the database's locale, which may be C.
    ways = [words] if words.isascii() else dict.fromkeys((words, words.lower(), words.capitalize(), words.upper()))
    return reduce(or_, (Q((f"{text}__icontains", way)) for way in ways for text in TEXTS))


def _shown_text(text: str) -> SafeString:
    """Show a text as it is, a long one folded."""
    context = {"text": text, "is_long": len(text) > MAX_UNFOLDED, "begin": text[:BEGIN], "length": f"{len(text):,}"}
    return render_to_string("admin/requests_app/text.html", context)


def _shown_media(stored: list[dict[str, Any]]) -> SafeString:
    """Show stored files. Their names and types are our own; no URL from a provider is linked to."""
    files = [
        {**file, "url": reverse("media", args=[file["name"]]), "kind": file["content_type"].partition("/")[0]}
        for file in stored
    ]
    return render_to_string("admin/requests_app/media.html", {"files": files})


@admin.register(RequestEvent)
class RequestEventAdmin(ReadOnlyAdmin):
    """Every change of a request's status: who, when and why."""

    list_display = ["id", "created_at", "from_status", "to_status", "actor", "reason", "request_id"]
    search_fields = ["request__id__exact"]
    search_help_text = "A request's id, in full."
    ordering = ["-id"]
    sortable_by = ["id"]

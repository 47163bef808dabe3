"""The admin pages of requests and their events. What their actions do is in services."""

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from providers.admin_base import (
    CategoryFilter,
    ChoiceFilter,
    ProviderFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    code_of,
    shown_cost,
    shown_ms,
)
from providers.models import Attempt
from providers.statistics.selectors import shown_usd
from providers.types import Purpose
from providers.versioning import actor_of
from requests_app.account_search import account_identified, accounts_named
from requests_app.models import Account, LedgerEntry, Request, RequestEvent
from requests_app.services.cancellation import request_cancel, request_resume
from requests_app.services.refunds import charges_of, request_refund

MAX_ACCOUNTS = 100  # of which requests are searched
MAX_REFUNDS = 200  # in one go


class EventInline(ReadOnlyInline):
    model = RequestEvent
    fields = ["created_at", "actor", "reason"]  # the row's heading names the transition


class LedgerInline(ReadOnlyInline):
    model = LedgerEntry
    fields = ["created_at", "kind", "actor", "reason"]  # the row's heading names the amount
    ordering = ["id"]


class StatusFilter(ChoiceFilter):
    usual = [Request.Status.COMPLETED, *Request.OPEN]

    def index_condition(self, choice: str) -> Q:
        return Q(completed_at__isnull=True) if choice in Request.OPEN else super().index_condition(choice)


class ActualProviderFilter(ProviderFilter):
    title = "actual provider"
    field = "actual_provider"


@admin.register(Request)
class RequestAdmin(ReplayPage, ReadOnlyAdmin):
    """Requests. Their texts are on each request's own page only."""

    list_display = [
        "created_at",
        "user",
        "model",
        code_of("status"),
        "error_code",
        "actual_provider",
        "shown_cost",
        "credits",
        "shown_time",
        "id",
    ]
    list_prefetch_related = ["user", "model"]
    list_filter = ["created_at", ("status", StatusFilter), ("category", CategoryFilter), ActualProviderFilter]
    search_fields = ["id__exact"]  # get_search_results() looks for more
    search_help_text = "A request's id or its beginning, an intake key in full, or a user as on the page of accounts."
    ordering = ["-created_at"]
    sortable_by = ["created_at"]
    actions = ["cancel", "resume", "refund"]
    inlines = [EventInline, LedgerInline]
    fieldsets = [
        (None, {"fields": ["id", "status", "error_code", "user", "model", "category", "conversation"]}),
        ("Prompt", {"fields": ["input_text", "transcript", "input_files", "options"]}),
        ("Answer", {"fields": ["output_text", "output_files"]}),
        ("Cost", {"fields": ["actual_provider", "actual_route", "shown_cost", "cost_source", "credits", "attempts"]}),
        ("Why this route", {"fields": ["shown_skips"]}),
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Request]:
        # The list shows no texts, so it does not read them; the page of one request loads its own.
        return super().get_queryset(request).defer("input_text", "transcript", "output_text")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Request], search_term: str
    ) -> tuple[QuerySet[Request], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        if words.startswith("req_"):
            # Hexadecimal digits follow. SQLite needs the range: its LIKE reads every id.
            return queryset.filter(id__startswith=words, id__gte=words, id__lt=f"{words}g"), False
        # Two steps: one condition over both tables would read all requests.
        for meant in (account_identified(words), accounts_named(words)):
            accounts = list(Account.objects.filter(meant).values_list("pk", flat=True)[: MAX_ACCOUNTS + 1])
            if len(accounts) > MAX_ACCOUNTS:
                words = f"More than {MAX_ACCOUNTS} users are called so; these are requests of {MAX_ACCOUNTS} of them."
                self.message_user(request, words, messages.WARNING)
            if accounts:
                return queryset.filter(user_id__in=accounts[:MAX_ACCOUNTS]), False
        return queryset.filter(intake_key=words), False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("requests_app.change_request")

    @admin.action(
        description="Cancel: end the request; its credits go back, but for what was shown", permissions=["operate"]
    )
    def cancel(self, request: HttpRequest, queryset: QuerySet[Request]) -> None:
        ids = _ids(queryset, *Request.OPEN, Request.Status.QUARANTINED)
        cancelled = sum(request_cancel(request_id=request_id, actor=actor_of(request)) for request_id in ids)
        self._report(request, cancelled, "cancelled; requests that have ended stay as they are")

    @admin.action(description="Resume: release from quarantine and try again", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Request]) -> None:
        ids = _ids(queryset, Request.Status.QUARANTINED)
        resumed = sum(request_resume(request_id=request_id, actor=actor_of(request)) for request_id in ids)
        self._report(request, resumed, "resumed; only quarantined requests can be")

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("requests_app.add_credits")

    @admin.action(description="Refund: give back what answers have cost, once", permissions=["refund"])
    def refund(self, request: HttpRequest, queryset: QuerySet[Request]) -> TemplateResponse | None:
        """Ask for the reason first, which the ledger keeps."""
        reason = request.POST.get("reason", "").strip()
        if len(queryset[: MAX_REFUNDS + 1]) > MAX_REFUNDS:
            self.message_user(request, f"At most {MAX_REFUNDS} at a time.", messages.ERROR)
            return None
        if not reason:
            ended = list(queryset.filter(completed_at__isnull=False).prefetch_related("user"))
            charges = charges_of([row.id for row in ended])
            charged = [(row, charges.get(row.id, 0)) for row in ended]
            context = {
                **self.admin_site.each_context(request),
                "title": "Give back credits",
                "opts": self.opts,
                "refunds": [(row, number) for row, number in charged if number > 0],
                "selected": queryset.values_list("pk", flat=True),
                "is_missing": "reason" in request.POST,
            }
            return TemplateResponse(request, "admin/requests_app/refund.html", context)
        actor = actor_of(request)
        refunded = sum(request_refund(request_id=row.pk, actor=actor, reason=reason) for row in queryset)
        self._report(request, refunded, "refunded; the others had cost nothing, or were refunded before")
        return None

    def _report(self, request: HttpRequest, number: int, outcome: str) -> None:
        self.message_user(request, f"{number} {outcome}.", messages.SUCCESS if number else messages.WARNING)

    @admin.display(description="cost")
    def shown_cost(self, row: Request) -> str:
        return shown_cost(row.cost, is_billed=row.status == Request.Status.COMPLETED)

    @admin.display(description="routes passed by")
    def shown_skips(self, row: Request) -> SafeString:
        lines = ((skip.get("route"), skip.get("reason")) for skip in row.skipped)
        return format_html_join(SafeString("<br>"), "{}: {}", lines) or SafeString("none")

    @admin.display(description="time")
    def shown_time(self, row: Request) -> str:
        return shown_ms(row.processing_ms)

    @admin.display(description="input files")
    def input_files(self, row: Request) -> SafeString:
        return _shown_media(row.input_media)

    @admin.display(description="output files")
    def output_files(self, row: Request) -> SafeString:
        return _shown_media(row.output_media)

    @admin.display(description="attempts")
    def attempts(self, row: Request) -> SafeString:
        attempts = list(Attempt.objects.filter(caller_key=row.id).order_by("number"))
        lines = [
            {
                "row": attempt,
                "cost": shown_cost(attempt.cost, is_billed=attempt.is_billed),
                "duration": shown_ms(attempt.duration_ms),
            }
            for attempt in attempts
        ]
        return render_to_string("admin/requests_app/attempts.html", {"attempts": lines, "bill": _bill_of(attempts)})


def _bill_of(attempts: list[Attempt]) -> str:
    """Say what a request has cost its operator: every attempt that is billed, not the answering one alone."""
    real = [attempt for attempt in attempts if attempt.purpose != Purpose.SANDBOX]
    known = sum((attempt.cost for attempt in real if attempt.cost is not None), Decimal(0))
    # What is under way may be billed as well.
    unknown = [row.reserved_cost for row in real if row.cost is None and (row.is_billed or row.state in Attempt.LIVE)]
    bill = f"Billed in all: {shown_usd(known)}"
    if not unknown:
        return f"{bill}."
    limits = [limit for limit in unknown if limit is not None]
    most = f" of at most {shown_usd(sum(limits, Decimal(0)))}" if len(limits) == len(unknown) else ""
    return f"{bill}, and {len(unknown)} at an unknown cost{most}."


def _shown_media(stored: list[dict[str, Any]]) -> SafeString:
    """Show stored files. Their names and types are our own; no URL from a provider is linked to."""
    files = [
        {**file, "url": reverse("media", args=[file["name"]]), "kind": file["content_type"].partition("/")[0]}
        for file in stored
    ]
    return render_to_string("admin/requests_app/media.html", {"files": files})


def _ids(queryset: QuerySet[Request], *statuses: Request.Status) -> list[str]:
    return list(queryset.filter(status__in=statuses).values_list("id", flat=True))


@admin.register(RequestEvent)
class RequestEventAdmin(ReadOnlyAdmin):
    """Every change of a request's status: who, when and why."""

    list_display = ["id", "created_at", "from_status", "to_status", "actor", "reason", "request_id"]
    search_fields = ["request__id__exact"]
    search_help_text = "A request's id, in full."
    ordering = ["-id"]
    sortable_by = ["id"]

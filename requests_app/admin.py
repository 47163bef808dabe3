"""Admin pages of AI models, requests, accounts and the ledger. What their actions do is in services."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from providers.admin_base import (
    CategoryFilter,
    ChoiceFilter,
    LargeTableAdmin,
    ModelAdmin,
    ProviderFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    code_of,
    shown_cost,
    shown_ms,
)
from providers.admin_versions import VersionedAdmin, VersionedForm
from providers.chain.candidates import has_route
from providers.db import Constant
from providers.models import Attempt, ProviderConfig
from providers.statistics.selectors import shown_usd
from providers.types import Category, Purpose
from providers.versioning import actor_of
from requests_app.account_search import account_identified, accounts_named
from requests_app.admin_replay import ReplayPage
from requests_app.errors import InsufficientCredits
from requests_app.margins import Margin, margin_of
from requests_app.models import Account, AIModel, LedgerEntry, MaintenanceMode, Request, RequestEvent
from requests_app.selectors import unserved_models
from requests_app.services.accounts import account_set_blocked, account_take_back, account_top_up
from requests_app.services.cancellation import request_cancel, request_resume
from requests_app.services.refunds import charges_of, request_refund

MAX_ACCOUNTS = 100  # of which requests are searched
MAX_REFUNDS = 200  # in one go


class AIModelForm(VersionedForm):
    """An AI model, whose tag some route must have."""

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        category, tag = values.get("category"), values.get("tag")
        if category and tag and not has_route(Category(category), tag):
            self.add_error(
                "tag", f"No route of {category} has the tag {tag!r}. Give it to one first: Admin → Providers."
            )
        return values


@admin.register(AIModel)
class AIModelAdmin(VersionedAdmin):
    """The AI models that users pick."""

    form = AIModelForm
    list_display = [
        "name",
        "category",
        "tag",
        "provider",
        "token_cost",
        "usual_margin",
        "worst_margin",
        "enabled",
        "position",
    ]
    list_editable = ["token_cost", "enabled", "position"]
    list_filter = ["category", "enabled"]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    readonly_fields = ["usual_margin", "worst_margin"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET":
            for model in unserved_models():
                tag = f" with the tag {model.tag!r}" if model.tag else ""
                words = f"{model.name} is not offered to users: no enabled route of {model.category}{tag} has a key."
                self.message_user(request, words, messages.WARNING)
        return super().changelist_view(request, extra_context)

    @admin.display(description="usual answer")
    def usual_margin(self, obj: AIModel) -> str:
        margin = self._margin(obj)
        return str((margin and margin.usual) or "unknown")

    @admin.display(description="answer that leaves the least")
    def worst_margin(self, obj: AIModel) -> str:
        margin = self._margin(obj)
        return f"{'⚠ ' if margin.is_loss else ''}{margin.worst or 'unknown'}" if margin else "unknown"

    def _margin(self, obj: AIModel) -> Margin | None:
        # As it is stored: a form that is refused is shown again with what was typed, which may be no rates at all.
        stored = AIModel.objects.filter(pk=obj.pk).first()
        if stored is None:
            return None
        return margin_of(stored, ProviderConfig.objects.filter(category=stored.category, enabled=True))

    def has_delete_permission(self, request: HttpRequest, obj: AIModel | None = None) -> bool:
        # Only unused ones, one at a time: the confirmation page would list all requests. Others can be disabled.
        return super().has_delete_permission(request, obj) and obj is not None and not obj.requests.exists()


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


class CreditsForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """Adds credits or takes some back. Everything else about an account is written by the services."""

    amount = forms.IntegerField(
        label="Add credits",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Added when you save.",
    )
    taken_back = forms.IntegerField(
        label="Take back credits",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Such as those added by mistake, with a reason.",
    )
    reason = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Shown in the ledger."
    )
    # Makes the form idempotent: it books once, however often it is sent.
    form_key = forms.CharField(widget=forms.HiddenInput, initial=lambda: uuid4().hex, max_length=32)

    class Meta:
        model = Account
        fields: list[str] = []

    def clean_amount(self) -> int | None:
        amount: int | None = self.cleaned_data["amount"]
        if amount and amount > settings.MAX_TOP_UP_CREDITS:
            raise forms.ValidationError(
                f"At most {settings.MAX_TOP_UP_CREDITS:,} at a time; the setting MAX_TOP_UP_CREDITS allows more."
            )
        return amount

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        taken_back = values.get("taken_back")
        if taken_back and values.get("amount"):
            self.add_error("taken_back", "Add credits or take some back, one at a time.")
        elif taken_back and not values.get("reason"):
            self.add_error("reason", "Say why they are taken back: the ledger keeps it.")
        elif taken_back and taken_back > self.instance.balance:
            self.add_error("taken_back", f"The account has {self.instance.balance:,} credits left.")
        return values


@admin.register(Account)
class AccountAdmin(LargeTableAdmin):
    """Users and their credits. A balance changes only through the ledger."""

    form = CreditsForm
    list_display = ["key", "name", "balance", "is_blocked", "created_at"]
    list_filter = ["is_blocked"]
    search_fields = ["key__exact"]  # get_search_results() looks for more
    search_help_text = "A part of a name, a Telegram id, an @username, or a key in full."
    ordering = ["-id"]
    sortable_by = ["key"]
    readonly_fields = ["key", "name", "balance", "is_blocked", "created_at", "links"]
    actions = ["block", "unblock"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        words = search_term.strip()
        return (queryset.filter(account_identified(words) | accounts_named(words)) if words else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # accounts are created when their user first appears

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        fieldsets: list[Any] = [(None, {"fields": ["key", "name", "balance", "is_blocked", "created_at", "links"]})]
        if request.user.has_perm("requests_app.add_credits"):
            fieldsets.append(("Credits", {"fields": ["amount", "taken_back", "reason", "form_key"]}))
        return fieldsets

    def get_form(self, request: HttpRequest, obj: Account | None = None, change: bool = False, **kwargs: Any) -> Any:
        if not request.user.has_perm("requests_app.add_credits"):
            kwargs |= {"form": forms.ModelForm, "fields": []}
        return super().get_form(request, obj, change=change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Book what the form says, once; the account's page of history then says what was booked."""
        form.booked = self._book(request, obj, form.cleaned_data) if "form_key" in form.cleaned_data else ""

    def _book(self, request: HttpRequest, account: Account, data: dict[str, Any]) -> str:
        amount, taken_back, reference = data["amount"], data["taken_back"], f"admin:{data['form_key']}"
        booking = {"account_id": account.pk, "actor": actor_of(request), "reason": data["reason"]}
        is_booked = False
        try:
            if amount and not _booked_as(reference):
                is_booked = bool(account_top_up(amount=amount, external_ref=reference, **booking))
            elif taken_back and not _booked_as(reference):
                is_booked = account_take_back(amount=taken_back, external_ref=reference, **booking)
        except InsufficientCredits as error:  # spent since the form was checked
            self.message_user(request, str(error), messages.ERROR)
            return ""
        if (amount or taken_back) and not is_booked:
            self.message_user(request, "This form was booked already; nothing was changed.", messages.WARNING)
        return (f"Added {amount} credits" if amount else f"Took back {taken_back} credits") if is_booked else ""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return form.booked or "Nothing was booked"

    def response_change(self, request: HttpRequest, obj: Account) -> HttpResponse:
        # Django would say that it was changed successfully, whatever was booked.
        self.message_user(request, f"{obj.name or obj.key} has {Account.objects.get(pk=obj.pk).balance:,} credits.")
        return self.response_post_save_change(request, obj)

    @admin.action(description="Block: accept no further requests", permissions=["change"])
    def block(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        self._set_blocked(request, queryset, is_blocked=True)

    @admin.action(description="Unblock", permissions=["change"])
    def unblock(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        self._set_blocked(request, queryset, is_blocked=False)

    def _set_blocked(self, request: HttpRequest, queryset: QuerySet[Account], *, is_blocked: bool) -> None:
        done = "blocked" if is_blocked else "unblocked"
        accounts = list(queryset.exclude(is_blocked=is_blocked))
        for account in accounts:
            account_set_blocked(account_id=account.pk, is_blocked=is_blocked)
            self.log_change(request, account, done.capitalize())
        self.message_user(request, f"{len(accounts)} {done}.", messages.SUCCESS if accounts else messages.INFO)

    @admin.display(description="see also")
    def links(self, account: Account) -> SafeString:
        return format_html(
            '<a href="{}?user__id__exact={}">Requests</a> · <a href="{}?account__id__exact={}">Ledger</a>',
            reverse("admin:requests_app_request_changelist"),
            account.pk,
            reverse("admin:requests_app_ledgerentry_changelist"),
            account.pk,
        )


def _booked_as(reference: str) -> list[int]:
    """Return the ledger's entries with a payment's reference. Each kind has an index, with these conditions."""
    referring = LedgerEntry.objects.filter(~Q(external_ref=Constant("")), external_ref=reference)
    kinds = (LedgerEntry.Kind.TOPUP, LedgerEntry.Kind.ADJUST)
    return [key for kind in kinds for key in referring.filter(kind=Constant(kind)).values_list("pk", flat=True)]


class KindFilter(ChoiceFilter):
    usual = [LedgerEntry.Kind.HOLD, LedgerEntry.Kind.CAPTURE]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Every movement of credits, append-only."""

    list_display = ["id", "created_at", "account", code_of("kind"), "amount", "actor", "reason", "request_id"]
    list_prefetch_related = ["account"]
    list_filter = [("kind", KindFilter)]
    search_fields = ["request__id__exact"]  # get_search_results() looks for more
    search_help_text = "A request's id or a payment's reference, in full."
    ordering = ["-id"]
    sortable_by = ["id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        if words.startswith("req_"):
            return queryset.filter(request_id=words), False
        return queryset.filter(pk__in=_booked_as(words)), False


@admin.register(RequestEvent)
class RequestEventAdmin(ReadOnlyAdmin):
    """Every change of a request's status: who, when and why."""

    list_display = ["id", "created_at", "from_status", "to_status", "actor", "reason", "request_id"]
    search_fields = ["request__id__exact"]
    search_help_text = "A request's id, in full."
    ordering = ["-id"]
    sortable_by = ["id"]


@admin.register(MaintenanceMode)
class MaintenanceModeAdmin(ModelAdmin):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """The switch of maintenance mode: adding its row holds prompts back, deleting it lets them in."""

    list_display = ["__str__", "notice", "began_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not MaintenanceMode.objects.exists()

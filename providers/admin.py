"""The operator's view of the chain, the breaker, every outgoing call and the hourly sums."""

from copy import copy
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, PositiveSmallIntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from providers import registry
from providers.access import is_configured
from providers.admin_base import (
    CategoryFilter,
    ChoiceFilter,
    ProviderFilter,
    ReadOnlyAdmin,
    code_of,
    shown_cost,
    shown_ms,
)
from providers.admin_fields import NamesField, PricesField
from providers.admin_order import RouteOrderAdmin, last_day_of, shown_figures
from providers.admin_playground import PlaygroundAdmin
from providers.admin_reconciliation import reconciliation_csv, reconciliation_page
from providers.admin_versions import VersionedAdmin, VersionedForm
from providers.chain.candidates import can_serve
from providers.chain.circuit_breaker import (
    CircuitState,
    circuit_of,
    health_of,
    reset,
    with_operators_pauses,
    with_pauses,
)
from providers.db import Constant
from providers.models import Attempt, AttemptRollup, ProviderConfig, ProviderHealth, RoutingRule, pause_words
from providers.registry import is_implemented
from providers.route_fields import EFFORTS, is_field, is_tag
from providers.routes.advice import unservable
from providers.statistics.rollups import not_folded
from providers.statistics.selectors import CATEGORY_ORDER, shown_usd
from providers.types import Category, Operation, Purpose

THIS_VERSION = "This version"
ANSWERS_FIRST = Case(When(operation=Operation.GENERATE.value, then=Value(0)), default=Value(1))
# TEXT first, as everywhere else; the alphabet would begin with AUDIO.
AS_USERS_KNOW_THEM = Case(*(When(category=name, then=Value(place)) for name, place in CATEGORY_ORDER.items()))


class ProviderConfigForm(VersionedForm):
    """A route that its provider can serve, with a model that it has, unless somebody knows better."""

    not_kept = VersionedForm.not_kept | {"doubted_model"}
    doubts = ""  # about the model, for this request
    doubted_model = forms.CharField(required=False, widget=forms.HiddenInput)  # shown with its doubts before

    reasoning_effort = forms.ChoiceField(
        choices=[("", "–"), *((effort, effort) for effort in EFFORTS)],
        widget=UnfoldAdminSelectWidget,
        required=False,
        help_text=ProviderConfig._meta.get_field("reasoning_effort").help_text,
    )
    prices = PricesField(help_text=ProviderConfig._meta.get_field("prices").help_text)
    tags = NamesField(
        is_name=is_tag,
        words="is no tag. Tags have small letters a to z, digits, - and _, and commas between them.",
        help_text=ProviderConfig._meta.get_field("tags").help_text,
    )
    drop_fields = NamesField(
        is_name=is_field,
        words="is no field of a body. Type names such as reasoning_effort or input.seed, with commas between them.",
        help_text=ProviderConfig._meta.get_field("drop_fields").help_text,
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        category, provider, operation = (
            values.get(name) or getattr(self.instance, name) for name in ("category", "provider", "operation")
        )
        if not category or not provider or self.errors.keys() & {"category", "provider", "operation"}:
            return values
        problem = unservable(
            Category(category), provider, Operation(operation), web_search=bool(values.get("web_search"))
        )
        if problem:
            self.add_error(problem.field, problem.words)
        if self.doubts and not self.errors and values["doubted_model"] != values["model"]:
            data: Any = copy(self.data)  # what came is immutable
            data["doubted_model"] = values["model"]
            self.data = data
            self.add_error("model", f"{self.doubts}. Save again to save it anyway.")
        return values


@admin.register(ProviderConfig)
class ProviderConfigAdmin(RouteOrderAdmin, PlaygroundAdmin):
    """The chain. Keys and addresses come from the environment and are not shown."""

    form = ProviderConfigForm
    list_display = [
        "shown_route",
        "shown_category",
        "model",
        "enabled",
        "priority",
        "weight",
        "has_key",
        "circuit",
        "shown_price",
    ]
    list_editable = ["enabled", "priority", "weight"]
    list_filter = ["category", "operation", "enabled"]
    ordering: ClassVar[Any] = [AS_USERS_KNOW_THEM.asc(), ANSWERS_FIRST.asc(), "priority", "provider"]
    readonly_fields = [
        "has_key",
        "circuit",
        "pause_reason",
        "last_day",
        "updated_at",
        "names_in_extra_body",
        "names_in_extra_headers",
    ]
    formfield_overrides = {
        PositiveSmallIntegerField: {"widget": UnfoldAdminIntegerFieldWidget(attrs={"style": "width: 6em"})}
    }
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("category", "operation"),
                    ("provider", "name"),
                    "model",
                    "has_key",
                    "circuit",
                    "pause_reason",
                    "last_day",
                ]
            },
        ),
        ("Order", {"fields": ["enabled", "priority", "weight", "tags"]}),
        ("Prices", {"fields": [("list_price", "price_unit"), "prices", "daily_cap_usd"]}),
        (
            "Calls",
            {
                "fields": [
                    "capabilities",
                    "timeout_seconds",
                    ("max_output_tokens", "reasoning_effort"),
                    "web_search",
                    "extra_body",
                    "drop_fields",
                    "extra_headers",
                    "updated_at",
                ]
            },
        ),
        (THIS_VERSION, {"fields": ["why", "doubted_model"]}),
    ]

    def get_fieldsets(self, request: HttpRequest, obj: ProviderConfig | None = None) -> Any:
        """Extra headers and body may hold secrets: who may only view routes sees the names in them."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj) or self.has_add_permission(request):
            return fieldsets
        fieldsets = [each for each in fieldsets if each[0] != THIS_VERSION]  # which is for those who make one
        hidden: dict[Any, str] = {"extra_body": "names_in_extra_body", "extra_headers": "names_in_extra_headers"}
        return [
            (title, {**options, "fields": [hidden.get(name, name) for name in options["fields"]]})
            for title, options in fieldsets
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderConfig]:
        routes: Any = super().get_queryset(request)
        return with_pauses(routes.with_pause())

    def get_readonly_fields(self, request: HttpRequest, obj: ProviderConfig | None = None) -> list[str]:
        """Once a route has made a call, its name, its provider and what it is for are on record, and stay."""
        return [*super().get_readonly_fields(request, obj), *(obj.fixed_fields() if obj else [])]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "GET":
            unanswered = ", ".join(category for category in Category if not can_serve(category))
            if unanswered:
                words = f"Nobody answers {unanswered}: no enabled route of it has a key."
                self.message_user(request, words, messages.WARNING)
        return super().changelist_view(request, extra_context)

    @admin.display(description="route", ordering="provider")
    def shown_route(self, row: ProviderConfig) -> str:
        return row.label

    @admin.display(description="category", ordering="category")
    def shown_category(self, row: ProviderConfig) -> str:
        return row.category if row.operation == Operation.GENERATE else f"{row.category}, {row.operation}"

    @admin.display(description="list price", ordering="list_price", empty_value="unknown")
    def shown_price(self, row: ProviderConfig) -> str | None:
        return None if row.list_price is None else f"{shown_usd(row.list_price)} / {row.get_price_unit_display()}"

    @admin.display(description="key", boolean=True)
    def has_key(self, row: ProviderConfig) -> bool:
        return is_configured(row.provider)

    @admin.display(description="extra body")
    def names_in_extra_body(self, route: ProviderConfig) -> str:
        return ", ".join(route.extra_body) or "–"

    @admin.display(description="extra headers")
    def names_in_extra_headers(self, route: ProviderConfig) -> str:
        return ", ".join(route.extra_headers) or "–"

    def state_of(self, route: Any) -> str:
        return self.circuit(route) if self.has_key(route) else "no key"

    def price_of(self, route: Any) -> str:
        return self.shown_price(route) or "no list price"

    @admin.display(description="circuit")
    def circuit(self, row: Any) -> str:
        if not is_implemented(Category(row.category), row.provider, Operation(row.operation)):
            return "not supported yet"
        if row.is_paused:
            return str(row.pause_words)
        if row.open_until is None:
            return "closed"
        key = f"key {row.paused_key[:8]} " if row.paused_key else ""
        if row.open_until <= row.now:
            return f"{key}half-open: probed next"
        return f"{key}paused until {timezone.localtime(row.open_until):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="why it is paused")
    def pause_reason(self, row: Any) -> str:
        return (row.paused_because if row.is_paused else row.reason_of_pause) or "–"

    @admin.display(description="last 24 hours")
    def last_day(self, route: ProviderConfig) -> str:
        return shown_figures(last_day_of(Category(route.category)).get(route.name))


@admin.register(RoutingRule)
class RoutingRuleAdmin(VersionedAdmin):
    """In which order the routes of each category are asked."""

    list_display = ["category", "rule"]
    list_editable = ["rule"]
    list_display_links = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # each category has its row

    def has_delete_permission(self, request: HttpRequest, obj: RoutingRule | None = None) -> bool:
        return False


@admin.register(ProviderHealth)
class ProviderHealthAdmin(ReadOnlyAdmin):
    """The circuits that have ever failed. Written by workers; an operator can close a circuit at once."""

    list_display = ["__str__", "state", "reason", "failures", "updated_at"]
    list_filter = ["category"]
    ordering = ["category", "provider", "route"]
    readonly_fields = ["state"]
    actions = ["reset_now"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderHealth]:
        circuits: QuerySet[ProviderHealth] = super().get_queryset(request)
        return with_operators_pauses(circuits)

    def get_fields(self, request: HttpRequest, obj: ProviderHealth | None = None) -> Any:
        return ["state", *(name for name in super().get_fields(request, obj) if name != "state")]

    @admin.display(description="state")
    def state(self, row: Any) -> str:
        health = health_of(row, row.now)
        if health.state is CircuitState.OPEN:
            words = f"open: paused until {timezone.localtime(row.open_until):%Y-%m-%d %H:%M:%S}"
        elif health.state is CircuitState.HALF_OPEN:
            words = f"half-open: {'being probed' if health.is_probed else 'probed next'}"
        else:
            words = "closed"
        pause = pause_words(row.paused_until, by=row.paused_by, because=row.paused_because) if row.paused_until else ""
        return f"{words}; {pause}" if pause else words

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("providers.change_providerhealth")

    @admin.action(description="Resume now: try it again with the next request", permissions=["operate"])
    def reset_now(self, request: HttpRequest, queryset: QuerySet[ProviderHealth]) -> None:
        resumed = [row for row in queryset if reset(circuit_of(row))]
        for row in resumed:
            self.log_change(request, row, f"Resumed; it was paused because of {row.reason or 'failures'}")
        level = messages.SUCCESS if resumed else messages.INFO
        self.message_user(request, f"{len(resumed)} of {len(queryset)} resumed.", level)


class StateFilter(ChoiceFilter):
    usual = [Attempt.State.OK, Attempt.State.SENDING]

    def index_condition(self, choice: str) -> Q:
        return Q(finished_at__isnull=True) if choice == Attempt.State.SENDING else super().index_condition(choice)


class PurposeFilter(ChoiceFilter):
    usual = [Purpose.USER]


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """Every outgoing call. No prompt and no key is in here."""

    list_display = [
        "created_at",
        "provider",
        "category",
        code_of("state"),
        "error_class",
        "http_status",
        "shown_cost",
        "shown_duration",
        "model",
        "caller_key",
    ]
    list_filter = [
        "created_at",
        ("state", StateFilter),
        ("purpose", PurposeFilter),
        ("category", CategoryFilter),
        ProviderFilter,
    ]
    search_fields = ["caller_key__exact"]  # get_search_results() looks for more
    search_help_text = "A request's id or a provider's job id, in full."
    ordering = ["-created_at"]
    sortable_by = ["created_at"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Attempt], search_term: str
    ) -> tuple[QuerySet[Attempt], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        of_caller = queryset.filter(caller_key=words)
        if of_caller.exists():
            return of_caller, False
        # Apart, and with the condition of the index that contains jobs.
        is_job = Q(job_id=words, provider__in=[slug for slug, _ in registry.choices()]) & ~Q(job_id=Constant(""))
        return queryset.filter(is_job), False

    @admin.display(description="cost")
    def shown_cost(self, attempt: Attempt) -> str:
        return shown_cost(attempt.cost, is_billed=attempt.is_billed)

    @admin.display(description="duration")
    def shown_duration(self, attempt: Attempt) -> str:
        return shown_ms(attempt.duration_ms)


@admin.register(AttemptRollup)
class AttemptRollupAdmin(ReadOnlyAdmin):
    """The hourly sums. `manage.py recount` counts them again."""

    list_display = ["hour", "category", "provider", "requests", "successes", "shown_total", "unknown_costs", "avg_time"]
    list_filter = ["hour", "category", ProviderFilter]
    ordering = ["-hour", "category", "provider"]
    sortable_by = ["hour"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        number, cost = not_folded()
        if number:
            attempts = "1 attempt" if number == 1 else f"{number} attempts"
            words = f"Not in these sums yet: {attempts}, {shown_usd(cost)} known. The statistics of the API have both."
            self.message_user(request, words, messages.INFO)
        return super().changelist_view(request, extra_context)

    def get_urls(self) -> list[URLPattern]:
        views = (
            ("reconciliation/", "providers_attemptrollup_reconciliation", self.reconciliation_view),
            ("reconciliation/csv/", "providers_attemptrollup_reconciliation_csv", self.reconciliation_csv_view),
        )
        own = [path(address, self.admin_site.admin_view(view), name=name) for address, name, view in views]
        return [*own, *super().get_urls()]

    def reconciliation_view(self, request: HttpRequest) -> HttpResponse:
        self._refuse_strangers(request)
        return reconciliation_page(request, self.admin_site)

    def reconciliation_csv_view(self, request: HttpRequest) -> HttpResponse:
        self._refuse_strangers(request)
        return reconciliation_csv(request)

    def _refuse_strangers(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    @admin.display(description="known costs")
    def shown_total(self, rollup: AttemptRollup) -> str:
        return shown_usd(rollup.total_cost)

    @admin.display(description="time of a success")
    def avg_time(self, rollup: AttemptRollup) -> str:
        return shown_ms(rollup.success_ms / rollup.successes if rollup.successes else None)

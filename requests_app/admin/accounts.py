"""The admin pages of accounts and their ledger. What their actions do is in services."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from providers.admin_base import (
    ChoiceFilter,
    LargeTableAdmin,
    ReadOnlyAdmin,
    code_of,
)
from providers.db import Constant
from providers.versioning import actor_of
from requests_app.account_search import account_keys
from requests_app.admin.account_operations import ACCOUNT_OPERATIONS
from requests_app.admin.operations import OperationsMixin, action_of
from requests_app.analytics.accounts import (
    AccountFigures,
    account_figures,
    newest_movements,
    newest_requests,
    user_records,
)
from requests_app.analytics.figures import UserFigures
from requests_app.analytics.sums import NOT_OF_REQUESTS
from requests_app.delivery_backend import UserRecord
from requests_app.errors import InsufficientCredits
from requests_app.models import Account, LedgerEntry
from requests_app.services.accounts import account_take_back, account_top_up


class CreditsForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """Adds credits or takes some back. Everything else about an account is written by the services."""

    amount = forms.IntegerField(
        label="Add credits",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Added when you save.",
    )
    is_paid = forms.BooleanField(
        label="Paid",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="The user has bought the credits that are added. Unticked: they are given.",
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
        elif values.get("is_paid") and not values.get("amount"):
            self.add_error("is_paid", "Only credits that are added are paid for.")
        elif taken_back and not values.get("reason"):
            self.add_error("reason", "Say why they are taken back: the ledger keeps it.")
        elif taken_back and taken_back > self.instance.balance:
            self.add_error("taken_back", f"The account has {self.instance.balance:,} credits left.")
        return values


MAX_FOUND = 1_000  # accounts of one name
IDENTITY = ["key", "name", "balance", "is_blocked", "created_at", "records", "links"]  # above the form


@admin.register(Account)
class AccountAdmin(OperationsMixin, LargeTableAdmin):
    """Users and their credits. A balance changes only through the ledger."""

    operations = ACCOUNT_OPERATIONS
    actions = [action_of(operation) for operation in ACCOUNT_OPERATIONS]

    form = CreditsForm
    list_display = ["key", "name", "balance", "is_blocked", "created_at"]
    list_filter = ["is_blocked"]
    search_fields = ["key__exact"]  # get_search_results() looks for more
    search_help_text = "Parts of a name, a Telegram id, an @username, or a key in full."
    ordering = ["-id"]
    sortable_by = ["key"]
    readonly_fields = [*IDENTITY, "figures", "movements", "requests"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Account], search_term: str
    ) -> tuple[QuerySet[Account], bool]:
        words = search_term.strip()
        if not words:
            return queryset, False
        # Once, for the list and for its count: a part of a name is searched in all of them.
        keys = account_keys(Account.objects.all(), words, at_most=MAX_FOUND + 1)
        if len(keys) > MAX_FOUND:
            warning = f"More than {MAX_FOUND:,} users are called so; these are the newest. Type more of the name."
            self.message_user(request, warning, messages.WARNING)
        return queryset.filter(pk__in=keys[:MAX_FOUND]), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # accounts are created when their user first appears

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        fieldsets: list[Any] = [(None, {"fields": IDENTITY})]
        if request.user.has_perm("requests_app.add_credits"):
            fieldsets.append(("Credits", {"fields": ["amount", "is_paid", "taken_back", "reason", "form_key"]}))
        fieldsets.append(("Use and cost", {"fields": ["figures"]}))
        for title, field, table in (("Movements", "movements", "ledgerentry"), ("Requests", "requests", "request")):
            if request.user.has_perm(f"requests_app.view_{table}"):
                fieldsets.append((title, {"fields": [field]}))
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
                is_paid = data["is_paid"]
                is_booked = bool(account_top_up(amount=amount, is_paid=is_paid, external_ref=reference, **booking))
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

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("requests_app.erase_account")

    def log_change(self, request: HttpRequest, obj: Account, message: Any) -> Any:
        obj.refresh_from_db(fields=["name"])  # the history must not bring back a name that was just erased
        return super().log_change(request, obj, message)

    @admin.display(description="known as")
    def records(self, account: Account) -> SafeString:
        return _once(account, "records", lambda: _shown_records(user_records(account.pk)))

    @admin.display(description="in figures")
    def figures(self, account: Account) -> SafeString:
        return _once(account, "figures", lambda: _shown_figures(account_figures(account)))

    @admin.display(description="newest")
    def movements(self, account: Account) -> SafeString:
        return _once(account, "movements", lambda: _rendered("movements", newest_movements(account.pk)))

    @admin.display(description="newest")
    def requests(self, account: Account) -> SafeString:
        return _once(account, "requests", lambda: _rendered("requests", newest_requests(account.pk)))

    @admin.display(description="see also")
    def links(self, account: Account) -> SafeString:
        return format_html(
            '<a href="{}?user__id__exact={}">Requests</a> · <a href="{}?account__id__exact={}">Ledger</a>',
            reverse("admin:requests_app_request_changelist"),
            account.pk,
            reverse("admin:requests_app_ledgerentry_changelist"),
            account.pk,
        )


def _once(account: Account, name: str, show: Callable[[], SafeString]) -> SafeString:
    """Return what a field of the page shows: unfold's templates ask for it several times, and it takes queries."""
    shown: dict[str, SafeString] = account.__dict__.setdefault("_shown", {})  # the row lives as long as the page
    if name not in shown:
        shown[name] = show()
    return shown[name]


def _shown_records(records: Sequence[UserRecord]) -> SafeString:
    link = '{}: <a class="text-primary-600 underline" href="{}">{}</a>'
    values = ((record.what, record.url, record.name) for record in records)
    return format_html_join(mark_safe("<br>"), link, values) or mark_safe("–")


def _shown_figures(figures: AccountFigures) -> SafeString:
    context = {"figures": figures, "rows": _rows_of(figures)}
    return render_to_string("admin/requests_app/account_figures.html", context)


def _rendered(name: str, rows: Sequence[Model]) -> SafeString:
    return render_to_string(f"admin/requests_app/account_{name}.html", {name: rows})


def _rows_of(figures: AccountFigures) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what it is, of the last days, in all."""
    lines: dict[str, Callable[[UserFigures], str]] = {
        "Requests": lambda user: f"{user.requests:,}",
        "Answered": lambda user: f"{user.completed:,}",
        "Credits used": lambda user: f"{user.credits_used:,}",
        "Price of these credits": lambda user: _usd(user.income),
        "Known cost": lambda user: _usd(user.cost),
        "Calls of unknown cost": lambda user: f"{user.unknown_costs:,}",
        "Margin": _margin,
    }
    return [(name, line(figures.lately), line(figures.in_all)) for name, line in lines.items()]


def _margin(user: UserFigures) -> str:
    if user.profit is None:
        return "unknown: credits have no price"
    share = "" if user.margin is None else f" ({user.margin:.0%})"
    return f"{'at most ' if user.unknown_costs else ''}{_usd(user.profit)}{share}"


def _usd(amount: Decimal | None) -> str:
    if amount is None:
        return "unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.4f}"


def _booked_as(reference: str) -> list[int]:
    """Return the ledger's entries with a payment's reference. Each kind has an index, with these conditions."""
    referring = LedgerEntry.objects.filter(~Q(external_ref=Constant("")), external_ref=reference)
    kinds = (LedgerEntry.Kind.TOPUP, LedgerEntry.Kind.ADJUST)
    return [key for kind in kinds for key in referring.filter(kind=Constant(kind)).values_list("pk", flat=True)]


class SoldFilter(admin.SimpleListFilter):
    """Filters top-ups by whether they were paid for."""

    title = "sold or given"
    parameter_name = "top_up"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("sold", "Sold"), ("given", "Given")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LedgerEntry]) -> QuerySet[LedgerEntry]:
        if self.value() not in ("sold", "given"):
            return queryset
        # The first condition is that of their index, the second that of the index of an account's.
        top_ups = queryset.filter(NOT_OF_REQUESTS, kind=Constant(LedgerEntry.Kind.TOPUP))
        return top_ups.filter(is_paid=self.value() == "sold")


class KindFilter(ChoiceFilter):
    usual = [LedgerEntry.Kind.HOLD, LedgerEntry.Kind.CAPTURE]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Every movement of credits, append-only."""

    list_display = [
        "id", "created_at", "account", code_of("kind"), "amount", "is_paid", "actor", "reason", "request_id"
    ]  # fmt: skip
    list_prefetch_related = ["account"]
    list_filter = [SoldFilter, ("kind", KindFilter)]
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

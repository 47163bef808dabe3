"""The admin pages of accounts and their ledger. What their actions do is in services."""

from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from providers.admin_base import (
    ChoiceFilter,
    LargeTableAdmin,
    ReadOnlyAdmin,
    code_of,
)
from providers.db import Constant
from providers.versioning import actor_of
from requests_app.account_search import account_identified, accounts_named
from requests_app.errors import InsufficientCredits
from requests_app.models import Account, LedgerEntry
from requests_app.services.accounts import account_set_blocked, account_take_back, account_top_up


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

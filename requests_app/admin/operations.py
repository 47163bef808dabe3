"""What an operator does to rows of a list or to the row of a page: always with a reason, always asked once more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from providers.admin_base import ModelAdmin
from providers.versioning import actor_of
from requests_app.errors import RequestRefused

MAX_ROWS = 200  # in one go
MAX_REFUSALS = 5  # that are told one by one


@dataclass(frozen=True, slots=True)
class Target:
    """A row to which an operation applies, as its confirmation page shows it."""

    row: Model
    note: str = ""  # what will happen to it, such as "3 credits"
    seen: str = ""  # what the operator decides on, sent back with the form


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operator has decided about one row."""

    row_id: str
    actor: str
    reason: str
    seen: str  # of its target


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the list of actions, and one button of a row's page."""

    name: str
    label: str  # of the button
    description: str  # of the entry
    consequences: str  # what the confirmation page says
    permission: str  # as ModelAdmin calls it: has_…_permission()
    done: str  # after a number, such as "refunded"
    applies: Callable[[Any], bool]  # to this row, as far as the row itself says
    targets: Callable[[Sequence[Any]], Sequence[Target]]  # of rows to which it applies
    run: Callable[[Decision], str]  # returns what was done, for the history, "" for nothing; raises RequestRefused


class ReasonForm(forms.Form):
    """Why somebody does it: events, ledger and history keep it."""

    reason = forms.CharField(
        max_length=200,
        error_messages={"required": "Say why: it is kept."},
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
    )


def action_of(operation: Operation) -> Callable[..., HttpResponse | None]:
    """Return the entry of ModelAdmin.actions that begins an operation."""

    @admin.action(description=operation.description, permissions=[operation.permission])
    def act(model_admin: "OperationsMixin", request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return model_admin.operate(request, queryset, operation)

    act.__name__ = operation.name
    return act


class OperationsMixin(ModelAdmin):
    """An admin whose rows have operations. Its page of a row posts to the list, as if that row were selected."""

    operations: Sequence[Operation]
    change_form_template = "admin/requests_app/operations_change_form.html"

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Answer a form of the list; one that names what can be no row finds none, where Django would fail."""
        if not all(map(self._is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            self.message_user(request, "There are no such rows.", messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset)

    def _is_key(self, text: str) -> bool:
        key = self.opts.pk
        try:
            key.run_validators(key.to_python(text))
        except ValidationError:
            return False
        return "\x00" not in text

    def operate(self, request: HttpRequest, queryset: QuerySet[Any], operation: Operation) -> HttpResponse | None:
        """Ask for the reason, then do it to each of the rows."""
        if len(queryset[: MAX_ROWS + 1]) > MAX_ROWS:
            self.message_user(request, f"At most {MAX_ROWS} at a time.", messages.ERROR)
            return None
        is_answered = "reason" in request.POST
        form = ReasonForm(request.POST if is_answered else None)
        begun_at = self._begun_at(request, queryset)
        if not (is_answered and form.is_valid()):
            targets = operation.targets([row for row in queryset if operation.applies(row)])
            if not targets:
                words = "There is nothing to do: none of these is in a state for it, or it was done before."
                self.message_user(request, words, messages.WARNING)
                return HttpResponseRedirect(begun_at)
            context = {
                **self.admin_site.each_context(request),
                "title": operation.label,
                "subpage": operation.label,
                "opts": self.opts,
                "operation": operation,
                "targets": targets,
                "form": form,
                "begun_at": begun_at,
                "page_of": request.POST.get("page_of", ""),
            }
            return TemplateResponse(request, "admin/requests_app/operation.html", context)
        self._run(request, queryset, operation, form.cleaned_data["reason"])
        return HttpResponseRedirect(begun_at)

    def _begun_at(self, request: HttpRequest, queryset: QuerySet[Any]) -> str:
        """Return the address of the row's page where its button was pressed, else of the list as it was filtered."""
        rows = list(queryset)
        if request.POST.get("page_of") and len(rows) == 1:
            opts = self.opts
            return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[rows[0].pk])
        return request.get_full_path()

    def _run(self, request: HttpRequest, queryset: QuerySet[Any], operation: Operation, reason: str) -> None:
        done, refusals = 0, []
        for row in list(queryset):
            decision = Decision(row.pk, actor_of(request), reason, seen=request.POST.get(f"seen-{row.pk}", ""))
            try:
                words = operation.run(decision)
            except RequestRefused as error:
                refusals.append(f"{error} ({row.pk})")
                continue
            if words:
                done += 1
                self.log_change(request, row, f"{words}: {reason}")
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, f"{done} {operation.done}.", level)
        for refusal in refusals[:MAX_REFUSALS]:
            self.message_user(request, refusal, messages.WARNING)
        if len(refusals) > MAX_REFUSALS:
            words = f"{len(refusals) - MAX_REFUSALS} further ones were refused as well."
            self.message_user(request, words, messages.WARNING)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        row = kwargs.get("obj")
        allowed = [each for each in self.operations if getattr(self, f"has_{each.permission}_permission")(request)]
        # What applies by the row alone may have been done already, or have nothing to give back or to show.
        context["operations"] = [
            operation
            for operation in allowed
            if row is not None and operation.applies(row) and operation.targets([row])
        ]
        return super().render_change_form(request, context, *args, **kwargs)

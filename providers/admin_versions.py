"""The versions of a row in the admin: a page that lists them, one click back, and what was removed."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from providers.admin_changes import FreshForm, SharedAdmin
from providers.route_fields import UNRECORDED
from providers.versioning import (
    MAX_REASON,
    Returned,
    VersionConflict,
    actor_of,
    removed_rows,
    sign,
    version_return,
    versions_of,
)

MAX_ENTRIES = 100  # of the log, beside the versions


class VersionedForm(FreshForm):
    """A form that asks why."""

    not_kept = frozenset({"why"})  # fields that are no columns
    why = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        widget=UnfoldAdminTextInputWidget,
        help_text="Kept with this version.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.not_kept & self.fields.keys():  # none where it is only viewed
            self.fields[name].show_hidden_initial = False

    @property
    def changed_data(self) -> list[str]:
        return [name for name in super().changed_data if name not in self.not_kept]


class VersionedAdmin(SharedAdmin):
    """An admin of rows whose changes are versions."""

    form = VersionedForm
    change_list_template = "admin/versioned_change_list.html"

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_removed"
        return [path("removed/", self.admin_site.admin_view(self.removed_view), name=name), *super().get_urls()]

    def tools(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Return the links above the list: what they say, and the names of their addresses."""
        can_remove = self.has_delete_permission(request) or self.has_add_permission(request)
        return [("Removed", "removed")] if can_remove else []

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        tools = [(words, reverse(self._address(name))) for words, name in self.tools(request)]
        return super().changelist_view(request, {"tools": tools, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and not form.changed_data:
            return  # nothing to keep a version of
        sign(obj, actor=actor_of(request), reason=form.cleaned_data.get("why", ""))
        if change:
            # The version holds the whole row, as it is now: another operator may have written other fields meanwhile.
            others = {field.name for field in obj._meta.concrete_fields} - set(form.changed_data)
            try:
                obj.refresh_from_db(fields=others, from_queryset=self.model._default_manager.select_for_update())
            except self.model.DoesNotExist as error:
                raise Http404("It was removed meanwhile.") from error
        super().save_model(request, obj, form, change)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Name the fields; the version has their values. Of what a version does not hold, the keys are named here."""
        words = super().construct_change_message(request, form, formsets, add)
        if add or not form.changed_data:
            return words
        hidden = [part for name in form.changed_data if name in UNRECORDED for part in [self.change_words(form, name)]]
        named = [str(form[name].label) for name in form.changed_data if name not in UNRECORDED]
        return [{"changed": {"fields": [*named, *hidden]}}]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the versions of a row, present or removed; a POST returns to one of them."""
        row = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        may_return = self.has_change_permission(request, row) if row else self.has_add_permission(request)
        if request.method == "POST":
            if not may_return:
                raise PermissionDenied
            return self._return(request)
        versions = versions_of(self.model, row.pk if row else _key(object_id))
        if not versions and row is None:
            return super().history_view(request, object_id)  # which says that there is none
        log = LogEntry.objects.filter(
            object_id=unquote(object_id), content_type=ContentType.objects.get_for_model(self.model)
        )
        context = {
            **self.admin_site.each_context(request),
            "title": f"Versions of {row}" if row else "Versions of a removed row",
            "opts": self.opts,
            "object": row,
            "subpage": "Versions",
            "versions": versions,
            "latest_id": versions[0].id if versions else "",
            "may_return": may_return,
            "has_hidden": UNRECORDED.intersection(field.name for field in self.opts.fields),
            "log": log.select_related("user").order_by("-action_time")[:MAX_ENTRIES],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/versions.html", context)

    def removed_view(self, request: HttpRequest) -> HttpResponse:
        """List what was removed; the page of each brings it back."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = [
            (reverse(self._address("history"), args=[key]), name, last) for key, name, last in removed_rows(self.model)
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Removed {self.opts.verbose_name_plural}",
            "subpage": "Removed",
            "opts": self.opts,
            "rows": rows,
        }
        return TemplateResponse(request, "admin/removed.html", context)

    def _return(self, request: HttpRequest) -> HttpResponse:
        try:
            version_id, latest_id = int(request.POST.get("version", "")), int(request.POST.get("latest", ""))
            returned = version_return(
                model=self.model, version_id=version_id, latest_id=latest_id, actor=actor_of(request)
            )
        except ValidationError as error:
            words = f"It cannot return to that version: {' '.join(error.messages)}"
            self.message_user(request, words, messages.ERROR)
        except (OverflowError, ValueError):
            self.message_user(request, "There is no such version.", messages.ERROR)
        except VersionConflict as conflict:
            self.message_user(request, str(conflict), messages.ERROR)
        else:
            self.message_user(request, words_of(returned), messages.SUCCESS)
        return HttpResponseRedirect(request.path)

    def _address(self, name: str) -> str:
        return f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{name}"


def _key(object_id: str) -> int:
    """Return what may be the key of a removed row; 0 is nobody's."""
    return int(object_id) if object_id.isascii() and object_id.isdigit() and len(object_id) < 19 else 0


def words_of(returned: Returned) -> str:
    """Say what returning to a version has changed."""
    if returned.is_restored:
        return "It is back, as it was. Extra headers and extra fields of the body are not kept: put them in again."
    changes = "; ".join(map(str, returned.changes))
    kept = f" These stay, because attempts name them: {', '.join(returned.kept)}." if returned.kept else ""
    return (f"Returned. {changes}." if changes else "There was nothing to change.") + kept

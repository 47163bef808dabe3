"""Changes in the admin: none undoes somebody else's unseen, and the history says what was and what is."""

from copy import copy
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.http import HttpRequest

from providers.admin_base import ModelAdmin
from providers.route_fields import UNRECORDED
from providers.versioning import shown


class FreshForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    """A form that writes what its reader changed, and nothing else, however old the page is.

    The page sends back what it showed. A field that somebody else has set since stays as it is now; where the reader
    has changed it too, the form is refused once with the new value, and the next *Save* decides.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            # What was not posted with what was shown, as by a script, is compared with the row.
            is_compared = not self.is_bound or self.add_initial_prefix(name) in self.data
            field.show_hidden_initial = self.instance.pk is not None and is_compared
        # In a list somebody may have deleted this row since, and Django takes the next one for it.
        posted_key = self.data.get(self.add_prefix(self.instance._meta.pk.name))
        self.is_gone = posted_key not in (None, str(self.instance.pk))
        self.empty_permitted = self.empty_permitted or self.is_gone

    def has_changed(self) -> bool:
        return not self.is_gone and super().has_changed()

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        for bound in self:
            if not bound.field.show_hidden_initial or not self._is_stale(bound):
                continue
            if bound.name in self.changed_data and bound.field.has_changed(bound.initial, bound.data):
                self._show_current(bound)
                now = shown(bound.initial)
                self.add_error(bound.name, f"Meanwhile it was changed to {now}. Save again to overwrite that.")
            else:
                values[bound.name] = getattr(self.instance, bound.name)
        return values

    def _is_stale(self, bound: BoundField) -> bool:
        return bound.field.has_changed(bound.initial, self.data[bound.html_initial_name])

    def _show_current(self, bound: BoundField) -> None:
        current = bound.field.prepare_value(bound.initial)
        data: Any = copy(self.data)  # what came is immutable
        data[bound.html_initial_name] = "" if current is None else str(current)
        self.data = data


class SharedAdmin(ModelAdmin):
    """An admin of rows that several operators edit: a list and a history as this module promises them."""

    form = FreshForm
    list_max_show_all = 100  # more would be more fields than Django takes

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the fields that were changed: a worker or another operator may be writing others."""
        written_by_itself = {field.name for field in obj._meta.concrete_fields if getattr(field, "auto_now", False)}
        obj.save(update_fields={*form.changed_data, *written_by_itself} if change else None)

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> Any:
        return super().get_changelist_form(request, form=FreshForm, **kwargs)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if add or not form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        return ". ".join(self.change_words(form, name) for name in form.changed_data)

    def change_words(self, form: Any, name: str) -> str:
        """Return what changed in a field, as the history shows it."""
        return f"{form[name].label}: {_change(form, name)}"


def _change(form: FreshForm, name: str) -> str:
    before, now = form.initial.get(name), getattr(form.instance, name)
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return f"{shown(before)} → {shown(now)}"
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if name in UNRECORDED:
        return shown(", ".join(keys))
    return ", ".join(f"{shown(key)} {shown(before.get(key))} → {shown(now.get(key))}" for key in keys)

"""A JSON column that an operator types into: checked whatever it holds, and its default where it is left empty.

Django takes [] and {} for "no value" and checks neither, and it stores null for an empty box.
"""

import json
import re
from typing import Any

from django import forms
from django.db import models

NO_VALUES = [None, ""]
UNSTORABLE = re.compile(r"\\u0000|[\ud800-\udfff]")  # in JSON


class TypedJSONFormField(forms.JSONField):
    """The box on a form: JSON with a line for each thing in it, or nothing for the default."""

    empty_values = NO_VALUES

    def to_python(self, value: Any) -> Any:
        """Return what the JSON stands for, the default where there is none."""
        typed = super().to_python(value)
        # Neither of these can be stored in PostgreSQL, and JSON spells both as escapes.
        if UNSTORABLE.search(json.dumps(typed, ensure_ascii=False)):
            raise forms.ValidationError(r"It has a NUL (\u0000), or half of a character (\ud800 to \udfff).")
        return self.initial() if typed is None and callable(self.initial) else typed

    def prepare_value(self, value: Any) -> Any:
        """Return the JSON as it is shown."""
        if isinstance(value, list | dict) and value:
            # Half of a character is shown as it was typed, which its encoding could not do.
            return json.dumps(value, ensure_ascii=False, indent=2).encode(errors="backslashreplace").decode()
        return super().prepare_value(value)


class TypedJSONField(models.JSONField):
    """The column. Migrations see Django's own field."""

    empty_values = NO_VALUES

    def formfield(self, form_class: Any = TypedJSONFormField, choices_form_class: Any = None, **kwargs: Any) -> Any:
        return super().formfield(form_class=form_class, choices_form_class=choices_form_class, **kwargs)

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs

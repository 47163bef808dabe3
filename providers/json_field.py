"""A JSON column that an operator types into: checked whatever it holds, and its default where it is left empty.

Django takes [] and {} for "no value" and checks neither, and it stores null for an empty box.
"""

import json
from typing import Any

from django import forms
from django.db import models

NO_VALUES = [None, ""]


class TypedJSONFormField(forms.JSONField):
    """The box on a form: JSON with a line for each thing in it, or nothing for the default."""

    empty_values = NO_VALUES

    def to_python(self, value: Any) -> Any:
        """Return what the JSON stands for, the default where there is none."""
        typed = super().to_python(value)
        return self.initial() if typed is None and callable(self.initial) else typed

    def prepare_value(self, value: Any) -> Any:
        """Return the JSON as it is shown."""
        if isinstance(value, list | dict) and value:
            return json.dumps(value, ensure_ascii=False, indent=2)
        return super().prepare_value(value)


class TypedJSONField(models.JSONField):
    """The column. Migrations see Django's own field."""

    empty_values = NO_VALUES

    def formfield(self, form_class: Any = TypedJSONFormField, choices_form_class: Any = None, **kwargs: Any) -> Any:
        return super().formfield(form_class=form_class, choices_form_class=choices_form_class, **kwargs)

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs

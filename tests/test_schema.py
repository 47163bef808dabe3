"""The migrated database has every constraint and index that the models declare."""

import pytest
from django.apps import apps
from django.db import connection

OURS = ("providers", "requests_app", "telegram_bot")
MODELS = [model for label in OURS for model in apps.get_app_config(label).get_models()]


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_it_has_all_constraints_and_indexes(model):
    declared = {part.name for part in (*model._meta.constraints, *model._meta.indexes)}

    with connection.cursor() as cursor:
        present = connection.introspection.get_constraints(cursor, model._meta.db_table)

    assert declared <= present.keys()

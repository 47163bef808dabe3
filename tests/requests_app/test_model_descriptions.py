"""The migration of the shipped AI models' descriptions."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection

from tests.factories import make_model

pytestmark = pytest.mark.django_db

migration = import_module("requests_app.migrations.0004_model_descriptions")


@pytest.mark.parametrize(
    ("before", "after"),
    [*migration.DESCRIPTIONS.items(), ("An operator's own words.", "An operator's own words."), ("", "")],
)
def test_only_a_description_that_is_still_the_shipped_one_is_updated(before, after):
    model = make_model(description=before)

    migration.update_descriptions(apps, connection.schema_editor())

    model.refresh_from_db()
    assert model.description == after

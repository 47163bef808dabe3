"""The index of refunds with their AI models, in place of that without: on PostgreSQL beside those who write entries."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

NAME = "entry_refunds_of_models"


class AddIndexBeside(AddIndexConcurrently):
    """Adds an index while others write, where the database can. One that an interrupted run has left is built anew."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        else:
            migrations.AddIndex.database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)
        else:
            migrations.AddIndex.database_backwards(self, app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("requests_app", "0030_account_months"),
    ]

    operations = [
        AddIndexBeside(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(("kind", "REFUND")),
                fields=["created_at"],
                include=("account", "amount", "model", "request", "purpose"),
                name=NAME,
            ),
        ),
        migrations.RemoveIndex(model_name="ledgerentry", name="entry_refunds_by_day"),
    ]

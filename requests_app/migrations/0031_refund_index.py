"""The index of refunds with their AI models, in place of that without: on PostgreSQL beside those who write entries.

Each step may be repeated where an earlier run was interrupted.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

OLD, NEW = "entry_refunds_by_day", "entry_refunds_of_models"


def drop(schema_editor, name):
    concurrently = "CONCURRENTLY" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP INDEX {concurrently} IF EXISTS {name}")


class AddIndexBeside(AddIndexConcurrently):
    """Adds an index while others write, where the database can. What an interrupted run has left is built anew."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        drop(schema_editor, self.index.name)
        is_postgresql = schema_editor.connection.vendor == "postgresql"
        operation = AddIndexConcurrently if is_postgresql else migrations.AddIndex
        operation.database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        drop(schema_editor, self.index.name)


class RemoveIndexBeside(RemoveIndexConcurrently):
    """Removes an index, if it is there, while others write."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        drop(schema_editor, self.name)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        drop(schema_editor, self.name)
        is_postgresql = schema_editor.connection.vendor == "postgresql"
        operation = RemoveIndexConcurrently if is_postgresql else migrations.RemoveIndex
        operation.database_backwards(self, app_label, schema_editor, from_state, to_state)


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
                name=NEW,
            ),
        ),
        RemoveIndexBeside(model_name="ledgerentry", name=OLD),
    ]

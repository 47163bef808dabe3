"""Indexes that decide two filters of the admin at once, and one of a user's requests in their order."""

import django.db.models.deletion
from django.db import migrations, models

NAME = "requests_user_id"  # what it is called once it is made again


def drop_index_of_user(apps, schema_editor):
    """Drop the index of the foreign key: `request_of_user` begins with the same column."""
    with schema_editor.connection.cursor() as cursor:
        constraints = schema_editor.connection.introspection.get_constraints(cursor, "requests")
    ours = {index.name for index in apps.get_model("requests_app", "Request")._meta.indexes}
    for name, constraint in constraints.items():
        if constraint["index"] and constraint["columns"] == ["user_id"] and name not in ours:
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")


def create_index_of_user(_, schema_editor):
    schema_editor.execute(f"CREATE INDEX {NAME} ON requests (user_id)")


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0017_routes_asked"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="request",
            name="request_unanswered",
        ),
        migrations.RemoveIndex(
            model_name="request",
            name="request_not_text",
        ),
        migrations.RemoveIndex(
            model_name="request",
            name="request_by_provider",
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(fields=["user", "-created_at"], name="request_of_user"),
        ),
        migrations.SeparateDatabaseAndState(
            # Not as Django would do it: on SQLite it would write the whole table anew.
            [migrations.RunPython(drop_index_of_user, create_index_of_user)],
            [
                migrations.AlterField(
                    model_name="request",
                    name="user",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to="requests_app.account",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(
                condition=models.Q(
                    models.Q(("status", "COMPLETED"), _negated=True),
                    models.Q(("status", "PENDING"), _negated=True),
                    models.Q(("status", "PROCESSING"), _negated=True),
                ),
                fields=["status", "-created_at", "category", "actual_provider"],
                name="request_unanswered",
            ),
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(
                condition=models.Q(("category", "TEXT"), _negated=True),
                fields=["category", "-created_at", "status", "actual_provider", "routes_asked"],
                name="request_not_text",
            ),
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(
                condition=models.Q(("actual_provider__isnull", False)),
                fields=["actual_provider", "-created_at", "category", "status", "routes_asked"],
                name="request_by_provider",
            ),
        ),
    ]

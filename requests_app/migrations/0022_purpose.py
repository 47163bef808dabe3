"""Whom a request and a movement of credits serve, as of acceptance. Those on record follow in the next migration."""

from typing import Any

from django.db import migrations, models

TABLES = ("Request", "LedgerEntry")
PURPOSE = models.CharField(
    choices=[("user", "user"), ("test", "test"), ("sandbox", "sandbox")],
    db_default="user",
    default="user",
    max_length=8,
)


def add_columns(apps: Any, schema_editor: Any) -> None:
    """Add them at once, however many rows there are. Django would write the whole tables anew on SQLite."""
    for name in TABLES:
        table = schema_editor.quote_name(apps.get_model("requests_app", name)._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} ADD COLUMN purpose varchar(8) DEFAULT 'user' NOT NULL")


def drop_columns(apps: Any, schema_editor: Any) -> None:
    for name in TABLES:
        table = schema_editor.quote_name(apps.get_model("requests_app", name)._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} DROP COLUMN purpose")


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0021_users_and_credits"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="ledgerentry", name="entry_not_of_requests"),
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add_columns, drop_columns)],
            [
                migrations.AddField(model_name="request", name="purpose", field=PURPOSE),
                migrations.AddField(model_name="ledgerentry", name="purpose", field=PURPOSE.clone()),
            ],
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(
                    models.Q(("kind", "HOLD"), _negated=True),
                    models.Q(("kind", "CAPTURE"), _negated=True),
                    models.Q(("kind", "RELEASE"), _negated=True),
                ),
                fields=["created_at"],
                include=("kind", "is_paid", "amount", "request", "purpose"),
                name="entry_not_of_requests",
            ),
        ),
    ]

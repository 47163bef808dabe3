import django.db.models.deletion
from django.db import migrations, models

PERMISSIONS = [
    ("add_credits", "Can add credits to an account"),
    ("erase_account", "Can erase what a user wrote and received, and their names"),
]


def drop_index_of_account(apps, schema_editor):
    """Drop the index of the foreign key: `entry_of_account` begins with the same column."""
    entry = apps.get_model("requests_app", "LedgerEntry")
    table, ours = entry._meta.db_table, {index.name for index in entry._meta.indexes}
    with schema_editor.connection.cursor() as cursor:
        constraints = schema_editor.connection.introspection.get_constraints(cursor, table)
    for name, constraint in constraints.items():
        if constraint["index"] and constraint["columns"] == ["account_id"] and name not in ours:
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")


def create_index_of_account(apps, schema_editor):
    table = apps.get_model("requests_app", "LedgerEntry")._meta.db_table
    schema_editor.execute(f"CREATE INDEX {table}_account_id ON {table} (account_id)")


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0020_roles_and_api"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="account",
            options={"ordering": ["-created_at"], "permissions": PERMISSIONS},
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["account", "-id"], name="entry_of_account"),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(
                    models.Q(("kind", "HOLD"), _negated=True),
                    models.Q(("kind", "CAPTURE"), _negated=True),
                    models.Q(("kind", "RELEASE"), _negated=True),
                ),
                fields=["account", "-id"],
                include=("kind", "is_paid", "amount", "created_at"),
                name="entry_of_account_only",
            ),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(("kind", "TOPUP")), fields=["is_paid", "-id"], name="entry_sold_or_given"
            ),
        ),
        migrations.AddIndex(
            model_name="accountrollup",
            index=models.Index(fields=["account", "day"], name="rollup_of_account"),
        ),
        migrations.SeparateDatabaseAndState(
            # Not as Django would do it: on SQLite it would write the whole table anew.
            [migrations.RunPython(drop_index_of_account, create_index_of_account)],
            [
                migrations.AlterField(
                    model_name="ledgerentry",
                    name="account",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="ledger",
                        to="requests_app.account",
                    ),
                ),
            ],
        ),
    ]

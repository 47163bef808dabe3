import django.db.models.deletion
from django.db import migrations, models

PERMISSIONS = [
    ("view_prompts", "Can view what users wrote and received"),
    ("refund_requests", "Can give back what an answer has cost"),
]


def drop_index_of_model(apps, schema_editor):
    """Drop the index of the foreign key: `request_of_model` begins with the same column."""
    with schema_editor.connection.cursor() as cursor:
        constraints = schema_editor.connection.introspection.get_constraints(cursor, "requests")
    ours = {index.name for index in apps.get_model("requests_app", "Request")._meta.indexes}
    for name, constraint in constraints.items():
        if constraint["index"] and constraint["columns"] == ["model_id"] and name not in ours:
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")


def create_index_of_model(_, schema_editor):
    schema_editor.execute("CREATE INDEX requests_model_id ON requests (model_id)")


def keep_prompts_visible(apps, schema_editor):
    """Give the new permissions to those who could do the same before: nobody loses anything by the upgrade."""
    using = schema_editor.connection.alias
    content_type, permission = apps.get_model("contenttypes", "ContentType"), apps.get_model("auth", "Permission")
    users, groups = apps.get_model("auth", "User"), apps.get_model("auth", "Group")
    of_request, _ = content_type.objects.using(using).get_or_create(app_label="requests_app", model="request")
    for (codename, name), before in zip(PERMISSIONS, ("view_request", "add_credits"), strict=True):
        # Django makes it only after all migrations.
        new, _ = permission.objects.using(using).get_or_create(
            content_type=of_request, codename=codename, defaults={"name": name}
        )
        old = permission.objects.using(using).filter(content_type__app_label="requests_app", codename=before)
        new.user_set.add(*users.objects.using(using).filter(user_permissions__in=old))
        new.group_set.add(*groups.objects.using(using).filter(permissions__in=old))


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("requests_app", "0019_sums_of_requests"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="request",
            options={"ordering": ["-created_at"], "permissions": PERMISSIONS},
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(fields=["model", "-created_at"], name="request_of_model"),
        ),
        migrations.AddIndex(
            model_name="account",
            index=models.Index(condition=models.Q(("is_blocked", True)), fields=["-id"], name="account_blocked"),
        ),
        migrations.SeparateDatabaseAndState(
            # Not as Django would do it: on SQLite it would write the whole table anew.
            [migrations.RunPython(drop_index_of_model, create_index_of_model)],
            [
                migrations.AlterField(
                    model_name="request",
                    name="model",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to="requests_app.aimodel",
                    ),
                ),
            ],
        ),
        migrations.RunPython(keep_prompts_visible, migrations.RunPython.noop),
    ]

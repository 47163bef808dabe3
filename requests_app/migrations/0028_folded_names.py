from django.db import migrations, models

from requests_app.names import folded

BATCH = 2_000


def fold_names(apps, schema_editor):
    connection = schema_editor.connection
    names = apps.get_model("requests_app", "Account").objects.using(connection.alias).exclude(name="").order_by("pk")
    last, rows = 0, [True]
    while rows:
        rows = list(names.filter(pk__gt=last).values_list("pk", "name")[:BATCH])
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE requests_app_account SET folded_name = %s WHERE id = %s",
                [(folded(name), pk) for pk, name in rows],
            )
        last = rows[-1][0] if rows else last


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0027_retry_permission"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="folded_name",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=256),
        ),
        migrations.RunPython(fold_names, migrations.RunPython.noop),
    ]

"""The names of accounts as they are searched, in batches that are committed one by one: nobody waits for an account."""

from django.db import migrations, transaction

from requests_app.names import folded

BATCH = 2_000


def fold_names(apps, schema_editor):
    connection = schema_editor.connection
    names = apps.get_model("requests_app", "Account").objects.using(connection.alias).exclude(name="").order_by("pk")
    last, rows = 0, [True]
    while rows:
        rows = list(names.filter(pk__gt=last).values_list("pk", "name")[:BATCH])
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE requests_app_account SET folded_name = %s WHERE id = %s AND name = %s",
                [(folded(name), pk, name) for pk, name in rows],
            )
        last = rows[-1][0] if rows else last


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("requests_app", "0028_folded_names"),
    ]

    operations = [migrations.RunPython(fold_names, migrations.RunPython.noop, elidable=True)]

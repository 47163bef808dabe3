"""Which shipped routes a database has received, so that `sync_providers` adds new ones and never a deleted one."""

from django.db import migrations, models

from providers.seeding import create_shipped_routes, remember_shipped_routes
from providers.shipped import shipped_routes

FIRST_RELEASE = "0.1.0"


def remember(apps, schema_editor):
    """Mark what the first release brought, deleted or not, as received; add what has come since."""
    alias = schema_editor.connection.alias
    create_shipped_routes(
        apps.get_model("providers", "ProviderConfig").objects.using(alias),
        [route for route in shipped_routes() if route.since != FIRST_RELEASE],
    )
    remember_shipped_routes(apps.get_model("providers", "SeededRoute").objects.using(alias), shipped_routes())


class Migration(migrations.Migration):
    dependencies = [("providers", "0010_circuit_breaker_words")]
    operations = [
        migrations.CreateModel(
            name="SeededRoute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("category", models.CharField(max_length=8)),
                ("name", models.CharField(max_length=64)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("category", "name"), name="one_seeding_per_shipped_route")
                ],
            },
        ),
        migrations.RunPython(remember, migrations.RunPython.noop),
    ]

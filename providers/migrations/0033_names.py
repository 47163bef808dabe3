from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0032_attempts_of_unknown_cost"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="historicalproviderconfig",
            options={
                "get_latest_by": ("history_date", "history_id"),
                "ordering": ("-history_date", "-history_id"),
                "verbose_name": "historical route",
                "verbose_name_plural": "historical routes",
            },
        ),
        migrations.AlterModelOptions(
            name="provideraccount",
            options={"ordering": ["provider", "key_id"], "verbose_name": "provider account"},
        ),
        migrations.AlterModelOptions(
            name="providerconfig",
            options={"ordering": ["category", "priority", "provider"], "verbose_name": "route"},
        ),
        migrations.AlterModelOptions(
            name="providerhealth",
            options={"ordering": ["category", "provider", "route"], "verbose_name": "circuit"},
        ),
    ]

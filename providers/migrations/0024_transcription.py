import django.core.validators
from django.db import migrations, models

from providers.seeding import create_shipped_routes, remember_shipped_routes
from providers.shipped import shipped_routes
from providers.types import Operation

OPERATIONS = [("generate", "generate"), ("edit", "edit"), ("transcribe", "transcribe")]


def add_transcription(apps, schema_editor):
    """Add the routes of speech to text; in a database that is in use they are off, for voice messages will cost."""
    alias = schema_editor.connection.alias
    routes = apps.get_model("providers", "ProviderConfig").objects.using(alias)
    shipped = shipped_routes(operation=Operation.TRANSCRIBE)
    create_shipped_routes(routes, shipped)
    # Retention may have taken the attempts; their sums stay.
    if any(apps.get_model("providers", name).objects.using(alias).exists() for name in ("Attempt", "AttemptRollup")):
        routes.filter(operation=Operation.TRANSCRIBE.value).update(enabled=False)
    remember_shipped_routes(apps.get_model("providers", "SeededRoute").objects.using(alias), shipped)


class Migration(migrations.Migration):
    dependencies = [("providers", "0023_routing_rule")]

    operations = [
        migrations.AddField(
            model_name="attemptrollup",
            name="operation",
            field=models.CharField(choices=OPERATIONS, db_default="generate", default="generate", max_length=12),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="operation",
            field=models.CharField(choices=OPERATIONS, db_default="generate", default="generate", max_length=12),
        ),
        migrations.AlterField(
            model_name="providerconfig",
            name="operation",
            field=models.CharField(
                choices=OPERATIONS,
                db_default="generate",
                default="generate",
                help_text="What it is asked for. edit: a model that needs an image with its prompt; transcribe (category TEXT): one that turns speech into text, for voice messages.",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="providerconfig",
            name="max_output_tokens",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Of an answer, reasoning included. Empty: as the AI model's options say, else 4,096. A small one buys empty answers.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.RunPython(add_transcription, migrations.RunPython.noop),
    ]

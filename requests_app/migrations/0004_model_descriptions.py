"""The shipped descriptions and the help texts in the words of today. What an operator changed stays changed."""

from django.db import migrations, models

import providers.registry
import requests_app.options

# As shipped by 0002 → as shipped from now on.
DESCRIPTIONS = {
    "A picture from your description.": "An image from your description.",
    "A short film from your description.": "A short video from your description.",
}


def update_descriptions(apps, schema_editor):
    ai_models = apps.get_model("requests_app", "AIModel").objects.using(schema_editor.connection.alias)
    for old, new in DESCRIPTIONS.items():
        ai_models.filter(description=old).update(description=new)


class Migration(migrations.Migration):
    dependencies = [("requests_app", "0003_options")]
    operations = [
        migrations.RunPython(update_descriptions, migrations.RunPython.noop),
        # Help texts only: no SQL.
        migrations.AlterField(
            model_name="aimodel",
            name="options",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text='Output options, such as {"seconds": 5, "aspect_ratio": "9:16"}.',
                validators=[requests_app.options.validate_options],
            ),
        ),
        migrations.AlterField(
            model_name="aimodel",
            name="position",
            field=models.PositiveSmallIntegerField(default=100, help_text="The order in which users see the models."),
        ),
        migrations.AlterField(
            model_name="aimodel",
            name="provider",
            field=models.CharField(
                blank=True,
                choices=providers.registry.choices,
                help_text="The provider that the name suggests.",
                max_length=32,
            ),
        ),
    ]

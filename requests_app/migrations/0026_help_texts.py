from django.db import migrations, models

import requests_app.credit_rates


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0025_names"),
    ]

    operations = [
        migrations.AlterField(
            model_name="aimodel",
            name="rates",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="Credits by size. Empty: the price is flat.",
                validators=[requests_app.credit_rates.validate_rates],
            ),
        ),
        migrations.AlterField(
            model_name="historicalaimodel",
            name="rates",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="Credits by size. Empty: the price is flat.",
                validators=[requests_app.credit_rates.validate_rates],
            ),
        ),
    ]

"""The label of a delivery's kind NOTICE; no SQL."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("telegram_bot", "0001_initial")]
    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="kind",
            field=models.CharField(
                choices=[
                    ("RESULT", "the answer, or a part of it"),
                    ("NOTICE", "a notice that a long job is done"),
                ],
                max_length=8,
            ),
        ),
    ]

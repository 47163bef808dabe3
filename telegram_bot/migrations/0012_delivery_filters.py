"""Indexes of what few deliveries are, for the admin's filters."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0015_admin_filters"),
        ("telegram_bot", "0011_by_size"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state__in", ["UNCERTAIN", "UNDELIVERABLE"])),
                fields=["state", "-id"],
                name="delivery_not_confirmed",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("kind", "RESULT"), _negated=True),
                fields=["kind", "-id"],
                name="delivery_not_of_result",
            ),
        ),
    ]

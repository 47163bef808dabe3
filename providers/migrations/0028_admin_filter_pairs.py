"""Indexes that decide two filters of the admin's attempts at once."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0027_versions"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="attempt",
            name="attempt_by_provider",
        ),
        migrations.RemoveIndex(
            model_name="attempt",
            name="attempt_not_ok",
        ),
        migrations.RemoveIndex(
            model_name="attempt",
            name="attempt_not_text",
        ),
        migrations.RemoveIndex(
            model_name="attempt",
            name="attempt_not_for_users",
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                fields=["provider", "-created_at", "category", "state", "purpose"], name="attempt_by_provider"
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(
                    models.Q(("state", "OK"), _negated=True), models.Q(("state", "SENDING"), _negated=True)
                ),
                fields=["state", "-created_at", "provider", "category", "purpose"],
                name="attempt_not_ok",
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(("category", "TEXT"), _negated=True),
                fields=["category", "-created_at", "provider", "state", "purpose"],
                name="attempt_not_text",
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(("purpose", "user"), _negated=True),
                fields=["purpose", "-created_at", "provider", "category", "state"],
                name="attempt_not_for_users",
            ),
        ),
    ]

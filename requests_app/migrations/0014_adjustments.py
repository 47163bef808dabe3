from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("requests_app", "0013_files_in_prompts")]

    operations = [
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "ADJUST"), models.Q(("external_ref", ""), _negated=True)),
                fields=("external_ref",),
                name="one_adjustment_per_external_ref",
            ),
        ),
    ]

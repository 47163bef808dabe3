from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0027_retry_permission"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="folded_name",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=256),
        ),
    ]

"""What the sandbox answers is marked in its attempt. The column stays as it is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0014_restore_one_live_attempt")]

    operations = [
        migrations.AlterField(
            model_name="attempt",
            name="purpose",
            field=models.CharField(
                choices=[("user", "user"), ("test", "test"), ("sandbox", "sandbox")], db_default="user", max_length=8
            ),
        ),
    ]

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0024_refunds_by_day"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="requestevent",
            options={"ordering": ["id"], "verbose_name": "status change"},
        ),
    ]

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("requests_app", "0026_help_texts"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="request",
            options={
                "ordering": ["-created_at"],
                "permissions": [
                    ("view_prompts", "Can view what users wrote and received"),
                    ("refund_requests", "Can give back what an answer has cost"),
                    ("retry_requests", "Can ask a request anew, at its user's cost"),
                ],
            },
        ),
    ]

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("telegram_bot", "0013_prompts_in_updates"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="telegramuser",
            options={"ordering": ["-first_seen_at"], "verbose_name": "Telegram user"},
        ),
    ]

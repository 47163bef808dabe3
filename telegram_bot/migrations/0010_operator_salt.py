from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("telegram_bot", "0009_held_updates")]

    operations = [
        migrations.RenameField(model_name="telegrambot", old_name="operator_code", new_name="operator_salt"),
    ]

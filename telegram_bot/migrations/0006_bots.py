"""Bots as rows: updates, users and chats get a key of their own, and Telegram's ids become columns beside it.

A row that is here already keeps Telegram's id as its key, so everything that refers to it stays right: deliveries,
topics, conversations, and the intake keys of requests. New keys begin above the highest of them. All of it belongs to
the bot whose token is set, or, where none is, to a row that the first token adopts.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now

NEW_KEYS = ("telegramupdate", "telegramuser", "telegramchat")


def add_bot(apps, schema_editor):
    """Write the bot to which everything belongs so far, and copy Telegram's ids from the keys."""
    alias = schema_editor.connection.alias
    rows = [apps.get_model("telegram_bot", name).objects.using(alias) for name in NEW_KEYS]
    if not any(row.exists() for row in rows):
        return
    number = settings.TELEGRAM_BOT_TOKEN.partition(":")[0]
    bot_model = apps.get_model("telegram_bot", "TelegramBot")
    bot = bot_model.objects.using(alias).create(telegram_id=int(number) if number.isdecimal() else None)
    updates, users, chats = rows
    updates.update(update_id=models.F("id"), bot=bot)
    users.update(telegram_id=models.F("id"), bot=bot)
    chats.update(telegram_id=models.F("id"), bot=bot)


class Migration(migrations.Migration):
    dependencies = [("telegram_bot", "0005_missing_chats")]

    operations = [
        migrations.CreateModel(
            name="TelegramBot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("telegram_id", models.BigIntegerField(blank=True, null=True, unique=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={"verbose_name": "bot", "ordering": ["id"]},
        ),
        migrations.RemoveIndex("telegramupdate", "update_unhandled"),
        # The keys keep their values under another name.
        migrations.RenameField("telegramupdate", "update_id", "id"),
        migrations.RenameField("telegramuser", "user_id", "id"),
        migrations.RenameField("telegramchat", "chat_id", "id"),
        *[
            migrations.AlterField(
                name,
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            )
            for name in NEW_KEYS
        ],
        # Telegram's ids beside them.
        migrations.AddField("telegramupdate", "update_id", models.BigIntegerField(null=True)),
        migrations.AddField("telegramuser", "telegram_id", models.BigIntegerField(null=True)),
        migrations.AddField("telegramchat", "telegram_id", models.BigIntegerField(null=True)),
        *[
            migrations.AddField(
                name,
                "bot",
                models.ForeignKey(
                    null=True, on_delete=django.db.models.deletion.PROTECT, to="telegram_bot.telegrambot"
                ),
            )
            for name in NEW_KEYS
        ],
        migrations.RunPython(add_bot, migrations.RunPython.noop),
    ]

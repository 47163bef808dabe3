"""What the migration before has filled becomes required, unique and referred to. PostgreSQL wants the two apart."""

import django.db.models.deletion
from django.db import migrations, models

NEW_KEYS = {"telegramupdate": "updates", "telegramuser": "users", "telegramchat": "chats"}


def begin_above(_, schema_editor):
    """Let PostgreSQL's new keys begin above the highest one; SQLite does so by itself."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for name in NEW_KEYS:
        table = f"telegram_bot_{name}"
        next_key = f"GREATEST((SELECT MAX(id) FROM {table}), 0) + 1"  # noqa: S608 — our own names
        schema_editor.execute(f"SELECT SETVAL(PG_GET_SERIAL_SEQUENCE('{table}', 'id'), {next_key}, FALSE)")


def bot(name):
    return models.ForeignKey(
        db_constraint=name != "telegramupdate",
        db_index=name != "telegramupdate",
        on_delete=django.db.models.deletion.PROTECT,
        related_name=NEW_KEYS[name],
        to="telegram_bot.telegrambot",
    )


class Migration(migrations.Migration):
    dependencies = [("telegram_bot", "0006_bots")]

    operations = [
        migrations.RunPython(begin_above, migrations.RunPython.noop),
        *[migrations.AlterField(name, "bot", bot(name)) for name in NEW_KEYS],
        migrations.AlterField("telegramupdate", "update_id", models.BigIntegerField()),
        migrations.AlterField("telegramuser", "telegram_id", models.BigIntegerField()),
        migrations.AlterField("telegramchat", "telegram_id", models.BigIntegerField()),
        migrations.AddConstraint(
            "telegramupdate",
            models.UniqueConstraint(fields=("update_id", "bot"), name="one_row_per_update_and_bot"),
        ),
        migrations.AddConstraint(
            "telegramuser",
            models.UniqueConstraint(fields=("telegram_id", "bot"), name="one_row_per_user_and_bot"),
        ),
        migrations.AddConstraint(
            "telegramchat",
            models.UniqueConstraint(fields=("telegram_id", "bot"), name="one_row_per_chat_and_bot"),
        ),
        # The chats of updates and deliveries are references now.
        migrations.RenameField("telegramupdate", "chat_id", "chat"),
        migrations.AlterField(
            "telegramupdate",
            "chat",
            models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="updates",
                to="telegram_bot.telegramchat",
            ),
        ),
        migrations.RenameField("delivery", "chat_id", "chat"),
        migrations.AlterField(
            "delivery",
            "chat",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="telegram_bot.telegramchat",
            ),
        ),
        migrations.AddIndex(
            "telegramupdate",
            models.Index(
                condition=models.Q(("handled_at__isnull", True)),
                fields=["chat", "received_at"],
                name="update_unhandled",
            ),
        ),
    ]

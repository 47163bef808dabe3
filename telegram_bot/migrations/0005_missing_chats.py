"""Every update and delivery gets a chat's row to refer to. Apart from the next migration, as PostgreSQL wants it."""

from django.db import migrations


def add_missing_chats(apps, schema_editor):
    """Give every update and delivery a chat's row to refer to."""
    alias = schema_editor.connection.alias
    chat_model = apps.get_model("telegram_bot", "TelegramChat")
    known = chat_model.objects.using(alias).values("chat_id")
    for name in ("TelegramUpdate", "Delivery"):
        rows = apps.get_model("telegram_bot", name).objects.using(alias).filter(chat_id__isnull=False)
        missing = rows.exclude(chat_id__in=known).order_by().values_list("chat_id", flat=True).distinct()
        chat_model.objects.using(alias).bulk_create([chat_model(chat_id=chat_id) for chat_id in missing])


class Migration(migrations.Migration):
    dependencies = [("telegram_bot", "0004_claims_of_updates")]

    operations = [migrations.RunPython(add_missing_chats, migrations.RunPython.noop)]

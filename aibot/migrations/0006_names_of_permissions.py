from django.db import migrations

# What the rows are called now. Django names a permission when it makes it, and never again.
NAMES = {
    ("providers", "providerconfig"): "route",
    ("providers", "historicalproviderconfig"): "historical route",
    ("providers", "providerhealth"): "circuit",
    ("providers", "provideraccount"): "provider account",
    ("requests_app", "requestevent"): "status change",
    ("telegram_bot", "telegramuser"): "Telegram user",
}


def name_anew(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    for (app, model), name in NAMES.items():
        for verb in ("add", "change", "delete", "view"):
            permissions.filter(content_type__app_label=app, codename=f"{verb}_{model}").update(
                name=f"Can {verb} {name}"
            )


class Migration(migrations.Migration):
    dependencies = [
        ("aibot", "0005_alert_buttons"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("providers", "0033_names"),
        ("requests_app", "0025_names"),
        ("telegram_bot", "0014_names"),
    ]

    operations = [migrations.RunPython(name_anew, migrations.RunPython.noop)]

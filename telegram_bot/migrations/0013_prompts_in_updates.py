from django.db import migrations


def keep_prompts_visible(apps, schema_editor):
    """Those who could read updates, which contain prompts, still can: it takes one more permission now."""
    permission = apps.get_model("auth", "Permission")
    using = schema_editor.connection.alias
    new = permission.objects.using(using).get(content_type__app_label="requests_app", codename="view_prompts")
    old = permission.objects.using(using).filter(content_type__app_label="telegram_bot", codename="view_telegramupdate")
    users, groups = apps.get_model("auth", "User"), apps.get_model("auth", "Group")
    new.user_set.add(*users.objects.using(using).filter(user_permissions__in=old))
    new.group_set.add(*groups.objects.using(using).filter(permissions__in=old))


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("requests_app", "0020_roles_and_api"),
        ("telegram_bot", "0012_delivery_filters"),
    ]

    operations = [migrations.RunPython(keep_prompts_visible, migrations.RunPython.noop)]

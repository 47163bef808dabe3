from django.db import migrations


def keep_retries_possible(apps, schema_editor):
    """Give the new permission to those who could ask anew before, but not to the support role."""
    using = schema_editor.connection.alias
    permission, role = apps.get_model("auth", "Permission"), apps.get_model("aibot", "Role")
    of_request, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(using)
        .get_or_create(app_label="requests_app", model="request")
    )
    # Django makes it only after all migrations.
    new, _ = permission.objects.using(using).get_or_create(
        content_type=of_request,
        codename="retry_requests",
        defaults={"name": "Can ask a request anew, at its user's cost"},
    )
    old = permission.objects.using(using).filter(content_type=of_request, codename="change_request")
    support = role.objects.using(using).filter(name="support", group__isnull=False).values("group")
    new.user_set.add(*apps.get_model("auth", "User").objects.using(using).filter(user_permissions__in=old))
    groups = apps.get_model("auth", "Group").objects.using(using).filter(permissions__in=old)
    new.group_set.add(*groups.exclude(pk__in=support))
    # From whose role the owner has taken it, that role does not get it as new either.
    for without in role.objects.using(using).filter(group__isnull=False).exclude(group__in=groups):
        without.granted = sorted({*without.granted, "requests_app.retry_requests"})
        without.save(update_fields=["granted"])


class Migration(migrations.Migration):
    dependencies = [
        ("aibot", "0006_names_of_permissions"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("requests_app", "0027_retry_permission"),
    ]

    operations = [migrations.RunPython(keep_retries_possible, migrations.RunPython.noop)]

"""The roles that are shipped: groups of permissions for those who work in the admin and with the API.

Whoever is in one needs the switch *Staff status* besides. `migrate` makes them.
"""

from collections.abc import Callable
from typing import Any

from django.apps import apps as installed_apps
from django.apps.registry import Apps
from django.db import router, transaction

OWN_APPS = ("providers", "requests_app", "telegram_bot")  # whose tables are the operation
# Users and requests without what was written; to end them, to give credits back for an answer, to block. Not to ask
# anew, which costs the user credits and the operator money.
SUPPORT = {
    "aibot.view_alert",
    "providers.view_attempt",
    "requests_app.change_account",
    "requests_app.change_request",
    "requests_app.refund_requests",
    "requests_app.view_account",
    "requests_app.view_aimodel",
    "requests_app.view_ledgerentry",
    "requests_app.view_request",
    "requests_app.view_requestevent",
    "telegram_bot.view_delivery",
    "telegram_bot.view_telegramchat",
    "telegram_bot.view_telegramuser",
}


def _is_of_operator(permission: str) -> bool:
    return permission.startswith(tuple(f"{app}." for app in OWN_APPS)) or permission == "aibot.view_alert"


def _is_of_support(permission: str) -> bool:
    return permission in SUPPORT


def _is_of_auditor(permission: str) -> bool:
    return ".view_" in permission


ROLES: dict[str, Callable[[str], bool]] = {
    "owner": bool,  # everything, users, tokens and roles included
    "operator": _is_of_operator,  # routes, AI models, credits, requests; no users and no tokens
    "support": _is_of_support,
    "auditor": _is_of_auditor,  # sees everything, the ledger and what users wrote included, and changes nothing
}


def roles_sync(*, using: str, apps: Apps) -> None:
    """Give each role the permissions that it has never had. Idempotent, and quick where there is nothing to give.

    What the owner takes from a role stays taken, a role that is deleted stays away, and a group of such a name that was
    there before is not touched.
    """
    role_model, group_model = apps.get_model("aibot", "Role"), apps.get_model("auth", "Group")
    permissions = {
        f"{app}.{codename}": key
        for key, app, codename in apps.get_model("auth", "Permission")
        .objects.using(using)
        .values_list("pk", "content_type__app_label", "codename")
    }
    with transaction.atomic(using=using):
        roles = {role.name: role for role in role_model.objects.using(using).select_related("group")}
        taken = set(group_model.objects.using(using).filter(name__in=ROLES).values_list("name", flat=True))
        for name, is_of_role in ROLES.items():
            role = roles.get(name)
            if role is None:
                group = None if name in taken else group_model.objects.using(using).create(name=name)
                role = role_model.objects.using(using).create(name=name, group=group, granted=[])
            new = {permission for permission in permissions if is_of_role(permission)} - set(role.granted)
            if role.group is None or not new:
                continue
            role.group.permissions.add(*(permissions[permission] for permission in new))
            role.granted = sorted({*role.granted, *new})
            role.save(update_fields=["granted"])


def sync_after_migrate(*, using: str, apps: Apps = installed_apps, **_: Any) -> None:
    """Bring the roles up to date once the permissions of every app are there. A receiver of post_migrate.

    After `flush`, which has migrated nothing, the signal names no apps.
    """
    try:
        role_model = apps.get_model("aibot", "Role")
    except LookupError:  # migrated to a state before there were roles
        return
    if router.allow_migrate_model(using, role_model):
        roles_sync(using=using, apps=apps)

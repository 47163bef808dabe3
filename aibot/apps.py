"""The project's own entry: it registers the system checks of the settings as a whole, and what `migrate` adds."""

from django.apps import AppConfig, apps
from django.contrib.admin import apps as admin_apps
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate

from aibot.checks import (
    check_bucket,
    check_database,
    check_days,
    check_media,
    check_proxy,
    check_servers,
    check_variables,
)
from aibot.roles import sync_after_migrate
from aibot.telemetry import telemetry_start


class OperatorSiteConfig(admin_apps.AdminConfig):
    """Django's admin, on our own site."""

    default = False  # of this package, whose own entry is the next
    default_site = "aibot.operator_site.OperatorSite"


class AibotConfig(AppConfig):
    default = True
    name = "aibot"
    verbose_name = "AI bot"

    def ready(self) -> None:
        telemetry_start()
        # It is sent for one app with models after the other, and Django makes each one's permissions then.
        *_, last_app = (app for app in apps.get_app_configs() if app.models_module)
        post_migrate.connect(sync_after_migrate, sender=last_app)
        register(check_variables, "aibot")
        register(check_servers, "aibot", deploy=True)
        register(check_proxy, "aibot", deploy=True)
        register(check_database, Tags.database)
        register(check_media, Tags.database)
        register(check_days, Tags.database)
        register(check_bucket, Tags.database)

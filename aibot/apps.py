"""The project's own entry: it registers the system checks of the settings as a whole."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.core.checks import Tags, register

from aibot.checks import check_bucket, check_database, check_media, check_proxy, check_servers, check_variables
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
        register(check_variables, "aibot")
        register(check_servers, "aibot", deploy=True)
        register(check_proxy, "aibot", deploy=True)
        register(check_database, Tags.database)
        register(check_media, Tags.database)
        register(check_bucket, Tags.database)

"""The app's entry."""

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.backends.signals import connection_created

from providers.checks import check_callbacks, check_connections, check_keys, check_registry, check_sandbox
from providers.db import watch_connections


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = "Providers"

    def ready(self) -> None:
        register(check_registry, "providers")
        register(check_sandbox, "providers")
        register(check_callbacks, "providers")
        register(check_keys, Tags.database)
        register(check_connections, Tags.database)
        connection_created.connect(watch_connections, dispatch_uid="providers.watch_connections")

"""The app's entry."""

from django.apps import AppConfig
from django.core.checks import Tags, register

from providers.checks import check_callbacks, check_keys, check_registry, check_sandbox


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = "Providers"

    def ready(self) -> None:
        register(check_registry, "providers")
        register(check_sandbox, "providers")
        register(check_callbacks, "providers")
        register(check_keys, Tags.database)

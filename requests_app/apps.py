"""The app's entry."""

from django.apps import AppConfig
from django.core.checks import register

from requests_app.checks import check_delivery_backend, check_functions


class RequestsAppConfig(AppConfig):
    name = "requests_app"
    verbose_name = "Requests"

    def ready(self) -> None:
        register(check_delivery_backend, "requests_app")
        register(check_functions, "requests_app")

"""The admin page of the switch that holds prompts back."""

from django.contrib import admin
from django.http import HttpRequest

from providers.admin_base import ModelAdmin
from requests_app.models import MaintenanceMode


@admin.register(MaintenanceMode)
class MaintenanceModeAdmin(ModelAdmin):
    """The switch of maintenance mode: adding its row holds prompts back, deleting it lets them in."""

    list_display = ["__str__", "notice", "began_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not MaintenanceMode.objects.exists()

"""Add the shipped routes that this database has never seen."""

from typing import Any

from django.core.management.base import BaseCommand

from providers.seeding import routes_sync


class Command(BaseCommand):
    help = "Add shipped routes that are new since the last run. What you changed, renamed or deleted stays so."

    def handle(self, *args: Any, **options: Any) -> None:
        added = routes_sync()
        for route in added:
            state = "enabled" if route.enabled else "disabled: switch it on in the admin"
            self.stdout.write(f"Added {route.category} {route.provider} ({route.model}), {state}.")
        if not added:
            self.stdout.write("Nothing new: every shipped route has been here before.")

"""`manage.py maintenance on|off|show`: hold prompts back while the service is being worked on."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from requests_app.models import MaintenanceMode, Request
from requests_app.selectors import unfinished_by_status
from requests_app.services.maintenance import maintenance_begin, maintenance_end, maintenance_mode


class Command(BaseCommand):
    help = (
        "Hold new prompts back (on) and let them in again (off): users read a notice, nothing is charged, and what "
        "they wrote is answered afterwards. Requests that are under way are finished."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("switch", choices=["on", "off", "show"])
        parser.add_argument("notice", nargs="?", default="", help="What users read; by default the usual words.")

    def handle(self, *args: Any, switch: str, notice: str, **options: Any) -> None:
        if switch == "on":
            if len(notice) > (limit := MaintenanceMode._meta.get_field("notice").max_length or 0):
                raise CommandError(f"The notice has {len(notice)} characters; {limit} are the most.")
            maintenance_begin(notice=notice)
        elif switch == "off":
            maintenance_end()
            if settings.MAINTENANCE:
                raise CommandError("MAINTENANCE=True holds prompts back still: remove it, and restart the processes.")
        unfinished = unfinished_by_status()
        under_way = sum(unfinished[status] for status in Request.OPEN)
        state = "on" if maintenance_mode() else "off"
        self.stdout.write(f"Maintenance mode is {state}. Requests under way: {under_way}.")

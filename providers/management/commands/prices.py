"""Hold the rows of the chain against the vendors' lists of models and against the age of their prices."""

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from providers.chain.model_audit import audit_routes, routes_to_audit


class Command(BaseCommand):
    help = (
        "List the enabled providers whose model is gone or will go, or whose price is old or missing. "
        "The exit code is 1 when something needs you, so that a nightly run can tell you."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        rows = routes_to_audit()
        urgent = 0
        for remark in audit_routes(rows, today=timezone.now().date()):
            self.stdout.write(str(remark))
            urgent += remark.is_urgent
        self.stdout.write(f"Rows with a key: {len(rows)}. Things to look at: {urgent or 'none'}.")
        if urgent:
            sys.exit(1)

"""Audit the routes against the providers' lists of models and the age of their prices."""

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from providers.chain.model_audit import audit_routes, routes_to_audit


class Command(BaseCommand):
    help = (
        "List the enabled routes whose model is gone or will go, or whose price is old or missing. "
        "The exit code is 1 when something needs you, so that a nightly run can tell you."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        routes = routes_to_audit()
        urgent = 0
        for remark in audit_routes(routes, today=timezone.now().date()):
            self.stdout.write(str(remark))
            urgent += remark.is_urgent
        self.stdout.write(f"Routes with a key: {len(routes)}. Things to look at: {urgent or 'none'}.")
        if urgent:
            sys.exit(1)

"""Audit the routes against the providers' lists of models and the age of their prices, and AI models against both."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from providers.chain.model_audit import audit_routes, routes_to_audit
from providers.models import ProviderConfig
from requests_app.margins import margin_of
from requests_app.models import AIModel


class Command(BaseCommand):
    help = (
        "List the enabled routes whose model is gone or will go, or whose price is old or missing, and what each AI "
        "model's answers cost, usually and at the worst, beside the price of their credits. "
        "The exit code is 1 when something needs you, so that a nightly run can tell you."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        routes = routes_to_audit()
        urgent = 0
        for remark in audit_routes(routes, today=timezone.now().date()):
            self.stdout.write(str(remark))
            urgent += remark.is_urgent
        urgent += self._print_margins([route for route, _ in routes])
        self.stdout.write(f"Routes with a key: {len(routes)}. Things to look at: {urgent or 'none'}.")
        if urgent:
            sys.exit(1)

    def _print_margins(self, routes: list[ProviderConfig]) -> int:
        """Print a line for each AI model that a route with a key serves; return how many may lose money."""
        losses = 0
        for model in AIModel.objects.filter(enabled=True):
            margin = margin_of(model, routes)
            if margin.usual and margin.worst:
                self.stdout.write(f"{model.name}: usually {margin.usual}; at the worst {margin.worst}.")
            if margin.unpriced:
                self.stdout.write(f"{model.name}: nobody knows what an answer costs on {', '.join(margin.unpriced)}.")
            if margin.is_loss:
                losses += 1
                self.stdout.write(
                    f"{model.name}: it may cost more than its credits bring (CREDIT_PRICE_USD is "
                    f"{settings.CREDIT_PRICE_USD}). Raise its token_cost, or give it rates: Admin → AI models."
                )
        return losses

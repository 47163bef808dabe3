"""Audit the routes against the providers' lists of models and the age of their prices, and AI models against both."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from providers.backends.base import Provider
from providers.chain.model_audit import audit_routes, routes_to_audit
from providers.chain.price_proposals import Proposal, proposal_apply, proposals_for
from providers.models import ProviderConfig
from requests_app.margins import margin_of
from requests_app.models import AIModel


class Command(BaseCommand):
    help = (
        "List the enabled routes whose model is gone or will go, or whose price is old or missing, and what each AI "
        "model's answers cost, usually and at the worst, beside the price of their credits. "
        "The exit code is 1 when something needs you, so that a nightly run can tell you."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--propose",
            action="store_true",
            help="Print which rates differ from those of public lists; change nothing.",
        )
        parser.add_argument(
            "--apply",
            nargs="*",
            metavar="ROUTE",
            help="Take over what --propose prints: all of it but drastic changes, or that of the text routes named.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        routes = routes_to_audit()
        if settings.SANDBOX_ACTIVE and options["apply"] is not None:
            raise CommandError("The sandbox answers now, and its prices are invented. Set a provider's key first.")
        if options["propose"] or options["apply"] is not None:
            self._propose(routes, options["apply"])
            return
        urgent = 0
        for remark in audit_routes(routes, today=timezone.now().date()):
            self.stdout.write(str(remark))
            urgent += remark.is_urgent
        urgent += self._print_margins([route for route, _ in routes])
        self.stdout.write(f"Routes with a key: {len(routes)}. Things to look at: {urgent or 'none'}.")
        if urgent:
            sys.exit(1)

    def _propose(self, routes: list[tuple[ProviderConfig, Provider]], names: list[str] | None) -> None:
        """Print the proposals, and apply those that `names` asks for; None: none, empty: all but drastic ones."""
        proposals = list(proposals_for(routes, now=timezone.now()))
        unknown = set(names or ()) - {proposal.route.name for proposal in proposals}
        if unknown:
            raise CommandError(f"Nothing is proposed for {', '.join(sorted(unknown))}. Run it with --propose.")
        for proposal in proposals:
            is_wanted = proposal.route.name in names if names else names == [] and not proposal.is_drastic
            self.stdout.write(f"{proposal}{_apply(proposal) if is_wanted else ''}")
        self.stdout.write(f"Proposals: {len(proposals) or 'none'}.")

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


def _apply(proposal: Proposal) -> str:
    is_applied = proposal_apply(proposal, actor="manage.py prices")
    return " – applied" if is_applied else " – not applied: its prices have changed meanwhile"

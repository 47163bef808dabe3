"""Export and import routes, order them, pause and resume them, test one."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.models import ProviderConfig
from providers.routes.files import InvalidFile, routes_export, routes_import, routes_plan
from providers.routes.order import InvalidOrder, route_order, routes_reorder
from providers.routes.pauses import route_pause, route_resume
from providers.routes.testing import new_test_key, route_test
from providers.statistics.selectors import shown_usd
from providers.types import Category, Operation

ACTOR = "manage.py routes"


class Command(BaseCommand):
    help = "Routes as a file and back, their order, a pause, a test."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        export = actions.add_parser("export", help="Print all routes and rules as JSON, without keys.")
        export.add_argument(
            "--with-values", action="store_true", help="With extra headers and extra body, which may be secrets."
        )
        imports = actions.add_parser("import", help="Import what export has printed; all of it or nothing.")
        imports.add_argument("file", help="Its path, or - for the standard input.")
        imports.add_argument("--dry-run", action="store_true", help="Say what would change; change nothing.")
        order = actions.add_parser("order", help="Order a category's routes, or print the order.")
        order.add_argument("category", choices=[category.value for category in Category])
        order.add_argument("routes", nargs="*", help="Names, first to last; a=b share the load. Others follow as now.")
        order.add_argument("--operation", default=Operation.GENERATE.value, choices=[each.value for each in Operation])
        for name, words in (
            ("pause", "Ask a route nothing for an hour."),
            ("resume", "End its pause, the circuit breaker's too."),
            ("test", "Make one real call."),
        ):
            one = actions.add_parser(name, help=words)
            one.add_argument("category", choices=[category.value for category in Category])
            one.add_argument("route", help="Its name.")
            one.add_argument("--prompt" if name == "test" else "--reason", dest="words", default="")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if action == "export":
            self.stdout.write(routes_export(with_values=options["with_values"]), ending="")
        elif action == "import":
            self._import(options["file"], is_dry=options["dry_run"])
        elif action == "order":
            self._order(Category(options["category"]), Operation(options["operation"]), options["routes"])
        else:
            self._one(action, options["category"], options["route"], options["words"])

    def _import(self, file: str, *, is_dry: bool) -> None:
        try:
            content = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
            plan = routes_plan(content) if is_dry else routes_import(content=content, actor=ACTOR)
        except (InvalidFile, OSError, UnicodeError) as error:
            raise CommandError(str(error)) from error
        for each in plan.planned:
            self.stdout.write(f"{each.subject}{' (new)' if each.is_new else ''}: {'; '.join(map(str, each.changes))}")
        verb = "Would change" if is_dry else "Changed"
        self.stdout.write(f"{verb}: {len(plan.planned) or 'nothing'}. As they are already: {plan.unchanged}.")

    def _order(self, category: Category, operation: Operation, names: list[str]) -> None:
        present = route_order(category, operation)
        by_name = {route.name: route.pk for group in present for route in group}
        wanted = [entry.split("=") for entry in names]
        unknown = [name for group in wanted for name in group if name not in by_name]
        if unknown:
            raise CommandError(f"{category} has no route {', '.join(unknown)}; it has {', '.join(by_name)}.")
        named = {name for group in wanted for name in group}
        others = [[route.name for route in group if route.name not in named] for group in present]
        order = [[by_name[name] for name in group] for group in (*wanted, *filter(None, others))]
        expected = [[route.pk for route in group] for group in present]
        try:
            routes_reorder(category=category, operation=operation, order=order, expected=expected, actor=ACTOR)
        except InvalidOrder as error:
            raise CommandError(str(error)) from error
        for group in route_order(category, operation):
            self.stdout.write(f"{group[0].priority:>5}  {' = '.join(route.name for route in group)}")

    def _one(self, action: str, category: str, name: str, words: str) -> None:
        route = ProviderConfig.objects.filter(category=category, name=name).first()
        if route is None:
            raise CommandError(f"{category} has no route {name!r}.")
        if action == "pause":
            route_pause(route_id=route.pk, actor=ACTOR, reason=words)
            self.stdout.write(f"{route} is paused for an hour.")
        elif action == "resume":
            was_paused = route_resume(route_id=route.pk, actor=ACTOR, reason=words)
            self.stdout.write(f"{route} {'is resumed' if was_paused else 'was not paused'}.")
        else:
            key = new_test_key()
            test = route_test(route_id=route.pk, caller_key=key, prompt=words)
            while test.is_running:
                test = route_test(route_id=route.pk, caller_key=key, prompt=words)
            if not test.is_answered:
                raise CommandError(f"{route}: {test}")
            cost = shown_usd(test.attempt.cost if test.attempt else None)
            self.stdout.write(f"{route}: {test}, {cost}\n{test.text}".rstrip())

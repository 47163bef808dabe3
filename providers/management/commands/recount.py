"""Count the hourly sums of the statistics again from the raw attempts, or say whether they agree."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.statistics.rollups import fold_attempts, rollups_check, rollups_rebuild

MAX_LISTED = 10


class Command(BaseCommand):
    help = "Count the hourly sums of the statistics again from the raw attempts. Harmless while everything runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; say which hours have other sums")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["check"]:
            counted = rollups_rebuild()
            folded = fold_attempts()
            self.stdout.write(f"Counted {counted} hourly sums again and added {folded} new attempts.")
            return
        checked, wrong = rollups_check()
        if wrong:
            hours = ", ".join(f"{hour:%Y-%m-%d %H:%M} UTC" for hour in wrong[:MAX_LISTED])
            more = f" and {len(wrong) - MAX_LISTED} more" if len(wrong) > MAX_LISTED else ""
            raise CommandError(
                f"{len(wrong)} of {checked} hours have other sums than their attempts: {hours}{more}. "
                "`manage.py recount` counts them again."
            )
        self.stdout.write(f"The sums of {checked} hours agree with their attempts.")

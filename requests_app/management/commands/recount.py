"""Count the sums of attempts and requests again from the raw rows, or say whether they agree."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.models import FoldState
from providers.statistics.day_cuts import current_zone, zones_left
from providers.statistics.folding import Fold
from providers.statistics.rollups import attempts_fold
from providers.statistics.sum_tables import Slots
from requests_app.analytics.rollups import requests_fold

MAX_LISTED = 10
# Attempts first: a request is folded once its attempts are.
FOLDS: dict[str, Fold] = {"attempts": attempts_fold, "requests": requests_fold}


class Command(BaseCommand):
    help = "Count the sums of attempts and requests again from the raw rows. Harmless while everything runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="write nothing; say which hours and days, and whether all of them together, have other sums",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check()
            return
        for name, fold in FOLDS.items():
            counted = " and ".join(f"{number} {slots.name}" for slots, number in fold.rebuild())
            folded = 0
            while batch := fold.fold():
                folded += batch
            self.stdout.write(f"Counted {counted} of {name} again and added {folded} new ones.")
            for zone, until in fold.cuts().others(current_zone()):
                self.stdout.write(
                    f"Days of {name} before {until} stay those of {zone}: some of their rows may be deleted."
                )

    def _check(self) -> None:
        wrong: list[str] = []
        for name, fold in FOLDS.items():
            for slots, checked, differing in fold.check():
                if differing:
                    wrong.append(f"{len(differing)} of {checked} {slots.name} of {name}: {_listed(slots, differing)}")
                else:
                    self.stdout.write(f"The sums of {checked} {slots.name} of {name} agree with the raw rows.")
            if months := fold.months_apart():
                wrong.append(f"months of {name}, beside their days: {', '.join(f'{each:%Y-%m}' for each in months)}")
            totals = fold.totals()
            known = f"{totals.on_record:,} on record and {totals.deleted:,} that retention has deleted"
            for table, number in totals.wrong.items():
                wrong.append(f"all sums of {name} by {table}: they count {number:,}, of {known}")
            for column, by_table in totals.apart.items():
                both = " and ".join(f"{number:,} by {table}" for table, number in by_table.items())
                if totals.deleted:  # of which nobody can say any more which sum is right
                    self.stdout.write(f"Sums of deleted {name} differ, which a recount leaves: all {column}, {both}.")
                else:
                    wrong.append(f"all {column} of {name}: {both}")
            if not totals.wrong and not totals.apart:
                self.stdout.write(f"In all they count {name} once each, and have the same sums: {known}.")
        if wrong:
            raise CommandError(
                f"Other sums than the raw rows have {'; '.join(wrong)}. `manage.py recount` counts again what is on "
                "record."
            )
        if zones := zones_left(FoldState.objects.values_list("days", "deleted_until")):
            self.stdout.write(
                f"Days are those of {' and '.join(zones)}: `manage.py recount` cuts them in {current_zone()}."
            )


def _listed(slots: Slots, differing: list[Any]) -> str:
    listed = ", ".join(slots.shown(slot) for slot in differing[:MAX_LISTED])
    return f"{listed} and {len(differing) - MAX_LISTED} more" if len(differing) > MAX_LISTED else listed

"""Count the hourly sums of the statistics again from the raw attempts."""

from typing import Any

from django.core.management.base import BaseCommand

from providers.statistics.rollups import fold_attempts, rollups_rebuild


class Command(BaseCommand):
    help = "Count the hourly sums of the statistics again from the raw attempts. Harmless while everything runs."

    def handle(self, *args: Any, **options: Any) -> None:
        hours = rollups_rebuild()
        folded = fold_attempts()
        self.stdout.write(f"Counted {hours} hourly sums again and added {folded} new attempts.")

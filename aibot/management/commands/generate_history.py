"""`manage.py generate_history`: fill an empty database with invented requests, to see how everything does at size."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from aibot.history.generation import CannotGenerate, history_generate
from aibot.history.stories import Plan


class Command(BaseCommand):
    help = (
        "Fill an empty database with an invented history: users, requests, attempts, ledger, chats, hourly sums. For "
        "measurements, and for trying the admin at its later size. Never for the database of a service that runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--requests", type=_number, default=10_000, help="How many requests (10000).")
        parser.add_argument(
            "--attempts-per-request", type=_ratio, default=2.0, help="On average, where there are routes (2.0)."
        )
        parser.add_argument("--days", type=_number, default=120, help="How far back they reach (120).")
        parser.add_argument("--accounts", type=_number, default=20_000, help="How many users, few are busy (20000).")
        parser.add_argument("--seed", type=int, default=1, help="Another seed makes another history (1).")
        parser.add_argument("--until", type=_moment, help="When it ends, such as 2026-11-28T12:00 in UTC (now).")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        plan = Plan(
            requests=options["requests"],
            attempts_per_request=options["attempts_per_request"],
            days=options["days"],
            until=options["until"] or timezone.now(),
            seed=options["seed"],
        )
        try:
            written = history_generate(
                plan,
                accounts=options["accounts"],
                report=lambda words: self.stdout.write(f"{time.monotonic() - began:6.0f} s  {words}"),
            )
        except CannotGenerate as error:
            raise CommandError(str(error)) from error
        rows = ", ".join(f"{number:,} {name}" for name, number in written.items())
        self.stdout.write(f"Wrote {rows} in {time.monotonic() - began:.0f} s.")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("a whole number above 0")
    return int(text)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 1 <= ratio <= 10:
        raise ArgumentTypeError("a number from 1 to 10")
    return ratio


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError("a time such as 2026-11-28T12:00") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC)

"""ElevenLabs. What it counts as characters are its credits, of which a plan brings so many each month.

Source: https://elevenlabs.io/docs/api-reference/user/subscription/get, …/usage/get (read 2026-11). The latter is marked
as deprecated, and answers.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from providers.accounts.base import (
    AccountApi,
    Balance,
    Charge,
    Unit,
    amount_at,
    charges_of,
    day_at,
    moment_at,
    untold,
)
from providers.backends.elevenlabs import ElevenLabs
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import get_path, list_at
from providers.types import Call


class ElevenLabsAccount(AccountApi, ElevenLabs):
    """A key needs the permission `user_read`, without which speech works and this is refused."""

    def balance(self, deadline: Deadline) -> Balance | None:
        body = self.ask(Call("/v1/user/subscription", method="GET"), deadline)
        used, limit = amount_at(body, "character_count"), amount_at(body, "character_limit")
        if used is None or limit is None:
            raise untold("the balance")
        return Balance(limit - used, Unit.CREDITS, moment_at(body, "next_character_count_reset_unix"))

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        query = {
            "start_unix": _milliseconds(first),
            "end_unix": _milliseconds(last + timedelta(days=1)) - 1,
            "aggregation_interval": "day",
        }
        body = self.ask(Call(f"/v1/usage/character-stats?{urlencode(query)}", method="GET"), deadline)
        days, series = list_at(body, "time"), get_path(body, "usage")
        if not isinstance(series, dict):
            raise untold("what the days were charged")
        return charges_of(
            ((day_at(day), amount_at(amounts, place)) for amounts in series.values() for place, day in enumerate(days)),
            Unit.CREDITS,
        )


def _milliseconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000

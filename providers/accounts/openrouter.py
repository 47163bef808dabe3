"""OpenRouter. A key that makes calls is told of itself; a management key is told of the whole account.

Source: https://openrouter.ai/docs/api/api-reference (/key, /credits, /activity; read 2026-11).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from providers.accounts.base import AccountApi, Balance, Charge, amount_at, charges_of, untold
from providers.backends.openrouter import OpenRouterText
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import date_at, get_path, list_at
from providers.types import Call

# Around midnight nobody knows of which day it speaks.
MIDNIGHT = timedelta(minutes=5)


class OpenRouterKey(AccountApi):
    """What the key may still spend, where it has a limit, and what it has spent today, and in all."""

    slug = "openrouter"
    rules = OpenRouterText.rules
    is_of_whole_account = False

    def balance(self, deadline: Deadline) -> Balance | None:
        key = get_path(self.ask(Call("/key", method="GET"), deadline), "data")
        left = amount_at(key, "limit_remaining")
        return None if left is None else Balance(left)  # a key without a limit of its own

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        now = datetime.now(UTC)
        if (now + MIDNIGHT).date() != (now - MIDNIGHT).date():
            return ()
        key = get_path(self.ask(Call("/key", method="GET"), deadline), "data")
        today, in_all = amount_at(key, "usage_daily"), amount_at(key, "usage")
        if today is None:
            raise untold("what today was charged")
        return [Charge(now.date(), today, opening=None if in_all is None else in_all - today)]


class OpenRouterAccount(AccountApi):
    """The credits that were bought and used, and what each of the last 30 days was charged, once it is over."""

    slug = "openrouter"
    rules = OpenRouterText.rules

    def balance(self, deadline: Deadline) -> Balance | None:
        body = self.ask(Call("/credits", method="GET"), deadline)
        bought, used = amount_at(body, "data", "total_credits"), amount_at(body, "data", "total_usage")
        if bought is None or used is None:
            raise untold("the balance")
        return Balance(bought - used)

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        rows = list_at(self.ask(Call("/activity", method="GET"), deadline), "data")
        return charges_of((date_at(row, "date"), amount_at(row, "usage")) for row in rows)

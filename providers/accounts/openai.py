"""OpenAI. Its costs are told to admin keys alone, and a balance to nobody.

Source: https://platform.openai.com/docs/api-reference/usage/costs (read 2026-11).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

from providers.accounts.base import AccountApi, Charge, amount_at, charges_of, day_at, is_usd
from providers.backends.openai import OpenAIText
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import list_at, text_at
from providers.types import Call

MAX_BUCKETS = 180


class OpenAIOrganization(AccountApi):
    """A bucket for each day, of the whole organization; one without results was charged nothing."""

    slug = "openai"
    rules = OpenAIText.rules

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        query = {
            "start_time": _seconds(first),
            "end_time": _seconds(last + timedelta(days=1)),
            "bucket_width": "1d",
            "limit": min((last - first).days + 1, MAX_BUCKETS),
        }
        body = self.ask(Call(f"/organization/costs?{urlencode(query)}", method="GET"), deadline)
        amounts = []
        for bucket in list_at(body, "data"):
            day = day_at(bucket, "start_time")
            if isinstance(bucket, dict) and bucket.get("results") == []:
                amounts.append((day, amount_at(0)))
            for result in list_at(bucket, "results"):
                is_known = is_usd(text_at(result, "amount", "currency"))
                amounts.append((day, amount_at(result, "amount", "value") if is_known else None))
        return charges_of(amounts)


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())

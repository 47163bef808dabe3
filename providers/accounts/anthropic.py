"""Anthropic. Its costs are told to admin keys of an organization alone, and a balance to nobody.

Source: https://platform.claude.com/docs/en/api/admin-api/usage-cost/get-cost-report (read 2026-11): amounts are decimal
strings in cents.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from urllib.parse import urlencode

from providers.accounts.base import AccountApi, Charge, amount_at, charges_of, day_at, is_usd
from providers.backends.anthropic import VERSION, AnthropicText
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import list_at, text_at
from providers.types import Call

CENT = Decimal("0.01")
MAX_BUCKETS = 31


class AnthropicOrganization(AccountApi):
    """A bucket for each day, of the whole organization. The costs of its Priority Tier are not in there."""

    slug = "anthropic"
    auth_header = AnthropicText.auth_header
    auth_scheme = AnthropicText.auth_scheme
    rules = AnthropicText.rules

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        query = {
            "starting_at": f"{first}T00:00:00Z",
            "ending_at": f"{last + timedelta(days=1)}T00:00:00Z",
            "bucket_width": "1d",
            "limit": min((last - first).days + 1, MAX_BUCKETS),
        }
        path = f"/v1/organizations/cost_report?{urlencode(query)}"
        body = self.ask(Call(path, headers=VERSION, method="GET"), deadline)
        amounts = []
        for bucket in list_at(body, "data"):
            day = day_at(bucket, "starting_at")
            if isinstance(bucket, dict) and bucket.get("results") == []:
                amounts.append((day, amount_at(0)))
            for result in list_at(bucket, "results"):
                is_known = is_usd(text_at(result, "currency"))
                amounts.append((day, amount_at(result, "amount", unit=CENT) if is_known else None))
        return charges_of(amounts)

"""xAI. Another server speaks of the account, to management keys.

Source: https://docs.x.ai/developers/management-api, …/rest-api-reference/management/billing (read 2026-11). The ledger
of prepaid credits is kept from xAI's side: what was paid in is below 0, in cents.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from urllib.parse import quote

from providers.accounts.base import AccountApi, Balance, Charge, amount_at, charges_of, day_at, untold
from providers.backends.xai import XaiText
from providers.errors import OutcomeUnknown
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import list_at, text_at
from providers.types import Call

CENT = Decimal("0.01")


class XaiTeam(AccountApi):
    """The prepaid credits of the key's team, and what each day was charged."""

    slug = "xai"
    rules = XaiText.rules

    def balance(self, deadline: Deadline) -> Balance | None:
        body = self.ask(Call(f"{self._team_path(deadline)}/prepaid/balance", method="GET"), deadline)
        owed = amount_at(body, "total", "val", unit=CENT)
        if owed is None:
            raise untold("the balance")
        return Balance(-owed)

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        request = {
            "timeRange": {"startTime": f"{first} 00:00:00", "endTime": f"{last} 23:59:59", "timezone": "Etc/GMT"},
            "timeUnit": "TIME_UNIT_DAY",
            "values": [{"name": "usd", "aggregation": "AGGREGATION_SUM"}],
            "groupBy": [],
            "filters": [],
        }
        body = self.ask(Call(f"{self._team_path(deadline)}/usage", json={"analyticsRequest": request}), deadline)
        if body.get("limitReached"):
            raise OutcomeUnknown("the answer says that it is not whole")
        return charges_of(
            (day_at(point, "timestamp"), amount_at(point, "values", 0))
            for series in list_at(body, "timeSeries")
            for point in list_at(series, "dataPoints")
        )

    def _team_path(self, deadline: Deadline) -> str:
        body = self.ask(Call("/auth/management-keys/validation", method="GET"), deadline)
        team = text_at(body, "teamId") or (text_at(body, "scopeId") if text_at(body, "scope") == "SCOPE_TEAM" else "")
        if not team:
            raise untold("the key's team: make one of a team's keys")
        return f"/v1/billing/teams/{quote(team, safe='')}"

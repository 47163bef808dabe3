"""PiAPI. Its document does not show the answer; public code reads `equivalent_in_usd`, inside of `data` or without.

Source: https://piapi.ai/docs/unified-api-schema, github.com (read 2026-11).
"""

from providers.accounts.base import AccountApi, Balance, amount_at, untold
from providers.backends.piapi import RULES
from providers.transport.deadlines import Deadline
from providers.types import Call


class PiapiAccount(AccountApi):
    slug = "piapi"
    auth_header = "X-API-Key"
    auth_scheme = ""
    rules = RULES

    def balance(self, deadline: Deadline) -> Balance | None:
        body = self.ask(Call("/account/info", method="GET"), deadline)
        left = amount_at(body, "data", "equivalent_in_usd")
        left = amount_at(body, "equivalent_in_usd") if left is None else left
        if left is None:
            raise untold("the balance")
        return Balance(left)

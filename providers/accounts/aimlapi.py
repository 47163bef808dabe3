"""AIMLAPI. Source: https://docs.aimlapi.com/api-references/service-endpoints/account-balance (read 2026-11)."""

from providers.accounts.base import AccountApi, Balance, amount_at, untold
from providers.backends.aimlapi import CREDIT, AimlapiText
from providers.transport.deadlines import Deadline
from providers.types import Call


class AimlapiAccount(AccountApi):
    """The balance in credits, whose price in dollars is fixed."""

    slug = "aimlapi"
    code_paths = AimlapiText.code_paths
    rules = AimlapiText.rules

    def balance(self, deadline: Deadline) -> Balance | None:
        left = amount_at(self.ask(Call("/v1/billing/balance", method="GET"), deadline), "balance")
        if left is None:
            raise untold("the balance")
        return Balance(left * CREDIT)

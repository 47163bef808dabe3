"""Kie.ai. Source: https://docs.kie.ai/common-api/get-account-credits (read 2026-11)."""

from collections.abc import Mapping
from typing import Any

from providers.accounts.base import AccountApi, Balance, Unit, amount_at, untold
from providers.backends.error_mapping import ErrorReply
from providers.backends.kie import KieTask
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import text_at
from providers.types import Call


class KieAccount(AccountApi):
    """The credits that are left. Its errors are inside of a 200."""

    slug = "kie"
    rules = KieTask.rules

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return body.get("code") != 200

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        reply = super().parse_error(status, body)
        return ErrorReply(reply.status, reply.codes, text_at(body, "msg") or reply.text)

    def balance(self, deadline: Deadline) -> Balance | None:
        left = amount_at(self.ask(Call("/api/v1/chat/credit", method="GET"), deadline), "data")
        if left is None:
            raise untold("the balance")
        return Balance(left, Unit.CREDITS)

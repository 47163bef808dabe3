"""Runware. Source: https://runware.ai/docs/platform/account-management (read 2026-11)."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from providers.accounts.base import AccountApi, Balance, amount_at, untold
from providers.backends.error_mapping import ErrorReply
from providers.backends.runware import RunwareTask
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import text_at
from providers.types import Call


class RunwareAccount(AccountApi):
    """The balance of the organization, asked as a task like any other."""

    slug = "runware"
    rules = RunwareTask.rules

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return bool(body.get("errors"))

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        code, message = text_at(body, "errors", 0, "code"), text_at(body, "errors", 0, "message")
        return ErrorReply(status, (code,), f"{code}: {message}" if code else message)

    def balance(self, deadline: Deadline) -> Balance | None:
        task = {"taskType": "accountManagement", "taskUUID": str(uuid4()), "operation": "getDetails"}
        left = amount_at(self.ask(Call("", json=[task]), deadline), "data", 0, "balance")
        if left is None:
            raise untold("the balance")
        return Balance(left)

"""Anthropic's messages. Source: https://docs.anthropic.com/en/api/errors (read 2026-11)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from providers.sandbox.error_texts import RETRY_AFTER, ErrorText, Problem
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.formats.anthropic_messages import MessagesVendor
from providers.sandbox.vendor_base import Answered, Endpoint


class AnthropicVendor(MessagesVendor):
    """Its overload has a status of its own, 529."""

    slug = "anthropic"
    other_models = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-2", "claude-haiku-4-5")
    reasoning_tokens = 8
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "authentication_error", "x-api-key header is required"),
        Problem.WRONG_KEY: ErrorText(401, "authentication_error", "invalid x-api-key"),
        Problem.NO_SUCH_PATH: ErrorText(404, "not_found_error", "Not found: {}"),
        Problem.UNKNOWN_MODEL: ErrorText(404, "not_found_error", "model: {}"),
        Problem.INVALID: ErrorText(400, "invalid_request_error", "{}"),
        Problem.UNSUPPORTED: ErrorText(400, "invalid_request_error", "`{}` is not supported for this model."),
        Problem.RATE_LIMITED: ErrorText(
            429, "rate_limit_error", "This request would exceed your organization's rate limit.", RETRY_AFTER
        ),
        Problem.DOWN: ErrorText(529, "overloaded_error", "Overloaded"),
    }

    def headers(self, cost: Decimal | None = None) -> Mapping[str, str]:
        return {"request-id": new_id("req_"), "anthropic-ratelimit-requests-remaining": "49"}

    def endpoints(self) -> Sequence[Endpoint]:
        return (*super().endpoints(), Endpoint("GET", "/v1/organizations/cost_report", self.list_costs))

    def list_costs(self, request: VendorRequest) -> Answered:
        result = {"currency": "USD", "amount": f"{self.charged * 100:f}", "workspace_id": None, "description": None}
        bucket = {
            "starting_at": self.midnight.isoformat().replace("+00:00", "Z"),
            "ending_at": (self.midnight + timedelta(days=1)).isoformat().replace("+00:00", "Z"),
            "results": [result],
        }
        return VendorReply(200, {"data": [bucket], "has_more": False, "next_page": None}), None

"""xAI's chat and images.

Source: https://docs.x.ai/docs/api-reference, …/docs/guides/image-generations (read 2026-11).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest
from providers.sandbox.field_rules import ARRAY, OBJECT, PROMPT, TEXT, between, one_of
from providers.sandbox.formats.chat_answers import TokenCount
from providers.sandbox.formats.openai_responses import ResponsesVendor
from providers.sandbox.vendor_base import FORBIDDEN, PAID_IN, Answered, Endpoint, SandboxModel, has_word
from providers.types import Category, Usage

TICKS_PER_USD = 10_000_000_000
EXHAUSTED = "Some resource has been exhausted"
INVALID = "Client specified an invalid argument"
NOT_FOUND = "Some requested entity was not found"
RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:19.5", "19.5:9", "9:20", "20:9", "1:2", "2:1", "auto")
FIELDS = {
    "prompt": PROMPT,
    "model": TEXT,
    "n": between(1, 10),
    "response_format": one_of("url", "b64_json"),
    "aspect_ratio": one_of(*RATIOS),
    "resolution": one_of("1k", "2k"),
    "user": TEXT,
    "image": OBJECT,
    "images": ARRAY,
}


class XaiVendor(ResponsesVendor):
    """Flat errors, a 400 for a wrong key, the exact charge in ticks. A blocked prompt is a 200 with a reason."""

    slug = "xai"
    other_models = ("grok-4.3", "grok-4.20-non-reasoning")
    media_models = {
        "grok-imagine-image": SandboxModel(Category.IMAGE, FIELDS, price=Decimal("0.02")),
        "grok-imagine-image-quality": SandboxModel(Category.IMAGE, FIELDS, price=Decimal("0.05")),
        "grok-imagine-image-2.0": SandboxModel(
            Category.IMAGE, {**FIELDS, "quality": one_of("low", "medium")}, price=Decimal("0.06")
        ),
    }
    charges_refusals = True
    attachments = frozenset({"image_url"})
    unsupported = frozenset({"stop", "presence_penalty", "frequency_penalty"})
    caches_input = True
    reasoning_tokens = 24
    error_texts = {
        Problem.NO_KEY: ErrorText(
            401, "The request does not have valid authentication credentials", "No credentials were provided."
        ),
        Problem.WRONG_KEY: ErrorText(
            400, INVALID, "Incorrect API key provided: {}. You can obtain an API key from https://console.x.ai."
        ),
        Problem.NO_SUCH_PATH: ErrorText(404, NOT_FOUND, "{}: not found"),
        Problem.UNKNOWN_MODEL: ErrorText(
            404, NOT_FOUND, "The model {} does not exist or your team does not have access to it."
        ),
        Problem.INVALID: ErrorText(422, INVALID, "Failed to deserialize the JSON body into the target type: {}"),
        Problem.UNSUPPORTED: ErrorText(400, INVALID, "Argument not supported on this model: {}"),
        Problem.RATE_LIMITED: ErrorText(429, EXHAUSTED, "Too many requests for your team."),
        Problem.NO_CREDIT: ErrorText(
            429, EXHAUSTED, "Your team has either used all available credits or reached its monthly spending limit."
        ),
        Problem.DOWN: ErrorText(
            503, "The service is currently unavailable", "The model is at capacity. Please try again later."
        ),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        images = Endpoint("POST", "/v1/images/generations", self.generate_images, is_submission=True)
        edits = Endpoint("POST", "/v1/images/edits", self.edit_images, is_submission=True)
        return (
            *super().endpoints(),
            images,
            edits,
            Endpoint("GET", "/auth/management-keys/validation", self.show_management_key),
            Endpoint("GET", "/v1/billing/teams/{team}/prepaid/balance", self.show_balance),
            Endpoint("POST", "/v1/billing/teams/{team}/usage", self.list_usage),
        )

    def usage(self, tokens: TokenCount) -> dict[str, Any]:
        return {
            **super().usage(tokens),
            "completion_tokens": tokens.output,  # unlike OpenAI's: without reasoning
            "prompt_tokens_details": {
                "text_tokens": tokens.input + tokens.cached_input,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": tokens.cached_input,
            },
            "num_sources_used": 0,
            **_ticks(self.cost_of(tokens)),
        }

    def response_usage(self, tokens: TokenCount) -> dict[str, Any]:
        cost = self.cost_of(tokens) + Decimal("0.005")  # one search
        return {
            **super().response_usage(tokens),
            "server_side_tool_usage_details": {"web_search_calls": 1},
            **_ticks(cost),
        }

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        return {"code": text.code, "error": message}

    def edit_images(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        if ("image" in body) == ("images" in body):
            raise VendorRefusal(Problem.INVALID, "either image or images")
        if "aspect_ratio" in body and "image" in body:
            raise VendorRefusal(Problem.UNSUPPORTED, "aspect_ratio")
        return self.generate_images(request)

    def generate_images(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        model, count = self.media_model(body), body.get("n", 1)
        is_blocked = has_word(FORBIDDEN, body["prompt"])
        names = [] if is_blocked else [f"{number}.jpeg" for number in range(count)]
        inputs = body.get("images", [body["image"]] if "image" in body else [])
        usage = Usage(images=count + len(inputs))  # those that go in are billed, too
        job = self.generate(request, model, usage, prompt=body["prompt"], file_names=names, is_polled=False)
        if body.get("response_format", "url") == "url":
            images = [{"url": address} for address in self.addresses(request, job)]
        else:
            images = [{"b64_json": image} for image in self.contents_in_base64(job)]
        reply = {
            "data": [{**image, "mime_type": "image/jpeg"} for image in images],
            "usage": _ticks(job.cost or Decimal(0)),
            **({"block_reason": "The prompt violates usage guidelines."} if is_blocked else {}),
        }
        return VendorReply(200, reply), self.line_of(job)

    def show_management_key(self, request: VendorRequest) -> Answered:
        return VendorReply(200, {"scope": "SCOPE_TEAM", "scopeId": "team-sandbox", "teamId": "team-sandbox"}), None

    def show_balance(self, request: VendorRequest, team: str) -> Answered:
        # Kept from the vendor's side: what was paid in is below 0, in cents.
        cents = f"{(self.charged - PAID_IN) * 100:.0f}"
        return VendorReply(200, {"changes": [], "total": {"val": cents}}), None

    def list_usage(self, request: VendorRequest, team: str) -> Answered:
        point = {"timestamp": self.midnight.isoformat(), "values": [float(self.charged)]}
        series = {"group": [], "groupLabels": [], "dataPoints": [point]}
        return VendorReply(200, {"timeSeries": [series], "limitReached": False}), None


def _ticks(cost: Decimal) -> dict[str, int]:
    return {"cost_in_usd_ticks": int(cost * TICKS_PER_USD)}

"""xAI's pictures beside its chat. Source: https://docs.x.ai/docs/guides/image-generations (read 2026-11)."""

import base64
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from providers.sandbox.fake_files import content_of, sides_of
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import PROMPT, TEXT, Field, check_fields, refuse_unknown
from providers.sandbox.formats.media import Answered, Order, Route, WithMedia
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    Call,
    Problem,
    Refused,
    Reply,
    Wording,
    is_word_in,
    json_of,
)
from providers.sandbox.vendors.text_vendors import TICKS_PER_USD, Xai
from providers.types import Category, Usage

PATH = "/v1/images/generations"
PRICES: Mapping[str, Decimal] = {
    "grok-imagine-image": Decimal("0.02"),
    "grok-imagine-image-quality": Decimal("0.05"),
    "grok-imagine-image-2.0": Decimal("0.06"),
}
MODELS_WITH_QUALITY = frozenset({"grok-imagine-image-2.0"})
RATIOS = (
    *("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:19.5", "19.5:9", "9:20", "20:9", "1:2", "2:1"),
    "auto",
)
LONGEST_SIDES = {"1k": 1024, "2k": 2048}
FIELDS = {
    "prompt": PROMPT,
    "model": TEXT,
    "n": Field(int, range(1, 11)),
    "response_format": Field(str, ("url", "b64_json")),
    "aspect_ratio": Field(str, RATIOS),
    "resolution": Field(str, tuple(LONGEST_SIDES)),
    "quality": Field(str, ("low", "medium")),
    "user": TEXT,
}


class XaiWithPictures(WithMedia, Xai):
    """JPEGs, as addresses unless asked otherwise. A blocked prompt is a 200 with a reason, and is charged."""

    wordings = {
        **Xai.wordings,
        Problem.NO_CREDIT: Wording(
            429,
            "Some resource has been exhausted",
            "Your team has either used all available credits or reached its monthly spending limit.",
        ),
    }

    def routes(self) -> Sequence[Route]:
        return (("POST", PATH, self._paint),)

    def catalogue(self) -> dict[str, Any]:
        body = super().catalogue()
        entries = [{"id": name, "object": "model", "created": 1767225600, "owned_by": self.slug} for name in PRICES]
        return {**body, "data": [*body["data"], *entries]}

    def _paint(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        refuse_unknown(body, FIELDS)  # size and style among them
        check_fields(body, FIELDS)
        name, price = self.pick(body, PRICES)
        if "quality" in body and name not in MODELS_WITH_QUALITY:
            raise Refused(Problem.UNSUPPORTED, "quality", "quality")
        if is_word_in(PENNILESS, body["prompt"]):
            raise Refused(Problem.NO_CREDIT)
        if fault == Fault.ERROR_IN_200:
            return Reply(200, self.error_in_200(call)), self.unbilled(call)
        is_blocked = is_word_in(FORBIDDEN, body["prompt"])
        count = 0 if is_blocked or fault == Fault.EMPTY else body.get("n", 1)
        ratio = body.get("aspect_ratio", "auto")
        order = self.take(
            name,
            Category.IMAGE,
            usage=Usage(images=body.get("n", 1)),
            cost=price * body.get("n", 1),
            prompt=body["prompt"],
            file_names=[f"{number}.jpeg" for number in range(count)],
            sides=sides_of("1:1" if ratio == "auto" else ratio, LONGEST_SIDES[body.get("resolution", "1k")]),
        )
        painted: dict[str, Any] = {
            "data": self._pictures(call, order, body.get("response_format", "url")),
            "usage": {"cost_in_usd_ticks": int((order.cost or Decimal(0)) * TICKS_PER_USD)},
        }
        if is_blocked:
            painted["block_reason"] = "The prompt violates usage guidelines."
        return Reply(200, painted, is_cut=fault == Fault.CUT), self.line_of(order)

    def _pictures(self, call: Call, order: Order, response_format: str) -> list[dict[str, Any]]:
        if response_format == "url":
            return [{"url": address, "mime_type": "image/jpeg"} for address in self.addresses(call, order)]
        contents = [content_of(name, order.prompt, *order.sides) for name in order.file_names]
        return [{"b64_json": base64.b64encode(content).decode(), "mime_type": "image/jpeg"} for content in contents]

"""OpenAI's pictures beside its chat. Source: https://platform.openai.com/docs/api-reference/images (read 2026-11)."""

import base64
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.sandbox.billing import Line, cost_of_usage
from providers.sandbox.fake_files import picture_of
from providers.sandbox.faults import Fault
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    Call,
    Problem,
    Refused,
    Reply,
    Stream,
    Wording,
    is_word_in,
    json_of,
    model_in,
)
from providers.sandbox.vendors.text_vendors import OpenAI
from providers.types import Category, Usage

PATH = "/v1/images/generations"
MODELS = ("gpt-image-2.6-flare", "gpt-image-2.6-sunburst", "gpt-image-2.5-flare")
# Tokens of a picture of 1024 × 1024.
TOKENS_OF = {"low": 196, "medium": 439, "high": 1756, "xhigh": 3133, "max": 7000}
FIELDS = frozenset(
    {
        *("model", "prompt", "n", "size", "quality", "output_format", "output_compression", "background"),
        *("moderation", "user", "stream", "partial_images"),
    }
)
LISTED_SIZES = ("1024x1024", "1024x1536", "1536x1024")  # the only ones that its document lets an answer name
LISTED_QUALITIES = ("low", "medium", "high")
LONGEST_PROMPT = 32_000
PIXELS = 16  # each side is a multiple of this
LONGEST_SIDES = (3840, 2160)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be painted."""

    model: str
    prompt: str
    n: int
    width: int
    height: int
    quality: str
    file_format: str

    @property
    def usage(self) -> Usage:
        per_picture = TOKENS_OF[self.quality] * self.width * self.height // (1024 * 1024)
        return Usage(input_tokens=len(self.prompt.split()), output_tokens=per_picture * self.n)


class OpenAIWithPictures(OpenAI):
    """GPT images: base64 and nothing else, billed by tokens."""

    wordings = {
        **OpenAI.wordings,
        Problem.UNSUPPORTED: Wording(400, "unknown_parameter", "Unknown parameter: '{}'."),
        Problem.NO_CREDIT: Wording(429, "credit_balance_exhausted", "Your credit balance is exhausted."),
        Problem.REFUSED_CONTENT: Wording(400, "moderation_blocked", "Your request was rejected by the safety system."),
    }

    def respond(self, call: Call, fault: Fault | None) -> tuple[Reply | Stream, Line | None]:
        if (call.method, call.path) != ("POST", PATH):
            return super().respond(call, fault)
        try:
            self.check_fault(call, fault)
            self.check_key(call)
            order = _read(json_of(call))
        except Refused as refusal:
            return self.refuse(call, refusal), self.unbilled(call)
        if fault == Fault.ERROR_IN_200:
            return Reply(200, self.error_in_200(call), self.headers()), self.unbilled(call)
        cost = cost_of_usage(Category.IMAGE, self.slug, order.usage)
        line = Line(provider=self.slug, model=order.model, usage=order.usage, cost=cost)
        body = _painted(order, is_empty=fault == Fault.EMPTY)
        return Reply(200, body, self.headers(), is_cut=fault == Fault.CUT), line

    def unbilled(self, call: Call) -> Line | None:
        return self.free_line(model_in(call)) if call.path == PATH else super().unbilled(call)

    def catalogue(self) -> dict[str, Any]:
        body = super().catalogue()
        entries = [{"id": model, "object": "model", "created": 1767225600, "owned_by": self.slug} for model in MODELS]
        return {**body, "data": [*body["data"], *entries]}


def _read(body: Mapping[str, Any]) -> Order:
    """Check the order as the vendor does. Raises Refused."""
    for name in sorted(body.keys() - FIELDS):  # response_format and style among them
        raise Refused(Problem.UNSUPPORTED, name, name)
    model = body.get("model", "dall-e-2")  # the default is a model that is gone
    if model not in MODELS:
        raise Refused(Problem.UNKNOWN_MODEL, str(model), "model")
    prompt, count = body.get("prompt"), body.get("n", 1)
    if not isinstance(prompt, str) or not prompt or len(prompt) > LONGEST_PROMPT:
        raise Refused(Problem.INVALID, f"prompt: expected a string of 1 to {LONGEST_PROMPT} characters", "prompt")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 10:
        raise Refused(Problem.INVALID, "n: expected an integer from 1 to 10", "n")
    quality, file_format = body.get("quality", "auto"), body.get("output_format", "png")
    if quality not in (*TOKENS_OF, "auto"):
        raise Refused(Problem.INVALID, f"quality: invalid value {quality!r}", "quality")
    if file_format not in ("png", "jpeg", "webp"):
        raise Refused(Problem.INVALID, f"output_format: invalid value {file_format!r}", "output_format")
    width, height = _size_of(body.get("size", "auto"))
    if is_word_in(PENNILESS, prompt):
        raise Refused(Problem.NO_CREDIT)
    if is_word_in(FORBIDDEN, prompt):
        raise Refused(Problem.REFUSED_CONTENT)
    return Order(model, prompt, count, width, height, "medium" if quality == "auto" else quality, file_format)


def _size_of(size: Any) -> tuple[int, int]:
    if size == "auto":
        return 1024, 1024
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size) if isinstance(size, str) else None
    width, height = (int(side) for side in match.groups()) if match else (0, 0)
    is_fine = (
        match is not None
        and width % PIXELS == height % PIXELS == 0
        and max(width, height) <= 3 * min(width, height)
        and max(width, height) <= LONGEST_SIDES[0]
        and min(width, height) <= LONGEST_SIDES[1]
    )
    if not is_fine:
        raise Refused(Problem.INVALID, f"size: invalid value {size!r}", "size")
    return width, height


def _painted(order: Order, *, is_empty: bool) -> dict[str, Any]:
    pictures = [
        picture_of(f"{order.prompt} {number}", order.width, order.height, order.file_format.upper())
        for number in range(0 if is_empty else order.n)
    ]
    usage, size = order.usage, f"{order.width}x{order.height}"
    tokens_in, tokens_out = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": order.file_format,
        **({"size": size} if size in LISTED_SIZES else {}),
        **({"quality": order.quality} if order.quality in LISTED_QUALITIES else {}),
        "data": [{"b64_json": base64.b64encode(picture).decode()} for picture in pictures],
        "usage": {
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "input_tokens_details": {"text_tokens": tokens_in, "image_tokens": 0},
        },
    }

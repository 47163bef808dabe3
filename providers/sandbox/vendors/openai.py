"""OpenAI's chat and images.

Source: https://platform.openai.com/docs/api-reference/chat, …/api-reference/images (read 2026-11).
"""

import re
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.field_rules import ARRAY, INTEGER, PROMPT, SWITCH, TEXT, between, one_of, prompt_of
from providers.sandbox.formats.openai_chat import OPENAI_ERROR_TEXTS
from providers.sandbox.formats.openai_responses import ResponsesVendor
from providers.sandbox.formats.transcriptions import TranscribingVendor
from providers.sandbox.vendor_base import Answered, Endpoint, SandboxModel
from providers.transport.json_fields import get_path
from providers.types import Category, Usage

TOKENS_OF_QUALITY = {"low": 196, "medium": 439, "high": 1756, "xhigh": 3133, "max": 7000}  # of 1024 × 1024 pixels
TOKENS_OF_INPUT = 1_000  # of an image that comes with the prompt
LISTED_SIZES = ("1024x1024", "1024x1536", "1536x1024")  # the only ones that its document lets an answer name
LISTED_QUALITIES = ("low", "medium", "high")
SIDE_STEP = 16  # each side is a multiple of these pixels
MAX_SIDES = (3840, 2160)
GPT_IMAGE = SandboxModel(
    Category.IMAGE,
    {
        "model": PROMPT,
        "prompt": prompt_of(32_000, min_length=1),
        "images": ARRAY,
        "n": between(1, 10),
        "size": TEXT,
        "quality": one_of(*TOKENS_OF_QUALITY, "auto"),
        "output_format": one_of("png", "jpeg", "webp"),
        "output_compression": INTEGER,
        "background": TEXT,
        "moderation": TEXT,
        "user": TEXT,
        "stream": SWITCH,
        "partial_images": INTEGER,
    },
)


class OpenAIVendor(TranscribingVendor, ResponsesVendor):
    """No sampling fields, a token limit that includes reasoning; images as base64 only, billed by tokens."""

    slug = "openai"
    other_models = ("gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-astra")
    media_models = dict.fromkeys(("gpt-image-2.6-flare", "gpt-image-2.6-sunburst", "gpt-image-2.5-flare"), GPT_IMAGE)
    roles = ResponsesVendor.roles | {"developer"}
    attachments = frozenset({"image_url"})
    unsupported = frozenset({"max_tokens", "temperature", "top_p", "logprobs", "top_logprobs"})
    caches_input = True
    reasoning_tokens = 8
    transcription_path = "/v1/audio/transcriptions"
    error_texts = {
        **OPENAI_ERROR_TEXTS,
        Problem.NO_CREDIT: ErrorText(429, "credit_balance_exhausted", "Your credit balance is exhausted."),
        Problem.REFUSED_CONTENT: ErrorText(
            400, "moderation_blocked", "Your request was rejected by the safety system."
        ),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        images = Endpoint("POST", "/v1/images/generations", self.generate_images, is_submission=True)
        edits = Endpoint("POST", "/v1/images/edits", self.edit_images, is_submission=True)
        costs = Endpoint("GET", "/v1/organization/costs", self.list_costs)
        return (*super().endpoints(), images, edits, self.transcription_endpoint(), costs)

    def headers(self, cost: Decimal | None = None) -> Mapping[str, str]:
        return {
            "x-request-id": new_id("req_"),
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
        }

    def edit_images(self, request: VendorRequest) -> Answered:
        images = request.json_object().get("images")
        if not images or not all(str(get_path(image, "image_url")).startswith("data:image/") for image in images):
            raise VendorRefusal(Problem.INVALID, "images: each needs an image_url", "images")
        return self.generate_images(request)

    def generate_images(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        model, prompt, count = self.media_model(body), body["prompt"], body.get("n", 1)
        width, height = _sides_of(body.get("size", "auto"))
        size, file_format = f"{width}x{height}", body.get("output_format", "png")
        quality = body.get("quality", "auto").replace("auto", "medium")
        text_tokens, image_tokens = len(prompt.split()), TOKENS_OF_INPUT * len(body.get("images", []))
        tokens_out = count * (TOKENS_OF_QUALITY[quality] * width * height // 1024**2)
        usage = Usage(input_tokens=text_tokens, image_tokens=image_tokens, output_tokens=tokens_out)
        names = [f"{number}.{file_format}" for number in range(count)]
        job = self.generate(request, model, usage, prompt=prompt, file_names=names, is_polled=False)
        reply = {
            "created": int(time.time()),
            "background": "opaque",
            "output_format": file_format,
            **({"size": size} if size in LISTED_SIZES else {}),
            **({"quality": quality} if quality in LISTED_QUALITIES else {}),
            "data": [{"b64_json": image} for image in self.contents_in_base64(job)],
            "usage": {
                "input_tokens": text_tokens + image_tokens,
                "output_tokens": tokens_out,
                "total_tokens": text_tokens + image_tokens + tokens_out,
                "input_tokens_details": {"text_tokens": text_tokens, "image_tokens": image_tokens},
            },
        }
        return VendorReply(200, reply, self.headers()), self.line_of(job)

    def list_costs(self, request: VendorRequest) -> Answered:
        begin = int(self.midnight.timestamp())
        amount = {"value": float(self.charged), "currency": "usd"}
        result = {"object": "organization.costs.result", "amount": amount, "line_item": None, "project_id": None}
        bucket = {"object": "bucket", "start_time": begin, "end_time": begin + 86_400, "results": [result]}
        return VendorReply(200, {"object": "page", "data": [bucket], "has_more": False, "next_page": None}), None


def _sides_of(size: str) -> tuple[int, int]:
    if size == "auto":
        return 1024, 1024
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size)
    width, height = (int(side) for side in match.groups()) if match else (0, 0)
    short, long = sorted((width, height))
    is_allowed = short % SIDE_STEP == long % SIDE_STEP == 0 and long <= MAX_SIDES[0] and short <= MAX_SIDES[1]
    if not match or not is_allowed or long > 3 * short:
        raise VendorRefusal(Problem.INVALID, f"size: invalid value {size!r}", "size")
    return width, height

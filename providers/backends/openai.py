"""OpenAI text and images. Source: https://platform.openai.com/docs/api-reference (read 2026-11)."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from providers.backends.error_mapping import ErrorRule
from providers.backends.media_generation import image_uris
from providers.backends.openai_compatible import (
    OpenAICompatibleImage,
    OpenAICompatibleTranscription,
)
from providers.backends.openai_responses import ResponsesText
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    RateLimited,
    ServerFault,
)
from providers.size_estimates import TOKENS_OF_AN_IMAGE, tokens_at_most
from providers.transport.json_fields import count_at, text_at
from providers.types import MAX_SEARCHES, Call, Feature, Prompt, Usage

RULES = (
    # The code decides before the status: a 429 may be an empty wallet, for which no waiting helps.
    ErrorRule(
        AccessDenied,
        codes=(
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "invalid_api_key",
        ),
    ),
    # False alarms on harmless prompts were seen with these in autumn 2026 (github.com/openai/codex, issue 46093).
    ErrorRule(ContentRefused, codes=("invalid_prompt", "content_policy_violation", "moderation_blocked")),
    ErrorRule(ModelGone, codes=("model_not_found",)),
    ErrorRule(ServerFault, codes=("server_is_overloaded",)),
    ErrorRule(ServerFault, statuses=(503,), codes=("slow_down",)),
    ErrorRule(RateLimited, codes=("rate_limit_exceeded", "slow_down")),
)


# Of an image of 1024 × 1024 pixels, in proportion to its pixels (read 2026-11).
TOKENS_OF_QUALITY = {"low": 196, "medium": 439, "high": 1756, "xhigh": 3133, "max": 7000}
DEFAULT_QUALITY = "medium"
SQUARE_PIXELS = 1024**2
MAX_SIDES = (3840, 2160)
SIZE = re.compile(r"\d{2,4}x\d{2,4}")


class OpenAIText(ResponsesText):
    """Chat completions. GPT-6 refuses `max_tokens`, `temperature` and `top_p` (400)."""

    slug = "openai"
    features = ResponsesText.features | {Feature.IMAGE_INPUT}
    image_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    max_tokens_field = "max_completion_tokens"  # reasoning included
    response_fields = {"max_tool_calls": MAX_SEARCHES}
    rules = RULES
    models_path = "/models"
    model_end_field = "shutdown_date"

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        return {"reasoning_effort": prompt.reasoning_effort or "low"}


class OpenAIImage(OpenAICompatibleImage):
    """GPT images: always base64, never an address; `response_format` and `style` are refused.

    Source: https://platform.openai.com/docs/api-reference/images/create, …/images/createEdit (read 2026-11).
    """

    slug = "openai"
    rules = RULES
    models_path = "/models"
    model_end_field = "shutdown_date"
    sizes: ClassVar[Mapping[str, str]] = {"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536"}

    aspect_ratios = sizes
    default_aspect_ratio = "1:1"
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    max_images = 16
    max_image_bytes = 15_000_000  # as a data URI 20 MB
    option_fields = {"quality": "quality"}

    def build(self, prompt: Prompt) -> Call:
        body = {
            "model": prompt.model,  # the provider's default is a model that is gone
            "prompt": prompt.text,
            "n": 1,
            "size": self.sizes[self.aspect_ratio_of(prompt)],
            "quality": DEFAULT_QUALITY,
            "output_format": "png",
            **self.options_of(prompt),
        }
        if prompt.attachments:
            return Call("/images/edits", json={**body, "images": [{"image_url": uri} for uri in image_uris(prompt)]})
        return Call("/images/generations", json=body)

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        # Images are billed by tokens; without them it is one image, for the list price.
        usage = super().parse_usage(body)
        tokens_in, tokens_out = count_at(usage.raw, "input_tokens"), count_at(usage.raw, "output_tokens")
        if tokens_in is None or tokens_out is None:
            return usage
        image_tokens = min(tokens_in, count_at(usage.raw, "input_tokens_details", "image_tokens") or 0)
        return replace(
            usage, input_tokens=tokens_in - image_tokens, image_tokens=image_tokens, output_tokens=tokens_out
        )

    def used_at_most(self, prompt: Prompt) -> Usage:
        body = prompt.overrides.extra_body
        quality = text_at(body, "quality") or prompt.output_options.quality or DEFAULT_QUALITY
        size = text_at(body, "size") or self.sizes.get(self.aspect_ratio_of(prompt), "")
        width, height = (int(side) for side in size.split("x")) if SIZE.fullmatch(size) else MAX_SIDES
        tokens = TOKENS_OF_QUALITY.get(quality, max(TOKENS_OF_QUALITY.values()))
        return Usage(
            images=1,
            input_tokens=tokens_at_most(prompt.text),
            image_tokens=TOKENS_OF_AN_IMAGE * len(prompt.attachments),
            output_tokens=math.ceil(tokens * width * height / SQUARE_PIXELS),
        )


class OpenAITranscription(OpenAICompatibleTranscription):
    """Speech to text; `json` is the only format that all of its models take, and it says what is billed.

    Source: https://platform.openai.com/docs/api-reference/audio/createTranscription (read 2026-11).
    """

    slug = "openai"
    rules = RULES
    models_path = "/models"
    model_end_field = "shutdown_date"
    fields = {"response_format": "json"}

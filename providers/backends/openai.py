"""OpenAI text and images. Source: https://platform.openai.com/docs/api-reference (read 2026-11)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.backends.error_mapping import ErrorRule
from providers.backends.openai_compatible import (
    OpenAICompatibleImage,
    OpenAICompatibleText,
    OpenAICompatibleTranscription,
)
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    RateLimited,
    ServerFault,
)
from providers.transport.json_fields import count_at
from providers.types import Call, Feature, Prompt, Usage

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


class OpenAIText(OpenAICompatibleText):
    """Chat completions. GPT-6 refuses `max_tokens`, `temperature` and `top_p` (400)."""

    slug = "openai"
    features = OpenAICompatibleText.features | {Feature.IMAGE_INPUT}
    image_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    max_tokens_field = "max_completion_tokens"  # reasoning included
    rules = RULES
    models_path = "/models"
    model_end_field = "shutdown_date"

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        return {"reasoning_effort": prompt.reasoning_effort or "low"}


class OpenAIImage(OpenAICompatibleImage):
    """GPT images: always base64, never an address; `response_format` and `style` are refused.

    Source: https://platform.openai.com/docs/api-reference/images/create (read 2026-11).
    """

    slug = "openai"
    rules = RULES
    models_path = "/models"
    model_end_field = "shutdown_date"
    sizes: ClassVar[Mapping[str, str]] = {"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536"}

    aspect_ratios = sizes
    default_aspect_ratio = "1:1"

    def build(self, prompt: Prompt) -> Call:
        body = {
            "model": prompt.model,  # the provider's default is a model that is gone
            "prompt": prompt.text,
            "n": 1,
            "size": self.sizes[self.aspect_ratio_of(prompt)],
            "quality": "medium",
            "output_format": "png",
        }
        return Call("/images/generations", json=body)

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        # Images are billed by tokens; without them it is one image, for the list price.
        usage = super().parse_usage(body)
        tokens_in, tokens_out = count_at(usage.raw, "input_tokens"), count_at(usage.raw, "output_tokens")
        if tokens_in is None or tokens_out is None:
            return usage
        return Usage(input_tokens=tokens_in, output_tokens=tokens_out, raw=usage.raw)


class OpenAITranscription(OpenAICompatibleTranscription):
    """Speech to text; `json` is the only format that all of its models take, and it says what is billed.

    Source: https://platform.openai.com/docs/api-reference/audio/createTranscription (read 2026-11).
    """

    slug = "openai"
    rules = RULES
    models_path = "/models"
    model_end_field = "shutdown_date"
    fields = {"response_format": "json"}

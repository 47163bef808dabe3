"""OpenAI text generation. Source: https://platform.openai.com/docs/api-reference/chat (read 2026-11)."""

from collections.abc import Mapping
from typing import Any

from providers.errors import AccessDenied, ContentRefused, ModelGone, RateLimited, ServerFault
from providers.faults import Rule
from providers.openai_shape import OpenAIShapedText
from providers.types import Feature, Prompt


class OpenAIText(OpenAIShapedText):
    """Chat completions. GPT-6 refuses `max_tokens`, `temperature` and `top_p` (400)."""

    slug = "openai"
    features = OpenAIShapedText.features | {Feature.IMAGE_INPUT}
    picture_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    max_tokens_field = "max_completion_tokens"  # reasoning included
    rules = (
        # The code decides before the status: a 429 may be an empty wallet, for which no waiting helps.
        Rule(
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
        Rule(ContentRefused, codes=("invalid_prompt", "content_policy_violation", "moderation_blocked")),
        Rule(ModelGone, codes=("model_not_found",)),
        Rule(ServerFault, codes=("server_is_overloaded",)),
        Rule(ServerFault, statuses=(503,), codes=("slow_down",)),
        Rule(RateLimited, codes=("rate_limit_exceeded", "slow_down")),
    )

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        return {"reasoning_effort": "low"}

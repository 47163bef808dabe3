"""xAI text generation. Source: https://docs.x.ai/docs/api-reference#chat-completions (read 2026-11)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from providers.errors import AccessDenied, ContentRefused
from providers.faults import Rule
from providers.openai_shape import OpenAIShapedText
from providers.types import Feature, Prompt


class XaiText(OpenAIShapedText):
    """Chat completions. Errors are flat, {"code": "…", "error": "…"}, and only their text tells them apart."""

    slug = "xai"
    features = OpenAIShapedText.features | {Feature.IMAGE_INPUT}
    picture_types = frozenset({"image/jpeg", "image/png"})
    max_tokens_field = "max_completion_tokens"  # the visible ones only
    output_includes_reasoning = False  # a recorded answer: 32 prompt + 9 completion + 94 reasoning = 135
    cost_path = ("usage", "cost_in_usd_ticks")
    cost_unit = Decimal("1e-10")
    models_path = "/models"
    rules = (
        Rule(AccessDenied, statuses=(400,), text="incorrect api key"),  # not a 401
        # A refusal has the status of a blocked key (github.com/continuedev/continue, issue 10778).
        Rule(
            ContentRefused,
            statuses=(400, 403),
            text=r"violates? usage guidelines|SAFETY_CHECK_TYPE_|can['’]t help with that",
        ),
        Rule(AccessDenied, statuses=(429,), text=r"used all available credits|monthly spending limit"),
    )

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        # The variants that do not reason answer the field with a 400.
        return {} if "non-reasoning" in prompt.model else {"reasoning_effort": "low"}

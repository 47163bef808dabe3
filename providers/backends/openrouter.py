"""OpenRouter text generation. Source: https://openrouter.ai/docs/api/reference (read 2026-11)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.bodies import dig, text_at
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.faults import Fault, Rule
from providers.openai_shape import OpenAIShapedText
from providers.types import Feature, Prompt

MODERATED = "moderated"  # our own code for an error that lists what a moderation has found


class OpenRouterText(OpenAIShapedText):
    """Chat completions. Once a model has started, errors come inside a 200; while it works, comments keep alive."""

    slug = "openrouter"
    features = OpenAIShapedText.features | {Feature.IMAGE_INPUT}
    picture_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    max_tokens_field = "max_completion_tokens"
    stream_options = None  # usage is always included
    cost_path = ("usage", "cost")  # what was really charged
    models_path = "/models"
    model_end_field = "expiration_date"
    code_paths = (("metadata", "error_type"), ("availability", "code"), ("code",), ("metadata", "provider_code"))
    rules = (
        Rule(ContentRefused, codes=("content_policy_violation", "refusal", MODERATED)),
        Rule(AccessDenied, codes=("authentication", "payment_required", "permission_denied")),
        Rule(RateLimited, codes=("rate_limit_exceeded", "capacity_exhausted")),
        Rule(ServerFault, codes=("provider_overloaded", "temporarily_unavailable")),
        Rule(
            ModelGone,
            codes=("not_found", "model_deprecated", "no_endpoints", "free_variant_ended", "privacy_restricted"),
        ),
        Rule(OutcomeUnknown, codes=("timeout",)),
        Rule(RequestRejected, codes=("invalid_request", "invalid_prompt", "context_length_exceeded")),
    )

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        # Dropped for models that do not reason (docs, 2026-11), so it may be sent to all.
        return {"reasoning": {"effort": "low"}}

    def is_fault(self, body: Mapping[str, Any]) -> bool:
        return super().is_fault(body) or bool(dig(body, "choices", 0, "error"))

    def read_fault(self, status: int, body: Mapping[str, Any]) -> Fault:
        error = body.get("error") or dig(body, "choices", 0, "error")
        fault = super().read_fault(status, {**body, "error": error})
        if dig(error, "metadata", "reasons") or dig(error, "metadata", "patterns"):
            fault = replace(fault, codes=(MODERATED, *fault.codes))
        # "Provider returned error": the reason is what the upstream said, mostly JSON in a string.
        return replace(fault, text=f"{fault.text} {text_at(error, 'metadata', 'raw')}".strip())

"""Groq text generation. Source: https://console.groq.com/docs/openai (read 2026-11)."""

from providers.backends.error_mapping import Rule
from providers.backends.openai_compatible import OpenAIShapedText
from providers.errors import ModelGone, RateLimited


class GroqText(OpenAIShapedText):
    """Open models on the vendor's own chips, in OpenAI's shape."""

    slug = "groq"
    max_tokens_field = "max_completion_tokens"  # reasoning included
    models_path = "/models"
    rules = (
        Rule(ModelGone, codes=("model_not_found", "model_decommissioned")),
        Rule(RateLimited, statuses=(498,)),  # its own: the flex tier is full
    )

"""Groq text generation. Source: https://console.groq.com/docs/openai (read 2026-11)."""

from decimal import Decimal

from providers.backends.error_mapping import ErrorRule
from providers.backends.openai_compatible import OpenAICompatibleText, OpenAICompatibleTranscription
from providers.errors import ModelGone, RateLimited

RULES = (
    ErrorRule(ModelGone, codes=("model_not_found", "model_decommissioned")),
    ErrorRule(RateLimited, statuses=(498,)),  # its own: the flex tier is full
)


class GroqText(OpenAICompatibleText):
    """Open models on the provider's own chips; OpenAI-compatible."""

    slug = "groq"
    max_tokens_field = "max_completion_tokens"  # reasoning included
    models_path = "/models"
    rules = RULES


class GroqTranscription(OpenAICompatibleTranscription):
    """Speech to text. Source: https://console.groq.com/docs/speech-to-text (read 2026-11)."""

    slug = "groq"
    models_path = "/models"
    rules = RULES
    least_seconds = Decimal(10)

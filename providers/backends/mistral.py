"""Mistral (La Plateforme) text. Source: https://docs.mistral.ai/api and …/resources/error-glossary (read 2026-11)."""

from providers.backends.error_mapping import ErrorRule
from providers.backends.openai_compatible import OpenAICompatibleText
from providers.errors import ModelGone


class MistralText(OpenAICompatibleText):
    """Chat completions. Errors are flat: {"object": "error", "message", "type", "param", "code"}."""

    slug = "mistral"
    stream_options = None  # refused; the last chunk brings the usage unasked
    models_path = "/models"
    model_end_field = "deprecation"
    rules = (
        # A retired or misspelt model is a 400 (portkey.ai/error-library, 10140: "Invalid model: …").
        ErrorRule(ModelGone, codes=("unknown_model", "invalid_model", "1500")),
        ErrorRule(ModelGone, statuses=(400,), text=r"\Ainvalid model\b"),
    )

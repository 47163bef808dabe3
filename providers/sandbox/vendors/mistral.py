"""Mistral's chat. Source: https://docs.mistral.ai/api, …/resources/error-glossary (read 2026-11)."""

from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem
from providers.sandbox.exchange import VendorRequest
from providers.sandbox.formats.openai_chat import OPENAI_ERROR_TEXTS, OpenAICompatibleVendor


class MistralVendor(OpenAICompatibleVendor):
    """OpenAI's shape with flat errors; usage comes unasked, and asking for it is refused."""

    slug = "mistral"
    other_models = ("mistral-large-latest", "mistral-small-latest")
    unsupported = frozenset({"stream_options", "max_completion_tokens", "logprobs"})
    always_sends_usage = True
    caches_input = True
    error_texts = {
        **OPENAI_ERROR_TEXTS,
        Problem.UNKNOWN_MODEL: ErrorText(400, "1500", "Invalid model: {}"),
        Problem.UNSUPPORTED: ErrorText(422, "", "{}: Extra inputs are not permitted"),
        Problem.RATE_LIMITED: ErrorText(429, "1300", "Rate limit exceeded"),
        Problem.DOWN: ErrorText(503, "", "Service unavailable."),
    }

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        return {"object": "error", **super().error_body(request, text, message, param)["error"]}

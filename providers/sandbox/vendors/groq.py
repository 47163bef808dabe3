"""Groq's chat, on chips of its own. Source: https://console.groq.com/docs/openai, …/docs/errors (read 2026-11)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import RETRY_AFTER, RETRY_AFTER_SECONDS, ErrorText, Problem
from providers.sandbox.exchange import new_id
from providers.sandbox.formats.chat_answers import ChatPrompt, TokenCount
from providers.sandbox.formats.openai_chat import OPENAI_ERROR_TEXTS, OpenAICompatibleVendor
from providers.sandbox.formats.transcriptions import TranscribingVendor
from providers.sandbox.vendor_base import Endpoint


class GroqVendor(TranscribingVendor, OpenAICompatibleVendor):
    """OpenAI's shape, with the time that the chips took."""

    slug = "groq"
    other_models = ("openai/gpt-oss-120b", "qwen/qwen3-32b")
    roles = OpenAICompatibleVendor.roles | {"developer"}
    unsupported = frozenset({"logprobs", "top_logprobs", "logit_bias"})
    caches_input = True
    reasoning_tokens = 8
    transcription_path = "/openai/v1/audio/transcriptions"
    error_texts = {
        **OPENAI_ERROR_TEXTS,
        Problem.NO_KEY: ErrorText(401, "invalid_api_key", "Invalid API Key"),
        Problem.WRONG_KEY: ErrorText(401, "invalid_api_key", "Invalid API Key"),
        Problem.UNSUPPORTED: ErrorText(400, "", "property '{}' is unsupported"),
        Problem.RATE_LIMITED: ErrorText(
            429, "rate_limit_exceeded", f"Rate limit reached. Please try again in {RETRY_AFTER_SECONDS}s.", RETRY_AFTER
        ),
        Problem.DOWN: ErrorText(503, "", "The model is currently over capacity. Please try again and back off."),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (*super().endpoints(), self.transcription_endpoint())

    def billed_seconds(self, seconds: Decimal) -> Decimal:
        return max(seconds, Decimal(10))

    def transcript(self, text: str, seconds: Decimal, *, response_format: str) -> dict[str, Any]:
        body = super().transcript(text, seconds, response_format=response_format)
        del body["usage"]
        return {**body, "x_groq": {"id": new_id("req_")}}

    def head(self, prompt: ChatPrompt, kind: str) -> dict[str, Any]:
        own = {"system_fingerprint": "fp_sandbox", "service_tier": "default", "x_groq": {"id": new_id("req_")}}
        return {**super().head(prompt, kind), **own}

    def usage(self, tokens: TokenCount) -> dict[str, Any]:
        times = dict.fromkeys(("queue_time", "prompt_time", "completion_time", "total_time"), 0.01)
        return {**super().usage(tokens), **times}

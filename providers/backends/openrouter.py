"""OpenRouter text, pictures and speech. Source: https://openrouter.ai/docs/api/reference (read 2026-11)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.backends.base import Provider
from providers.backends.error_mapping import Fault, Rule
from providers.backends.media_generation import MediaProvider
from providers.backends.openai_compatible import SOUND_FORMATS, OpenAIShapedImage, OpenAIShapedText
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.transport.json_fields import dig, text_at
from providers.types import Call, Feature, MediaResult, Prompt, Usage

MODERATED = "moderated"  # our own code for an error that lists what a moderation has found


class _OpenRouter(Provider):
    """What all of its APIs share: the error table."""

    slug = "openrouter"
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

    def read_fault(self, status: int, body: Mapping[str, Any]) -> Fault:
        error = body.get("error") or dig(body, "choices", 0, "error")
        fault = super().read_fault(status, {**body, "error": error})
        if dig(error, "metadata", "reasons") or dig(error, "metadata", "patterns"):
            fault = replace(fault, codes=(MODERATED, *fault.codes))
        # "Provider returned error": the reason is what the upstream said, mostly JSON in a string.
        return replace(fault, text=f"{fault.text} {text_at(error, 'metadata', 'raw')}".strip())


class _OpenRouterMedia(_OpenRouter):
    """What pictures and speech share: the list names only models of texts unless it is asked for all."""

    models_path = "/models?output_modalities=all"
    model_end_field = "expiration_date"


class OpenRouterText(_OpenRouter, OpenAIShapedText):
    """Chat completions. Once a model has started, errors come inside a 200; while it works, comments keep alive."""

    # The vendors below bill the tokens of a recording at rates of their own; here the cost is told all the same.
    features = OpenAIShapedText.features | {Feature.IMAGE_INPUT, Feature.AUDIO_INPUT}
    picture_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    recording_types = frozenset(SOUND_FORMATS)
    max_tokens_field = "max_completion_tokens"
    stream_options = None  # usage is always included
    cost_path = ("usage", "cost")  # what was really charged
    models_path = "/models"
    model_end_field = "expiration_date"

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        # Dropped for models that do not reason (docs, 2026-11), so it may be sent to all.
        return {"reasoning": {"effort": "low"}}

    def is_fault(self, body: Mapping[str, Any]) -> bool:
        return super().is_fault(body) or bool(dig(body, "choices", 0, "error"))


class OpenRouterImage(_OpenRouterMedia, OpenAIShapedImage):
    """Pictures of many makers, as base64, with what was really charged.

    Source: https://openrouter.ai/docs/api/api-reference/images (read 2026-11).
    """

    cost_path = ("usage", "cost")

    def build(self, prompt: Prompt) -> Call:
        body = {"model": prompt.model, "prompt": prompt.text, "n": 1}
        if prompt.wishes.aspect_ratio:
            body["aspect_ratio"] = prompt.wishes.aspect_ratio
        return Call("/images", json=body)


class OpenRouterSpeech(_OpenRouterMedia, MediaProvider):
    """Speech of many makers: the answer is the sound itself, without a bill. Voices are the makers' own.

    Source: https://openrouter.ai/docs/api/api-reference/tts (read 2026-11).
    """

    answers_with_file = True

    def build(self, prompt: Prompt) -> Call:
        body = {"model": prompt.model, "input": prompt.text, "response_format": "mp3"}  # by default bare samples
        if prompt.wishes.voice:
            body["voice"] = prompt.wishes.voice
        return Call("/audio/speech", json=body)

    def read_bytes(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        if not content:
            raise OutcomeUnknown("no sound in the answer")
        raw = {"generation_id": headers["X-Generation-Id"]} if "X-Generation-Id" in headers else {}
        return MediaResult(content=content, usage=Usage(characters=len(prompt.text), raw=raw), model=prompt.model)

"""OpenRouter text, images and speech. Source: https://openrouter.ai/docs/api/reference (read 2026-11)."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from providers.backends.base import Provider
from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import MediaProvider, image_uris
from providers.backends.openai_compatible import OpenAICompatibleImage, OpenAICompatibleText
from providers.backends.prompt_caching import cached_where_long
from providers.backends.transcription import AUDIO_FORMATS
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.pricing import ABOVE, MILLION, TIERS
from providers.transport.json_fields import count_at, get_path, list_at, money_at, text_at
from providers.types import MAX_SEARCHES, Call, Feature, MediaResult, Prompt, Usage

# Our rates, and the list's, which are in USD for one token.
LISTED_RATES = {
    "input_per_million": "prompt",
    "cached_input_per_million": "input_cache_read",
    "cache_write_per_million": "input_cache_write",
    "output_per_million": "completion",
}
MODERATED = "moderated"  # our own code for an error that lists what a moderation has found


class _OpenRouter(Provider):
    """What all of its APIs share: the error table."""

    slug = "openrouter"
    code_paths = (("metadata", "error_type"), ("availability", "code"), ("code",), ("metadata", "provider_code"))
    rules = (
        ErrorRule(ContentRefused, codes=("content_policy_violation", "refusal", MODERATED)),
        ErrorRule(AccessDenied, codes=("authentication", "payment_required", "permission_denied")),
        ErrorRule(RateLimited, codes=("rate_limit_exceeded", "capacity_exhausted")),
        ErrorRule(ServerFault, codes=("provider_overloaded", "temporarily_unavailable")),
        ErrorRule(
            ModelGone,
            codes=("not_found", "model_deprecated", "no_endpoints", "free_variant_ended", "privacy_restricted"),
        ),
        ErrorRule(OutcomeUnknown, codes=("timeout",)),
        ErrorRule(RequestRejected, codes=("invalid_request", "invalid_prompt", "context_length_exceeded")),
    )

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        error = body.get("error") or get_path(body, "choices", 0, "error")
        reply = super().parse_error(status, {**body, "error": error})
        if get_path(error, "metadata", "reasons") or get_path(error, "metadata", "patterns"):
            reply = replace(reply, codes=(MODERATED, *reply.codes))
        # "Provider returned error": the reason is what the upstream said, mostly JSON in a string.
        return replace(reply, text=f"{reply.text} {text_at(error, 'metadata', 'raw')}".strip())


class _OpenRouterMedia(_OpenRouter):
    """What images and speech share: the list names only text models unless it is asked for all."""

    models_path = "/models?output_modalities=all"
    model_end_field = "expiration_date"


class OpenRouterText(_OpenRouter, OpenAICompatibleText):
    """Chat completions. Once a model has started, errors come inside a 200; while it works, comments keep alive."""

    # The upstreams bill the tokens of audio at rates of their own; the cost is reported all the same.
    features = OpenAICompatibleText.features | {Feature.IMAGE_INPUT, Feature.AUDIO_INPUT, Feature.WEB_SEARCH}
    image_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    audio_types = frozenset(AUDIO_FORMATS)
    max_tokens_field = "max_completion_tokens"
    stream_options = None  # usage is always included
    cost_path = ("usage", "cost")  # what was really charged
    models_path = "/models"
    model_end_field = "expiration_date"

    def messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        messages = super().messages(prompt)
        if prompt.system and "anthropic/" in prompt.model:
            messages[0]["content"] = cached_where_long(prompt.system)
        return messages

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        # Dropped for models that do not reason (docs, 2026-11), so it may be sent to all.
        search = {"type": "openrouter:web_search", "parameters": {"max_uses": MAX_SEARCHES}}
        return {
            "reasoning": {"effort": prompt.reasoning_effort or "low"},
            **({"tools": [search]} if prompt.web_search else {}),
        }

    def listed_prices(self, entry: Any) -> Mapping[str, Any]:
        """Return the rates of a model; its list has them in USD for one token (docs, 2026-11)."""
        pricing = get_path(entry, "pricing")
        # Others go by the hour of the day.
        tiers = [
            {ABOVE: threshold, **_rates_of(tier)}
            for tier in list_at(pricing, "overrides")
            if (threshold := count_at(tier, "min_prompt_tokens")) and get_path(tier, "utc_start") is None
        ]
        rates = _rates_of(pricing)
        return {**rates, TIERS: tiers} if tiers else rates

    def parse_cost(self, body: Mapping[str, Any]) -> Decimal | None:
        cost = super().parse_cost(body)
        if get_path(body, "usage", "is_byok") is not True:
            return cost
        # With a key of the operator's own at the upstream, whose bill comes beside OpenRouter's fee.
        upstream = money_at(body, "usage", "cost_details", "upstream_inference_cost")
        return None if upstream is None else upstream + (cost or 0)

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return super().has_error(body) or bool(get_path(body, "choices", 0, "error"))


def _rates_of(pricing: Any) -> dict[str, Any]:
    # A negative price stands for "depends on the model that is picked".
    listed = {ours: money_at(pricing, theirs, unit=MILLION) for ours, theirs in LISTED_RATES.items()}
    return {name: str(rate) for name, rate in listed.items() if rate is not None}


class OpenRouterImage(_OpenRouterMedia, OpenAICompatibleImage):
    """Images of many makers, as base64, with what was really charged.

    Source: https://openrouter.ai/docs/api/api-reference/images (read 2026-11).
    """

    cost_path = ("usage", "cost")
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    max_images = 16
    option_fields = {"seed": "seed", "quality": "quality"}

    def build(self, prompt: Prompt) -> Call:
        body: dict[str, Any] = {"model": prompt.model, "prompt": prompt.text, "n": 1, **self.options_of(prompt)}
        if prompt.attachments:
            body["input_references"] = [{"type": "image_url", "image_url": {"url": uri}} for uri in image_uris(prompt)]
        if prompt.output_options.aspect_ratio:
            body["aspect_ratio"] = prompt.output_options.aspect_ratio
        return Call("/images", json=body)


class OpenRouterSpeech(_OpenRouterMedia, MediaProvider):
    """Speech of many makers: the answer is the audio itself, without a cost. Voices are the makers' own.

    Source: https://openrouter.ai/docs/api/api-reference/tts (read 2026-11).
    """

    answers_with_file = True

    def build(self, prompt: Prompt) -> Call:
        body = {"model": prompt.model, "input": prompt.text, "response_format": "mp3"}  # the default is raw samples
        if prompt.output_options.voice:
            body["voice"] = prompt.output_options.voice
        return Call("/audio/speech", json=body)

    def parse_file(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        if not content:
            raise OutcomeUnknown("no audio in the answer")
        raw = {"generation_id": headers["X-Generation-Id"]} if "X-Generation-Id" in headers else {}
        return MediaResult(content=content, usage=Usage(characters=len(prompt.text), raw=raw), model=prompt.model)

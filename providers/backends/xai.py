"""xAI text and images. Source: https://docs.x.ai/docs/api-reference (read 2026-11)."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from providers.backends.error_mapping import ErrorRule
from providers.backends.media_generation import image_uris
from providers.backends.openai_compatible import OpenAICompatibleImage
from providers.backends.openai_responses import ResponsesText
from providers.errors import AccessDenied, ContentRefused
from providers.transport.json_fields import count_at, text_at
from providers.types import Call, Feature, MediaResult, Prompt, Usage


class XaiText(ResponsesText):
    """Chat completions. Errors are flat, {"code": "…", "error": "…"}, and only their text tells them apart."""

    slug = "xai"
    features = ResponsesText.features | {Feature.IMAGE_INPUT}
    image_types = frozenset({"image/jpeg", "image/png"})
    max_tokens_field = "max_completion_tokens"  # the visible ones only
    max_searches = 10  # no field limits them; a handful is usual
    unlimited_tokens = 6_000  # at low effort recorded answers have some hundreds
    output_includes_reasoning = False  # a recorded answer: 32 prompt + 9 completion + 94 reasoning = 135
    cost_path = ("usage", "cost_in_usd_ticks")
    cost_unit = Decimal("1e-10")
    models_path = "/models"
    rules = (
        ErrorRule(AccessDenied, statuses=(400,), text="incorrect api key"),  # not a 401
        # A refusal has the status of a blocked key (github.com/continuedev/continue, issue 10778).
        ErrorRule(
            ContentRefused,
            statuses=(400, 403),
            text=r"violates? usage guidelines|SAFETY_CHECK_TYPE_|can['’]t help with that",
        ),
        ErrorRule(AccessDenied, statuses=(429,), text=r"used all available credits|monthly spending limit"),
    )

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        usage = super().parse_usage(body)
        # Only those that found something are billed.
        billed = count_at(usage.raw, "server_side_tool_usage_details", "web_search_calls")
        return usage if billed is None else replace(usage, searches=billed)

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        # The variants that do not reason answer the field with a 400.
        if "non-reasoning" in prompt.model and not prompt.reasoning_effort:
            return {}
        return {"reasoning_effort": prompt.reasoning_effort or "low"}


class XaiImage(OpenAICompatibleImage):
    """Grok Imagine. `size` and `style` are refused; base64 because no lifetime of an address is documented.

    Source: https://docs.x.ai/docs/guides/image-generations, …/developers/model-capabilities/images (read 2026-11).
    """

    slug = "xai"
    rules = XaiText.rules
    cost_path = XaiText.cost_path
    cost_unit = XaiText.cost_unit
    models_path = XaiText.models_path
    resolution: ClassVar[str] = "1k"
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    max_images = 3

    def build(self, prompt: Prompt) -> Call:
        body = {
            "model": prompt.model,
            "prompt": prompt.text,
            "n": 1,
            "response_format": "b64_json",
            "resolution": self.resolution,
        }
        images = [{"url": uri} for uri in image_uris(prompt)]
        if images:  # the output is as wide as the first; the input is billed, too, and the answer says so
            return Call(
                "/images/edits", json={**body, **({"image": images[0]} if len(images) == 1 else {"images": images})}
            )
        if prompt.output_options.aspect_ratio:
            body["aspect_ratio"] = prompt.output_options.aspect_ratio
        return Call("/images/generations", json=body)

    def used_at_most(self, prompt: Prompt) -> Usage:
        return Usage(images=1 + len(prompt.attachments))  # those that go in are billed, too

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult:
        if text_at(body, "block_reason"):
            raise ContentRefused(text_at(body, "block_reason"), usage=self.parse_usage(body), maybe_paid=True)
        return super().parse_result(prompt, body)

"""OpenRouter's chat, images and speech.

Source: https://openrouter.ai/docs/api/reference, …/docs/api/api-reference/images, …/tts (read 2026-11).
"""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import RETRY_AFTER, ErrorText, Problem
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.fake_files import content_type_of
from providers.sandbox.field_rules import INTEGER, NUMBER, OBJECT, PROMPT, TEXT, between, one_of
from providers.sandbox.formats.chat_answers import ChatAnswer, ChatPrompt, TokenCount
from providers.sandbox.formats.openai_chat import OpenAICompatibleVendor
from providers.sandbox.vendor_base import PAID_IN, Answered, Endpoint, SandboxModel
from providers.types import Category, Usage

ALIASES = {"~anthropic/claude-haiku-latest": "anthropic/claude-haiku-5.5"}
TOKENS_OF_AN_IMAGE = 4175
IMAGE_FIELDS = {
    "model": TEXT,
    "prompt": PROMPT,
    "n": between(1, 10),
    "aspect_ratio": one_of("1:1", "4:3", "3:4", "16:9", "9:16", "2:3", "3:2", "4:5", "5:4", "21:9", "9:21"),
    "resolution": one_of("1K", "2K", "4K"),
    "quality": one_of("auto", "low", "medium", "high"),
    "output_format": one_of("png", "jpeg", "webp"),
    "seed": INTEGER,
    "provider": OBJECT,
    "user": TEXT,
}
SPEECH_FIELDS = {
    "model": TEXT,
    "input": PROMPT,
    "voice": one_of("en_paul_neutral", "gb_jane_neutral"),
    "response_format": one_of("mp3", "pcm"),
    "speed": NUMBER,
    "provider": OBJECT,
    "user": TEXT,
}


class OpenRouterVendor(OpenAICompatibleVendor):
    """Keep-alive comments, the cost in the usage block, errors inside a 200, unknown fields of media dropped."""

    slug = "openrouter"
    other_models = (
        *("~openai/gpt-latest", "~google/gemini-flash-latest", "openrouter/auto"),
        *("anthropic/claude-haiku-5.5", "openai/gpt-6-luna", "x-ai/grok-4.7"),
    )
    # The reply to an image says what was charged, the one to speech does not.
    media_models = {
        "bytedance-seed/seedream-4.5": SandboxModel(Category.IMAGE, IMAGE_FIELDS, "image", Decimal("0.04")),
        "black-forest-labs/flux.2-pro": SandboxModel(Category.IMAGE, IMAGE_FIELDS, "image", Decimal("0.03")),
        "mistralai/voxtral-mini-tts-2603": SandboxModel(Category.AUDIO, SPEECH_FIELDS, "audio"),
    }
    allows_unknown_fields = True
    roles = OpenAICompatibleVendor.roles | {"developer"}
    attachments = frozenset({"image_url", "input_audio"})
    always_sends_usage = True
    stream_prefix = ": OPENROUTER PROCESSING\n\n"
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "authentication", "No auth credentials found"),
        Problem.WRONG_KEY: ErrorText(401, "authentication", "User not found."),
        Problem.NO_SUCH_PATH: ErrorText(404, "not_found", "{}: Not Found"),
        Problem.UNKNOWN_MODEL: ErrorText(404, "not_found", "No endpoints found for {}."),
        Problem.INVALID: ErrorText(400, "invalid_request", "{}"),
        Problem.RATE_LIMITED: ErrorText(429, "rate_limit_exceeded", "Rate limit exceeded", RETRY_AFTER),
        Problem.DOWN: ErrorText(503, "provider_overloaded", "No instances available", RETRY_AFTER),
        Problem.NO_CREDIT: ErrorText(
            402, "payment_required", "Insufficient credits. Add more using your account page."
        ),
        Problem.REFUSED_CONTENT: ErrorText(403, "permission_denied", "The input was flagged by a moderation."),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            *super().endpoints(),
            Endpoint("POST", "/api/v1/images", self.generate_images, is_submission=True),
            Endpoint("POST", "/api/v1/audio/speech", self.speak, is_submission=True),
            Endpoint("GET", "/api/v1/key", self.show_key),
            Endpoint("GET", "/api/v1/credits", self.show_credits),
            Endpoint("GET", "/api/v1/activity", self.list_activity),
        )

    def head(self, prompt: ChatPrompt, kind: str) -> dict[str, Any]:
        # An alias moves; the answer names the model that it stands for today.
        model = ALIASES.get(prompt.model, prompt.model)
        own = {"id": new_id("gen-"), "model": model, "provider": "Sandbox", "system_fingerprint": "sandbox"}
        return {**super().head(prompt, kind), **own}

    def whole(self, prompt: ChatPrompt, answer: ChatAnswer) -> VendorReply:
        reply = super().whole(prompt, answer)
        choice = reply.body["choices"][0]
        choice["native_finish_reason"] = choice["finish_reason"]
        return reply

    def usage(self, tokens: TokenCount) -> dict[str, Any]:
        cost = float(self.cost_of(tokens))
        return {
            **super().usage(tokens),
            "cost": cost,
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_prompt_cost": 0,
                "upstream_inference_completions_cost": cost,
            },
        }

    def headers(self, cost: Decimal | None = None) -> Mapping[str, str]:
        return {"X-Generation-Id": new_id("gen-")}

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        metadata: dict[str, Any] = {"error_type": text.code}
        # What tells these two from other errors of the same status.
        if text.code == "permission_denied":
            metadata |= {"reasons": ["violence"], "flagged_input": "", "provider_name": "Sandbox"}
        if text.code == "payment_required":
            metadata["limit_source"] = "openrouter_credits"
        return {"error": {"code": text.status, "message": message, "metadata": metadata}}

    def error_in_200(self, request: VendorRequest) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        return {**super().error_in_200(request), "choices": [choice]}

    def list_models(self, request: VendorRequest) -> Answered:
        """List the models of text, or those whose outputs the query names."""
        wanted = request.parameter("output_modalities", "text").split(",")
        kinds = dict.fromkeys(self.models, "text") | {name: model.kind for name, model in self.media_models.items()}
        entries = [self.listed_model(name, kind) for name, kind in kinds.items() if kind in wanted or "all" in wanted]
        return VendorReply(200, {"data": entries, "total_count": len(entries), "links": {"next": None}}), None

    def listed_model(self, name: str, kind: str) -> dict[str, Any]:
        return {
            "id": name,
            "canonical_slug": name.removeprefix("~"),
            "name": name,
            "created": 1767225600,
            "context_length": 200_000,
            "architecture": {
                "input_modalities": ["text", "image"],
                "output_modalities": [kind],
                "modality": f"text->{kind}",
            },
            "default_parameters": None,
            "links": {"details": f"/api/v1/models/{name}/endpoints"},
            "per_request_limits": None,
            "pricing": {"prompt": "0.000002", "completion": "0.000002"},
            "supported_parameters": ["max_tokens", "reasoning"],
            "supported_voices": None,
            "top_provider": {"is_moderated": False, "context_length": 200_000, "max_completion_tokens": 128_000},
        }

    def generate_images(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        model, count, ending = self.media_model(body, "image"), body.get("n", 1), body.get("output_format", "png")
        names, usage = [f"{number}.{ending}" for number in range(count)], Usage(images=count)
        job = self.generate(request, model, usage, prompt=body["prompt"], file_names=names, is_polled=False)
        tokens, cost = TOKENS_OF_AN_IMAGE * count, float(job.cost or 0)
        reply = {
            "created": int(time.time()),
            "data": [{"b64_json": image, "media_type": f"image/{ending}"} for image in self.contents_in_base64(job)],
            "usage": {
                "prompt_tokens": 0,
                "completion_tokens": tokens,
                "total_tokens": tokens,
                "completion_tokens_details": {"image_tokens": tokens},
                "cost": cost,
                "cost_details": {"upstream_inference_cost": cost},
            },
        }
        return VendorReply(200, reply, self.headers()), self.line_of(job)

    def speak(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        model, text = self.media_model(body, "audio"), body["input"]
        name, usage = f"speech.{body.get('response_format', 'pcm')}", Usage(characters=len(text))
        job = self.generate(request, model, usage, prompt=text, file_names=[name], is_polled=False)
        headers = {"X-Generation-Id": new_id("gen-tts-")}
        return VendorReply(200, self.content(job), headers, content_type_of(name)), self.line_of(job)

    def show_key(self, request: VendorRequest) -> Answered:
        used = dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), float(self.charged))
        byok = dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), 0)
        limit = {"limit": float(PAID_IN), "limit_remaining": float(PAID_IN - self.charged), "limit_reset": None}
        kind = {"is_free_tier": False, "is_management_key": True, "is_provisioning_key": True}
        return VendorReply(200, {"data": {"label": "sandbox", **limit, **used, **byok, **kind}}), None

    def show_credits(self, request: VendorRequest) -> Answered:
        return VendorReply(200, {"data": {"total_credits": float(PAID_IN), "total_usage": float(self.charged)}}), None

    def list_activity(self, request: VendorRequest) -> Answered:
        return VendorReply(200, {"data": []}), None  # days that are over; the sandbox knows today alone

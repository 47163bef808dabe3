"""ElevenLabs: a text becomes speech, and speech a text, at once.

Source: https://elevenlabs.io/docs/api-reference/text-to-speech/convert (read 2026-11).
"""

import math
import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.formats.transcriptions import TranscribingVendor
from providers.sandbox.vendor_base import Answered, Endpoint, SandboxModel
from providers.types import Category, Usage

MP3_FORMATS = re.compile(r"mp3_\d+_\d+")  # the sandbox offers no other
# The longest text, and the credits that a character takes.
MODELS: dict[str, tuple[int, Decimal]] = {
    "eleven_v4_turbo": (10_000, Decimal("0.5")),
    "eleven_v4": (10_000, Decimal(1)),
    "eleven_v3": (5_000, Decimal(1)),
    "eleven_flash_v2_5": (40_000, Decimal("0.5")),
    "eleven_multilingual_v2": (10_000, Decimal(1)),
}
CHARACTER_LIMIT = 100_000  # of its plan, in a month
CREDITS_OF_A_DOLLAR = 10_000
VOICES = {"21m00Tcm4TlvDq8ikWAM": "Rachel", "JBFqnCBsd6RMkjVDRZzb": "George", "EXAVITQu4vr4xnSDxMaL": "Sarah"}
# The families of its errors, by status.
ERROR_TYPES = {401: "authentication_error", 404: "not_found", 429: "rate_limit_error", 503: "internal_error"}


class ElevenLabsVendor(TranscribingVendor):
    """Bytes on success, an object `detail` on failure, and a list of fields where the body is invalid."""

    slug = "elevenlabs"
    transcription_path = "/v1/speech-to-text"
    transcription_model_field = "model_id"
    media_models = dict.fromkeys(MODELS, SandboxModel(Category.AUDIO, {}))
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "missing_api_key", "An API key is required."),
        Problem.WRONG_KEY: ErrorText(401, "invalid_api_key", "Invalid API key"),
        Problem.NO_SUCH_PATH: ErrorText(404, "not_found", "{}: Not Found"),
        Problem.UNKNOWN_MODEL: ErrorText(404, "model_not_found", "A model with the id {} was not found."),
        Problem.UNKNOWN_VOICE: ErrorText(404, "voice_not_found", "A voice with the id {} was not found."),
        Problem.INVALID: ErrorText(422, "", "{}"),
        Problem.TOO_LONG: ErrorText(400, "text_too_long", "The text is longer than {} characters."),
        Problem.UNSUPPORTED: ErrorText(400, "invalid_parameters", "{} is not supported."),
        # An empty account looks like a wrong key, but for the code.
        Problem.NO_CREDIT: ErrorText(
            401, "quota_exceeded", "This request exceeds your quota. You have 0 credits left."
        ),
        # Seen with prompts for music (2025-12); undocumented for speech.
        Problem.REFUSED_CONTENT: ErrorText(
            400, "bad_prompt", "Your prompt appears to have violated our Terms of Service."
        ),
        Problem.RATE_LIMITED: ErrorText(429, "rate_limit_exceeded", "Too many requests. Please slow down."),
        Problem.DOWN: ErrorText(503, "service_unavailable", "The service is temporarily unavailable."),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("POST", "/v1/text-to-speech/{voice_id}", self.speak, is_submission=True),
            self.transcription_endpoint(),
            Endpoint("GET", "/v1/models", self.list_models),
            Endpoint("GET", "/v2/voices", self.list_voices),
            Endpoint("GET", "/v1/user/subscription", self.show_subscription),
            Endpoint("GET", "/v1/usage/character-stats", self.list_usage),
        )

    def sent_key(self, request: VendorRequest) -> str:
        return request.headers.get("xi-api-key", "")

    def submitted_model(self, request: VendorRequest, *names: str) -> str:
        return str(request.readable.get("model_id", ""))

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        if text.status == 422:
            return {"detail": [{"loc": ["body", param or ""], "msg": message, "type": "value_error"}]}
        detail = {
            "type": ERROR_TYPES.get(text.status, "validation_error"),
            "code": text.code,
            "status": text.code,  # its older name
            "message": message,
            "request_id": new_id(),
            "param": param,
        }
        return {"detail": detail}

    def speak(self, request: VendorRequest, voice: str) -> Answered:
        body = request.json_object()
        text, model = body.get("text"), body.get("model_id", "eleven_multilingual_v2")
        if not isinstance(text, str) or not text:
            raise VendorRefusal(Problem.INVALID, "Field required" if text is None else "Input should be a text", "text")
        if model not in MODELS:
            raise VendorRefusal(Problem.UNKNOWN_MODEL, str(model), "model_id")
        if voice not in VOICES:
            raise VendorRefusal(Problem.UNKNOWN_VOICE, voice, "voice_id")
        max_length, factor = MODELS[model]
        if len(text) > max_length:
            raise VendorRefusal(Problem.TOO_LONG, str(max_length), "text")
        if body.get("language_code") and model == "eleven_multilingual_v2":
            raise VendorRefusal(Problem.UNSUPPORTED, "language_code", "language_code")
        output_format = request.parameter("output_format", "mp3_44100_128")
        if not MP3_FORMATS.fullmatch(output_format):
            raise VendorRefusal(Problem.UNSUPPORTED, f"output_format {output_format}", "output_format")
        usage = Usage(characters=len(text))
        job = self.generate(request, model, usage, prompt=text, file_names=["speech.mp3"], is_polled=False)
        headers = {
            "character-cost": str(math.ceil(len(text) * factor)),
            "request-id": new_id(),
            "current-concurrent-requests": "1",
            "maximum-concurrent-requests": "10",
        }
        return VendorReply(200, self.content(job), headers, "audio/mpeg"), self.line_of(job)

    def transcript(self, text: str, seconds: Decimal, *, response_format: str) -> dict[str, Any]:
        return {
            "language_code": "eng",
            "language_probability": 0.98,
            "text": text,
            "words": [],
            "audio_duration_secs": float(seconds),
            "transcription_id": new_id(),
        }

    def list_models(self, request: VendorRequest) -> Answered:
        abilities = dict.fromkeys(
            (
                *("can_be_finetuned", "can_do_voice_conversion", "can_use_style", "can_use_speaker_boost"),
                *("serves_pro_voices", "requires_alpha_access"),
            ),
            False,
        )
        entries = [
            {
                "model_id": model,
                "name": model.replace("_", " ").title(),
                "description": "A stand-in of the sandbox.",
                "can_do_text_to_speech": True,
                **abilities,
                "token_cost_factor": float(factor),
                "max_characters_request_free_user": max_length,
                "max_characters_request_subscribed_user": max_length,
                "maximum_text_length_per_request": max_length,
                "languages": [{"language_id": "en", "name": "English"}],
                "model_rates": {"character_cost_multiplier": float(factor)},
                "concurrency_group": "standard",
            }
            for model, (max_length, factor) in MODELS.items()
        ]
        return VendorReply(200, entries), None

    def list_voices(self, request: VendorRequest) -> Answered:
        voices = [
            {
                "voice_id": voice_id,
                "name": name,
                "category": "premade",
                "labels": {},
                "available_for_tiers": [],
                "high_quality_base_model_ids": list(MODELS),
            }
            for voice_id, name in VOICES.items()
        ]
        body = {"voices": voices, "has_more": False, "total_count": len(voices), "next_page_token": None}
        return VendorReply(200, body), None

    @property
    def credits_used(self) -> int:
        return math.ceil(self.charged * CREDITS_OF_A_DOLLAR)

    def show_subscription(self, request: VendorRequest) -> Answered:
        body = {
            "tier": "creator",
            "character_count": self.credits_used,
            "character_limit": CHARACTER_LIMIT,
            "next_character_count_reset_unix": int((self.midnight + timedelta(days=30)).timestamp()),
            "status": "active",
        }
        return VendorReply(200, body), None

    def list_usage(self, request: VendorRequest) -> Answered:
        today = int(self.midnight.timestamp()) * 1000
        return VendorReply(200, {"time": [today], "usage": {"All": [self.credits_used]}}), None

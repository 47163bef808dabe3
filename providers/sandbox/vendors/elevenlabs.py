"""ElevenLabs: a text becomes a sound at once.

Source: https://elevenlabs.io/docs/api-reference/text-to-speech/convert (read 2026-11).
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.billing import Line, cost_of_usage
from providers.sandbox.fake_files import MP3
from providers.sandbox.faults import Fault
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    Call,
    Problem,
    Refused,
    Reply,
    Vendor,
    Wording,
    is_word_in,
    json_of,
    model_in,
    new_id,
)
from providers.types import Category, Usage

PATH = re.compile(r"/v1/text-to-speech/([^/]+)")
MP3_FORMATS = re.compile(r"mp3_\d+_\d+")
DEFAULT_MODEL = "eleven_multilingual_v2"
# The longest text, and the credits that a character takes.
MODELS: Mapping[str, tuple[int, Decimal]] = {
    "eleven_v4_turbo": (10_000, Decimal("0.5")),
    "eleven_v4": (10_000, Decimal(1)),
    "eleven_v3": (5_000, Decimal(1)),
    "eleven_flash_v2_5": (40_000, Decimal("0.5")),
    "eleven_multilingual_v2": (10_000, Decimal(1)),
}
VOICES = {"21m00Tcm4TlvDq8ikWAM": "Rachel", "JBFqnCBsd6RMkjVDRZzb": "George", "EXAVITQu4vr4xnSDxMaL": "Sarah"}
# Its problems' own families, by status.
TYPES = {401: "authentication_error", 404: "not_found", 429: "rate_limit_error", 503: "internal_error"}


class ElevenLabs(Vendor):
    """Bytes on success, an object `detail` on failure, and a list of fields where the body is wrong."""

    slug = "elevenlabs"
    label = "ElevenLabs"
    models = tuple(MODELS)
    order_path = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM"
    wordings = {
        Problem.NO_KEY: Wording(401, "missing_api_key", "An API key is required."),
        Problem.WRONG_KEY: Wording(401, "invalid_api_key", "Invalid API key"),
        Problem.NO_SUCH_PATH: Wording(404, "not_found", "{}: Not Found"),
        Problem.UNKNOWN_MODEL: Wording(404, "model_not_found", "A model with the id {} was not found."),
        Problem.UNKNOWN_VOICE: Wording(404, "voice_not_found", "A voice with the id {} was not found."),
        Problem.INVALID: Wording(422, "", "{}"),
        Problem.TOO_LONG: Wording(400, "text_too_long", "The text is longer than {} characters."),
        Problem.UNSUPPORTED: Wording(400, "invalid_parameters", "{} is not supported."),
        # An empty account looks like a wrong key, but for the code.
        Problem.NO_CREDIT: Wording(401, "quota_exceeded", "This request exceeds your quota. You have 0 credits left."),
        # Seen with prompts for music (2025-12); no document tells the word for speech.
        Problem.REFUSED_CONTENT: Wording(
            400, "bad_prompt", "Your prompt appears to have violated our Terms of Service."
        ),
        Problem.RATE_LIMITED: Wording(429, "rate_limit_exceeded", "Too many requests. Please slow down."),
        Problem.DOWN: Wording(503, "service_unavailable", "The service is temporarily unavailable."),
    }

    def sent_key(self, call: Call) -> str:
        return call.headers.get("xi-api-key", "")

    def respond(self, call: Call, fault: Fault | None) -> tuple[Reply, Line | None]:
        try:
            self.check_fault(call, fault)
            if (call.method, call.path) in (("GET", "/v1/models"), ("GET", "/v2/voices")):
                self.check_key(call)
                return Reply(200, _catalogue() if call.path == "/v1/models" else _voices()), None
            match = PATH.fullmatch(call.path)
            if not match or call.method != "POST":
                raise Refused(Problem.NO_SUCH_PATH, f"{call.method} {call.path}")
            body = json_of(call)
            text = _text_of(body)  # before the key
            self.check_key(call)
            model = self._model_of(call, body, match.group(1), text)
        except Refused as refusal:
            return self.refuse(call, refusal), self.unbilled(call)
        if fault == Fault.ERROR_IN_200:
            wording = self.wordings[Problem.DOWN]
            return Reply(200, self.error_body(call, wording, wording.message, None)), self.unbilled(call)
        usage = Usage(characters=len(text))
        cost = cost_of_usage(Category.AUDIO, self.slug, usage)
        headers = {
            "character-cost": str(math.ceil(len(text) * MODELS[model][1])),
            "request-id": new_id(""),
            "current-concurrent-requests": "1",
            "maximum-concurrent-requests": "10",
        }
        content = b"" if fault == Fault.EMPTY else MP3
        reply = Reply(200, content, headers, is_cut=fault == Fault.CUT, content_type="audio/mpeg")
        line = Line(provider=self.slug, model=model, usage=usage, cost=cost)
        return reply, line

    def unbilled(self, call: Call) -> Line | None:
        return self.free_line(model_in(call, "model_id")) if PATH.fullmatch(call.path) else None

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        if wording.status == 422:
            return {"detail": [{"loc": ["body", param or ""], "msg": message, "type": "value_error"}]}
        detail = {
            "type": TYPES.get(wording.status, "validation_error"),
            "code": wording.code,
            "status": wording.code,  # its older name
            "message": message,
            "request_id": new_id(""),
            "param": param,
        }
        return {"detail": detail}

    def _model_of(self, call: Call, body: Mapping[str, Any], voice: str, text: str) -> str:
        """Check the rest of the order and return its model. Raises Refused."""
        model = self.check_model(body.get("model_id", DEFAULT_MODEL))
        if voice not in VOICES:
            raise Refused(Problem.UNKNOWN_VOICE, voice, "voice_id")
        longest, _ = MODELS[model]
        if len(text) > longest:
            raise Refused(Problem.TOO_LONG, str(longest), "text")
        if body.get("language_code") and model == "eleven_multilingual_v2":
            raise Refused(Problem.UNSUPPORTED, "language_code", "language_code")
        # The sandbox keeps one sound, an MP3.
        output_format = parse_qs(call.query).get("output_format", ["mp3_44100_128"])[0]
        if not MP3_FORMATS.fullmatch(output_format):
            raise Refused(Problem.UNSUPPORTED, f"output_format {output_format}", "output_format")
        if is_word_in(PENNILESS, text):
            raise Refused(Problem.NO_CREDIT)
        if is_word_in(FORBIDDEN, text):
            raise Refused(Problem.REFUSED_CONTENT, "", "text")
        return model


def _text_of(body: Mapping[str, Any]) -> str:
    text = body.get("text")
    if not isinstance(text, str) or not text:
        raise Refused(Problem.INVALID, "Field required" if text is None else "Input should be a text", "text")
    return text


def _catalogue() -> list[dict[str, Any]]:
    return [
        {
            "model_id": model,
            "name": model.replace("_", " ").title(),
            "description": "A stand-in of the sandbox.",
            "can_be_finetuned": False,
            "can_do_text_to_speech": True,
            "can_do_voice_conversion": False,
            "can_use_style": False,
            "can_use_speaker_boost": False,
            "serves_pro_voices": False,
            "token_cost_factor": float(factor),
            "requires_alpha_access": False,
            "max_characters_request_free_user": longest,
            "max_characters_request_subscribed_user": longest,
            "maximum_text_length_per_request": longest,
            "languages": [{"language_id": "en", "name": "English"}],
            "model_rates": {"character_cost_multiplier": float(factor)},
            "concurrency_group": "standard",
        }
        for model, (longest, factor) in MODELS.items()
    ]


def _voices() -> dict[str, Any]:
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
    return {"voices": voices, "has_more": False, "total_count": len(voices), "next_page_token": None}

"""OpenRouter's pictures and speech beside its chat.

Source: https://openrouter.ai/docs/api/api-reference/images and …/tts (read 2026-11).
"""

import base64
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.billing import cost_of_usage
from providers.sandbox.fake_files import MP3, PCM, content_of, sides_of
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import PROMPT, TEXT, Field, check_fields
from providers.sandbox.formats.media import Answered, Route, WithMedia
from providers.sandbox.vendor_base import (
    FORBIDDEN,
    PENNILESS,
    Call,
    Problem,
    Refused,
    Reply,
    Wording,
    is_word_in,
    json_of,
    new_id,
)
from providers.sandbox.vendors.text_vendors import OpenRouter, openrouter_model
from providers.types import Category, Usage

PICTURE_PATH = "/api/v1/images"
SPEECH_PATH = "/api/v1/audio/speech"
# Of a picture. Its answer says what was charged.
PRICES: Mapping[str, Decimal] = {
    "bytedance-seed/seedream-4.5": Decimal("0.04"),
    "black-forest-labs/flux.2-pro": Decimal("0.03"),
}
TOKENS_PER_PICTURE = 4175
RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "2:3", "3:2", "4:5", "5:4", "21:9", "9:21")
PICTURE_FIELDS = {
    "model": TEXT,
    "prompt": PROMPT,
    "n": Field(int, range(1, 11)),
    "aspect_ratio": Field(str, RATIOS),
    "resolution": Field(str, ("1K", "2K", "4K")),
    "quality": Field(str, ("auto", "low", "medium", "high")),
    "output_format": Field(str, ("png", "jpeg", "webp")),
    "seed": Field(int),
    "provider": Field(dict),
    "user": TEXT,
}
VOICES: Mapping[str, tuple[str, ...]] = {"mistralai/voxtral-mini-tts-2603": ("en_paul_neutral", "gb_jane_neutral")}
SOUNDS = {"mp3": ("audio/mpeg", MP3), "pcm": ("audio/pcm;rate=24000;channels=1", PCM)}
SPEECH_FIELDS = {
    "model": TEXT,
    "input": PROMPT,
    "voice": TEXT,
    "response_format": Field(str, tuple(SOUNDS)),
    "speed": Field(float),
    "provider": Field(dict),
    "user": TEXT,
}


class OpenRouterWithMedia(WithMedia, OpenRouter):
    """Everything comes at once; a picture with its price, a sound without. Fields that a model lacks are dropped."""

    wordings = {
        **OpenRouter.wordings,
        Problem.NO_CREDIT: Wording(402, "payment_required", "Insufficient credits. Add more using your account page."),
        Problem.REFUSED_CONTENT: Wording(403, "permission_denied", "The input was flagged by a moderation."),
    }

    def routes(self) -> Sequence[Route]:
        return (
            ("POST", PICTURE_PATH, self._paint),
            ("POST", SPEECH_PATH, self._speak),
            ("GET", self.models_path, self._models),
        )

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        body = super().error_body(call, wording, message, param)
        # What tells them from other errors of the same status.
        if wording is self.wordings[Problem.REFUSED_CONTENT]:
            body["error"]["metadata"] |= {"reasons": ["violence"], "flagged_input": "", "provider_name": "Sandbox"}
        if wording is self.wordings[Problem.NO_CREDIT]:
            body["error"]["metadata"]["limit_source"] = "openrouter_credits"
        return body

    def _models(self, call: Call, fault: Fault | None) -> Answered:
        """List the models of texts, or those whose outputs the query names."""
        wanted = parse_qs(call.query).get("output_modalities", ["text"])[0].split(",")
        makers = {"text": self.models, "image": tuple(PRICES), "audio": tuple(VOICES)}
        entries = [
            openrouter_model(model, kind)
            for kind, models in makers.items()
            if kind in wanted or "all" in wanted
            for model in models
        ]
        return Reply(200, {"data": entries, "total_count": len(entries), "links": {"next": None}}), None

    def _paint(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        check_fields(body, PICTURE_FIELDS)
        name, price = self.pick(body, PRICES)
        _check_words(body["prompt"])
        if fault == Fault.ERROR_IN_200:
            return self._failed_inside(call)
        count, ending = body.get("n", 1), body.get("output_format", "png")
        order = self.take(
            name,
            Category.IMAGE,
            usage=Usage(images=count),
            cost=price * count,
            prompt=body["prompt"],
            file_names=[] if fault == Fault.EMPTY else [f"{number}.{ending}" for number in range(count)],
            sides=sides_of(body.get("aspect_ratio", "1:1")),
        )
        contents = [content_of(file_name, order.prompt, *order.sides) for file_name in order.file_names]
        pictures = [base64.b64encode(content).decode() for content in contents]
        tokens = TOKENS_PER_PICTURE * count
        painted = {
            "created": int(time.time()),
            "data": [{"b64_json": picture, "media_type": f"image/{ending}"} for picture in pictures],
            "usage": {
                "prompt_tokens": 0,
                "completion_tokens": tokens,
                "total_tokens": tokens,
                "completion_tokens_details": {"image_tokens": tokens},
                "cost": float(price * count),
                "cost_details": {"upstream_inference_cost": float(price * count)},
            },
        }
        return Reply(200, painted, self.headers(), is_cut=fault == Fault.CUT), self.line_of(order)

    def _speak(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        check_fields(body, SPEECH_FIELDS)
        name, voices = self.pick(body, VOICES)
        if "voice" in body and body["voice"] not in voices:
            raise Refused(Problem.INVALID, f"Voice {body['voice']!r} is not one of {', '.join(voices)}", "voice")
        _check_words(body["input"])
        if fault == Fault.ERROR_IN_200:
            return self._failed_inside(call)
        usage = Usage(characters=len(body["input"]))
        cost = cost_of_usage(Category.AUDIO, self.slug, usage)  # the answer does not tell it
        order = self.take(name, Category.AUDIO, usage=usage, cost=cost, prompt=body["input"], file_names=())
        content_type, sound = SOUNDS[body.get("response_format", "pcm")]
        reply = Reply(
            200,
            b"" if fault == Fault.EMPTY else sound,
            {"X-Generation-Id": new_id("gen-tts-")},
            is_cut=fault == Fault.CUT,
            content_type=content_type,
        )
        return reply, self.line_of(order)

    def _failed_inside(self, call: Call) -> Answered:
        wording = self.wordings[Problem.DOWN]
        return Reply(200, self.error_body(call, wording, wording.message, None)), self.unbilled(call)


def _check_words(prompt: str) -> None:
    if is_word_in(PENNILESS, prompt):
        raise Refused(Problem.NO_CREDIT)
    if is_word_in(FORBIDDEN, prompt):
        raise Refused(Problem.REFUSED_CONTENT)

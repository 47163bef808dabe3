"""AIMLAPI's pictures, films and speech beside its chat, each with its price.

Source: https://docs.aimlapi.com/api-references (read 2026-11).
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.fake_files import MP3
from providers.sandbox.faults import Fault
from providers.sandbox.field_rules import Field, check_fields, refuse_unknown
from providers.sandbox.formats.media import Answered, Order, Route, WithMedia
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
)
from providers.sandbox.vendors.aimlapi_models import FILMS, MUSIC, PICTURES, SPEECH, Model
from providers.sandbox.vendors.text_vendors import CREDITS_PER_USD, Aimlapi
from providers.types import Category, Usage

PICTURE_PATH = "/v1/images/generations"
FILM_PATH = "/v2/video/generations"
SPEECH_PATH = "/v1/tts"
MUSIC_PATH = "/v2/generate/audio"
PIECE_SECONDS = 30  # of music, where the order does not say
SIGNING_KEY = b"signs addresses that lead to inventions"
REFUSAL = "The prompt was flagged by the safety system"
SIZES: Mapping[str, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


class AimlapiWithMedia(WithMedia, Aimlapi):
    """Films are jobs, the rest comes at once: as addresses that are signed, for a day."""

    kept = timedelta(days=1)
    wordings = {
        **Aimlapi.wordings,
        Problem.NO_CREDIT: Wording(403, "", "You have run out of credits. Please top up your balance or wait."),
        Problem.REFUSED_CONTENT: Wording(400, "", REFUSAL),
    }

    def routes(self) -> Sequence[Route]:
        return (
            ("POST", PICTURE_PATH, self._paint),
            ("POST", FILM_PATH, self._order_film),
            ("GET", FILM_PATH, self._show_job),
            ("POST", MUSIC_PATH, self._order_piece),
            ("GET", MUSIC_PATH, self._show_job),
            ("POST", SPEECH_PATH, self._speak),
        )

    def catalogue(self) -> dict[str, Any]:
        body = super().catalogue()
        entries = [
            {
                "id": name,
                "aliases": [],
                "type": model.kind,
                "info": {"name": name, "developer": name.partition("/")[0]},
                "tags": [],
            }
            for name, model in {**PICTURES, **FILMS, **SPEECH, **MUSIC}.items()
        ]
        return {**body, "data": [*body["data"], *entries]}

    def addresses(self, call: Call, order: Order) -> list[str]:
        expires = int((order.ends_at + self.kept).timestamp())
        return [
            f"{address}?Expires={expires}&Signature={_signature(address.rpartition('/files/')[2], expires)}"
            for address in super().addresses(call, order)
        ]

    def file(self, call: Call, order_id: str, name: str) -> Reply:
        query = {field: values[0] for field, values in parse_qs(call.query).items()}
        expires, signature = query.get("Expires", ""), query.get("Signature", "")
        is_signed = expires.isdecimal() and hmac.compare_digest(
            signature.encode(), _signature(f"{order_id}/{name}", int(expires)).encode()
        )
        if not is_signed or int(expires) <= self.clock().timestamp():
            return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return super().file(call, order_id, name)

    def _paint(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        name, model = self._checked(body, PICTURES, "prompt")
        sides = _sides_of(body.get("image_size", "landscape_4_3"), model.sides)
        _refuse_words(body["prompt"])
        if fault == Fault.ERROR_IN_200:
            return Reply(200, self.error_in_200(call)), self.unbilled(call)
        count, ending = int(body.get("num_images", 1)), body.get("output_format", "png")
        order = self.take(
            name,
            Category.IMAGE,
            usage=Usage(images=count),
            cost=_cost(model.credits * count),
            prompt=body["prompt"],
            file_names=[] if fault == Fault.EMPTY else [f"{number}.{ending}" for number in range(count)],
            sides=sides,
        )
        painted = {
            "data": [{"url": address, "b64_json": None} for address in self.addresses(call, order)],
            "meta": {"usage": {"credits_used": _credits(order)}},  # for speech it says the dollars as well
        }
        return Reply(201, painted, self._bill(order), is_cut=fault == Fault.CUT), self.line_of(order)

    def _order_film(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        name, model = self._checked(body, FILMS, "prompt")
        return self._order_job(fault, name, model, Category.VIDEO, body, body.get("duration", 5))

    def _order_piece(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        name, model = self._checked(body, MUSIC, "prompt")
        seconds = body.get("music_length_ms", 1000 * PIECE_SECONDS) // 1000
        return self._order_job(fault, name, model, Category.AUDIO, body, seconds)

    def _order_job(
        self, fault: Fault | None, name: str, model: Model, category: Category, body: Mapping[str, Any], seconds: int
    ) -> Answered:
        if is_word_in(PENNILESS, body["prompt"]):
            raise Refused(Problem.NO_CREDIT)
        is_film = category is Category.VIDEO
        error = REFUSAL if is_word_in(FORBIDDEN, body["prompt"]) else ""
        job = self.take(
            name,
            category,
            usage=Usage(seconds=Decimal(seconds)),
            cost=_cost(model.credits * seconds),
            prompt=body["prompt"],
            file_names=[] if fault == Fault.EMPTY else ["film.mp4" if is_film else "piece.mp3"],
            work=self.film_work if is_film else self.quick_work,
            error=error or ("The generation has failed" if fault == Fault.ERROR_IN_200 else ""),
        )
        reply = Reply(201, {"id": job.id, "status": "queued"}, self.headers(), is_cut=fault == Fault.CUT)
        return reply, self.line_of(job)

    def _show_job(self, call: Call, fault: Fault | None) -> Answered:
        job, moment = self.known(parse_qs(call.query).get("generation_id", [""])[0]), self.clock()
        output = "video" if job.category is Category.VIDEO else "audio_file"
        if not job.is_over(moment):
            return Reply(200, {"id": job.id, "status": "generating" if job.is_started(moment) else "queued"}), None
        if job.error:
            error = {"name": "Error", "message": job.error}
            return Reply(200, {"id": job.id, "status": "error", output: None, "error": error}), None
        addresses, usage = self.addresses(call, job), {"credits_used": _credits(job)}
        body = {
            "id": job.id,
            "status": "completed",
            output: {"url": addresses[0]} if addresses else None,
            "error": None,
            "meta": {"usage": usage if output == "video" else {**usage, "usd_spent": float(job.cost or 0)}},
        }
        return Reply(200, body), None

    def _speak(self, call: Call, fault: Fault | None) -> Answered:
        body = json_of(call)
        name, model = self._checked(body, SPEECH, "text")
        settings = body.get("audio_setting", {})
        check_fields(settings, {"format": Field(str, ("mp3",))}, within="audio_setting")
        _refuse_words(body["text"])
        if fault == Fault.ERROR_IN_200:
            return Reply(200, self.error_in_200(call)), self.unbilled(call)
        ending = body.get("format", "wav") if name.startswith("inworld/") else "mp3"
        order = self.take(
            name,
            Category.AUDIO,
            usage=Usage(characters=len(body["text"])),
            cost=_cost(model.credits * len(body["text"])),
            prompt=body["text"],
            file_names=[] if fault == Fault.EMPTY else [f"speech.{ending}"],
        )
        # This maker's models answer with the sound itself unless told otherwise.
        if name.startswith("elevenlabs/") and body.get("stream", True):
            content = b"" if fault == Fault.EMPTY else MP3
            is_cut = fault == Fault.CUT
            return Reply(201, content, self._bill(order), is_cut, "audio/mpeg"), self.line_of(order)
        said = {
            "audio": "".join(self.addresses(call, order)),
            "meta": {"usage": {"credits_used": _credits(order), "usd_spent": float(order.cost or 0)}},
        }
        return Reply(201, said, self._bill(order), is_cut=fault == Fault.CUT), self.line_of(order)

    def _checked(self, body: Mapping[str, Any], models: Mapping[str, Model], words: str) -> tuple[str, Model]:
        """Check an order against its model, which is returned; `words` is the field with the prompt. Raises Refused."""
        name, model = self.pick(body, models)
        refuse_unknown(body, model.fields)
        check_fields(body, model.fields)
        if not body[words]:
            raise Refused(Problem.INVALID, f"{words} must not be empty", words)
        return name, model

    def _bill(self, order: Order) -> Mapping[str, str]:
        return {
            **self.headers(),
            "x-aimlapi-usd-spent": f"{order.cost or Decimal(0):f}",
            "x-aimlapi-credits-used": str(_credits(order)),
        }


def _cost(price_in_credits: int) -> Decimal:
    return Decimal(price_in_credits) / CREDITS_PER_USD


def _credits(order: Order) -> int:
    return int((order.cost or Decimal(0)) * CREDITS_PER_USD)


def _refuse_words(prompt: str) -> None:
    if is_word_in(PENNILESS, prompt):
        raise Refused(Problem.NO_CREDIT)
    if is_word_in(FORBIDDEN, prompt):
        raise Refused(Problem.REFUSED_CONTENT)


def _sides_of(size: Any, allowed: range) -> tuple[int, int]:
    """Return width and height, which are named or told. Raises Refused."""
    if isinstance(size, str) and size in SIZES:
        return SIZES[size]
    if not isinstance(size, dict):
        raise Refused(Problem.INVALID, f"image_size must be an object or one of {', '.join(SIZES)}", "image_size")
    sides = {"width": Field(int, allowed), "height": Field(int, allowed)}
    check_fields(size, sides, within="image_size")
    return size.get("width", 1024), size.get("height", 768)


def _signature(path: str, expires: int) -> str:
    return hmac.new(SIGNING_KEY, f"{path}?{expires}".encode(), "sha256").hexdigest()

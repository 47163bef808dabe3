"""AIMLAPI's chat, images, videos, speech and music, each with its price.

Source: https://docs.aimlapi.com/api-references (read 2026-11). The prices of media are invented: the real
ones stand in the vendor's list of models.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem
from providers.sandbox.exchange import VendorReply, VendorRequest, new_id
from providers.sandbox.fake_jobs import FakeJob, JobPhase
from providers.sandbox.field_rules import (
    ARRAY,
    INTEGER,
    NUMBER,
    OBJECT,
    PROMPT,
    SWITCH,
    TEXT,
    FieldRule,
    between,
    one_of,
    prompt_of,
)
from providers.sandbox.formats.chat_answers import TokenCount
from providers.sandbox.formats.openai_chat import OpenAICompatibleVendor
from providers.sandbox.vendor_base import PAID_IN, Answered, Endpoint, SandboxModel
from providers.types import Category, Usage

CREDITS_PER_USD = 2_000_000  # its own money
MUSIC_SECONDS = 30  # where the request does not say
SIGNING_KEY = b"signs the addresses of outputs"
REFUSAL = "The prompt was flagged by the safety system"
VIDEO_PATH = "/v2/video/generations"
MUSIC_PATH = "/v2/generate/audio"
NAMED_SIZES = ("square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9")
NEVER = FieldRule(bool, (False,))
STATUSES = dict(zip(JobPhase, ("queued", "queued", "generating", "completed", "error", "error"), strict=True))
MP3_ONLY = FieldRule(dict, fields={"format": one_of("mp3")})


def _priced(category: Category, kind: str, credit_price: int, fields: Mapping[str, FieldRule]) -> SandboxModel:
    return SandboxModel(category, {"model": PROMPT, **fields}, kind, Decimal(credit_price) / CREDITS_PER_USD)


def _image(credit_price: int, min_side: int, max_side: int, fields: Mapping[str, FieldRule]) -> SandboxModel:
    side = between(min_side, max_side)
    common: dict[str, FieldRule] = {
        "prompt": prompt_of(4000),
        "image_size": FieldRule(object, NAMED_SIZES, fields={"width": side, "height": side}),
        "num_images": FieldRule(float, (1, 2, 3, 4)),
        "enable_safety_checker": SWITCH,
        "seed": INTEGER,
    }
    return _priced(Category.IMAGE, "image", credit_price, {**common, **fields})


# The sandbox has an MP3 and a WAV of speech, so other formats are not offered here.
MODELS: Mapping[str, SandboxModel] = {
    "flux/schnell": _image(7_800, 64, 1536, {"num_inference_steps": between(1, 12)}),
    "flux/dev": _image(65_000, 512, 1536, {"num_inference_steps": between(1, 50), "guidance_scale": NUMBER}),
    "blackforestlabs/flux-2": _image(
        31_200,
        512,
        2048,
        {
            "num_inference_steps": between(4, 50),
            "guidance_scale": NUMBER,
            "output_format": one_of("jpeg", "png", "webp"),
            "enable_prompt_expansion": SWITCH,
            "acceleration": one_of("none", "regular", "high"),
        },
    ),
    "klingai/video-v3-standard-turbo-image-to-video": _priced(
        Category.VIDEO,
        "video",
        218_400,
        {"prompt": prompt_of(3072), "multi_prompt": ARRAY, "image_url": PROMPT, "duration": between(3, 15)},
    ),
    "klingai/video-v3-standard-turbo-text-to-video": _priced(
        Category.VIDEO,
        "video",
        218_400,
        {
            "prompt": prompt_of(3072),
            "multi_prompt": ARRAY,
            "duration": between(3, 15),
            "aspect_ratio": one_of("16:9", "9:16", "1:1"),
        },
    ),
    "luma/ray-3.2": _priced(
        Category.VIDEO,
        "video",
        78_000,
        {
            "prompt": PROMPT,
            "type": one_of("video", "video_edit", "video_reframe"),
            "duration": one_of(5, 10),
            "resolution": one_of("360p", "540p", "720p", "1080p"),
            "aspect_ratio": one_of("9:16", "3:4", "1:1", "4:3", "16:9", "21:9"),
            **dict.fromkeys(("image_url", "last_image_url", "video_url"), TEXT),
            **dict.fromkeys(("loop", "hdr", "exr_export"), SWITCH),
        },
    ),
    "elevenlabs/eleven_music": _priced(
        Category.AUDIO, "audio", 6_000, {"prompt": prompt_of(2000), "music_length_ms": between(10_000, 300_000)}
    ),
    "minimax/music-2.6": _priced(
        Category.AUDIO,
        "audio",
        4_000,
        {
            "prompt": prompt_of(2000),
            "lyrics": FieldRule(str, max_length=3000),
            "audio_setting": OBJECT,
            "lyrics_optimizer": SWITCH,
            "is_instrumental": SWITCH,
        },
    ),
    "inworld/tts-1-5-mini": _priced(
        Category.AUDIO,
        "tts",
        13,
        {
            "text": prompt_of(500_000, min_length=1),
            "format": one_of("wav", "mp3"),
            "voice": one_of(
                *("Alex", "Ashley", "Deborah", "Dennis", "Mark", "Olivia", "Sarah", "Timothy", "Ronald", "Wendy")
            ),
            "stream": NEVER,
        },
    ),
    "elevenlabs/eleven_multilingual_v2": _priced(
        Category.AUDIO,
        "tts",
        260,
        {
            "text": PROMPT,
            "previous_text": TEXT,
            "next_text": TEXT,
            "output_format": one_of("mp3_22050_32", "mp3_44100_64", "mp3_44100_128"),
            "voice": one_of("Rachel", "Sarah", "George", "Laura", "Charlie", "Liam"),
            "voice_settings": OBJECT,
            "apply_text_normalization": one_of("auto", "on", "off"),
            "seed": INTEGER,
            "stream": SWITCH,
        },
    ),
    "minimax/speech-2.8-turbo": _priced(
        Category.AUDIO,
        "tts",
        156,
        {
            "text": prompt_of(5000, min_length=1),
            "audio_setting": MP3_ONLY,
            "voice_setting": OBJECT,
            "voice_modify": OBJECT,
            "timbre_weights": ARRAY,
            "pronunciation_dict": OBJECT,
            "language_boost": TEXT,
            "subtitle_enable": SWITCH,
            "stream": NEVER,
        },
    ),
}


class AimlapiVendor(OpenAICompatibleVendor):
    """Success is a 201, every answer names its price, files have signed addresses. Videos and music are jobs."""

    slug = "aimlapi"
    success_status = 201
    other_models = (
        *("google/gemini-3-7-flash", "anthropic/claude-sonnet-5"),
        *("openai/gpt-5-nano", "openai/gpt-5.6-luna"),
    )
    media_models = MODELS
    refusal_text = REFUSAL
    crash_text = "The generation has failed"
    kept = timedelta(days=1)
    error_texts = {
        Problem.NO_KEY: ErrorText(401, "", "Unauthorized: no API key was given"),
        Problem.WRONG_KEY: ErrorText(401, "", "Unauthorized: the API key {} is wrong or expired"),
        Problem.NO_SUCH_PATH: ErrorText(404, "", "Cannot {}"),
        Problem.UNKNOWN_MODEL: ErrorText(404, "", "Model {} not found"),
        Problem.INVALID: ErrorText(400, "", "Body validation error: {}"),
        Problem.UNSUPPORTED: ErrorText(400, "", "Body validation error: {} is not allowed"),
        Problem.RATE_LIMITED: ErrorText(429, "", "Too many requests. Slow down, or raise your plan's limits."),
        Problem.NO_CREDIT: ErrorText(403, "", "You have run out of credits. Please top up your balance or wait."),
        Problem.REFUSED_CONTENT: ErrorText(400, "", REFUSAL),
        Problem.DOWN: ErrorText(503, "", "Service is temporarily unavailable"),
    }

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            *super().endpoints(),
            Endpoint("POST", "/v1/images/generations", self.generate_images, is_submission=True),
            Endpoint("POST", VIDEO_PATH, self.submit_video, is_submission=True),
            Endpoint("GET", VIDEO_PATH, self.show_job),
            Endpoint("POST", MUSIC_PATH, self.submit_music, is_submission=True),
            Endpoint("GET", MUSIC_PATH, self.show_job),
            Endpoint("POST", "/v1/tts", self.speak, is_submission=True),
            Endpoint("GET", "/v1/billing/balance", self.show_balance),
        )

    def headers(self, cost: Decimal | None = None) -> Mapping[str, str]:
        inference = {"x-inference-id": new_id("inf_")}
        if cost is None:
            return inference
        return inference | {"x-aimlapi-usd-spent": f"{cost:f}", "x-aimlapi-credits-used": str(_credits(cost))}

    def reported_cost(self, tokens: TokenCount) -> dict[str, Any]:
        return _reported(self.cost_of(tokens))

    def listed_model(self, name: str, kind: str) -> dict[str, Any]:
        info = {"name": name, "developer": name.partition("/")[0]}
        return {"id": name, "aliases": [], "type": kind or "chat-completion", "info": info, "tags": []}

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        return {
            "message": message,
            "path": request.path,
            "requestId": new_id(),
            "statusCode": text.status,
            "timestamp": datetime.now(UTC).isoformat(),
            **({"meta": [{"path": [param], "message": message}]} if param else {}),
        }

    def error_in_200(self, request: VendorRequest) -> dict[str, Any]:
        return {"error": super().error_in_200(request)}

    def addresses(self, request: VendorRequest, job: FakeJob) -> list[str]:
        expires = int((job.ends_at + self.kept).timestamp())
        return [
            f"{address}?Expires={expires}&Signature={_signature(address.rpartition('/files/')[2], expires)}"
            for address in super().addresses(request, job)
        ]

    def file(self, request: VendorRequest, job_id: str, name: str) -> VendorReply:
        expires, signature = request.parameter("Expires"), request.parameter("Signature")
        is_signed = expires.isdecimal() and hmac.compare_digest(
            signature.encode(), _signature(f"{job_id}/{name}", int(expires)).encode()
        )
        if not is_signed or int(expires) <= self.services.clock().timestamp():
            return VendorReply(403, b"<Error><Code>AccessDenied</Code></Error>", content_type="application/xml")
        return super().file(request, job_id, name)

    def generate_images(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        model, count, ending = self.media_model(body, "image"), body.get("num_images", 1), body.get("output_format")
        names, usage = [f"{number}.{ending or 'png'}" for number in range(int(count))], Usage(images=int(count))
        job = self.generate(request, model, usage, prompt=body["prompt"], file_names=names, is_polled=False)
        cost = job.cost or Decimal(0)
        reply = {
            "data": [{"url": address, "b64_json": None} for address in self.addresses(request, job)],
            **_reported_credits(cost),
        }
        return VendorReply(201, reply, self.headers(cost)), self.line_of(job)

    def submit_video(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        return self._submit(request, self.media_model(body, "video"), "video.mp4", body, body.get("duration", 5))

    def submit_music(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        seconds = body.get("music_length_ms", 1000 * MUSIC_SECONDS) // 1000
        return self._submit(request, self.media_model(body, "audio"), "music.mp3", body, seconds)

    def show_job(self, request: VendorRequest) -> Answered:
        job = self.known_job(request.parameter("generation_id"))
        phase, output = job.phase(self.services.clock()), "video" if job.category is Category.VIDEO else "audio_file"
        reply: dict[str, Any] = {"id": job.id, "status": STATUSES[phase]}
        if phase is JobPhase.SUCCEEDED:
            outputs, cost = [{"url": address} for address in self.addresses(request, job)], job.cost or Decimal(0)
            reported = _reported(cost) if output == "audio_file" else _reported_credits(cost)
            reply |= {output: outputs[0] if outputs else None, "error": None, **reported}
        elif phase is JobPhase.FAILED:
            reply |= {output: None, "error": {"name": "Error", "message": job.error}}
        return VendorReply(200, reply), None

    def speak(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        model, text = self.media_model(body, "tts"), body["text"]
        ending = body.get("format", "wav") if model.startswith("inworld/") else "mp3"
        names, usage = [f"speech.{ending}"], Usage(characters=len(text))
        job = self.generate(request, model, usage, prompt=text, file_names=names, is_polled=False)
        headers = self.headers(job.cost)
        # These models reply with the audio itself unless the request says otherwise.
        if model.startswith("elevenlabs/") and body.get("stream", True):
            return VendorReply(201, self.content(job), headers, "audio/mpeg"), self.line_of(job)
        reply = {"audio": "".join(self.addresses(request, job)), **_reported(job.cost or Decimal(0))}
        return VendorReply(201, reply, headers), self.line_of(job)

    def _submit(
        self, request: VendorRequest, model: str, file_name: str, body: Mapping[str, Any], seconds: int
    ) -> Answered:
        usage = Usage(seconds=Decimal(seconds))
        job = self.generate(request, model, usage, prompt=body["prompt"], file_names=[file_name])
        return VendorReply(201, {"id": job.id, "status": "queued"}, self.headers()), self.line_of(job)

    def show_balance(self, request: VendorRequest) -> Answered:
        reply = {
            "balance": _credits(PAID_IN - self.charged),
            "lowBalance": False,
            "lowBalanceThreshold": 10_000,
            "lastUpdated": self.services.clock().isoformat(),
            "autoDebitStatus": "disabled",
            "status": "current",
            "statusExplanation": "Balance is current and up to date",
        }
        return VendorReply(200, reply), None


def _reported(cost: Decimal) -> dict[str, Any]:
    return {"meta": {"usage": {"credits_used": _credits(cost), "usd_spent": float(cost)}}}


def _reported_credits(cost: Decimal) -> dict[str, Any]:
    # For images and videos it names no dollars.
    return {"meta": {"usage": {"credits_used": _credits(cost)}}}


def _credits(cost: Decimal) -> int:
    return round(cost * CREDITS_PER_USD)


def _signature(path: str, expires: int) -> str:
    return hmac.new(SIGNING_KEY, f"{path}?{expires}".encode(), "sha256").hexdigest()

"""AIMLAPI text, images, videos, speech and music. Source: https://docs.aimlapi.com/api-references (read 2026-11)."""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote

from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import JobProvider, MediaProvider, image_uris, job_of
from providers.backends.openai_compatible import OpenAICompatibleText, image_in
from providers.errors import ContentRefused, ModelGone, OutcomeUnknown, RequestRejected, ServerFault
from providers.transport.json_fields import get_path, json_safe, money_at, text_at, urls_in
from providers.types import Call, Feature, Job, MediaResult, Prompt, UnknownPolicy, Usage

CREDIT = Decimal(1) / 2_000_000  # of a dollar


class AimlapiText(OpenAICompatibleText):
    """Chat completions of many makers. Success is a 201. The base URL has no version."""

    slug = "aimlapi"
    path = "/v1/chat/completions"
    cost_path = ("meta", "usage", "usd_spent")  # about 30 % above the makers' list prices (2026-11)
    code_paths = (("code",), ("type",), ("statusCode",))
    models_path = "/v1/models"  # a model answers to its aliases too
    rules = (
        # A 500 may wrap what an upstream has refused, so there the text decides (github.com/aimlapi/api-docs, issue 3).
        ErrorRule(
            ContentRefused,
            statuses=(400, 403, 500),
            text=r"content.policy|safety (system|filter|polic|check)|flagged|moderation|inappropriate|nsfw",
        ),
        ErrorRule(ServerFault, statuses=(500,), text="maintenance"),
        ErrorRule(
            ModelGone,
            statuses=(400, 500),
            text=r"\bmodel\b.{0,100}(not found|not exist|not available|unknown|deprecated|retired)|unknown model",
        ),
        ErrorRule(RequestRejected, statuses=(500,), text=r"\b400\b|bad request"),
    )

    # Of the models read in 2026-11 these take the field; others answer unknown values with a 400.
    models_with_effort = ("openai/gpt-5", "deepseek/deepseek-v4", "google/gemini-3")

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        takes_it = bool(prompt.reasoning_effort) or prompt.model.startswith(self.models_with_effort)
        return {"reasoning_effort": prompt.reasoning_effort or "low"} if takes_it else {}

    def parse_raw_usage(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        raw = super().parse_raw_usage(body)
        return {**raw, "meta": json_safe(body["meta"])} if body.get("meta") else raw


class AimlapiMedia(MediaProvider):
    """What images, videos and speech share. Success is a 201, outputs are signed addresses for about a day."""

    slug = "aimlapi"
    code_paths = AimlapiText.code_paths
    rules = AimlapiText.rules
    models_path = AimlapiText.models_path
    output_hosts = ("cdn.aimlapi.com",)  # in all of the documents' samples

    def bill(self, body: Mapping[str, Any], usage: Usage) -> Usage:
        """Return the usage with what the provider says it cost: in dollars, else in its credits."""
        raw = json_safe(get_path(body, "meta", "usage"))
        cost = money_at(raw, "usd_spent")
        if cost is None:
            cost = money_at(raw, "credits_used", unit=CREDIT)
        return replace(usage, reported_cost=cost, raw=raw if isinstance(raw, dict) else {})


class AimlapiImage(AimlapiMedia):
    """Flux. Source: https://docs.aimlapi.com/api-references/image-models/flux (read 2026-11)."""

    sizes: ClassVar[Mapping[str, str]] = {
        "1:1": "square_hd",
        "4:3": "landscape_4_3",
        "16:9": "landscape_16_9",
        "3:4": "portrait_4_3",
        "9:16": "portrait_16_9",
    }

    aspect_ratios = sizes
    default_aspect_ratio = "1:1"

    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png", "image/webp"})
    max_images = 3
    option_fields = {"seed": "seed"}

    def build(self, prompt: Prompt) -> Call:
        body: dict[str, Any] = {"model": prompt.model, "prompt": prompt.text, **self.options_of(prompt)}
        uris = image_uris(prompt)
        if uris:  # models that change images have sizes of their own, and two names for what they change
            body |= {"image_url": uris[0]} if "image-to-image" in prompt.model else {"image_urls": uris}
        else:
            body["image_size"] = self.sizes[self.aspect_ratio_of(prompt)]
        return Call("/v1/images/generations", json=body)

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult:
        usage = self.bill(body, Usage(images=1))
        content, urls = image_in(body), urls_in(get_path(body, "data", 0, "url"))
        if not content and not urls:
            raise OutcomeUnknown("no image in the answer", usage=usage)
        return MediaResult(content=content, url="" if content else urls[0], usage=usage, model=prompt.model)


class AimlapiJob(AimlapiMedia, JobProvider):
    """Jobs that are polled by their id at the path where they were submitted.

    They cannot be listed or cancelled, and the provider makes no callback.
    """

    path: ClassVar[str]
    output_field: ClassVar[str]

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return "status" not in body  # an error that came with a status is the job's own

    def poll_call(self, job_id: str) -> Call:
        return Call(f"{self.path}?generation_id={quote(job_id, safe='')}", method="GET")

    def parse_job(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        status = text_at(body, "status")
        if status == "error":
            said = f"{text_at(body, 'error', 'name')} {text_at(body, 'error', 'message')}".strip()
            raise self.job_failure(prompt, ErrorReply(500, text=said or status))
        if status != "completed":  # "queued", "generating"
            return job_of(body.get("id"))
        urls = urls_in(get_path(body, self.output_field, "url"))
        usage = self.bill(body, self.used(prompt))
        if not urls:
            raise OutcomeUnknown("completed without an output", usage=usage, ends_job=True)
        return MediaResult(url=urls[0], usage=usage, model=prompt.model)


class AimlapiVideo(AimlapiJob):
    """Kling and Luma. Source: https://docs.aimlapi.com/api-references/video-models (read 2026-11)."""

    unknown_policy = UnknownPolicy.STOP
    first_poll_seconds = 10.0
    default_aspect_ratio = "16:9"
    features = frozenset({Feature.IMAGE_INPUT})
    image_types = frozenset({"image/jpeg", "image/png"})
    option_fields = {"negative_prompt": "negative_prompt"}
    path = "/v2/video/generations"
    output_field = "video"

    def build(self, prompt: Prompt) -> Call:
        body = {
            "model": prompt.model,
            "prompt": prompt.text,
            "duration": self.seconds_of(prompt),
            **({"resolution": "540p"} if prompt.model.startswith("luma/") else {}),
            **self.options_of(prompt),
        }
        if prompt.attachments:  # the first picture, whose aspect ratio is the video's
            body["image_url"] = image_uris(prompt)[0]
        else:
            body["aspect_ratio"] = self.aspect_ratio_of(prompt)
        return Call(self.path, json=body)


class AimlapiAudio(AimlapiJob):
    """Speech of several makers, each with its own name for the format, at once; and music, as a job.

    The route's model decides which: "elevenlabs/eleven_music" and "minimax/music-2.6" make music.
    Source: https://docs.aimlapi.com/api-references/speech-models/text-to-speech, …/music-models (read 2026-11).
    """

    first_poll_seconds = 5.0
    max_poll_seconds = 5.0
    path = "/v2/generate/audio"
    output_field = "audio_file"
    answers_with_file = True  # some models of speech; most answer with an address
    default_seconds = 30  # of music
    formats: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "inworld": {"format": "mp3"},
        "elevenlabs": {"output_format": "mp3_44100_128", "stream": False},
        "minimax": {"audio_setting": {"format": "mp3"}},
    }

    def build(self, prompt: Prompt) -> Call:
        return self._music(prompt) if _is_music(prompt.model) else self._speech(prompt)

    def _music(self, prompt: Prompt) -> Call:
        body: dict[str, Any] = {"model": prompt.model, "prompt": prompt.text}
        if prompt.model.startswith("elevenlabs/"):
            body["music_length_ms"] = 1000 * self.seconds_of(prompt)
        elif prompt.model.startswith("minimax/"):
            body["lyrics_optimizer"] = True  # a description is no lyrics, and these are written for it
        return Call(self.path, json=body)

    def _speech(self, prompt: Prompt) -> Call:
        maker, voice = prompt.model.partition("/")[0], prompt.output_options.voice
        body = {"model": prompt.model, "text": prompt.text, **self.formats.get(maker, {})}
        if voice:
            body |= {"voice_setting": {"voice_id": voice}} if maker == "minimax" else {"voice": voice}
        return Call("/v1/tts", json=body)

    def used(self, prompt: Prompt) -> Usage:
        if _is_music(prompt.model):
            return Usage(seconds=Decimal(self.seconds_of(prompt)))
        return Usage(characters=len(prompt.text))

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return super().has_error(body) and "audio" not in body

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult | Job:
        if _is_music(prompt.model):
            return self.parse_job(prompt, body)
        usage = self.bill(body, self.used(prompt))
        urls = urls_in(body.get("audio"))  # the address, or in older models an object with it
        if not urls:
            raise OutcomeUnknown("no audio in the answer", usage=usage)
        return MediaResult(url=urls[0], usage=usage, model=prompt.model)

    def parse_file(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        if not content:
            raise OutcomeUnknown("no audio in the answer")
        said = {"usd_spent": headers.get("x-aimlapi-usd-spent"), "credits_used": headers.get("x-aimlapi-credits-used")}
        body = {"meta": {"usage": {name: value for name, value in said.items() if value}}}
        return MediaResult(content=content, usage=self.bill(body, self.used(prompt)), model=prompt.model)


def _is_music(model: str) -> bool:
    return re.search(r"music|lyria|stable-audio", model) is not None

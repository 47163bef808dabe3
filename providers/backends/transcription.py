"""The template of speech to text: a form with the file, an answer with the text. No provider is named here."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from providers.backends.base import TextProvider, Transcript
from providers.backends.token_usage import token_usage
from providers.errors import OutcomeUnknown, Unsupported
from providers.size_estimates import seconds_of_audio
from providers.transport.json_fields import json_safe, number_at, text_at
from providers.types import Attachment, Call, Feature, FormFile, Prompt, Usage

AUDIO_FORMATS: Mapping[str, str] = {  # by the content type, as providers and the ends of names call them
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/flac": "flac",
}
MAX_BYTES = 25_000_000  # what most take; Telegram hands out 20 MB


class TranscriptionProvider(TextProvider):
    """One provider's speech to text: the prompt is one audio file, the answer its words, none where nobody speaks.

    A subclass says where, and in which fields.
    """

    features = frozenset({Feature.AUDIO_INPUT})
    audio_types = frozenset(AUDIO_FORMATS)
    answer_field = "text"
    may_be_blank = True

    path: ClassVar[str] = "/audio/transcriptions"
    model_field: ClassVar[str] = "model"
    language_field: ClassVar[str] = "language"
    fields: ClassVar[Mapping[str, Any]] = {}  # further ones of each form
    duration_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("usage", "seconds"), ("duration",))
    least_seconds: ClassVar[Decimal] = Decimal(0)  # that are billed

    def check(self, prompt: Prompt) -> None:
        super().check(prompt)
        if len(prompt.attachments) != 1:
            raise Unsupported("one audio file at a time", provider=self.slug)
        if len(_audio_of(prompt).content) > MAX_BYTES:
            raise Unsupported(f"no audio files over {MAX_BYTES:,} bytes", provider=self.slug)

    def used_at_most(self, prompt: Prompt) -> Usage:
        return Usage(seconds=Decimal(sum(seconds_of_audio(file.content) for file in prompt.attachments)))

    def build(self, prompt: Prompt, *, stream: bool) -> Call:
        audio, language = _audio_of(prompt), prompt.output_options.language
        fields = {
            self.model_field: prompt.model,
            **self.fields,
            **({self.language_field: language} if language else {}),
        }
        name = f"audio.{AUDIO_FORMATS[audio.content_type]}"
        return Call(self.path, json=fields, files=(FormFile("file", name, audio.content_type, audio.content),))

    def parse_text(self, body: Mapping[str, Any]) -> str:
        if not isinstance(body.get("text"), str):
            raise OutcomeUnknown("no text")
        return text_at(body, "text").strip()

    def finish_reason(self, body: Mapping[str, Any]) -> str:
        return ""

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        usage = json_safe(body.get("usage"))
        raw = usage if isinstance(usage, dict) else {}
        told = (number_at(body, *path) for path in self.duration_paths)
        seconds = next((number for number in told if number), None)
        if seconds is None:
            return replace(token_usage(raw, reasoning_is_inside=True), raw=raw)
        return Usage(seconds=max(seconds, self.least_seconds), raw=raw or {"seconds": str(seconds)})

    def parse_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        raise OutcomeUnknown("a stream where none was asked for")


def _audio_of(prompt: Prompt) -> Attachment:
    return prompt.attachments[0]

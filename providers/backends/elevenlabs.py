"""ElevenLabs: text to speech, and speech to text.

Source: https://elevenlabs.io/docs/api-reference/text-to-speech/convert (read 2026-11).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.backends.base import Provider
from providers.backends.error_mapping import ErrorReply, ErrorRule
from providers.backends.media_generation import MediaProvider
from providers.backends.transcription import TranscriptionProvider
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.transport.json_fields import get_path, number_at, text_at
from providers.types import Call, MediaResult, Prompt, Usage

# A premade voice that paid plans keep. "Default" voices end on 2026-12-31 and library voices are closed to free plans,
# so the operator should put the id of a saved voice of their own into the route's capabilities.
PREMADE_VOICE = "21m00Tcm4TlvDq8ikWAM"

RULES = (
    # Out of credit comes as a 401 on old accounts; the key is right all the same.
    ErrorRule(AccessDenied, codes=("quota_exceeded", "insufficient_credits", "detected_unusual_activity")),
    # Seen with prompts for music (github.com/receptron/mulmocast-app, issue 1410).
    ErrorRule(ContentRefused, codes=("bad_prompt",)),
    ErrorRule(RequestRejected, codes=("text_too_long", "max_character_limit_exceeded")),
    ErrorRule(ModelGone, codes=("model_not_found", "unsupported_model", "model_access_denied")),
    ErrorRule(ModelGone, codes=("voice_not_found", "voice_access_denied")),
    ErrorRule(ModelGone, codes=("paid_plan_required", "subscription_required", "feature_not_available")),
    ErrorRule(RateLimited, codes=("concurrent_limit_exceeded", "too_many_concurrent_requests")),
    ErrorRule(RateLimited, codes=("rate_limit_exceeded", "system_busy")),
    ErrorRule(ServerFault, codes=("service_unavailable", "maintenance")),
)


class ElevenLabs(Provider):
    """What speech and transcription share."""

    slug = "elevenlabs"
    auth_header = "xi-api-key"
    auth_scheme = ""
    code_paths = (("code",), ("status",), ("type",))
    rules = RULES

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        detail = body.get("detail")
        if isinstance(detail, Mapping):
            return super().parse_error(status, {"error": detail})
        text = detail if isinstance(detail, str) else text_at(get_path(detail, 0), "msg")  # a 422 lists its fields
        return ErrorReply(status, text=text)


class ElevenLabsSpeech(ElevenLabs, MediaProvider):
    """Text to speech: the answer is the audio itself, and its headers say how many credits it took.

    v4 models ignore or refuse `style`, `speed` and `use_speaker_boost`, so no voice settings are sent.
    """

    answers_with_file = True
    option_fields = {"seed": "seed"}
    models_path = "/v1/models"
    models_field = ""
    model_id_field = "model_id"

    def build(self, prompt: Prompt) -> Call:
        voice = prompt.output_options.voice or PREMADE_VOICE
        body: dict[str, Any] = {"text": prompt.text, "model_id": prompt.model, **self.options_of(prompt)}
        # eleven_multilingual_v2 finds the language out by itself and refuses to be told.
        if prompt.output_options.language and prompt.model != "eleven_multilingual_v2":
            body["language_code"] = prompt.output_options.language
        return Call(f"/v1/text-to-speech/{quote(voice, safe='')}?output_format=mp3_44100_128", json=body)

    def parse_file(self, prompt: Prompt, content: bytes, headers: Mapping[str, str]) -> MediaResult:
        if not content:
            raise OutcomeUnknown("no audio in the answer")
        raw = {"character-cost": headers["character-cost"]} if "character-cost" in headers else {}
        usage = Usage(characters=len(prompt.text), credits=number_at(raw, "character-cost"), raw=raw)
        return MediaResult(content=content, usage=usage, model=prompt.model)

    def has_error(self, body: Mapping[str, Any]) -> bool:
        return True  # JSON instead of audio is always an error


class ElevenLabsTranscription(ElevenLabs, TranscriptionProvider):
    """Speech to text, with sounds such as "(laughter)" left out.

    Source: https://elevenlabs.io/docs/api-reference/speech-to-text/convert (read 2026-11).
    """

    path = "/v1/speech-to-text"
    model_field = "model_id"
    language_field = "language_code"
    fields = {"tag_audio_events": False, "timestamps_granularity": "none"}
    duration_paths = (("audio_duration_secs",),)

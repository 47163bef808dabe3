"""OpenAI's chat completions and images, as many providers copy them.

Source: https://platform.openai.com/docs/api-reference/chat (read 2026-11).
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from providers.backends.base import TextProvider, Transcript
from providers.backends.media_generation import MediaProvider
from providers.backends.token_usage import larger_counts, token_usage
from providers.backends.transcription import AUDIO_FORMATS, TranscriptionProvider
from providers.backends.web_sources import url_citations, with_sources
from providers.common.data_uris import data_uri, data_uri_content, decode_base64
from providers.errors import ContentRefused, OutcomeUnknown
from providers.transport.client import ANY_HOST
from providers.transport.json_fields import count_at, get_path, json_safe, list_at, money_at, text_at
from providers.types import Attachment, Call, Feature, MediaResult, Prompt, Usage

REFUSED = frozenset(("content_filter", "safety", "recitation", "prohibited_content", "blocklist"))
TEXT_PARTS = (None, "text", "output_text")  # of a content that is a list; the others are thoughts
SEARCHES = ("server_tool_use", "web_search_requests")  # as Anthropic counts them, and OpenRouter


class OpenAICompatibleText(TextProvider):
    """The base of OpenAI-compatible providers: each is a handful of declarations."""

    answer_field = "choices"

    path: ClassVar[str] = "/chat/completions"
    max_tokens_field: ClassVar[str] = "max_tokens"
    stream_options: ClassVar[Mapping[str, Any] | None] = {"include_usage": True}  # None: unknown to it
    output_includes_reasoning: ClassVar[bool] = True  # are reasoning tokens part of completion_tokens?
    cost_path: ClassVar[tuple[str, ...]] = ()  # where the body names the cost
    cost_unit: ClassVar[Decimal] = Decimal(1)  # USD

    def has_error(self, body: Mapping[str, Any]) -> bool:
        # {"error": {…}}, or flat: {"object": "error", "message": …}, {"code": 500, "message": …}.
        if super().has_error(body) or body.get("object") == "error":
            return True
        is_flat = isinstance(body.get("message"), str) and not {"code", "status", "success"}.isdisjoint(body)
        return is_flat and "choices" not in body

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        """Return further fields of the request. Sampling fields stay out: newer models answer them with a 400."""
        return {"reasoning_effort": prompt.reasoning_effort} if prompt.reasoning_effort else {}

    def messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        """Return the conversation in the provider's roles."""
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        history = [{"role": turn.role, "content": turn.text} for turn in prompt.history]
        attached = [_part_of(attachment) for attachment in prompt.attachments]
        content = [*attached, {"type": "text", "text": prompt.text}] if attached else prompt.text
        return [*system, *history, {"role": "user", "content": content}]

    def build(self, prompt: Prompt, *, stream: bool) -> Call:
        body: dict[str, Any] = {
            "model": prompt.model,
            "messages": self.messages(prompt),
            self.max_tokens_field: prompt.max_output_tokens,
            **self.options(prompt),
        }
        if stream:
            body["stream"] = True
            if self.stream_options:
                body["stream_options"] = self.stream_options
        return Call(self.path, json=body)

    def parse_text(self, body: Mapping[str, Any]) -> str:
        choice = get_path(body, "choices", 0)
        finish_reason = self.finish_reason(body)
        refusal = text_at(choice, "message", "refusal")
        text = _text_of(get_path(choice, "message", "content"))
        if refusal or finish_reason in REFUSED:
            raise ContentRefused(refusal or finish_reason)
        # Blank with "length": reasoning has eaten the budget. Text with "length" is an answer, only a short one.
        if not text.strip():
            raise OutcomeUnknown(f"no text, finish reason {finish_reason or 'missing'}")
        return with_sources(text, url_citations(list_at(get_path(choice, "message"), "annotations")))

    def finish_reason(self, body: Mapping[str, Any]) -> str:
        return text_at(body, "choices", 0, "finish_reason").lower()

    def is_finished(self, message: Mapping[str, Any]) -> bool:
        return bool(self.finish_reason(message))

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        raw = self.parse_raw_usage(body)
        return replace(
            token_usage(raw, reasoning_is_inside=self.output_includes_reasoning),
            searches=count_at(raw, *SEARCHES) or 0,
            reported_cost=self.parse_cost(body),
            raw=raw,
        )

    def parse_cost(self, body: Mapping[str, Any]) -> Decimal | None:
        """Return the cost that the provider names, in USD. A gateway's zero only means that it has no price."""
        if self.cost_path:
            return money_at(body, *self.cost_path, unit=self.cost_unit)
        return money_at(body, "usage", "cost") or None

    def parse_raw_usage(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the provider's own usage block, as it came. Moonshot puts it into the choice."""
        usage = json_safe(body.get("usage") or get_path(body, "choices", 0, "usage"))
        return usage if isinstance(usage, dict) else {}

    def parse_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        body: dict[str, Any] = {}
        finish_reason, refusal, annotations = None, "", []
        for chunk in messages:
            # The last of each counts. The chunk with the usage may have `choices: []`.
            body.update({name: chunk[name] for name in ("model", "meta") if chunk.get(name)})
            usage = chunk.get("usage") or get_path(chunk, "choices", 0, "usage") or get_path(chunk, "x_groq", "usage")
            if isinstance(usage, dict):
                body["usage"] = larger_counts(body.get("usage") or {}, usage)
            transcript.add(_text_of(get_path(chunk, "choices", 0, "delta", "content")))
            refusal += text_at(chunk, "choices", 0, "delta", "refusal")
            annotations += list_at(get_path(chunk, "choices", 0, "delta"), "annotations")
            finish_reason = get_path(chunk, "choices", 0, "finish_reason") or finish_reason
        message = {"content": transcript.text, "refusal": refusal, "annotations": annotations}
        return {**body, "choices": [{"message": message, "finish_reason": finish_reason}]}


class OpenAICompatibleImage(MediaProvider):
    """Images that come at once and in the answer itself, as base64: data[0].b64_json, or at an address."""

    output_hosts = (ANY_HOST,)  # a gateway hands on the address of whoever has made the image

    cost_path: ClassVar[tuple[str, ...]] = ()  # where the body names the cost
    cost_unit: ClassVar[Decimal] = Decimal(1)  # USD

    def parse_result(self, prompt: Prompt, body: Mapping[str, Any]) -> MediaResult:
        usage = self.parse_usage(body)
        content, url = image_in(body), text_at(body, "data", 0, "url")
        if not content and not url:
            raise OutcomeUnknown("no image in the answer", usage=usage)
        # Compatible servers give an address although the image itself was asked for.
        return MediaResult(content=content, url="" if content else url, usage=usage, model=prompt.model)

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        """Return what the provider says was used. Must not raise: a bill is never lost for its form."""
        raw = json_safe(body.get("usage"))
        cost = money_at(body, *self.cost_path, unit=self.cost_unit)
        return Usage(images=1, reported_cost=cost, raw=raw if isinstance(raw, dict) else {})


class OpenAICompatibleTranscription(TranscriptionProvider):
    """Speech to text. `verbose_json` says how long the audio is.

    Source: https://platform.openai.com/docs/api-reference/audio/createTranscription (read 2026-11).
    """

    fields = {"response_format": "verbose_json"}


class CompatibleServerText(OpenAICompatibleText):
    """Chat completions of a server that OPENAI_COMPATIBLE names: a gateway, or one of the operator's own."""

    slug = ""  # the registry makes a class for each
    features = OpenAICompatibleText.features | {Feature.IMAGE_INPUT}
    image_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    models_path = "/models"


class CompatibleServerImage(OpenAICompatibleImage):
    """Images of such a server."""

    slug = ""
    models_path = "/models"

    def build(self, prompt: Prompt) -> Call:
        body = {"model": prompt.model, "prompt": prompt.text, "n": 1, "response_format": "b64_json"}
        return Call("/images/generations", json=body)


class CompatibleServerTranscription(OpenAICompatibleTranscription):
    """Speech to text of such a server."""

    slug = ""
    models_path = "/models"


def image_in(body: Mapping[str, Any]) -> bytes:
    """Return the image in an answer's data[0].b64_json, b"" where there is none.

    Some put "data:image/jpeg;base64," before it.
    """
    encoded = text_at(body, "data", 0, "b64_json")
    return data_uri_content(encoded) or decode_base64(encoded)


def _text_of(content: Any) -> str:
    """Return the text of a message's content, which some models send as a list of thoughts and text."""
    if isinstance(content, list):
        return "".join(text_at(part, "text") for part in content if get_path(part, "type") in TEXT_PARTS)
    return content if isinstance(content, str) else ""


def _part_of(attachment: Attachment) -> dict[str, Any]:
    """Return the part of a message that holds an image or audio."""
    if attachment.content_type in AUDIO_FORMATS:
        data = base64.b64encode(attachment.content).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": AUDIO_FORMATS[attachment.content_type]}}
    return {"type": "image_url", "image_url": {"url": data_uri(attachment.content_type, attachment.content)}}

"""Anthropic text generation. Source: https://platform.claude.com/docs/en/api/messages (read 2026-11)."""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from providers.backends.base import TextProvider, Transcript
from providers.backends.error_mapping import ErrorRule
from providers.backends.prompt_caching import cached_where_long
from providers.backends.token_usage import larger_counts
from providers.backends.web_sources import with_sources
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    ServerFault,
)
from providers.transport.json_fields import count_at, get_path, json_safe, list_at, text_at
from providers.types import MAX_SEARCHES, Attachment, Call, Feature, ListedModel, Prompt, Usage

VERSION = {"anthropic-version": "2023-06-01"}  # a call without it is refused


class AnthropicText(TextProvider):
    """Messages. The base URL has no version. Overload and other errors may also come inside a stream."""

    slug = "anthropic"
    features = TextProvider.features | {Feature.IMAGE_INPUT, Feature.WEB_SEARCH}
    image_types = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
    auth_header = "x-api-key"
    auth_scheme = ""
    answer_field = "content"
    end_marker = "message_stop"
    models_path = "/v1/models?limit=1000"  # the largest page
    code_paths = (("details", "error_code"), ("type",))
    rules = (
        ErrorRule(AccessDenied, statuses=(400,), text=r"spend limit|credit balance"),
        ErrorRule(AccessDenied, codes=("enforced_spend_limit_reached",)),  # a 429 that lasts until the 1st of the month
        ErrorRule(AccessDenied, codes=("authentication_error", "billing_error", "permission_error")),
        ErrorRule(ModelGone, codes=("not_found_error",)),
        ErrorRule(RateLimited, codes=("rate_limit_error",)),
        ErrorRule(ServerFault, codes=("overloaded_error", "conflict_error")),
        ErrorRule(RequestRejected, codes=("invalid_request_error", "request_too_large")),
    )

    def build(self, prompt: Prompt, *, stream: bool) -> Call:
        images = [_image_block(attachment) for attachment in prompt.attachments]
        content = [*images, {"type": "text", "text": prompt.text}] if images else prompt.text
        body: dict[str, Any] = {
            "model": prompt.model,
            "max_tokens": prompt.max_output_tokens,  # thinking and text
            "messages": [
                *({"role": turn.role, "content": turn.text} for turn in prompt.history),
                {"role": "user", "content": content},
            ],
            "output_config": {
                "effort": prompt.reasoning_effort or "low"
            },  # thinking is on by default; current models refuse sampling fields
        }
        if prompt.system:
            body["system"] = cached_where_long(prompt.system)
        if prompt.web_search:
            body["tools"] = [{"type": "web_search_20250305", "name": "web_search", "max_uses": MAX_SEARCHES}]
        if stream:
            body["stream"] = True
        return Call("/v1/messages", json=body, headers=VERSION)

    def models_call(self, model: str) -> Call:
        return Call(self.models_path, headers=VERSION, method="GET")

    def parse_models(self, body: Any) -> list[ListedModel]:
        # Models up to the Haiku 4.5 are listed with the date of their release and called without it as well.
        dated = super().parse_models(body)
        return [*dated, *(replace(listed, id=re.sub(r"-[0-9]{8}$", "", listed.id)) for listed in dated)]

    def finish_reason(self, body: Mapping[str, Any]) -> str:
        return text_at(body, "stop_reason").lower()

    def is_finished(self, message: Mapping[str, Any]) -> bool:
        return bool(text_at(message, "delta", "stop_reason"))

    def parse_text(self, body: Mapping[str, Any]) -> str:
        stop_reason = text_at(body, "stop_reason")
        if stop_reason == "refusal":
            raise ContentRefused(text_at(body, "stop_details", "explanation") or "refusal")
        # The first block may be thinking.
        blocks = [block for block in list_at(body, "content") if get_path(block, "type") == "text"]
        text = "".join(text_at(block, "text") for block in blocks)
        if not text.strip():
            raise OutcomeUnknown(f"no text, stop reason {stop_reason or 'missing'}")
        return with_sources(text, (citation for block in blocks for citation in list_at(block, "citations")))

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        usage = body.get("usage")
        input_tokens = count_at(usage, "input_tokens")
        raw = json_safe(usage)
        return Usage(
            # These do not overlap here: what was read from or written to the cache comes on top of input_tokens.
            input_tokens=input_tokens,
            cached_input_tokens=count_at(usage, "cache_read_input_tokens") or 0,
            cache_write_tokens=count_at(usage, "cache_creation_input_tokens") or 0,
            output_tokens=count_at(usage, "output_tokens"),
            searches=count_at(usage, "server_tool_use", "web_search_requests") or 0,
            raw=raw if isinstance(raw, dict) else {},
        )

    def parse_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        body: dict[str, Any] = {}
        usage: dict[str, Any] = {}
        citations = []
        for message in messages:
            if message.get("type") == "message_start":
                body.update(_known(message.get("message")))
                usage = larger_counts(usage, _known(body.get("usage")))
            elif message.get("type") == "message_delta":
                body.update(_known(message.get("delta")))
                usage = larger_counts(usage, _known(message.get("usage")))  # totals so far
            if citation := get_path(message, "delta", "citation"):
                citations.append(citation)
            transcript.add(text_at(message, "content_block", "text") + text_at(message, "delta", "text"))
        block = {"type": "text", "text": transcript.text, "citations": citations}
        return {**body, "content": [block], "usage": usage}


def _known(fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None} if isinstance(fields, dict) else {}


def _image_block(image: Attachment) -> dict[str, Any]:
    data = base64.b64encode(image.content).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": image.content_type, "data": data}}

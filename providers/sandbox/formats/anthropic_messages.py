"""Anthropic's messages. Source: https://docs.anthropic.com/en/api/messages (read 2026-11)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from providers.sandbox.error_texts import ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import EventStream, VendorReply, VendorRequest, new_id
from providers.sandbox.formats.chat import ChatVendor, read_limit, read_messages
from providers.sandbox.formats.chat_answers import ChatAnswer, ChatPrompt, ChatTurn, TokenCount
from providers.sandbox.vendor_base import Answered

ROLES = frozenset({"user", "assistant"})
VERSIONS = frozenset({"2023-06-01", "2023-01-01"})
# Current models answer these with a 400 (2026-11).
SAMPLING_FIELDS = frozenset({"temperature", "top_p", "top_k"})
FIELDS = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stream", "stop_sequences", "metadata", "output_config"),
        *("thinking", "tools", "tool_choice", "service_tier", "container", "cache_control"),
    }
)


class MessagesVendor(ChatVendor):
    """A vendor of Anthropic's shape."""

    chat_name = "messages"

    def sent_key(self, request: VendorRequest) -> str:
        return request.headers.get("x-api-key", "")

    def read(self, request: VendorRequest, body: dict[str, Any]) -> ChatPrompt:
        if request.headers.get("anthropic-version") not in VERSIONS:
            raise VendorRefusal(Problem.INVALID, "anthropic-version: header is required")
        for name in sorted(body.keys() - FIELDS - SAMPLING_FIELDS):
            raise VendorRefusal(Problem.INVALID, f"{name}: Extra inputs are not permitted")
        for name in sorted(body.keys() & SAMPLING_FIELDS):
            raise VendorRefusal(Problem.UNSUPPORTED, name)
        if _type_of(body.get("thinking")) == "enabled":
            raise VendorRefusal(Problem.UNSUPPORTED, "thinking.enabled")
        max_tokens = read_limit(body, "max_tokens")
        if max_tokens is None:
            raise VendorRefusal(Problem.INVALID, "max_tokens: Field required")
        messages = read_messages(body, ROLES, {"image"})
        if messages[0].role != "user" or messages[-1].role != "user":
            raise VendorRefusal(Problem.INVALID, "messages: the first and the last turn must be the user's")
        return ChatPrompt(
            model=self.chat_model(body),
            messages=(*_system_of(body), *messages),
            max_tokens=max_tokens,
            is_streamed=body.get("stream") is True,
        )

    def whole(self, prompt: ChatPrompt, answer: ChatAnswer) -> VendorReply:
        body = _message(prompt, answer.tokens)
        # The text comes after the thinking, as with every current model.
        body["content"] = [_thinking("…"), _text(answer.text)] if answer.text else []
        body["stop_reason"] = _stop_reason(answer)
        return VendorReply(200, body, self.headers())

    def stream(self, prompt: ChatPrompt, answer: ChatAnswer) -> EventStream:
        return EventStream(list(_events(prompt, answer)), self.headers())

    def fail_inside(self, request: VendorRequest, prompt: ChatPrompt) -> VendorReply | EventStream:
        body = self.error_in_200(request)
        if not prompt.is_streamed:
            return VendorReply(200, body, self.headers())
        start = {"type": "message_start", "message": _message(prompt, TokenCount(input=1))}
        return EventStream([_event(start), _event(body)], self.headers())

    def list_models(self, request: VendorRequest) -> Answered:
        entries = [
            {
                "type": "model",
                "id": model,
                "display_name": model.replace("-", " ").title(),
                "created_at": "2026-01-01T00:00:00Z",
                "max_input_tokens": 1_000_000,
                "max_tokens": 128_000,
                "capabilities": None,
            }
            for model in self.models
        ]
        body = {"data": entries, "has_more": False, "first_id": self.models[0], "last_id": self.models[-1]}
        return VendorReply(200, body), None

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        return {"type": "error", "error": {"type": text.code, "message": message}, "request_id": new_id("req_")}


def _message(prompt: ChatPrompt, tokens: TokenCount) -> dict[str, Any]:
    usage = {
        **_usage(tokens),
        "cache_creation": None,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
        "service_tier": "standard",
        "inference_geo": None,
    }
    return {
        "id": new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": usage,
    }


def _events(prompt: ChatPrompt, answer: ChatAnswer) -> Iterator[str]:
    # The count of output tokens starts at one; the event near the end corrects it.
    start = _message(prompt, TokenCount(input=answer.tokens.input, output=1))
    yield _event({"type": "message_start", "message": start})
    if answer.text:
        yield _event({"type": "content_block_start", "index": 0, "content_block": _thinking("")})
        yield _event(_delta(0, {"type": "thinking_delta", "thinking": "…"}))
        yield _event({"type": "content_block_stop", "index": 0})
        yield _event({"type": "ping"})
        yield _event({"type": "content_block_start", "index": 1, "content_block": _text("")})
        for text in answer.parts:
            yield _event(_delta(1, {"type": "text_delta", "text": text}))
        yield _event({"type": "content_block_stop", "index": 1})
    stop = {"stop_reason": _stop_reason(answer), "stop_sequence": None, "stop_details": None, "container": None}
    yield _event({"type": "message_delta", "delta": stop, "usage": _usage(answer.tokens)})
    yield _event({"type": "message_stop"})


def _usage(tokens: TokenCount) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached_input,
        "output_tokens": tokens.output + tokens.reasoning,
        "server_tool_use": None,
    }


def _system_of(body: Mapping[str, Any]) -> list[ChatTurn]:
    system = body.get("system")
    if system is None:
        return []
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    if not isinstance(blocks, list) or not all(_type_of(block) == "text" for block in blocks):
        raise VendorRefusal(Problem.INVALID, "system: Input should be a string or a list of text blocks")
    return [ChatTurn("system", " ".join(str(block.get("text", "")) for block in blocks))]


def _type_of(block: Any) -> str:
    return str(block.get("type")) if isinstance(block, dict) else ""


def _stop_reason(answer: ChatAnswer) -> str:
    return "end_turn" if answer.is_complete else "max_tokens"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": ""}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _event(body: Mapping[str, Any]) -> str:
    return f"event: {body['type']}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"

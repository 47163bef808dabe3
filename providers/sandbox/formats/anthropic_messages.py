"""The family of Anthropic's messages."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from providers.sandbox.chat_answers import Answer, Message, Question, Tokens
from providers.sandbox.vendor_base import (
    Call,
    Problem,
    Refused,
    Reply,
    Stream,
    TextVendor,
    Wording,
    limit_of,
    messages_of,
    new_id,
)

ROLES = frozenset({"user", "assistant"})
# Current models answer these with a 400 (2026-11).
SAMPLING_FIELDS = frozenset({"temperature", "top_p", "top_k"})
FIELDS = frozenset(
    {
        *("model", "messages", "system", "max_tokens", "stream", "stop_sequences", "metadata", "output_config"),
        *("thinking", "tools", "tool_choice", "service_tier", "container", "cache_control"),
    }
)


class MessagesVendor(TextVendor):
    """A vendor of Anthropic's shape."""

    chat_path = "/v1/messages"
    models_path = "/v1/models"
    versions: ClassVar[frozenset[str]] = frozenset({"2023-06-01", "2023-01-01"})

    def sent_key(self, call: Call) -> str:
        return call.headers.get("x-api-key", "")

    def read(self, call: Call, body: dict[str, Any]) -> Question:
        if call.headers.get("anthropic-version") not in self.versions:
            raise Refused(Problem.INVALID, "anthropic-version: header is required")
        for name in sorted(body.keys() - FIELDS - SAMPLING_FIELDS):
            raise Refused(Problem.INVALID, f"{name}: Extra inputs are not permitted")
        for name in sorted(body.keys() & SAMPLING_FIELDS):
            raise Refused(Problem.UNSUPPORTED, name)
        if _kind(body.get("thinking")) == "enabled":
            raise Refused(Problem.UNSUPPORTED, "thinking.enabled")
        max_tokens = limit_of(body, "max_tokens")
        if max_tokens is None:
            raise Refused(Problem.INVALID, "max_tokens: Field required")
        messages = messages_of(body, ROLES, frozenset({"image"}))
        if messages[0].role != "user" or messages[-1].role != "user":
            raise Refused(Problem.INVALID, "messages: the first and the last turn must be the user's")
        return Question(
            model=self.check_model(body.get("model")),
            messages=(*_system_of(body), *messages),
            max_tokens=max_tokens,
            is_streamed=body.get("stream") is True,
        )

    def whole(self, question: Question, answer: Answer) -> Reply:
        body = self._message(question, answer.tokens)
        # The answer comes after what was thought, as with every current model.
        body["content"] = [_thinking("…"), _text(answer.text)] if answer.text else []
        body["stop_reason"] = _stop_reason(answer)
        return Reply(200, body, self.headers())

    def stream(self, question: Question, answer: Answer) -> Stream:
        return Stream(list(self._events(question, answer)), self.headers())

    def fail_inside(self, call: Call, question: Question) -> Reply | Stream:
        wording = self.wordings[Problem.DOWN]
        body = self.error_body(call, wording, wording.message, None)
        if not question.is_streamed:
            return Reply(200, body, self.headers())
        start = {"type": "message_start", "message": self._message(question, Tokens(input=1))}
        return Stream([_event(start), _event(body)], self.headers())

    def catalogue(self) -> dict[str, Any]:
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
        return {"data": entries, "has_more": False, "first_id": self.models[0], "last_id": self.models[-1]}

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        error = {"type": wording.code, "message": message}
        return {"type": "error", "error": error, "request_id": new_id("req_")}

    def headers(self) -> Mapping[str, str]:
        return {"request-id": new_id("req_"), "anthropic-ratelimit-requests-remaining": "49"}

    def check_key(self, call: Call) -> None:
        if "origin" in call.headers:
            raise Refused(Problem.WRONG_KEY)  # a page in a browser must not hold a key
        super().check_key(call)

    def _message(self, question: Question, tokens: Tokens) -> dict[str, Any]:
        return {
            "id": new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": question.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "usage": {
                "input_tokens": tokens.input,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": tokens.cached_input,
                "cache_creation": None,
                "output_tokens": tokens.output + tokens.reasoning,
                "output_tokens_details": {"thinking_tokens": tokens.reasoning},
                "server_tool_use": None,
                "service_tier": "standard",
                "inference_geo": None,
            },
        }

    def _events(self, question: Question, answer: Answer) -> Iterator[str]:
        # The count of output tokens starts at one; the event near the end corrects it.
        start = self._message(question, Tokens(input=answer.tokens.input, output=1))
        yield _event({"type": "message_start", "message": start})
        if answer.text:
            yield _event({"type": "content_block_start", "index": 0, "content_block": _thinking("")})
            yield _event(_delta(0, {"type": "thinking_delta", "thinking": "…"}))
            yield _event({"type": "content_block_stop", "index": 0})
            yield _event({"type": "ping"})
            yield _event({"type": "content_block_start", "index": 1, "content_block": _text("")})
            for piece in answer.pieces:
                yield _event(_delta(1, {"type": "text_delta", "text": piece}))
            yield _event({"type": "content_block_stop", "index": 1})
        stop = {"stop_reason": _stop_reason(answer), "stop_sequence": None, "stop_details": None, "container": None}
        usage = {
            "input_tokens": answer.tokens.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": answer.tokens.cached_input,
            "output_tokens": answer.tokens.output + answer.tokens.reasoning,
            "server_tool_use": None,
        }
        yield _event({"type": "message_delta", "delta": stop, "usage": usage})
        yield _event({"type": "message_stop"})


def _system_of(body: Mapping[str, Any]) -> tuple[Message, ...]:
    system = body.get("system")
    if system is None:
        return ()
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    if not isinstance(blocks, list) or not all(_kind(block) == "text" for block in blocks):
        raise Refused(Problem.INVALID, "system: Input should be a string or a list of text blocks")
    return (Message("system", " ".join(str(block.get("text", "")) for block in blocks)),)


def _kind(block: Any) -> str:
    return str(block.get("type")) if isinstance(block, dict) else ""


def _stop_reason(answer: Answer) -> str:
    return "end_turn" if answer.is_complete else "max_tokens"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": ""}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _event(body: Mapping[str, Any]) -> str:
    return f"event: {body['type']}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"

"""OpenAI's chat completions, as many vendors copy them: where they differ is a class attribute or a short method.

Source: https://platform.openai.com/docs/api-reference/chat (read 2026-11).
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from providers.sandbox.error_texts import RETRY_AFTER, ErrorText, Problem, VendorRefusal
from providers.sandbox.exchange import EventStream, VendorReply, VendorRequest, new_id
from providers.sandbox.formats.chat import ChatVendor, read_limit, read_messages
from providers.sandbox.formats.chat_answers import ChatAnswer, ChatPrompt, TokenCount
from providers.sandbox.vendor_base import Answered
from providers.shipped import shipped_route
from providers.types import Category, Operation

DONE = "data: [DONE]\n\n"
OPENAI_ERROR_TEXTS: Mapping[Problem, ErrorText] = {
    Problem.NO_KEY: ErrorText(401, "", "You didn't provide an API key."),
    Problem.WRONG_KEY: ErrorText(401, "invalid_api_key", "Incorrect API key provided: {}."),
    Problem.NO_SUCH_PATH: ErrorText(404, "", "Invalid URL ({})"),
    Problem.UNKNOWN_MODEL: ErrorText(
        404, "model_not_found", "The model `{}` does not exist or you do not have access to it."
    ),
    Problem.INVALID: ErrorText(400, "", "{}"),
    Problem.UNSUPPORTED: ErrorText(
        400, "unsupported_parameter", "Unsupported parameter: '{}' is not supported with this model."
    ),
    Problem.RATE_LIMITED: ErrorText(429, "rate_limit_exceeded", "Rate limit reached for requests.", RETRY_AFTER),
    Problem.DOWN: ErrorText(503, "server_is_overloaded", "The server is currently overloaded. Please try again."),
}


class OpenAICompatibleVendor(ChatVendor):
    """A vendor of OpenAI's shape. A slug is enough; what it does in another way is declared beside it."""

    error_texts = OPENAI_ERROR_TEXTS
    chat_name = "chat/completions"
    success_status: ClassVar[int] = 200
    roles: ClassVar[frozenset[str]] = frozenset({"system", "user", "assistant"})
    attachments: ClassVar[frozenset[str]] = frozenset()  # parts that a user's message may have beside text
    unsupported: ClassVar[frozenset[str]] = frozenset()  # fields that its models refuse
    always_sends_usage: ClassVar[bool] = False  # at the end of a stream
    stream_prefix: ClassVar[str] = ""  # what comes before the first event

    def read(self, request: VendorRequest, body: dict[str, Any]) -> ChatPrompt:
        model = self.chat_model(body)
        messages = read_messages(body, self.roles, self.attachments)
        for name in sorted(self.unsupported & body.keys()):
            raise VendorRefusal(Problem.UNSUPPORTED, name, name)
        options = body.get("stream_options")
        if options is not None and not body.get("stream"):
            raise VendorRefusal(
                Problem.INVALID, "stream_options: only allowed when stream is enabled", "stream_options"
            )
        return ChatPrompt(
            model=model,
            messages=tuple(messages),
            max_tokens=read_limit(body, "max_completion_tokens", "max_tokens"),
            is_streamed=body.get("stream") is True,
            wants_usage=self.always_sends_usage or (isinstance(options, dict) and options.get("include_usage") is True),
        )

    def whole(self, prompt: ChatPrompt, answer: ChatAnswer) -> VendorReply:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
        body = {
            **self.head(prompt, "chat.completion"),
            "choices": [choice],
            "usage": self.usage(answer.tokens),
            **self.reported_cost(answer.tokens),
        }
        return VendorReply(self.success_status, body, self.headers(self.cost_of(answer.tokens)))

    def stream(self, prompt: ChatPrompt, answer: ChatAnswer) -> EventStream:
        return EventStream([self.stream_prefix, *self._events(prompt, answer), DONE], self.headers())

    def fail_inside(self, request: VendorRequest, prompt: ChatPrompt) -> VendorReply | EventStream:
        body = self.error_in_200(request)
        if not prompt.is_streamed:
            return VendorReply(200, body, self.headers())
        head = self.head(prompt, "chat.completion.chunk")
        events = [self.stream_prefix, _event(_chunk(head, "Hello")), _event({**head, **body})]
        return EventStream(events, self.headers())

    def list_models(self, request: VendorRequest) -> Answered:
        heard = shipped_route(Category.TEXT, self.slug, Operation.TRANSCRIBE)
        names = [*self.models, *([heard.model] if heard else [])]
        entries = [self.listed_model(name, "") for name in names]
        entries += [self.listed_model(name, model.kind) for name, model in self.media_models.items()]
        return VendorReply(200, {"object": "list", "data": entries}), None

    def listed_model(self, name: str, kind: str) -> dict[str, Any]:
        """Return a model as the vendor lists it; `kind` is empty for those of the chat."""
        return {"id": name, "object": "model", "created": 1767225600, "owned_by": self.slug}

    def head(self, prompt: ChatPrompt, kind: str) -> dict[str, Any]:
        """Return the fields that every body and every event of one answer begins with."""
        return {"id": new_id("chatcmpl-"), "object": kind, "created": int(time.time()), "model": prompt.model}

    def usage(self, tokens: TokenCount) -> dict[str, Any]:
        """Return the usage block. Here completion tokens include reasoning."""
        return {
            "prompt_tokens": tokens.input + tokens.cached_input,
            "completion_tokens": tokens.output + tokens.reasoning,
            "total_tokens": tokens.total,
            "prompt_tokens_details": {"cached_tokens": tokens.cached_input},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }

    def reported_cost(self, tokens: TokenCount) -> dict[str, Any]:
        """Return the fields that report the cost beside the usage block."""
        return {}

    def error_body(self, request: VendorRequest, text: ErrorText, message: str, param: str | None) -> dict[str, Any]:
        kind = {429: "requests", 503: "server_error"}.get(text.status, "invalid_request_error")
        return {"error": {"message": message, "type": kind, "param": param, "code": text.code or None}}

    def _events(self, prompt: ChatPrompt, answer: ChatAnswer) -> Iterator[str]:
        head, reported = self.head(prompt, "chat.completion.chunk"), self.reported_cost(answer.tokens)
        usage = {"usage": self.usage(answer.tokens)} if prompt.wants_usage else {}
        pending = {"usage": None} if prompt.wants_usage and not self.always_sends_usage else {}
        for text in ("", *answer.parts):
            yield _event({**_chunk(head, text), **pending})
        yield _event({**_chunk(head, "", _finish_reason(answer)), **pending})
        if usage or reported:
            yield _event({**head, "choices": [], **usage, **reported})


def _finish_reason(answer: ChatAnswer) -> str:
    return "stop" if answer.is_complete else "length"


def _chunk(head: dict[str, Any], content: str, finish_reason: str | None = None) -> dict[str, Any]:
    delta = {"role": "assistant", "content": content}
    return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"

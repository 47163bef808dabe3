"""The family of OpenAI's chat completions: what its vendors share, and where they differ as class attributes."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from providers.sandbox.chat_answers import Answer, Question, Tokens
from providers.sandbox.vendor_base import (
    Call,
    Problem,
    Refused,
    Reply,
    Stream,
    TextVendor,
    Wording,
    bearer_of,
    limit_of,
    messages_of,
    new_id,
)

DONE = "data: [DONE]\n\n"


class ChatVendor(TextVendor):
    """A vendor of OpenAI's shape."""

    chat_path = "/v1/chat/completions"
    models_path = "/v1/models"
    status: ClassVar[int] = 200
    roles: ClassVar[frozenset[str]] = frozenset({"system", "user", "assistant"})
    attachment_parts: ClassVar[frozenset[str]] = frozenset()  # what its models take in a message beside the text
    unsupported: ClassVar[frozenset[str]] = frozenset()  # fields that its models refuse
    sends_usage_unasked: ClassVar[bool] = False  # at the end of a stream
    stream_prefix: ClassVar[str] = ""  # what comes before the first event

    def sent_key(self, call: Call) -> str:
        return bearer_of(call)

    def read(self, call: Call, body: dict[str, Any]) -> Question:
        model = self.check_model(body.get("model"))
        messages = messages_of(body, self.roles, self.attachment_parts)
        for name in sorted(self.unsupported & body.keys()):
            raise Refused(Problem.UNSUPPORTED, name, name)
        options = body.get("stream_options")
        if options is not None and not body.get("stream"):
            raise Refused(Problem.INVALID, "stream_options: only allowed when stream is enabled", "stream_options")
        return Question(
            model=model,
            messages=messages,
            max_tokens=limit_of(body, "max_completion_tokens", "max_tokens"),
            is_streamed=body.get("stream") is True,
            wants_usage=self.sends_usage_unasked
            or (isinstance(options, dict) and options.get("include_usage") is True),
        )

    def whole(self, question: Question, answer: Answer) -> Reply:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason(answer)}
        body = {
            **self.head(question, "chat.completion"),
            "choices": [choice],
            "usage": self.usage(answer.tokens),
            **self.account(answer.tokens),
        }
        return Reply(self.status, body, {**self.headers(), **self.account_headers(answer.tokens)})

    def stream(self, question: Question, answer: Answer) -> Stream:
        return Stream([self.stream_prefix, *self._events(question, answer), DONE], self.headers())

    def fail_inside(self, call: Call, question: Question) -> Reply | Stream:
        body = self.error_in_200(call)
        if not question.is_streamed:
            return Reply(200, body, self.headers())
        head = self.head(question, "chat.completion.chunk")
        return Stream(
            [self.stream_prefix, _event(self._chunk(head, "Hello")), _event({**head, **body})], self.headers()
        )

    def catalogue(self) -> dict[str, Any]:
        entries = [
            {"id": model, "object": "model", "created": 1767225600, "owned_by": self.slug} for model in self.models
        ]
        return {"object": "list", "data": entries}

    def head(self, question: Question, kind: str) -> dict[str, Any]:
        """Return the fields that every body and every event of one answer begins with."""
        return {"id": new_id("chatcmpl-"), "object": kind, "created": int(time.time()), "model": question.model}

    def finish_reason(self, answer: Answer) -> str:
        return "stop" if answer.is_complete else "length"

    def usage(self, tokens: Tokens) -> dict[str, Any]:
        """Return the usage block. Here completion tokens include what was reasoned."""
        return {
            "prompt_tokens": tokens.input + tokens.cached_input,
            "completion_tokens": tokens.output + tokens.reasoning,
            "total_tokens": tokens.total,
        }

    def account(self, tokens: Tokens) -> dict[str, Any]:
        """Return what a body says about money beside its usage block."""
        return {}

    def account_headers(self, tokens: Tokens) -> Mapping[str, str]:
        """Return what the headers of a whole answer say about money."""
        return {}

    def headers(self) -> Mapping[str, str]:
        """Return the headers of every answer."""
        return {}

    def error_body(self, call: Call, wording: Wording, message: str, param: str | None) -> dict[str, Any]:
        kind = {429: "requests", 503: "server_error"}.get(wording.status, "invalid_request_error")
        return {"error": {"message": message, "type": kind, "param": param, "code": wording.code or None}}

    def error_in_200(self, call: Call) -> dict[str, Any]:
        """Return the body of a failure that arrives as a success."""
        wording = self.wordings[Problem.DOWN]
        return self.error_body(call, wording, wording.message, None)

    def _events(self, question: Question, answer: Answer) -> Iterator[str]:
        head = self.head(question, "chat.completion.chunk")
        usage = {"usage": self.usage(answer.tokens)} if question.wants_usage else {}
        pending = {"usage": None} if question.wants_usage and not self.sends_usage_unasked else {}
        yield _event({**self._chunk(head, ""), **pending})
        for piece in answer.pieces:
            yield _event({**self._chunk(head, piece), **pending})
        yield _event({**self._chunk(head, "", self.finish_reason(answer)), **pending})
        if usage or self.account(answer.tokens):
            yield _event({**head, "choices": [], **usage, **self.account(answer.tokens)})

    def _chunk(self, head: dict[str, Any], content: str, finish_reason: str | None = None) -> dict[str, Any]:
        delta = {"role": "assistant", "content": content}
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"

"""OpenAI's responses with a search of the web, which always finds the same page.

Source: https://platform.openai.com/docs/api-reference/responses (read 2026-11).
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from providers.sandbox.billing import BillingLine, shipped_cost
from providers.sandbox.error_texts import Problem, VendorRefusal
from providers.sandbox.exchange import EventStream, VendorReply, VendorRequest, new_id
from providers.sandbox.faults import InjectedFault
from providers.sandbox.formats.chat import read_limit, read_messages
from providers.sandbox.formats.chat_answers import ChatAnswer, ChatPrompt, TokenCount, compose, compose_empty
from providers.sandbox.formats.openai_chat import OpenAICompatibleVendor
from providers.sandbox.vendor_base import Answered, Endpoint
from providers.types import Category

FOUND = {"url": "https://example.org/sandbox", "title": "What the sandbox finds"}
CHAT_NAMES = {"input_text": "text", "input_image": "image_url"}  # of the parts of a message


class ResponsesVendor(OpenAICompatibleVendor):
    """A vendor that has responses beside chat completions."""

    def endpoints(self) -> Sequence[Endpoint]:
        path = self.chat_path.replace(self.chat_name, "responses")
        return (*super().endpoints(), Endpoint("POST", path, self.respond_once, is_submission=True))

    def respond_once(self, request: VendorRequest) -> Answered:
        body = request.json_object()
        prompt = ChatPrompt(
            model=self.chat_model(body),
            messages=tuple(read_messages({"messages": _messages_of(body)}, self.roles, self.attachments)),
            max_tokens=read_limit(body, "max_output_tokens"),
            is_streamed=body.get("stream") is True,
        )
        has_searched = any(tool.get("type") == "web_search" for tool in body.get("tools", []))
        if request.fault is InjectedFault.ERROR_IN_200:
            return VendorReply(200, self.error_in_200(request), self.headers()), self.unbilled(request)
        if request.fault is InjectedFault.EMPTY:
            answer = compose_empty(prompt)
        else:
            answer = compose(self.label, prompt, caches_input=self.caches_input, reasoning=self.reasoning_tokens)
        usage = replace(answer.tokens.usage, searches=int(has_searched))
        cost = shipped_cost(Category.TEXT, self.slug, usage)
        response = self._response(prompt, answer, has_searched=has_searched)
        line = BillingLine(self.slug, prompt.model, usage=usage, cost=cost)
        if prompt.is_streamed:
            return EventStream(list(_events(response, answer)), self.headers()), line
        return VendorReply(200, response, self.headers()), line

    def response_usage(self, tokens: TokenCount) -> dict[str, Any]:
        """Return the usage block of a response."""
        return {
            "input_tokens": tokens.input + tokens.cached_input,
            "input_tokens_details": {"cached_tokens": tokens.cached_input, "cache_write_tokens": 0},
            "output_tokens": tokens.output + tokens.reasoning,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.total,
        }

    def _response(self, prompt: ChatPrompt, answer: ChatAnswer, *, has_searched: bool) -> dict[str, Any]:
        action = {"type": "search", "query": "sandbox"}
        search = {"type": "web_search_call", "id": new_id("ws_"), "status": "completed", "action": action}
        citation = {"type": "url_citation", "start_index": 0, "end_index": 5, **FOUND}
        text = {
            "type": "output_text",
            "text": answer.text,
            "annotations": [citation] if has_searched else [],
            "logprobs": [],
        }
        message = {
            "type": "message", "id": new_id("msg_"), "status": "completed", "role": "assistant", "content": [text],
        }  # fmt: skip
        return {
            "id": new_id("resp_"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "completed" if answer.is_complete else "incomplete",
            "error": None,
            "incomplete_details": None if answer.is_complete else {"reason": "max_output_tokens"},
            "instructions": None,
            "metadata": {},
            "model": prompt.model,
            "output": [*([search] if has_searched else []), message],
            "parallel_tool_calls": True,
            "temperature": 1,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1,
            "usage": self.response_usage(answer.tokens),
        }


def _messages_of(body: dict[str, Any]) -> Any:
    """Return the input as the messages of a chat. Raises VendorRefusal."""
    messages = body.get("input")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise VendorRefusal(Problem.INVALID, "input: Field required", "input")
    return [{**message, "content": _content_of(message.get("content"))} for message in messages]


def _content_of(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [{**part, "type": CHAT_NAMES.get(part.get("type"), "")} for part in content]


def _events(response: dict[str, Any], answer: ChatAnswer) -> Iterator[str]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    bodies: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    place = {"item_id": response["output"][-1]["id"], "output_index": len(response["output"]) - 1, "content_index": 0}
    bodies += [{"type": "response.output_text.delta", **place, "delta": text, "logprobs": []} for text in answer.parts]
    bodies.append({"type": f"response.{response['status']}", "response": response})
    for number, body in enumerate(bodies):
        event = {**body, "sequence_number": number}
        yield f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"

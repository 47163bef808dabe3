"""OpenAI's responses, which those who have them need for a search of the web: translated from and to chat completions.

Source: https://platform.openai.com/docs/api-reference/responses (read 2026-11).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from providers.backends.base import Transcript
from providers.backends.media_generation import image_uris
from providers.backends.openai_compatible import OpenAICompatibleText
from providers.errors import ProviderError
from providers.transport.client import ProviderResponse
from providers.transport.json_fields import get_path, list_at, text_at
from providers.transport.redaction import Redactor
from providers.types import Call, Feature, Prompt, Usage

ENDS = ("response.completed", "response.incomplete", "response.failed", "response.done")
FINISHED = {"completed": "stop"}  # else the reason, or the status itself
REASONS = {"max_output_tokens": "length"}


class ResponsesText(OpenAICompatibleText):
    """Chat completions, and responses where the route searches the web."""

    features = OpenAICompatibleText.features | {Feature.WEB_SEARCH}

    response_fields: ClassVar[Mapping[str, Any]] = {}  # further ones of a response

    def build(self, prompt: Prompt, *, stream: bool) -> Call:
        if not prompt.web_search:
            return super().build(prompt, stream=stream)
        effort = self.options(prompt).get("reasoning_effort")
        body: dict[str, Any] = {
            "model": prompt.model,
            "input": _input(prompt),
            "max_output_tokens": prompt.max_output_tokens,
            "tools": [{"type": "web_search"}],
            "store": False,
            **({"reasoning": {"effort": effort}} if effort else {}),
            **self.response_fields,
            **({"stream": True} if stream else {}),
        }
        return Call("/responses", json=body)

    def has_error(self, body: Mapping[str, Any]) -> bool:
        # A response has its error inside, null where there is none; a stream's is flat.
        return super().has_error(body) or bool(get_path(body, "response", "error")) or body.get("type") == "error"

    def refusal(self, response: ProviderResponse, body: Mapping[str, Any], redactor: Redactor) -> ProviderError:
        inside = body.get("response")
        return super().refusal(response, inside if isinstance(inside, Mapping) else body, redactor)

    def unified(self, body: dict[str, Any]) -> dict[str, Any]:
        return _as_completion(body) if "output" in body and "choices" not in body else body

    def is_finished(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") in ENDS or super().is_finished(message)

    def parse_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        last: dict[str, Any] = {}
        items: list[Any] = []  # the outputs as they are done; gateways leave them out at the end

        def chunks() -> Iterator[dict[str, Any]]:
            for message in messages:
                kind = text_at(message, "type")
                if kind == "response.output_item.done":
                    items.append(message.get("item"))
                if kind in ENDS:
                    response = get_path(message, "response")
                    known = response if isinstance(response, dict) else {}
                    last.update(_as_completion({**known, "output": list_at(known, "output") or items}))
                elif kind.startswith("response."):
                    yield _as_chunk(kind, message)
                else:
                    yield message

        body = super().parse_stream(chunks(), transcript)
        if not last:
            return body
        message = last["choices"][0]["message"]
        if not transcript.text:  # it came whole, without deltas
            transcript.add(message["content"])
        return {**last, "choices": [{**last["choices"][0], "message": {**message, "content": transcript.text}}]}

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        searches = body.get("searches")
        usage = super().parse_usage(body)
        return replace(usage, searches=searches) if isinstance(searches, int) else usage


def _input(prompt: Prompt) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    history = [{"role": turn.role, "content": turn.text} for turn in prompt.history]
    images = [{"type": "input_image", "image_url": uri} for uri in image_uris(prompt)]
    content = [*images, {"type": "input_text", "text": prompt.text}] if images else prompt.text
    return [*system, *history, {"role": "user", "content": content}]


def _as_chunk(kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event of a response as the chunk of a completion; most say nothing of the text."""
    names = {"response.output_text.delta": "content", "response.refusal.delta": "refusal"}
    delta = {names[kind]: text_at(message, "delta")} if kind in names else {}
    return {"choices": [{"delta": delta}]}


def _as_completion(response: Any) -> dict[str, Any]:
    """Return a whole response as a completion, with the number of its searches."""
    outputs = list_at(response, "output")
    parts = [part for output in outputs for part in list_at(output, "content") if text_at(output, "type") == "message"]
    status, reason = text_at(response, "status"), text_at(response, "incomplete_details", "reason")
    message = {
        "content": "".join(text_at(part, "text") for part in parts if text_at(part, "type") == "output_text"),
        "refusal": "".join(text_at(part, "refusal") for part in parts),
        "annotations": [annotation for part in parts for annotation in list_at(part, "annotations")],
    }
    finish_reason = FINISHED.get(status) or REASONS.get(reason) or reason or status
    calls = [output for output in outputs if text_at(output, "type") == "web_search_call"]
    return {
        "model": text_at(response, "model"),
        "usage": get_path(response, "usage"),
        "choices": [{"message": message, "finish_reason": finish_reason}],
        # To open a page that was found is not billed as a search.
        "searches": sum(text_at(call, "action", "type") in ("", "search") for call in calls),
    }

"""The template of every text provider: check, build, send, classify, read. No vendor is named here."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from providers import http, sse
from providers.bodies import count_at, decode_object, dig, money_at, storable, text_at, whole_characters
from providers.errors import ContentRefused, OutcomeUnknown, ProviderError, Unsupported
from providers.excerpts import Quoting
from providers.faults import Fault, Rule, error_for, read_fault, retry_after
from providers.types import Access, Call, Feature, OnText, Prompt, TextResult, UnknownPolicy, Usage


class Transcript:
    """The text of an answer as it grows."""

    def __init__(self, on_text: OnText | None) -> None:
        self.text = ""
        self._on_text = on_text
        self._raw = ""

    def add(self, piece: str) -> None:
        """Append a piece and show the whole text so far, once there is something to see."""
        if not piece:
            return
        self._raw += piece
        self.text = whole_characters(self._raw)
        if self._on_text and self.text and not self.text.isspace():
            self._on_text(self.text)


class TextProvider:
    """One vendor's text API. Cheap to make, keeps nothing between calls.

    A subclass states facts as class attributes and writes the pure steps build(), read_text(), read_usage() and
    read_stream(). No step may do I/O, read settings or log; what a step raises is censored on its way out, so it may
    quote the vendor.
    """

    slug: ClassVar[str]
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)
    unknown_policy: ClassVar[UnknownPolicy] = UnknownPolicy.RESPEND

    auth_header: ClassVar[str] = "Authorization"
    auth_scheme: ClassVar[str] = "Bearer "
    answer_field: ClassVar[str]  # a 200 without it is no answer
    end_marker: ClassVar[str] = "[DONE]"  # the data or the name of a stream's last event
    code_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("code",), ("type",))  # of machine codes in an error object
    rules: ClassVar[tuple[Rule, ...]] = ()  # the vendor's error table, before the statuses that all share

    def __init__(self, access: Access) -> None:
        self.access = access

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: float, on_text: OnText | None = None
    ) -> TextResult:
        """Ask the vendor once and return its answer.

        With `on_text` the answer is streamed where the vendor can, and `timeout_seconds` is the longest silence;
        without it, the longest wait for the whole answer. `deadline` is a time.monotonic() value and ends everything.

        Raises a ProviderError, complete with provider and status and free of the key and of the prompt.
        """
        self.check(prompt)
        transcript = Transcript(on_text)
        quoting = Quoting(self.access.key, prompt)
        try:
            result = self._ask(prompt, transcript, quoting, timeout_seconds, deadline, stream=on_text is not None)
        except ProviderError as error:
            # Whoever has begun to speak has worked, whatever stopped the answer.
            error.maybe_paid = error.maybe_paid or bool(transcript.text)
            error.provider = self.slug
            quoting.censor(error)
            raise
        if on_text and not transcript.text:
            on_text(result.text)
        return result

    def check(self, prompt: Prompt) -> None:
        """Raise Unsupported when the vendor cannot do what the prompt needs. Nothing has been sent or paid then."""
        needs = {Feature.SYSTEM_PROMPT: prompt.system, Feature.HISTORY: prompt.history}
        for feature, is_needed in needs.items():
            if is_needed and feature not in self.features:
                raise Unsupported(f"no {feature.value}", provider=self.slug)

    def build(self, prompt: Prompt, *, stream: bool) -> Call:
        """Return the request. Called once for each call, after check()."""
        raise NotImplementedError

    def read_text(self, body: Mapping[str, Any]) -> str:
        """Return the text of a complete answer. Raises ContentRefused, or OutcomeUnknown when there is none."""
        raise NotImplementedError

    def read_usage(self, body: Mapping[str, Any]) -> Usage:
        """Return what the vendor says was used. Must not raise: a bill is never lost for its form."""
        raise NotImplementedError

    def read_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        """Add the pieces of text to the transcript and return the body that a plain call would have brought.

        `messages` ends at the end marker and raises on everything that is none or an error.
        """
        raise NotImplementedError

    def read_fault(self, status: int, body: Mapping[str, Any]) -> Fault:
        """Return what an error body says."""
        return read_fault(status, body, self.code_paths)

    def _ask(
        self,
        prompt: Prompt,
        transcript: Transcript,
        quoting: Quoting,
        timeout_seconds: float,
        deadline: float,
        *,
        stream: bool,
    ) -> TextResult:
        stream = stream and Feature.STREAMING in self.features
        call = self.build(prompt, stream=stream)
        headers = {
            "Accept": "text/event-stream" if stream else "application/json",
            self.auth_header: f"{self.auth_scheme}{self.access.key}",
            **call.headers,
        }
        body = None
        if call.json is not None:
            headers["Content-Type"] = "application/json"
            # Half an emoji in a prompt would not be UTF-8; the vendor gets a question mark for it.
            body = json.dumps(call.json, ensure_ascii=False).encode("utf-8", "replace")
        with http.send(
            call.method,
            f"{self.access.base_url.rstrip('/')}{call.path}",
            headers=headers,
            body=body,
            silence_seconds=timeout_seconds,
            deadline=deadline,
            may_be_plain=True,
        ) as answer:
            try:
                return self._result_of(self._receive(answer, transcript, quoting))
            except ProviderError as error:
                error.status = answer.status
                raise

    def _receive(self, answer: http.Answer, transcript: Transcript, quoting: Quoting) -> dict[str, Any]:
        """Return the body of an answer that has one and speaks of no error."""
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, _error_body(answer), quoting)
        if answer.content_type == "text/event-stream":
            body = self.read_stream(self._messages(answer, quoting), transcript)
            answer.drain()
            return body
        body = _decoded(answer.body().decode("utf-8-sig", "replace"), answer)
        if body.get("error") or self.answer_field not in body:
            raise self._refusal(answer, body, quoting)
        return body

    def _messages(self, answer: http.Answer, quoting: Quoting) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of a stream up to its end marker, without which it is no answer."""
        for event in sse.events(answer.chunks()):
            if self.end_marker == event.data:
                return
            if not event.data or event.name == "ping":
                continue
            message = _decoded(event.data, answer)
            if message.get("error"):
                raise self._refusal(answer, message, quoting)
            answer.progress()
            yield message
            if self.end_marker == event.name:
                return
        raise OutcomeUnknown("the stream stopped before its end")

    def _refusal(self, answer: http.Answer, body: Mapping[str, Any], quoting: Quoting) -> ProviderError:
        """Return the error that an error body means. The prompt is cut out first: its words must decide nothing."""
        fault = self.read_fault(answer.status, body)
        fault = replace(fault, text=quoting.clean(fault.text))
        return error_for(fault, self.rules)(
            fault.text, code=" ".join(fault.codes[:1]), retry_after=retry_after(answer.headers, body)
        )

    def _result_of(self, body: Mapping[str, Any]) -> TextResult:
        usage = self.read_usage(body)
        try:
            text = self.read_text(body)
        except ProviderError as error:
            # A model has worked on this, be it for a refusal or for nothing.
            error.usage, error.maybe_paid = usage, True
            raise
        return TextResult(whole_characters(text), usage, whole_characters(text_at(body, "model")))


def _decoded(text: str, answer: http.Answer) -> dict[str, Any]:
    try:
        return decode_object(text)
    except ValueError as error:
        raise OutcomeUnknown(f"not a JSON object, content type {answer.content_type or 'missing'}") from error


def _error_body(answer: http.Answer) -> Mapping[str, Any]:
    """Return the body of an error answer, however it looks; a proxy's page becomes a message."""
    try:
        text = answer.body().decode("utf-8-sig", "replace")
    except ProviderError:
        return {}  # the status has come, and says enough
    try:
        return decode_object(text)
    except ValueError:
        return {"message": text}


class OpenAIShapedText(TextProvider):
    """The base of the many APIs that copy OpenAI's chat completions. A subclass is a handful of declarations.

    Source: https://platform.openai.com/docs/api-reference/chat (read 2026-11).
    """

    answer_field = "choices"

    path: ClassVar[str] = "/chat/completions"
    max_tokens_field: ClassVar[str] = "max_tokens"
    stream_options: ClassVar[Mapping[str, Any] | None] = {"include_usage": True}  # None: the vendor knows no such field
    output_includes_reasoning: ClassVar[bool] = True  # are reasoning tokens part of completion_tokens?
    cost_path: ClassVar[tuple[str, ...]] = ()  # where the body names the cost
    cost_unit: ClassVar[Decimal] = Decimal(1)  # USD

    def options(self, prompt: Prompt) -> Mapping[str, Any]:
        """Return further fields of the request. Sampling fields stay out: newer models answer them with a 400."""
        return {}

    def messages(self, prompt: Prompt) -> list[dict[str, str]]:
        """Return the conversation in the vendor's roles."""
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        history = [{"role": turn.role, "content": turn.text} for turn in prompt.history]
        return [*system, *history, {"role": "user", "content": prompt.text}]

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

    def read_text(self, body: Mapping[str, Any]) -> str:
        choice = dig(body, "choices", 0)
        finish_reason = text_at(choice, "finish_reason")
        refusal = text_at(choice, "message", "refusal")
        text = text_at(choice, "message", "content")
        if refusal or finish_reason == "content_filter":
            raise ContentRefused(refusal or "content_filter")
        # Blank with "length": reasoning has eaten the budget. Text with "length" is an answer, only a short one.
        if not text.strip() or finish_reason == "error":
            raise OutcomeUnknown(f"no text, finish reason {finish_reason or 'missing'}")
        return text

    def read_usage(self, body: Mapping[str, Any]) -> Usage:
        usage = body.get("usage")
        cached = count_at(usage, "prompt_tokens_details", "cached_tokens") or 0
        prompt_tokens = count_at(usage, "prompt_tokens")
        output_tokens = count_at(usage, "completion_tokens")
        if output_tokens is not None and not self.output_includes_reasoning:
            output_tokens += count_at(usage, "completion_tokens_details", "reasoning_tokens") or 0
        cost = money_at(body, *self.cost_path) if self.cost_path else None
        return Usage(
            input_tokens=None if prompt_tokens is None else max(0, prompt_tokens - cached),
            cached_input_tokens=cached,
            output_tokens=output_tokens,
            reported_cost=None if cost is None else cost * self.cost_unit,
            raw=self.read_raw_usage(body),
        )

    def read_raw_usage(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the vendor's own account of what was used, as it came."""
        usage = storable(body.get("usage"))
        return usage if isinstance(usage, dict) else {}

    def read_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        body: dict[str, Any] = {}
        finish_reason, refusal = None, ""
        for chunk in messages:
            # The last of each counts. The chunk with the usage may have `choices: []`.
            body.update({name: chunk[name] for name in ("model", "usage", "meta") if chunk.get(name)})
            transcript.add(text_at(chunk, "choices", 0, "delta", "content"))
            refusal += text_at(chunk, "choices", 0, "delta", "refusal")
            finish_reason = dig(chunk, "choices", 0, "finish_reason") or finish_reason
        message = {"content": transcript.text, "refusal": refusal}
        return {**body, "choices": [{"message": message, "finish_reason": finish_reason}]}

"""The template of every provider: check, build, send, classify, parse. No provider is named here."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

from providers.backends.error_mapping import ErrorReply, ErrorRule, error_for, parse_error, retry_after
from providers.backends.optional_fields import asked_with_optional_fields
from providers.backends.overrides import with_overrides
from providers.backends.thoughts import Thoughts, without_thoughts
from providers.errors import NotSent, OutcomeUnknown, ProviderError, Unsupported
from providers.size_estimates import (
    TOKENS_OF_A_SEARCH,
    TOKENS_OF_AN_IMAGE,
    is_audio,
    seconds_of_audio,
    tokens_at_most,
    tokens_of_audio,
)
from providers.transport import client, sse
from providers.transport.deadlines import Deadline
from providers.transport.forms import encode_form
from providers.transport.json_fields import (
    date_at,
    decode_first_object,
    decode_object,
    encode_json,
    list_at,
    money_at,
    text_at,
    valid_unicode,
)
from providers.transport.redaction import Redactor
from providers.types import (
    CUT,
    MAX_SEARCHES,
    Access,
    Call,
    Feature,
    ListedModel,
    OnText,
    Prompt,
    TextResult,
    UnknownPolicy,
    Usage,
)

# Why a model stops, in the words of all providers and servers in use. Any other word is that of a fault: the answer is
# half of one ("network_error", "insufficient_system_resource", "abort", "error").
FINISHED = frozenset(
    ("", "stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete", "completed", "finish", "finished", "done")
) | {"tool_calls", "tool_use", "function_call"}
CUT_WORDS = frozenset(
    ("length", "max_tokens", "max_output_tokens", "model_length", "token_limit", "model_context_window_exceeded")
)
LONGEST_FIELD = 6  # characters of a field's name with which a stream may begin
NO_KEY = "none"  # in place of a key, for a server that wants none
TOKENS_OF_A_TURN = 20  # around its text
SHOW_SECONDS = 0.05  # between two looks at a growing text, at most


class Provider:
    """One provider's API, as far as all kinds of answers share it. Cheap to make, keeps nothing between calls.

    A subclass states facts as class attributes and writes pure steps. No step may do I/O, read settings or log; what
    a step raises is redacted on its way out, so it may quote the provider.
    """

    slug: ClassVar[str]
    features: ClassVar[frozenset[Feature]] = frozenset()
    image_types: ClassVar[frozenset[str]] = frozenset()  # which content types Feature.IMAGE_INPUT means
    audio_types: ClassVar[frozenset[str]] = frozenset()  # which content types Feature.AUDIO_INPUT means
    unknown_policy: ClassVar[UnknownPolicy] = UnknownPolicy.RESPEND

    auth_header: ClassVar[str] = "Authorization"
    auth_scheme: ClassVar[str] = "Bearer "
    code_paths: ClassVar[tuple[tuple[str, ...], ...]] = (("code",), ("type",))  # of machine codes in an error object
    rules: ClassVar[tuple[ErrorRule, ...]] = ()  # the provider's error table, before the statuses that all share

    models_path: ClassVar[str] = ""  # of the list of its models, or of one with "{model}"; empty: it documents none
    models_field: ClassVar[str] = "data"  # where the list is; empty: the body is the list
    model_id_field: ClassVar[str] = "id"
    model_end_field: ClassVar[str] = ""  # the date on which a model shuts down

    def __init__(self, access: Access) -> None:
        self.access = access

    def check(self, prompt: Prompt) -> None:
        """Raise Unsupported when the provider cannot do what the prompt needs. Nothing has been sent or paid then."""
        kinds = {attachment.content_type for attachment in prompt.attachments}
        images = {kind for kind in kinds if kind.startswith("image/")}
        needs = {
            Feature.SYSTEM_PROMPT: prompt.system,
            Feature.HISTORY: prompt.history,
            Feature.IMAGE_INPUT: images,
            Feature.AUDIO_INPUT: kinds - images,
            Feature.WEB_SEARCH: prompt.web_search,
        }
        for feature, is_needed in needs.items():
            if is_needed and feature not in self.features:
                raise Unsupported(f"no {feature.value}", provider=self.slug)
        others = kinds - self.image_types - self.audio_types
        if others:
            raise Unsupported(f"no {', '.join(sorted(others))}", provider=self.slug)

    def has_error(self, body: Mapping[str, Any]) -> bool:
        """Return whether the body of a 2xx, or one message of a stream, contains an error."""
        return bool(body.get("error"))

    def parse_error(self, status: int, body: Mapping[str, Any]) -> ErrorReply:
        """Return what an error body says."""
        return parse_error(status, body, self.code_paths)

    def models_call(self, model: str) -> Call | None:
        """Return the call that lists the models, or looks this one up; None where the provider has neither."""
        return Call(self.models_path.format(model=model), method="GET") if self.models_path else None

    def parse_models(self, body: Any) -> list[ListedModel]:
        """Return the models in a list, each under every name that a call may use."""
        entries = list_at(body, self.models_field) if self.models_field else body
        listed = []
        for entry in entries if isinstance(entries, list) else []:
            names = (text_at(entry, self.model_id_field), *list_at(entry, "aliases"))
            ends_on, prices = date_at(entry, self.model_end_field), self.listed_prices(entry)
            listed += [ListedModel(name, ends_on, prices) for name in names if isinstance(name, str) and name]
        return listed

    def listed_prices(self, entry: Any) -> Mapping[str, Any]:
        """Return what a list of models says that one costs, as a route's prices take it; nothing where it is silent."""
        return {}

    @contextmanager
    def exchange(
        self, call: Call, redactor: Redactor, *, timeout_seconds: float, deadline: Deadline
    ) -> Iterator[client.ProviderResponse]:
        """Send a call with the provider's key and lend its response, which is a 2xx.

        Every ProviderError that leaves it, the caller's own included, names provider and status and contains neither
        the key nor the prompt.
        """
        headers = {**self._authorization(), **call.headers}
        body = None
        if isinstance(call.json, Mapping) and call.files:
            body, headers["Content-Type"] = encode_form(call.json, call.files)
        elif call.json is not None:
            headers["Content-Type"] = "application/json"
            body = encode_json(call.json)
        status = None
        try:
            with client.send(
                call.method,
                f"{self.access.base_url.rstrip('/')}{call.path}",
                headers=headers,
                body=body,
                idle_timeout_seconds=timeout_seconds,
                deadline=deadline,
                allow_http=True,
            ) as response:
                status = response.status
                if 300 <= status < 400:
                    raise NotSent("the server leads to another address: correct the base URL")
                if not 200 <= status < 300:
                    raise self.refusal(response, _error_body(response), redactor)
                yield response
        except ProviderError as error:
            error.complete(provider=self.slug, status=status)
            redactor.redact_error(error)
            raise

    def _authorization(self) -> Mapping[str, str]:
        return {} if self.access.key == NO_KEY else {self.auth_header: f"{self.auth_scheme}{self.access.key}"}

    def refusal(self, response: client.ProviderResponse, body: Mapping[str, Any], redactor: Redactor) -> ProviderError:
        """Return the error that an error body means. The prompt is cut out first: its words must decide nothing."""
        reply = self.parse_error(response.status, body)
        reply = replace(reply, text=redactor.redact(reply.text))
        return error_for(reply, self.rules)(
            reply.text,
            code=" ".join(reply.codes[:1]),
            param=text_at(body, "error", "param"),
            retry_after=retry_after(response.headers, body),
        )

    def checked_object(self, response: client.ProviderResponse, redactor: Redactor) -> dict[str, Any]:
        """Return the JSON object of a 2xx that contains no error. Raises OutcomeUnknown, or what the error means."""
        body = _decoded(response.text(), response)
        if self.has_error(body):
            raise self.refusal(response, body, redactor)
        return body


class Transcript:
    """The text of an answer as it grows, in time linear to its length."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._thoughts = Thoughts()
        self._parts: list[str] = []  # valid Unicode
        self._half = ""  # a character's first half, at the end; the other may follow
        self._length = 0
        self._shown_length = 0
        self._show_at = 0.0  # on time.monotonic()
        self._is_visible = False  # not only blanks

    @property
    def text(self) -> str:
        """The whole text so far."""
        self._parts = ["".join(self._parts)]
        return self._parts[0] + valid_unicode(self._half)

    def add(self, delta: str) -> None:
        """Append a delta, and show the whole text so far once there is something to see.

        Where deltas come quickly not each is shown: only after SHOW_SECONDS, or when the text has grown by a sixteenth,
        so that the work is linear. end() shows the rest.
        """
        delta = self._thoughts.without(delta)
        if not delta:
            return
        self._append(delta)
        has_grown = 16 * (self._length - self._shown_length) >= self._length
        if self._is_visible and (has_grown or time.monotonic() >= self._show_at):
            self._show()

    def _append(self, delta: str) -> None:
        self._length += len(delta)
        delta = self._half + delta
        self._half = delta[-1] if "\ud800" <= delta[-1] <= "\udbff" else ""
        part = valid_unicode(delta[: len(delta) - len(self._half)])
        self._parts.append(part)
        self._is_visible = self._is_visible or bool(part.strip() or self._half)

    def end(self) -> None:
        """Show what add() has not shown."""
        if rest := self._thoughts.end():
            self._append(rest)
        if self._is_visible and self._length > self._shown_length:
            self._show()

    def _show(self) -> None:
        self._shown_length = self._length
        self._show_at = time.monotonic() + SHOW_SECONDS
        if self._on_text:
            self._on_text(self.text)


class TextProvider(Provider):
    """One provider's text API. Its steps are build(), parse_text(), parse_usage() and parse_stream()."""

    features = frozenset({Feature.STREAMING, Feature.SYSTEM_PROMPT, Feature.HISTORY})

    answer_field: ClassVar[str]  # a 200 without it is no answer
    may_be_blank: ClassVar[bool] = False  # an answer without any text is one, too
    max_searches: ClassVar[int] = MAX_SEARCHES  # of the web, for one answer
    unlimited_tokens: ClassVar[int] = 0  # of reasoning that no limit covers: how many there may be
    end_marker: ClassVar[str] = "[DONE]"  # the data or the name of a stream's last event

    def run(
        self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None
    ) -> TextResult:
        """Ask the provider once and return its answer.

        With `on_text` the answer is streamed where the provider can, and `timeout_seconds` is the idle timeout;
        without it, the longest wait for the whole answer. `deadline` ends everything. Raises a ProviderError.
        """
        self.check(prompt)
        transcript = Transcript(on_text)
        call = self.build(prompt, stream=on_text is not None and Feature.STREAMING in self.features)
        call = with_overrides(call, prompt.overrides)
        redactor = Redactor(self.access.key, prompt)

        def ask(call: Call) -> TextResult:
            with self.exchange(call, redactor, timeout_seconds=timeout_seconds, deadline=deadline) as response:
                result = self._result_of(self._receive(response, transcript, redactor))
                return replace(result, usage=_with_told_cost(result.usage, response.headers))

        try:
            result = asked_with_optional_fields(call, prompt, self.access.base_url, ask)
        except ProviderError as error:
            # A provider that has begun to answer has worked, whatever stopped the answer.
            error.complete(maybe_paid=error.maybe_paid or bool(transcript.text))
            raise
        if on_text and not transcript.text:
            on_text(result.text)
        return result

    def used_at_most(self, prompt: Prompt) -> Usage:
        """Return the most that a call with this prompt can use."""
        texts = [prompt.system, prompt.text, *(turn.text for turn in prompt.history)]
        tokens = sum(tokens_at_most(text) + TOKENS_OF_A_TURN for text in texts)
        for file in prompt.attachments:
            is_heard = is_audio(file.content_type)
            tokens += tokens_of_audio(seconds_of_audio(file.content)) if is_heard else TOKENS_OF_AN_IMAGE
        searches = self.max_searches if prompt.web_search else 0
        return Usage(
            input_tokens=tokens + searches * TOKENS_OF_A_SEARCH,
            output_tokens=prompt.max_output_tokens + self.unlimited_tokens,
            searches=searches,
        )

    def build(self, prompt: Prompt, *, stream: bool) -> Call:
        """Return the request. Called once for each call, after check()."""
        raise NotImplementedError

    def unified(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a whole answer in the shape that the other steps read, where the provider has several."""
        return body

    def parse_text(self, body: Mapping[str, Any]) -> str:
        """Return the text of a complete answer. Raises ContentRefused, or OutcomeUnknown when there is none."""
        raise NotImplementedError

    def parse_usage(self, body: Mapping[str, Any]) -> Usage:
        """Return what the provider says was used. Must not raise: a bill is never lost for its form."""
        raise NotImplementedError

    def parse_stream(self, messages: Iterable[dict[str, Any]], transcript: Transcript) -> dict[str, Any]:
        """Add the deltas of text to the transcript and return the body that a plain call would have brought.

        `messages` ends at the end marker and raises on everything that is no message or contains an error.
        """
        raise NotImplementedError

    def finish_reason(self, body: Mapping[str, Any]) -> str:
        """Return why the model has stopped, in small letters, "" where the provider does not say."""
        raise NotImplementedError

    def is_finished(self, message: Mapping[str, Any]) -> bool:
        """Return whether a message of a stream says why the model has stopped."""
        raise NotImplementedError

    def _receive(self, response: client.ProviderResponse, transcript: Transcript, redactor: Redactor) -> dict[str, Any]:
        """Return the body of an answer, whole or put together from a stream, whatever its content type says."""
        start, chunks = _started(response)
        if start.startswith(sse.FIELDS):
            body = self.parse_stream(self._messages(response, chunks, redactor), transcript)
            transcript.end()
            response.drain()
            return body
        text = b"".join(chunks).decode("utf-8-sig", "replace")
        try:
            body = decode_first_object(text) if "[DONE]" in text[-20:] else decode_object(text)
        except ValueError as error:
            raise _no_object(response) from error
        if self.has_error(body):
            raise self.refusal(response, body, redactor)
        body = self.unified(body)
        if self.answer_field not in body:
            raise self.refusal(response, body, redactor)
        return body

    def _messages(
        self, response: client.ProviderResponse, chunks: Iterable[bytes], redactor: Redactor
    ) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of a stream.

        It ends at its end marker, or where its bytes end in order after a reason why the model has stopped. Anything
        else is no answer.
        """
        is_finished = False
        for event in sse.events(chunks, on_comment=response.reset_idle_timer):
            if event.name == "ping":
                continue
            for data in self._pieces_of(event.data):
                if data == self.end_marker:
                    return
                message = _decoded(data, response)
                if self.has_error(message):
                    raise self.refusal(response, message, redactor)
                response.reset_idle_timer()
                yield message
                is_finished = is_finished or self.is_finished(message)
                if self.end_marker in (event.name, message.get("type")):
                    return
        if not is_finished:
            raise OutcomeUnknown("the stream stopped before its end")

    def _pieces_of(self, data: str) -> list[str]:
        """Return what an event contains: one piece, or one a line where the server leaves out the blank lines."""
        lines = [line for line in map(str.strip, data.splitlines()) if line]
        are_pieces = all(line == self.end_marker or (line[0] == "{" and line[-1] == "}") for line in lines)
        return lines if are_pieces else [data]

    def _result_of(self, body: Mapping[str, Any]) -> TextResult:
        usage = self.parse_usage(body)
        try:
            text = without_thoughts(valid_unicode(self.parse_text(body)))
            if not text.strip() and not self.may_be_blank:
                raise OutcomeUnknown("no text")
            reason = self.finish_reason(body)
            if reason not in FINISHED | CUT_WORDS:
                raise OutcomeUnknown(f"the model did not finish: {reason}")
        except ProviderError as error:
            # A model has worked on this, be it for a refusal or for nothing.
            error.complete(usage=usage, maybe_paid=True)
            raise
        finish_reason = CUT if reason in CUT_WORDS else ""
        return TextResult(text, _told(usage), valid_unicode(text_at(body, "model")), finish_reason)


def _told(usage: Usage) -> Usage:
    """Return the usage of an answer; counts by which nothing was read or written only mean that nobody has counted."""
    if usage.output_tokens == 0 or usage.all_input_tokens == 0:
        return replace(usage, input_tokens=None, cached_input_tokens=0, cache_write_tokens=0, output_tokens=None)
    return usage


def _with_told_cost(usage: Usage, headers: Mapping[str, str]) -> Usage:
    """Return the usage with the cost that LiteLLM's proxy puts into a header; its zero means that it has no price.

    Source: https://docs.litellm.ai/docs/proxy/response_headers (read 2026-11).
    """
    cost = money_at(headers.get("x-litellm-response-cost") or None)
    return replace(usage, reported_cost=cost) if cost and usage.reported_cost is None else usage


def _started(response: client.ProviderResponse) -> tuple[str, Iterator[bytes]]:
    """Return how the body begins, without blanks, and all of its bytes."""
    chunks = response.chunks()
    read = []
    start = b""
    for chunk in chunks:
        read.append(chunk)
        start = (start + chunk).lstrip(b"\xef\xbb\xbf \t\r\n")
        if len(start) >= LONGEST_FIELD or b"\n" in start:
            break
    return start.decode("utf-8", "replace"), chain(read, chunks)


def _decoded(text: str, response: client.ProviderResponse) -> dict[str, Any]:
    try:
        return decode_object(text)
    except ValueError as error:
        raise _no_object(response) from error


def _no_object(response: client.ProviderResponse) -> OutcomeUnknown:
    return OutcomeUnknown(f"not a JSON object, content type {response.content_type or 'missing'}")


def _error_body(response: client.ProviderResponse) -> Mapping[str, Any]:
    """Return the body of an error response, whatever its form; a proxy's page becomes a message."""
    try:
        text = response.text()
    except ProviderError:
        return {}  # the status has come, and says enough
    try:
        return decode_object(text)
    except ValueError:
        return {"message": text}

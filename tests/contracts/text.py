"""What every text provider must do. A provider's test file is a class with its body, its bill and its error table."""

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from providers.backends.base import TextProvider
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    ServerFault,
    Unsupported,
)
from providers.registry import PROVIDERS, provider_class
from providers.transport.deadlines import Deadline
from providers.types import Access, Attachment, Category, OnText, Prompt, TextResult, Turn, Usage
from tests.fakes.http_server import (
    FakeServer,
    Step,
    answer,
    close_after,
    half_body,
    hang,
    head,
    reset,
    stream,
)

SAMPLES = Path(__file__).parent.parent / "samples"
KEY = "sk-canary-4711-abcdefghijklmnop"
SYSTEM = "You are the canary that sings in the system prompt."
ASKED, REPLIED = "An earlier canary question, “quoted” & <tagged>?", "An earlier canary reply."
HISTORY = (Turn("user", ASKED), Turn("assistant", REPLIED))
QUESTION = "What is the capital of Peru,\nthe country of canaries? Ответь кратко 🐤"
PICTURE = Attachment("image/jpeg", b"\xff\xd8\xff a small picture")


def sample(vendor: str, name: str) -> Any:
    """Return a sample as parsed JSON."""
    return json.loads((SAMPLES / vendor / f"{name}.json").read_text(encoding="utf-8"))


def event_bytes(event: Any) -> bytes:
    """Return one entry of a stream sample as it travels."""
    if isinstance(event, str):
        return f"{event}\n\n".encode() if event.startswith(":") else f"data: {event}\n\n".encode()
    # Anthropic names its events after their type.
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def make_prompt(vendor: type["TextProviderContract"], **fields: Any) -> Prompt:
    """A short conversation; fields replace parts of it."""
    return Prompt(
        **{
            "category": Category.TEXT,
            "text": QUESTION,
            "history": HISTORY,
            "system": SYSTEM,
            "max_output_tokens": 900,
            "model": vendor.model,
            **fields,
        }
    )


def everything_said_by(error: BaseException) -> str:
    """Return all that a log, a traceback or a debugger's repr could show of an error and of what it hangs on."""
    said = []
    link: BaseException | None = error
    while link is not None:
        said += [str(link), repr(link), repr(link.args)]
        said += [repr(value) for value in vars(link).values() if isinstance(value, str | tuple | dict)]
        link = link.__cause__ or link.__context__
    return "\n".join(said)


class TextProviderContract:
    """Behaviours common to all. `server` is a fixture that plays the vendor."""

    vendor: ClassVar[str]
    model: ClassVar[str]
    path: ClassVar[str]  # with the path of the base URL
    auth: ClassVar[tuple[str, str]]  # header and value
    body: ClassVar[dict[str, Any]]  # what the prompt above becomes
    stream_fields: ClassVar[dict[str, Any]]  # what is added for a stream
    usage: ClassVar[Usage]  # of answer.json, without `raw`
    text: ClassVar[str] = "Lima."
    # What the error in the middle of stream_error.json means.
    stream_error: ClassVar[type[ProviderError]] = OutcomeUnknown

    # --- Helpers for the vendors' own tests ---

    def provider(self, server: FakeServer | None = None) -> TextProvider:
        base_url = (server.url if server else "http://127.0.0.1:1") + PROVIDERS[self.vendor].base_path
        return provider_class(Category.TEXT, self.vendor)(Access(KEY, base_url))

    def run(self, server: FakeServer, *, on_text: OnText | None = None, **fields: Any) -> TextResult:
        return self.provider(server).run(
            make_prompt(type(self), **fields), timeout_seconds=20.0, deadline=Deadline.after(40), on_text=on_text
        )

    def failure(self, server: FakeServer, step: Step, *, on_text: OnText | None = None, **fields: Any) -> ProviderError:
        server.will(step)
        with pytest.raises(ProviderError) as caught:
            self.run(server, on_text=on_text, **fields)
        assert caught.value.provider == self.vendor
        return caught.value

    def assert_means(
        self, server: FakeServer, status: int, body: Any, expected: type[ProviderError], **headers: str | int
    ) -> ProviderError:
        """Check what an error answer means: this very class, not one below it."""
        error = self.failure(server, answer(body, status, **headers))
        assert type(error) is expected
        assert error.status == status
        return error

    def error_body(self, message: str) -> Any:
        """Return an error body in the vendor's shape with a message that no table knows."""
        return {"error": {"message": message, "type": "unheard_of", "param": None, "code": None}}

    def refusal_saying(self, words: str) -> Any:
        """Return the body of a 200 in which the model refuses in these words."""
        return {"choices": [{"message": {"role": "assistant", "content": None, "refusal": words}}]}

    def events(self, name: str = "stream") -> list[bytes]:
        return [event_bytes(event) for event in sample(self.vendor, name)]

    # --- The request ---

    def test_it_sends_the_key_and_the_conversation_as_documented(self, server: FakeServer) -> None:
        server.will(answer(sample(self.vendor, "answer")))
        self.run(server)
        (request,) = server.received
        assert (request.method, request.path) == ("POST", self.path)
        assert request.headers[self.auth[0].lower()] == self.auth[1]
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.json == self.body

    def test_it_sends_nothing_but_the_question_where_there_is_nothing_else(self, server: FakeServer) -> None:
        server.will(answer(sample(self.vendor, "answer")))
        self.run(server, system="", history=())
        body = server.received[0].json
        assert body["messages"] == [{"role": "user", "content": QUESTION}]
        assert "system" not in body

    def test_it_asks_for_a_stream_only_when_somebody_listens(self, server: FakeServer) -> None:
        server.will(stream(self.events()))
        self.run(server, on_text=len)
        assert server.received[0].json == {**self.body, **self.stream_fields}

    def test_it_survives_half_an_emoji_in_the_prompt(self, server: FakeServer) -> None:
        server.will(answer(sample(self.vendor, "answer")))
        self.run(server, text="half \ud83d an emoji")
        assert server.received[0].json["messages"][-1]["content"] == "half ? an emoji"

    def test_it_refuses_what_it_cannot_do_before_sending(self, server: FakeServer) -> None:
        provider = self.provider(server)
        provider.features = frozenset()  # type: ignore[misc]
        for fields in ({"system": ""}, {"history": ()}, {"system": "", "history": (), "attachments": (PICTURE,)}):
            with pytest.raises(Unsupported) as caught:
                provider.check(make_prompt(type(self), **fields))
            assert caught.value.provider == self.vendor
        provider.check(make_prompt(type(self), system="", history=()))
        with pytest.raises(Unsupported):
            provider.run(make_prompt(type(self)), timeout_seconds=1, deadline=Deadline.after(1))
        assert server.connections == 0

    def test_it_refuses_attachments_that_it_cannot_read(self) -> None:
        for content_type in ("audio/x-unheard-of", "image/tiff", "application/pdf"):
            with pytest.raises(Unsupported):
                self.provider().check(make_prompt(type(self), attachments=(Attachment(content_type, b"?"),)))

    # --- The answer ---

    def test_it_returns_the_text_and_what_was_used(self, server: FakeServer) -> None:
        server.will(answer(sample(self.vendor, "answer")))
        result = self.run(server)
        assert result.text == self.text
        assert result.model == sample(self.vendor, "answer")["model"]
        self.assert_usage(result.usage)

    def test_it_streams_the_text_as_it_grows_to_the_same_result(self, server: FakeServer) -> None:
        server.will(stream(self.events()))
        seen: list[str] = []
        result = self.run(server, on_text=seen.append)
        assert seen == ["Li", "Lima."]
        assert result.text == self.text
        assert result.model == sample(self.vendor, "answer")["model"]
        self.assert_usage(result.usage)

    def test_blanks_are_not_worth_showing(self, server: FakeServer) -> None:
        server.will(stream([event.replace(b'"Li"', b'"\\n\\n"') for event in self.events()]))
        seen: list[str] = []
        assert self.run(server, on_text=seen.append).text == "\n\nma."
        assert seen == ["\n\nma."]

    def test_a_stream_may_cut_an_emoji_in_two(self, server: FakeServer) -> None:
        first, second = rb'"\ud83d"', rb'"\udc24"'
        server.will(stream([event.replace(b'"Li"', first).replace(b'"ma."', second) for event in self.events()]))
        seen: list[str] = []
        assert self.run(server, on_text=seen.append).text == "🐤"
        assert seen == ["\N{REPLACEMENT CHARACTER}", "🐤"]  # any UTF-8 can hold what is shown

    def test_every_message_of_a_stream_renews_patience(
        self, server: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        renewals: list[object] = []
        monkeypatch.setattr(
            "providers.transport.client.ProviderResponse.reset_idle_timer", lambda received: renewals.append(received)
        )
        server.will(stream([b": keep-alive\n\n", b"\n\n", *self.events()]))
        self.run(server, on_text=len)
        messages = [event for event in sample(self.vendor, "stream") if not isinstance(event, str)]
        assert len(renewals) == len([message for message in messages if message.get("type") != "ping"])

    def test_it_shows_a_plain_answer_to_a_listener_when_the_vendor_does_not_stream(self, server: FakeServer) -> None:
        server.will(answer(sample(self.vendor, "answer")))
        seen: list[str] = []
        assert self.run(server, on_text=seen.append).text == self.text
        assert seen == [self.text]

    def test_it_reads_a_stream_cut_anywhere(self, server: FakeServer) -> None:
        whole = b"".join(self.events()).replace(b"\n", b"\r\n")
        server.will(stream([whole[start : start + 7] for start in range(0, len(whole), 7)]))
        assert self.run(server, on_text=len).text == self.text

    def test_it_uses_its_connection_again_after_a_stream(self, server: FakeServer) -> None:
        server.will(stream(self.events()), answer(sample(self.vendor, "answer")))
        self.run(server, on_text=len)
        self.run(server)
        assert [request.connection for request in server.received] == [1, 1]

    def test_a_stream_may_end_with_its_connection(self, server: FakeServer) -> None:
        body = b"".join(self.events())
        lengths: tuple[dict[str, int], ...] = ({}, {"Content_Length": len(body)})
        for length in lengths:
            server.will(close_after(head(Content_Type="text/event-stream", Connection="close", **length) + body))
            assert self.run(server, on_text=len).text == self.text

    def test_it_joins_the_halves_of_an_emoji_and_drops_nul(self, server: FakeServer) -> None:
        text = json.dumps(sample(self.vendor, "answer")).replace("Lima.", r"\ud83d\udc24 Lima\u0000. \ud83d")
        server.will(answer(text))
        assert self.run(server).text == "🐤 Lima. \N{REPLACEMENT CHARACTER}"

    def assert_usage(self, usage: Usage) -> None:
        for line in ("input_tokens", "cached_input_tokens", "output_tokens", "reported_cost"):
            assert getattr(usage, line) == getattr(self.usage, line), line
        assert usage.raw
        json.dumps(dict(usage.raw))  # any JSON column takes it

    @pytest.mark.parametrize("usage", [None, [], "many", {}, {"prompt_tokens": -1, "input_tokens": "x", "cost": "NaN"}])
    def test_it_keeps_an_answer_whose_bill_makes_no_sense(self, server: FakeServer, usage: Any) -> None:
        server.will(answer({**sample(self.vendor, "answer"), "usage": usage, "meta": usage}))
        result = self.run(server)
        assert result.text == self.text
        assert result.usage.input_tokens is None
        assert result.usage.reported_cost is None

    # --- What is no answer ---

    def test_a_blank_answer_is_a_failure_with_a_bill(self, server: FakeServer) -> None:
        error = self.failure(server, answer(sample(self.vendor, "blank")))
        assert type(error) is OutcomeUnknown
        assert error.usage is not None
        assert error.usage.output_tokens == self.usage.output_tokens

    def test_a_refusal_in_an_answer_is_a_refusal_with_a_bill(self, server: FakeServer) -> None:
        error = self.failure(server, answer(sample(self.vendor, "refusal")))
        assert type(error) is ContentRefused
        assert error.maybe_paid  # the model has worked
        assert error.usage is not None
        assert error.usage.input_tokens == self.usage.input_tokens

    @pytest.mark.parametrize(
        "step",
        [
            answer(b""),
            answer("<html><title>It works!</title></html>", content_type="text/html"),
            answer("<html><title>It works!</title></html>"),
            answer('{"choices": [{"message": {"con'),
            answer(b"\xff\xfe\x00"),
            answer("[" * 100_000),
            answer("null"),
            answer("[]"),
            answer({}),
            answer({"choices": [], "content": []}),
            answer({"choices": [None], "content": [None]}),
            answer({"choices": "x", "content": "x"}),
            answer({"choices": [{"message": {"content": "\0"}}], "content": [{"type": "text", "text": "\0"}]}),
            answer({"choices": [{"message": {"content": 7}}], "content": 7}),
            answer('{"choices": NaN, "content": Infinity}'),
            answer("", 204),
            answer("moved", 302, Location="http://127.0.0.1:1/elsewhere"),
            stream([], ends=True),
            half_body,
            reset,
            close_after(b""),
            close_after(b"HTTP/1.1 200 OK\r\nContent-Ty"),
            close_after(b"SSH-2.0-OpenSSH_9.2\r\n"),
        ],
    )
    def test_what_makes_no_sense_may_have_been_paid(self, server: FakeServer, step: Step) -> None:
        error = self.failure(server, step)
        assert type(error) is OutcomeUnknown
        assert error.maybe_paid
        assert len(server.received) == 1  # never asked twice

    def test_a_refused_connection_is_certainly_not_paid(self) -> None:
        with pytest.raises(NotSent) as caught:
            self.provider().run(make_prompt(type(self)), timeout_seconds=5, deadline=Deadline.after(5))
        assert not caught.value.maybe_paid
        assert caught.value.provider == self.vendor

    @pytest.mark.parametrize("ends", [True, False])
    def test_a_stream_without_its_end_marker_is_no_answer(self, server: FakeServer, ends: bool) -> None:
        seen: list[str] = []
        error = self.failure(server, stream(self.events()[:-1], ends=ends), on_text=seen.append)
        assert type(error) is OutcomeUnknown
        assert error.status == 200
        assert seen  # words were shown; the next provider starts afresh

    def test_an_error_in_a_stream_is_no_answer_and_may_have_been_paid(self, server: FakeServer) -> None:
        seen: list[str] = []
        error = self.failure(server, stream(self.events("stream_error")), on_text=seen.append)
        assert type(error) is self.stream_error
        assert seen == ["Li"]
        assert error.maybe_paid

    def test_an_event_that_is_no_json_is_no_answer(self, server: FakeServer) -> None:
        error = self.failure(server, stream([b"data: {oops\n\n"]), on_text=len)
        assert type(error) is OutcomeUnknown

    def test_it_waits_for_a_plain_answer_no_longer_than_it_may(self, server: FakeServer) -> None:
        server.will(hang)
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            self.provider(server).run(make_prompt(type(self)), timeout_seconds=0.2, deadline=Deadline.after(300))
        assert time.monotonic() - started < 30

    # --- The errors that all share ---

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (400, RequestRejected),
            (401, AccessDenied),
            (402, AccessDenied),
            (403, AccessDenied),
            (404, ModelGone),
            (408, OutcomeUnknown),
            (413, RequestRejected),
            (422, RequestRejected),
            (429, RateLimited),
            (500, OutcomeUnknown),
            (502, OutcomeUnknown),
            (503, ServerFault),
            (504, OutcomeUnknown),
            (529, ServerFault),
        ],
    )
    def test_a_status_alone_means(self, server: FakeServer, status: int, expected: type[ProviderError]) -> None:
        bodies: Iterable[Any] = (self.error_body("Something else."), b"", "<html>Bad</html>", "plain text", [1], "null")
        for body in bodies:
            self.assert_means(server, status, body, expected)

    def test_it_says_when_it_may_be_asked_again(self, server: FakeServer) -> None:
        error = self.assert_means(server, 429, self.error_body("Slow down."), RateLimited, Retry_After=17)
        assert error.retry_after == 17.0
        assert "Slow down." in str(error)

    def test_a_status_whose_body_never_comes_is_still_a_status(self, server: FakeServer) -> None:
        error = self.failure(server, close_after(head(401, Content_Length=100)))
        assert type(error) is AccessDenied

    def test_the_prompts_words_decide_nothing(self, server: FakeServer) -> None:
        # Else a user could send a provider to rest by talking about empty wallets.
        text = "My credit balance is too low and the quota was exceeded; insufficient credits, model not found, flagged"
        for prompt in (text, "credit balance"):
            echo = self.error_body(f"Cannot parse: {prompt}")
            error = self.failure(server, answer(echo, 400), text=prompt)
            assert type(error) is RequestRejected

    # --- Secrets ---

    @pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503])
    @pytest.mark.parametrize("prompt", [QUESTION, "🐤", "canary", "PIN 4711"])
    def test_no_key_and_no_prompt_in_any_error(
        self, server: FakeServer, caplog: pytest.LogCaptureFixture, status: int, prompt: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        fields = {"text": prompt, "system": SYSTEM, "history": HISTORY}
        said = f"Key {KEY} or Bearer {KEY[:12]}****{KEY[-4:]}: {prompt} / {SYSTEM} / {ASKED} {REPLIED}"
        quoted = json.dumps({"upstream": json.dumps({"detail": said})})
        pages = f"<html><title>{said}</title></html>", f"<p>{said.replace('&', '&amp;').replace('<', '&lt;')}</p>"
        steps = [
            answer(self.error_body(said), status),
            answer(self.error_body(quoted), status),
            answer({"code": said, "error": said, "message": said}, status),
            *(answer(page, status, content_type="text/html") for page in (*pages, said)),
            close_after(f"{said}\r\n\r\n".encode()),
            close_after(head(status, Content_Length=f"{len(said)},7 {KEY}", X_Odd=f"{KEY}") + said.encode()[:50]),
            close_after(f"HTTP/1.1 {status} Scripted\r\n{said}\r\nContent-Length: 0\r\n\r\n".encode()),
            answer(self.refusal_saying(said)),
            stream([event_bytes(self.error_body(said))]),
            stream([f"data: {said}\n\n".encode()]),
        ]
        secrets = [KEY, KEY[:12], KEY[-12:], SYSTEM[:16], SYSTEM[-16:], ASKED[:16], REPLIED[-16:]]
        secrets += [prompt] if len(prompt) < 16 else [prompt[:16], prompt[-16:], prompt[20:36]]
        for step in steps:
            error = self.failure(server, step, on_text=len, **fields)
            shown = everything_said_by(error) + caplog.text
            # Words of the prompt may also stand in our own, such as "canary" in the key of this test.
            leaked = [secret for secret in secrets if secret in shown]
            assert not leaked, shown
            assert len(error.excerpt) <= 200
            assert len(error.code) <= 64

    def test_no_key_and_no_prompt_in_any_repr(self) -> None:
        provider = self.provider()
        prompt = make_prompt(type(self))
        shown = "".join(map(repr, [provider, provider.access, prompt, provider.build(prompt, stream=False), HISTORY]))
        assert "canary" not in shown

"""The templates of text, media and jobs against the full grids: errors, secrets, streams, and what is no answer.

Every provider inherits this and runs only a thin slice of it: see tests/contracts/base.py. Network faults are in
test_network_faults.py.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.errors import (
    AccessDenied,
    ContentRefused,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    Unsupported,
)
from providers.transport import client
from providers.transport.deadlines import Deadline
from providers.types import Attachment, Category, Job, MediaResult, OutputOptions, Turn, Usage
from tests.contracts.base import (
    KEY,
    MEANINGS,
    ProviderContract,
    assert_redacted,
    message_with_secrets,
    secrets_of,
)
from tests.contracts.media import (
    AUDIO,
    DESCRIPTION,
    IMAGE,
    IMAGE_BASE64,
    JobProviderContract,
    MediaProviderContract,
)
from tests.contracts.templates import TemplateImage, TemplateJob, TemplateText
from tests.contracts.text import IMAGE as ATTACHED_IMAGE
from tests.contracts.text import MESSAGES, TextProviderContract, event_bytes
from tests.fakes.http_server import FakeServer, Step, answer, close_after, half_body, hang, head, reset, stream

# What no provider's answer looks like, whether in words or in bytes.
INVALID_ANSWERS = [
    answer(b""),
    answer("{}"),
    answer("null"),
    answer("[]"),
    answer("<html><title>It works!</title></html>", content_type="text/html"),
    answer("<html><title>It works!</title></html>"),
    answer('{"choices": [{"message": {"con'),
    answer(b"\xff\xfe\x00"),
    answer("[" * 100_000),
    answer('{"choices": NaN, "data": Infinity, "status": NaN}'),
    answer("", 204),
    half_body,
    reset,
    close_after(b""),
    close_after(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    close_after(b"SSH-2.0-OpenSSH_9.2\r\n"),
]
UNREADABLE_BODIES = (b"", "<html>Bad</html>", "plain text", [1], "null")
SECRET_PROMPTS = [None, "🐤", "canary", "PIN 4711"]  # None: the contract's own, which is long


class TemplateContract(ProviderContract):
    """The grid that all three templates run."""

    slug = "template"
    model = "a-model"

    def valid_body(self) -> Any:
        """Return the JSON of a complete answer."""
        raise NotImplementedError

    # --- What is no answer ---

    @pytest.mark.parametrize("status", [300, 302, 307, 399])
    def test_a_redirect_was_certainly_not_executed_and_is_not_followed(self, server: FakeServer, status: int) -> None:
        step = answer(self.valid_body(), status, Location=f"{server.url}/elsewhere")
        error = self.failure(server, step)
        assert type(error) is NotSent
        assert "correct the base URL" in str(error)
        assert len(server.received) == 1

    @pytest.mark.parametrize("step", INVALID_ANSWERS)
    def test_an_invalid_answer_may_have_been_paid(self, server: FakeServer, step: Step) -> None:
        error = self.failure(server, step)
        assert type(error) is OutcomeUnknown
        assert error.maybe_paid
        assert len(server.received) == 1  # never sent twice

    def test_a_refused_connection_was_certainly_not_paid(self) -> None:
        with pytest.raises(NotSent) as caught:
            self.provider().run(self.prompt(), timeout_seconds=5, deadline=Deadline.after(5))
        assert not caught.value.maybe_paid
        assert caught.value.provider == self.slug

    def test_it_waits_for_an_answer_no_longer_than_it_may(self, server: FakeServer) -> None:
        server.will(hang)
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            self.provider(server).run(self.prompt(), timeout_seconds=0.5, deadline=Deadline.after(300))
        assert time.monotonic() - started < 30

    # --- Errors ---

    @pytest.mark.parametrize(("status", "expected"), MEANINGS.items())
    def test_a_status_alone_means(self, server: FakeServer, status: int, expected: type[ProviderError]) -> None:
        for body in (self.error_body("Something else."), *UNREADABLE_BODIES):
            self.assert_means(server, status, body, expected)

    def test_an_error_says_when_the_provider_may_be_asked_again(self, server: FakeServer) -> None:
        error = self.assert_means(server, 429, self.error_body("Slow down."), RateLimited, Retry_After=17)
        assert error.retry_after == 17.0
        assert "Slow down." in str(error)
        assert self.assert_means(server, 429, self.error_body("Slow down."), RateLimited).retry_after is None

    def test_a_status_whose_body_never_comes_is_still_a_status(self, server: FakeServer) -> None:
        assert type(self.failure(server, close_after(head(401, Content_Length=100)))) is AccessDenied

    def test_a_rule_of_the_error_table_decides_before_the_status(self, server: FakeServer) -> None:
        for status in (400, 429, 500, 200):
            assert type(self.failure(server, answer(self.error_body("It was flagged."), status))) is ContentRefused

    def test_the_prompts_words_decide_nothing(self, server: FakeServer) -> None:
        # Otherwise a user could open a provider's circuit by writing about empty wallets.
        text = "My credit balance is too low and the quota was exceeded; insufficient credits, model not found, flagged"
        for prompt in (text, "credit balance", "flagged"):
            error = self.failure(server, answer(self.error_body(f"Cannot parse: {prompt}"), 400), text=prompt)
            assert type(error) is RequestRejected

    # --- Secrets ---

    def steps_with(self, message: str, status: int = 400) -> Iterator[Step]:
        nested = json.dumps({"upstream": json.dumps({"detail": message})})
        escaped = message.replace("&", "&amp;").replace("<", "&lt;")
        page_status = 500 if status == 200 else status
        yield answer(self.error_body(message), status)
        yield answer(self.error_body(nested), status)
        yield answer({"code": message, "error": message, "message": message, "detail": message}, status)
        for page in (f"<html><title>{message}</title></html>", f"<p>{escaped}</p>", message):
            yield answer(page, page_status, content_type="text/html")
        yield close_after(f"{message}\r\n\r\n".encode())
        yield close_after(head(status, Content_Length=f"{len(message)},7 {KEY}", X_Odd=KEY) + message.encode()[:50])
        yield close_after(f"HTTP/1.1 {status} Scripted\r\n{message}\r\nContent-Length: 0\r\n\r\n".encode())

    @pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503])
    @pytest.mark.parametrize("text", SECRET_PROMPTS)
    def test_no_error_shows_key_or_prompt(
        self, server: FakeServer, caplog: pytest.LogCaptureFixture, status: int, text: str | None
    ) -> None:
        caplog.set_level("DEBUG")
        prompt = self.prompt(**({} if text is None else {"text": text}))
        for step in self.steps_with(message_with_secrets(prompt), status):
            error = self.failure(server, step, text=prompt.text)
            assert_redacted(error, secrets_of(prompt), caplog.text)


class TestTemplateText(TemplateContract, TextProviderContract):
    path = "/chat/completions"
    samples = "openai"
    body = {"model": "a-model", "messages": MESSAGES, "max_tokens": 900}
    stream_fields = {"stream": True, "stream_options": {"include_usage": True}}
    usage = Usage(input_tokens=20, cached_input_tokens=32, output_tokens=31)

    @classmethod
    def backend(cls) -> type[TemplateText]:
        return TemplateText

    def valid_body(self) -> Any:
        return self.sample("answer")

    def steps_with(self, message: str, status: int = 400) -> Iterator[Step]:
        yield from super().steps_with(message, status)
        yield answer(self.refusal_saying(message))
        yield stream([event_bytes(self.error_body(message))])
        yield stream([f"data: {message}\n\n".encode()])

    # --- The request ---

    def test_it_asks_for_no_compression(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        self.run(server)
        assert server.received[0].headers["accept-encoding"] == "identity"

    def test_half_an_emoji_in_the_prompt_becomes_a_question_mark(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        self.run(server, text="half \ud83d an emoji")
        assert server.received[0].json["messages"][-1]["content"] == "half ? an emoji"

    def test_each_feature_that_it_lacks_is_refused_before_anything_is_sent(self, server: FakeServer) -> None:
        provider = self.provider(server)
        provider.features = frozenset()
        for fields in (
            {"history": ()},
            {"system": ""},
            {"system": "", "history": (), "attachments": (ATTACHED_IMAGE,)},
            {"system": "", "history": (), "attachments": (Attachment("audio/ogg", b"?"),)},
        ):
            with pytest.raises(Unsupported) as caught:
                provider.check(self.prompt(**fields))
            assert caught.value.provider == self.slug
        provider.check(self.prompt(system="", history=()))
        with pytest.raises(Unsupported):
            provider.run(self.prompt(), timeout_seconds=1, deadline=Deadline.after(1))
        assert server.connections == 0

    def test_without_the_feature_it_asks_for_no_stream(self, server: FakeServer) -> None:
        provider = self.provider(server)
        provider.features -= {feature for feature in provider.features if feature.value == "streaming"}
        server.will(answer(self.sample("answer")))
        seen: list[str] = []
        provider.run(self.prompt(), timeout_seconds=20, deadline=Deadline.after(40), on_text=seen.append)
        assert "stream" not in server.received[0].json
        assert seen == ["Lima."]

    # --- The answer ---

    def test_blanks_are_not_shown(self, server: FakeServer) -> None:
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

    def test_every_message_of_a_stream_and_every_comment_resets_the_idle_timeout(
        self, server: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resets: list[object] = []
        monkeypatch.setattr(client.ProviderResponse, "reset_idle_timer", lambda response: resets.append(response))
        ping = b'event: ping\ndata: {"type": "ping"}\n\n'
        server.will(stream([b": keep-alive\n\n", b"\n\n", b"data:\n\n", ping, *self.events()]))
        self.run(server, on_text=len)
        messages = [event for event in self.sample("stream") if not isinstance(event, str)]
        assert len(resets) == len(messages) + 1  # a slow thinker's server says that it is alive

    def test_a_plain_answer_is_shown_to_a_caller_who_asked_for_a_stream(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        seen: list[str] = []
        assert self.run(server, on_text=seen.append).text == "Lima."
        assert seen == ["Lima."]

    def test_it_reads_a_stream_cut_anywhere(self, server: FakeServer) -> None:
        whole = b"".join(self.events()).replace(b"\n", b"\r\n")
        server.will(stream([whole[start : start + 7] for start in range(0, len(whole), 7)]))
        assert self.run(server, on_text=len).text == "Lima."

    def test_it_uses_its_connection_again_after_a_stream(self, server: FakeServer) -> None:
        server.will(stream(self.events()), answer(self.sample("answer")))
        self.run(server, on_text=len)
        self.run(server)
        assert [request.connection for request in server.received] == [1, 1]

    def test_a_stream_may_end_with_its_connection(self, server: FakeServer) -> None:
        body = b"".join(self.events())
        lengths: tuple[dict[str, int], ...] = ({}, {"Content_Length": len(body)})
        for length in lengths:
            server.will(close_after(head(Content_Type="text/event-stream", Connection="close", **length) + body))
            assert self.run(server, on_text=len).text == "Lima."

    def test_it_joins_the_halves_of_an_emoji_and_drops_nul(self, server: FakeServer) -> None:
        text = json.dumps(self.sample("answer")).replace("Lima.", r"\ud83d\udc24 Lima\u0000. \ud83d")
        server.will(answer(text))
        assert self.run(server).text == "🐤 Lima. \N{REPLACEMENT CHARACTER}"

    def test_an_answer_with_an_invalid_usage_is_returned(self, server: FakeServer) -> None:
        server.will(answer({**self.sample("answer"), "usage": "many"}))
        assert self.run(server).text == "Lima."

    # --- What is no answer ---

    @pytest.mark.parametrize("content", ["", " \n\t", "\0", "\0 \0"])
    def test_a_blank_text_is_no_answer(self, server: FakeServer, content: str) -> None:
        error = self.failure(server, answer({"choices": [{"message": {"content": content}}]}))
        assert type(error) is OutcomeUnknown
        assert error.maybe_paid

    def test_a_200_without_the_field_of_an_answer_is_read_as_an_error(self, server: FakeServer) -> None:
        assert type(self.failure(server, answer({"message": "It was flagged."}))) is ContentRefused

    @pytest.mark.parametrize("body", [{"error": {"message": "x", "code": 503}}, {"object": "error", "message": "x"}])
    def test_an_error_beside_an_answer_is_an_error(self, server: FakeServer, body: dict[str, Any]) -> None:
        self.failure(server, answer({**self.sample("answer"), **body}))
        error = self.failure(server, stream([event_bytes({**self.sample("answer"), **body})]), on_text=len)
        assert error.status == 200

    def test_a_stream_that_breaks_off_may_have_been_paid(self, server: FakeServer) -> None:
        error = self.failure(server, stream(self.events()[:-1], ends=False), on_text=len)
        assert type(error) is OutcomeUnknown
        assert (error.status, error.maybe_paid) == (200, True)

    def test_an_error_after_the_first_word_may_have_been_paid(self, server: FakeServer) -> None:
        events = [*self.events()[:-3], event_bytes(self.error_body("It was flagged."))]
        seen: list[str] = []
        error = self.failure(server, stream(events), on_text=seen.append)
        assert type(error) is ContentRefused
        assert seen
        assert error.maybe_paid

    @pytest.mark.parametrize("events", [[], [b"data: {oops\n\n"], [b"data: [1]\n\n"], [b"data: null\n\n"]])
    def test_a_stream_without_messages_is_no_answer(self, server: FakeServer, events: list[bytes]) -> None:
        assert type(self.failure(server, stream(events), on_text=len)) is OutcomeUnknown

    @pytest.mark.parametrize(
        "choice",
        [{"delta": {"refusal": "I cannot help with that."}}, {"delta": {}, "finish_reason": "content_filter"}],
    )
    def test_a_stream_may_hold_a_refusal(self, server: FakeServer, choice: dict[str, Any]) -> None:
        events = [self.events()[0], event_bytes({"choices": [choice]}), *self.events()[-2:]]
        error = self.failure(server, stream(events), on_text=len)
        assert type(error) is ContentRefused
        assert error.maybe_paid

    def test_an_error_before_the_first_word_was_not_paid(self, server: FakeServer) -> None:
        error = self.failure(server, stream([event_bytes(self.error_body("It was flagged."))]), on_text=len)
        assert type(error) is ContentRefused
        assert not error.maybe_paid


class TestTemplateImage(TemplateContract, MediaProviderContract):
    category = Category.IMAGE
    path = "/images"
    output_options = OutputOptions(aspect_ratio="16:9")
    unsupported = OutputOptions(aspect_ratio="7:3")
    body = {"model": "a-model", "prompt": DESCRIPTION, "size": "16:9"}
    answer = {"data": [{"b64_json": IMAGE_BASE64}], "usage": {"total_tokens": 7}}
    result = MediaResult(content=IMAGE, usage=Usage(images=1))

    @classmethod
    def backend(cls) -> type[TemplateImage]:
        return TemplateImage

    def valid_body(self) -> Any:
        return self.answer

    def test_half_an_emoji_in_the_prompt_becomes_a_question_mark(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server, text="half \ud83d an emoji")
        assert b"half ? an emoji" in server.received[0].body

    @pytest.mark.parametrize(
        "fields",
        [
            {"system": "Be brief."},
            {"history": (Turn("user", "Hello"), Turn("assistant", "Hi"))},
            {"attachments": (Attachment("image/png", IMAGE),)},
            {"attachments": (Attachment("audio/ogg", AUDIO),)},
        ],
    )
    def test_it_refuses_what_only_text_takes(self, server: FakeServer, fields: dict[str, Any]) -> None:
        with pytest.raises(Unsupported):
            self.run(server, **fields)
        assert server.connections == 0

    @pytest.mark.parametrize("content_type", ["image/png", "video/mp4", "audio/mpeg", "application/octet-stream"])
    def test_a_file_is_the_output_itself(self, server: FakeServer, content_type: str) -> None:
        server.will(answer(IMAGE, content_type=content_type))
        self.assert_result(self.run(server), self.result)

    def test_an_empty_file_or_another_type_is_no_output(self, server: FakeServer) -> None:
        for step in (answer(b"", content_type="image/png"), answer(b"%PDF-1.7", content_type="application/pdf")):
            assert type(self.failure(server, step)) is OutcomeUnknown

    def test_a_file_is_no_answer_where_json_was_asked_for(self, server: FakeServer) -> None:
        provider = self.provider(server)
        provider.answers_with_file = False
        server.will(answer(IMAGE, content_type="image/png"))
        with pytest.raises(OutcomeUnknown):
            provider.run(self.prompt(), timeout_seconds=5, deadline=Deadline.after(5))

    def test_the_usage_goes_along_with_a_failure(self, server: FakeServer) -> None:
        error = self.failure(server, answer({"data": [], "usage": {"total_tokens": 7}}))
        assert error.usage is not None
        assert error.usage.raw == {"total_tokens": 7}

    def test_an_error_in_a_200_is_an_error(self, server: FakeServer) -> None:
        error = self.failure(server, answer({**self.answer, "error": {"message": "Slow down.", "code": 429}}))
        assert type(error) is RateLimited
        assert not error.maybe_paid


class TestTemplateJob(TemplateContract, JobProviderContract):
    category = Category.VIDEO
    path = "/jobs"
    output_options = OutputOptions(seconds=10)
    unsupported = OutputOptions(seconds=7)
    body = {"model": "a-model", "prompt": DESCRIPTION, "seconds": 10}
    answer = {"id": "job-1", "status": "queued"}
    result = Job("job-1")
    job_id = "job-1"
    poll_path = "/jobs/job-1"

    @classmethod
    def backend(cls) -> type[TemplateJob]:
        return TemplateJob

    def valid_body(self) -> Any:
        return self.answer

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        return {"id": "job-1", "status": status, **fields}

    def test_an_output_has_a_default_length(self) -> None:
        assert self.body_of(OutputOptions())["seconds"] == 5

    @pytest.mark.parametrize("job_id", ["", None, 7, "x" * 201, "a\0b", "a/../b c", "a\nb", ["a"], "ключ"])
    def test_an_id_that_cannot_be_stored_and_polled_is_none(self, server: FakeServer, job_id: Any) -> None:
        error = self.failure(server, answer({"id": job_id, "status": "queued"}))
        assert type(error) is OutcomeUnknown
        assert error.maybe_paid

    def test_a_finished_job_has_its_output(self, server: FakeServer) -> None:
        url = "https://files.example.com/x.mp4"
        for result in (self.poll(server, self.state("succeeded", output=url)), self.submit_done(server, url)):
            self.assert_result(result, MediaResult(url=url, usage=Usage(images=1)))

    def submit_done(self, server: FakeServer, url: str) -> MediaResult | Job:
        server.will(answer(self.state("succeeded", output=url)))
        return self.run(server)

    @pytest.mark.parametrize("status", MEANINGS)
    def test_a_poll_that_failed_says_nothing_about_the_job_whatever_its_status(
        self, server: FakeServer, status: int
    ) -> None:
        for body in (self.error_body("Not now."), *UNREADABLE_BODIES):
            assert not self.poll_failure(server, body, status).ends_job

    @pytest.mark.parametrize("step", INVALID_ANSWERS)
    def test_an_invalid_answer_to_a_poll_does_not_end_the_job(self, server: FakeServer, step: Step) -> None:
        server.will(step)
        with pytest.raises(OutcomeUnknown) as caught:
            self.provider(server).poll(self.prompt(), self.job_id, deadline=Deadline.after(20))
        assert not caught.value.ends_job

    def test_a_failed_job_is_read_by_the_error_table_else_it_is_the_providers_fault(self, server: FakeServer) -> None:
        for message, expected in (("It was flagged.", "ContentRefused"), ("It broke.", "ServerFault")):
            error = self.poll_failure(server, self.failed(message))
            assert (error.error_class, error.excerpt, error.ends_job) == (expected, message, True)

    @pytest.mark.parametrize("text", SECRET_PROMPTS)
    def test_no_poll_shows_key_or_prompt(self, server: FakeServer, text: str | None) -> None:
        prompt = self.prompt(**({} if text is None else {"text": text}))
        message = message_with_secrets(prompt)
        for body, status in ((self.failed(message), 200), (self.error_body(message), 200), (message, 503)):
            assert_redacted(self.poll_failure(server, body, status, text=prompt.text), secrets_of(prompt))

    def test_a_job_is_cancelled_with_the_key(self, server: FakeServer) -> None:
        server.will(answer({}))
        self.provider(server).cancel("job-1", deadline=Deadline.after(20))
        (request,) = server.received
        assert (request.method, request.path) == ("POST", "/jobs/job-1/cancel")
        assert request.headers["authorization"] == f"Bearer {KEY}"

    def test_a_job_that_cannot_be_cancelled_is_left_alone(
        self, server: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TemplateJob, "cancel_call", lambda provider, job_id: None)
        self.provider(server).cancel("job-1", deadline=Deadline.after(20))
        assert server.connections == 0

    def test_no_lost_submission_is_found_where_the_provider_has_no_list(self, server: FakeServer) -> None:
        since = datetime(2026, 11, 23, tzinfo=UTC)
        assert self.provider(server).find_jobs(self.prompt(), since=since, deadline=Deadline.after(20)) == []
        assert server.connections == 0

"""What every provider of pictures, films and sounds must do. A test file is a class with its order and its answer."""

import base64
import json
import logging
from typing import Any, ClassVar

import pytest

from providers.backends.media_generation import JobProvider, MediaProvider
from providers.errors import (
    AccessDenied,
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
from providers.types import Access, Attachment, Category, Job, MediaResult, OutputOptions, Prompt, Turn, Usage
from tests.contracts.openapi import contract_of
from tests.contracts.text import KEY, everything_said_by
from tests.fakes.http_server import FakeServer, Step, answer, close_after, half_body, hang, head, reset

WANTED = "A canary on a lamp post in Lima,\nat dawn, “oil on canvas” & <framed> 🐤"
PICTURE = b"\x89PNG\r\n\x1a\n a small picture"
PICTURE_BASE64 = base64.b64encode(PICTURE).decode()
SOUND = b"ID3\x04\x00 a short sound"


class MediaProviderContract:
    """Behaviours common to all. `server` is a fixture that plays the vendor."""

    vendor: ClassVar[str]
    category: ClassVar[Category]
    model: ClassVar[str]
    path: ClassVar[str]  # of the order, with the path of the base URL
    auth: ClassVar[tuple[str, str]] = ("Authorization", f"Bearer {KEY}")
    output_options: ClassVar[OutputOptions] = OutputOptions()
    body: ClassVar[dict[str, Any]]  # what the prompt below becomes
    contract_path: ClassVar[str] = ""  # of the order in the vendor's contract; "": the contract has none
    status: ClassVar[int] = 200  # of an order that was taken
    answer: ClassVar[Any]  # to the order: JSON, or the bytes of a file
    answer_type: ClassVar[str] = "application/json"
    result: ClassVar[MediaResult | Job]  # what the answer holds; without usage.raw

    # --- Helpers for the vendors' own tests ---

    def prompt(self, **fields: Any) -> Prompt:
        return Prompt(
            **{
                "category": self.category,
                "text": WANTED,
                "model": self.model,
                "output_options": self.output_options,
                **fields,
            }
        )

    def provider(self, server: FakeServer | None = None) -> MediaProvider:
        base_url = (server.url if server else "http://127.0.0.1:1") + PROVIDERS[self.vendor].base_path
        provider = provider_class(self.category, self.vendor)(Access(KEY, base_url))
        assert isinstance(provider, MediaProvider)
        return provider

    def run(self, server: FakeServer, **fields: Any) -> MediaResult | Job:
        return self.provider(server).run(self.prompt(**fields), timeout_seconds=20.0, deadline=Deadline.after(40))

    def answered(self) -> Step:
        return answer(self.answer, self.status, content_type=self.answer_type)

    def failure(self, server: FakeServer, step: Step, **fields: Any) -> ProviderError:
        server.will(step)
        with pytest.raises(ProviderError) as caught:
            self.run(server, **fields)
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

    def assert_result(self, found: MediaResult | Job, expected: MediaResult | Job) -> None:
        if isinstance(found, Job) or isinstance(expected, Job):
            assert found == expected
            return
        assert (found.content, found.url) == (expected.content, expected.url)
        self.assert_usage(found.usage, expected.usage)

    def assert_usage(self, found: Usage, expected: Usage) -> None:
        for line in ("input_tokens", "output_tokens", "images", "seconds", "characters", "reported_cost"):
            assert getattr(found, line) == getattr(expected, line), line
        json.dumps(dict(found.raw))  # any JSON column takes it

    # --- The order ---

    def test_it_sends_the_key_and_the_order_as_documented(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server)
        (request,) = server.received
        assert (request.method, request.path) == ("POST", self.path)
        assert request.headers[self.auth[0].lower()] == self.auth[1]
        assert request.headers["content-type"] == "application/json"
        assert request.json == self.body

    def test_the_order_keeps_the_vendors_contract(self, server: FakeServer) -> None:
        if not self.contract_path:
            pytest.skip("the vendor's document does not describe this path")
        contract = contract_of(self.vendor)
        server.will(self.answered())
        for output_options in (OutputOptions(), self.output_options):
            self.run(server, output_options=output_options)
        for request in server.received:
            assert contract.request_errors("POST", self.contract_path, request.json) == []

    def test_our_sample_keeps_the_vendors_contract(self) -> None:
        if not self.contract_path or isinstance(self.answer, bytes):
            pytest.skip("the vendor's document does not describe this answer")
        faults = contract_of(self.vendor).response_errors("POST", self.contract_path, self.status, self.answer)
        assert faults == []

    def test_it_survives_half_an_emoji_in_the_prompt(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.run(server, text="half \ud83d an emoji")
        assert b"half ? an emoji" in server.received[0].body

    def test_it_refuses_what_it_cannot_do_before_sending(self, server: FakeServer) -> None:
        for fields in (
            {"system": "Be brief."},
            {"history": (Turn("user", "Hello"), Turn("assistant", "Hi"))},
            {"attachments": (Attachment("image/png", PICTURE),)},
            {"attachments": (Attachment("audio/ogg", SOUND),)},
        ):
            with pytest.raises(Unsupported) as caught:
                self.run(server, **fields)
            assert caught.value.provider == self.vendor
        assert server.connections == 0

    # --- The answer ---

    def test_it_returns_what_the_answer_holds(self, server: FakeServer) -> None:
        server.will(self.answered())
        self.assert_result(self.run(server), self.result)

    @pytest.mark.parametrize(
        "step",
        [
            answer(b""),
            answer("{}"),
            answer("null"),
            answer("[]"),
            answer("[" * 100_000),
            answer('{"data": NaN}'),
            answer({"data": []}),
            answer({"data": [None]}),
            answer({"data": "x", "output": 7, "audio": 7, "id": 7, "video": []}),
            answer({"data": [{"b64_json": "%%%"}]}),
            answer({"data": [{"b64_json": ""}], "output": ["ftp://example.com/x"], "status": "succeeded"}),
            answer("", 204),
            answer("moved", 302, Location="http://127.0.0.1:1/elsewhere"),
            half_body,
            reset,
            close_after(b""),
            close_after(b"HTTP/1.1 200 OK\r\nContent-Ty"),
        ],
    )
    def test_what_makes_no_sense_may_have_been_paid(self, server: FakeServer, step: Step) -> None:
        error = self.failure(server, step)
        assert type(error) is OutcomeUnknown
        assert error.maybe_paid
        assert len(server.received) == 1  # never ordered twice

    def test_a_refused_connection_is_certainly_not_paid(self) -> None:
        with pytest.raises(NotSent) as caught:
            self.provider().run(self.prompt(), timeout_seconds=5, deadline=Deadline.after(5))
        assert not caught.value.maybe_paid
        assert caught.value.provider == self.vendor

    def test_it_waits_for_an_answer_no_longer_than_it_may(self, server: FakeServer) -> None:
        server.will(hang)
        with pytest.raises(OutcomeUnknown):
            self.provider(server).run(self.prompt(), timeout_seconds=0.2, deadline=Deadline.after(300))

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
        for body in (self.error_body("Something else."), b"", "<html>Bad</html>", "plain text", [1], "null"):
            self.assert_means(server, status, body, expected)

    def test_it_says_when_it_may_be_asked_again(self, server: FakeServer) -> None:
        error = self.assert_means(server, 429, self.error_body("Slow down."), RateLimited, Retry_After=17)
        assert error.retry_after == 17.0
        assert "Slow down." in str(error)

    def test_the_prompts_words_decide_nothing(self, server: FakeServer) -> None:
        text = "My credit balance is too low and the quota was exceeded; insufficient credits, model not found, flagged"
        for wanted in (text, "credit balance"):
            error = self.failure(server, answer(self.error_body(f"Cannot parse: {wanted}"), 400), text=wanted)
            assert type(error) is RequestRejected

    # --- Secrets ---

    @pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 503])
    @pytest.mark.parametrize("wanted", [WANTED, "🐤", "canary", "PIN 4711"])
    def test_no_key_and_no_prompt_in_any_error(
        self, server: FakeServer, caplog: pytest.LogCaptureFixture, status: int, wanted: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        said = f"Key {KEY} or Bearer {KEY[:12]}****{KEY[-4:]}: {wanted}"
        quoted = json.dumps({"upstream": json.dumps({"detail": said})})
        secrets = [KEY, KEY[:12], KEY[-12:]]
        secrets += [wanted] if len(wanted) < 16 else [wanted[:16], wanted[-16:], wanted[20:36]]
        for step in (
            answer(self.error_body(said), status),
            answer(self.error_body(quoted), status),
            answer({"code": said, "error": said, "message": said, "detail": said}, status),
            answer({"status": "failed", "error": said, "detail": [{"msg": said}]}, status),
            answer(f"<html><title>{said}</title></html>", status if status != 200 else 500, content_type="text/html"),
            close_after(f"{said}\r\n\r\n".encode()),
            close_after(head(status, Content_Length=f"{len(said)},7 {KEY}", X_Odd=KEY) + said.encode()[:50]),
        ):
            error = self.failure(server, step, text=wanted)
            shown = everything_said_by(error) + caplog.text
            assert [secret for secret in secrets if secret in shown] == [], shown
            assert len(error.excerpt) <= 200
            assert len(error.code) <= 64

    def test_no_key_and_no_prompt_in_any_repr(self) -> None:
        provider = self.provider()
        prompt = self.prompt()
        assert "canary" not in "".join(map(repr, [provider, provider.access, prompt, provider.build(prompt)]))


class JobProviderContract(MediaProviderContract):
    """Behaviours common to those that make it in their own time."""

    job_id: ClassVar[str]
    poll_path: ClassVar[str]  # with the path of the base URL
    poll_contract_path: ClassVar[str] = ""

    def provider(self, server: FakeServer | None = None) -> JobProvider:
        provider = super().provider(server)
        assert isinstance(provider, JobProvider)
        return provider

    def state(self, status: str, **fields: Any) -> dict[str, Any]:
        """Return what the vendor says of the job in this state of its own naming."""
        raise NotImplementedError

    def poll(self, server: FakeServer, body: Any, status: int = 200) -> MediaResult | Job:
        server.will(answer(body, status))
        return self.provider(server).poll(self.prompt(), self.job_id, deadline=Deadline.after(20))

    def poll_failure(self, server: FakeServer, body: Any, status: int = 200) -> ProviderError:
        with pytest.raises(ProviderError) as caught:
            self.poll(server, body, status)
        assert caught.value.provider == self.vendor
        return caught.value

    def test_it_asks_for_the_job_with_the_key_and_without_a_body(self, server: FakeServer) -> None:
        self.poll(server, self.state("processing"))
        (request,) = server.received
        assert (request.method, request.path, request.body) == ("GET", self.poll_path, b"")
        assert request.headers[self.auth[0].lower()] == self.auth[1]

    def test_our_states_keep_the_vendors_contract(self) -> None:
        if self.poll_contract_path:
            contract = contract_of(self.vendor)
            assert contract.response_errors("GET", self.poll_contract_path, 200, self.answer) == []

    def test_a_state_nobody_has_heard_of_goes_on(self, server: FakeServer) -> None:
        assert self.poll(server, self.state("pondering")) == Job(self.job_id)

    @pytest.mark.parametrize("job_id", ["", None, 7, "x" * 201, "a\0b", "a/../b c", "a\nb"])
    def test_an_order_without_an_id_to_ask_for_has_an_unknown_outcome(self, server: FakeServer, job_id: Any) -> None:
        error = self.failure(
            server, answer(json.loads(json.dumps(self.answer).replace(f'"{self.job_id}"', json.dumps(job_id))))
        )
        assert type(error) is OutcomeUnknown
        assert error.maybe_paid

    @pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
    def test_a_question_that_failed_says_nothing_about_the_job(self, server: FakeServer, status: int) -> None:
        error = self.poll_failure(server, self.error_body("Not now."), status)
        assert not error.ends_job

    @pytest.mark.parametrize("wanted", [WANTED, "canary", "PIN 4711"])
    def test_a_failed_job_quotes_neither_key_nor_prompt(self, server: FakeServer, wanted: str) -> None:
        server.will(answer(self.failed(f"{KEY} cannot draw: {wanted}")))
        with pytest.raises(ProviderError) as caught:
            self.provider(server).poll(self.prompt(text=wanted), self.job_id, deadline=Deadline.after(20))
        assert caught.value.ends_job
        shown = everything_said_by(caught.value)
        assert KEY not in shown
        assert wanted[:16] not in shown

    def test_the_prompts_words_decide_nothing_about_a_failed_job(self, server: FakeServer) -> None:
        wanted = "An NSFW risk: flagged as sensitive by moderation, insufficient credits"
        server.will(answer(self.failed(f"The model crashed on: {wanted}")))
        with pytest.raises(ProviderError) as caught:
            self.provider(server).poll(self.prompt(text=wanted), self.job_id, deadline=Deadline.after(20))
        assert type(caught.value) is ServerFault

    def failed(self, words: str) -> dict[str, Any]:
        """Return what the vendor says of a job that failed in these words."""
        return self.state("failed", error=words)

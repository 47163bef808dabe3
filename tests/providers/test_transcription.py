"""Speech to text: the form that each provider gets, its answer, what was billed, and what is no answer."""

from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser

from providers.errors import AccessDenied, ModelGone, OutcomeUnknown, ProviderError, RateLimited, Unsupported
from providers.registry import PROVIDERS, provider_class, register_compatible
from providers.sandbox import running_sandbox
from providers.sandbox.fake_files import HEARD
from providers.shipped import shipped_routes
from providers.transport.deadlines import Deadline
from providers.types import Access, Attachment, Category, Operation, OutputOptions, Overrides, Prompt, TextResult, Usage
from tests.contracts.base import KEY, assert_redacted
from tests.fakes.http_server import FakeServer, Received, answer, stream

VOICE = Attachment("audio/ogg", b"OggS a voice message \r\n--of a \x00 few bytes")
MODELS = {"openai": "gpt-transcribe", "groq": "whisper-large-v3-turbo", "elevenlabs": "scribe_v2"}
PATHS = {
    "openai": "/v1/audio/transcriptions",
    "groq": "/openai/v1/audio/transcriptions",
    "elevenlabs": "/v1/speech-to-text",
}
FIELDS = {
    "openai": {"model": "gpt-transcribe", "response_format": "json"},
    "groq": {"model": "whisper-large-v3-turbo", "response_format": "verbose_json"},
    "elevenlabs": {"model_id": "scribe_v2", "tag_audio_events": "false", "timestamps_granularity": "none"},
}
# As each documents its answer, and what it bills for it.
ANSWERS: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai": (
        {"text": " Guten Morgen. ", "languages": [], "usage": {"type": "duration", "seconds": 12.4}},
        Usage(seconds=Decimal("12.4")),
    ),
    "groq": (
        {"task": "transcribe", "language": "German", "duration": 2.5, "text": " Guten Morgen.", "x_groq": {"id": "r"}},
        Usage(seconds=Decimal(10)),  # the least that it bills
    ),
    "elevenlabs": (
        {"language_code": "deu", "text": "Guten Morgen.", "words": [], "audio_duration_secs": 2.5},
        Usage(seconds=Decimal("2.5")),
    ),
}
SLUGS = tuple(MODELS)


def transcribe(server: FakeServer, slug: str, **fields: Any) -> TextResult:
    backend = provider_class(Category.TEXT, slug, Operation.TRANSCRIBE)
    provider = backend(Access(KEY, f"{server.url}{PROVIDERS[slug].base_path}"))
    prompt = Prompt(
        **{
            "category": Category.TEXT,
            "text": "",
            "operation": Operation.TRANSCRIBE,
            "attachments": (VOICE,),
            "model": MODELS.get(slug, "whisper"),
            **fields,
        }
    )
    result = provider.run(prompt, timeout_seconds=20.0, deadline=Deadline.after(40))
    assert isinstance(result, TextResult)
    return result


def failure(server: FakeServer, slug: str, *steps: Any, **fields: Any) -> ProviderError:
    server.will(*steps)
    with pytest.raises(ProviderError) as caught:
        transcribe(server, slug, **fields)
    assert caught.value.provider == slug
    return caught.value


@pytest.mark.parametrize("slug", SLUGS)
class TestEachProvider:
    def test_it_gets_the_file_in_a_form(self, server: FakeServer, slug: str) -> None:
        server.will(answer(ANSWERS[slug][0]))
        transcribe(server, slug)

        (request,) = server.received
        header = ("xi-api-key", KEY) if slug == "elevenlabs" else ("authorization", f"Bearer {KEY}")
        assert (request.method, request.path, request.headers[header[0]]) == ("POST", PATHS[slug], header[1])
        fields, files = form_in(request)
        assert fields == FIELDS[slug]
        assert files == {"file": ("audio.ogg", "audio/ogg", VOICE.content)}

    def test_its_words_and_what_it_bills(self, server: FakeServer, slug: str) -> None:
        body, usage = ANSWERS[slug]
        server.will(answer(body))

        result = transcribe(server, slug)

        assert result.text == "Guten Morgen."
        assert result.usage.seconds == usage.seconds
        assert result.usage.raw

    def test_silence_is_an_answer_that_was_paid_for(self, server: FakeServer, slug: str) -> None:
        server.will(answer({**ANSWERS[slug][0], "text": "  "}))

        result = transcribe(server, slug)

        assert result.text == ""
        assert result.usage.seconds

    def test_a_language_is_passed_on(self, server: FakeServer, slug: str) -> None:
        server.will(answer(ANSWERS[slug][0]))
        transcribe(server, slug, output_options=OutputOptions(language="de"))

        fields, _ = form_in(server.received[0])
        assert fields["language_code" if slug == "elevenlabs" else "language"] == "de"

    def test_the_operators_fields_are_in_the_form(self, server: FakeServer, slug: str) -> None:
        server.will(answer(ANSWERS[slug][0]))
        overrides = Overrides({"temperature": 0.5, "keyterms": ["Lima"]}, tuple(FIELDS[slug])[1:], {"X-Title": "A bot"})
        transcribe(server, slug, overrides=overrides)

        fields, _ = form_in(server.received[0])
        first = next(iter(FIELDS[slug]))
        assert fields == {first: MODELS[slug], "temperature": "0.5", "keyterms[]": "Lima"}
        assert server.received[0].headers["x-title"] == "A bot"

    @pytest.mark.parametrize(
        "body", ["", "<html>", "[]", {"task": "transcribe"}, {"text": "x", "error": {"message": "no"}}]
    )
    def test_what_is_no_answer(self, server: FakeServer, slug: str, body: Any) -> None:
        assert failure(server, slug, answer(body)).maybe_paid

    def test_a_stream_is_no_answer(self, server: FakeServer, slug: str) -> None:
        assert type(failure(server, slug, stream([b'data: {"text": "x"}\n\n']))) is OutcomeUnknown

    def test_no_error_shows_the_key(self, server: FakeServer, slug: str) -> None:
        assert_redacted(failure(server, slug, answer({"message": f"Wrong key {KEY}"}, 400)), [KEY])

    @pytest.mark.parametrize(
        ("status", "expected"), [(401, AccessDenied), (404, ModelGone), (429, RateLimited), (500, OutcomeUnknown)]
    )
    def test_errors_are_those_of_the_provider(
        self, server: FakeServer, slug: str, status: int, expected: type[ProviderError]
    ) -> None:
        assert type(failure(server, slug, answer({}, status))) is expected

    @pytest.mark.parametrize(
        "attachments",
        [(), (VOICE, VOICE), (Attachment("image/png", b"\x89PNG"),), (Attachment("audio/ogg", bytes(25_000_001)),)],
    )
    def test_it_takes_one_audio_file_of_a_certain_size(self, server: FakeServer, slug: str, attachments: Any) -> None:
        with pytest.raises(Unsupported):
            transcribe(server, slug, attachments=attachments)
        assert server.connections == 0


def test_a_server_of_the_operators_own_is_asked_once_more_without_what_it_refuses(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROVIDERS, "whisper-box", None)  # so that it is gone afterwards
    register_compatible("whisper-box", f"{server.url}/v1")
    refusal = {"error": {"message": "response_format verbose_json is not supported"}}
    server.will(answer(refusal, 400), answer({"text": "Hello"}))

    result = transcribe(server, "whisper-box", model="a-small-one")

    assert (result.text, result.usage.seconds) == ("Hello", None)
    assert [form_in(request)[0] for request in server.received] == [
        {"model": "a-small-one", "response_format": "verbose_json"},
        {"model": "a-small-one"},
    ]


def test_a_bill_by_tokens_is_kept(server: FakeServer) -> None:
    """As gpt-4o-transcribe tells it."""
    details = {"text_tokens": 0, "audio_tokens": 14}
    usage = {
        "type": "tokens",
        "input_tokens": 14,
        "output_tokens": 45,
        "total_tokens": 59,
        "input_token_details": details,
    }
    server.will(answer({"text": "Hello", "usage": usage}))

    found = transcribe(server, "openai").usage

    assert (found.input_tokens, found.output_tokens, found.seconds, found.raw) == (14, 45, None, usage)


@pytest.mark.parametrize("route", shipped_routes(operation=Operation.TRANSCRIBE), ids=lambda route: route.provider)
def test_the_sandbox_hears_in_the_place_of_each_shipped_route(route: Any) -> None:
    with running_sandbox() as sandbox:
        spec = PROVIDERS[route.provider]
        access = Access(f"sandbox-key-{route.provider}", f"{sandbox.url}/{route.provider}{spec.base_path}")
        prompt = Prompt(
            Category.TEXT, "", operation=Operation.TRANSCRIBE, model=route.model, attachments=(VOICE,)
        )  # fmt: skip
        provider = provider_class(Category.TEXT, route.provider, Operation.TRANSCRIBE)(access)
        result = provider.run(prompt, timeout_seconds=10, deadline=Deadline.after(10))
        (line,) = sandbox.billing.as_list()

    assert isinstance(result, TextResult)
    assert result.text == HEARD
    assert line["billed"]
    assert Decimal(line["usage"]["seconds"]) == result.usage.seconds


def form_in(request: Received) -> tuple[dict[str, str], dict[str, tuple[str, str, bytes]]]:
    """Return the fields and the files of a form as Django reads it."""
    meta = {"CONTENT_TYPE": request.headers["content-type"], "CONTENT_LENGTH": len(request.body)}
    fields, files = MultiPartParser(meta, BytesIO(request.body), [MemoryFileUploadHandler()]).parse()
    return fields.dict(), {name: (file.name, file.content_type, file.read()) for name, file in files.items()}

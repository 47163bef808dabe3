"""Prompts that are spoken: turned into text by a call of its own, which is priced into the request and stands apart."""

from decimal import Decimal
from typing import Any

import pytest

from providers.chain.candidates import can_transcribe
from providers.errors import ContentRefused, ServerFault
from providers.models import Attempt, AttemptRollup, ProviderConfig
from providers.sandbox.fake_files import HEARD
from providers.size_estimates import seconds_of_audio
from providers.statistics.rollups import fold_attempts
from providers.statistics.selectors import cost_comparison, provider_stats, recommended
from providers.storage import store_audio
from providers.types import Category, Feature, Operation, TextResult, Usage
from requests_app.errors import PromptInvalid
from requests_app.models import Account, AIModel, LedgerEntry, Request
from requests_app.selectors import LISTEN, history_of
from requests_app.services import execution
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from requests_app.services.retention import content_erase
from requests_app.statements import request_claim
from tests.factories import make_account, make_attempt, make_model, make_request
from tests.fakes.audio import opus

pytestmark = pytest.mark.django_db

VOICE = opus(120, frame_bytes=40)
SILENCE = opus(1, said="")


@pytest.fixture(autouse=True)
def _in_memory(memory_backend, enqueued, settings, tmp_path):
    """No test here sends a wake-up to Celery or a message to a chat."""
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def account() -> Account:
    return make_account(credits=100)


def speak(account: Account, model: AIModel | None = None, *, content: bytes = VOICE, **fields: Any) -> Request:
    key = f"test:{Request.objects.count()}"
    voice = store_audio(content=content, key=key.replace(":", "-"))
    assert voice
    return request_accept(
        intake_key=key,
        account=account,
        model=model or AIModel.objects.get(slug="text-ai"),
        text=fields.pop("text", ""),
        input_media=[voice],
        **fields,
    )


def advanced(request: Request) -> Request:
    request_advance(request_id=request.id)
    request.refresh_from_db()
    return request


def trail(request: Request) -> list[tuple[str, str, str]]:
    attempts = Attempt.objects.filter(caller_key=request.id).order_by("number")
    return list(attempts.values_list("route", "operation", "state"))


class TestWithTheSandbox:
    def test_it_is_heard_and_answered(self, sandboxed, account):
        request = advanced(speak(account))

        assert (request.status, request.transcript, request.input_seconds) == ("COMPLETED", HEARD, 125)
        assert trail(request) == [
            ("openai-transcribe", "transcribe", "OK"),
            ("aimlapi", "generate", "OK"),
        ]
        assert HEARD in request.output_text  # the sandbox repeats what it was asked

    def test_its_cost_is_that_of_both_calls_and_the_bill_says_the_same(self, sandboxed, account):
        request = advanced(speak(account))

        billed = [Decimal(line["cost"]) for line in sandboxed.billing.as_list()]
        assert len(billed) == 2
        assert request.cost == sum(billed)
        assert request.cost_source == "computed"

    def test_minutes_are_held_at_the_worst_and_charged_as_they_were(self, sandboxed, account):
        request = speak(account)
        held = request.credits
        advanced(request)

        assert seconds_of_audio(VOICE) == 120
        assert (held, request.credits) == (9, 3)  # 2 minutes, and the longest answer; then what it was
        account.refresh_from_db()
        assert account.balance == 100 - 3 == sum(LedgerEntry.objects.values_list("amount", flat=True))

    def test_a_caption_comes_before_what_was_said(self, sandboxed, account):
        request = advanced(speak(account, text="In one word:"))

        (_, asked) = sandboxed.billing.as_list()
        assert asked["prompt"] == f"In one word:\n\n{HEARD}"
        assert request.input_text == "In one word:"

    def test_what_was_said_is_an_earlier_turn(self, sandboxed, account):
        answered = advanced(speak(account, conversation="c"))
        request = speak(account, conversation="c")

        claimed = request_claim(request_id=request.id, lease_seconds=15)

        assert claimed is not None
        assert [turn.text for turn in history_of(claimed)] == [HEARD, answered.output_text]

    @pytest.mark.parametrize("text", ["", "Summarise"], ids=["alone", "with a question about it"])
    def test_silence_is_told_and_costs_nothing(self, sandboxed, account, text):
        request = advanced(speak(account, text=text, content=SILENCE))

        assert (request.status, request.error_code, request.transcript) == ("FAILED", "NOTHING_HEARD", "")
        assert trail(request) == [("openai-transcribe", "transcribe", "OK")]
        account.refresh_from_db()
        assert account.balance == 100

    def test_the_next_route_hears_where_one_fails(self, sandboxed, account):
        sandboxed.break_provider("openai", "down")

        request = advanced(speak(account))

        assert request.status == "COMPLETED"
        assert trail(request)[:2] == [
            ("openai-transcribe", "transcribe", "FAILED"),
            ("groq-transcribe", "transcribe", "OK"),
        ]

    def test_where_none_can_hear_the_request_fails_and_costs_nothing(self, sandboxed, account):
        for slug in ("openai", "groq", "elevenlabs"):
            sandboxed.break_provider(slug, "down")

        request = advanced(speak(account))

        assert (request.status, request.error_code) == ("FAILED", "ALL_PROVIDERS_FAILED")
        account.refresh_from_db()
        assert account.balance == 100

    def test_a_transcript_is_made_once_whatever_dies_afterwards(self, sandboxed, account, monkeypatch):
        request = speak(account)

        class Killed(BaseException):
            pass

        def die(*_: Any) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(execution, "question_of", die)
            with pytest.raises(Killed):
                request_advance(request_id=request.id)
        Request.objects.update(lease_until=None)
        advanced(request)

        assert request.status == "COMPLETED"
        assert [operation for _, operation, _ in trail(request)] == ["transcribe", "generate"]

    def test_it_stands_apart_in_the_statistics(self, sandboxed, account, settings):
        advanced(speak(account))
        Attempt.objects.update(purpose="user")
        settings.SANDBOX_ACTIVE = False
        for _ in range(2):  # before and after folding
            found = {stats.route: stats for stats in provider_stats(Category.TEXT)}
            assert found["openai-transcribe"].operation == Operation.TRANSCRIBE
            assert (found["openai-transcribe"].successes, found["openai"].requests) == (1, 0)
            assert all(stats.operation == Operation.GENERATE for stats in cost_comparison(Category.TEXT))
            assert recommended(Category.TEXT).route == "aimlapi"
            fold_attempts()
        assert AttemptRollup.objects.get(route="openai-transcribe").operation == Operation.TRANSCRIBE

    def test_erasing_takes_what_was_said(self, sandboxed, account):
        request = advanced(speak(account))

        content_erase(requests=Request.objects.all())

        request.refresh_from_db()
        assert request.transcript is None


class TestARouteThatListensItself:
    def test_is_asked_where_nobody_writes_it_down(self, account, chain):
        script = chain(openrouter=[TextResult("Good morning.", Usage(input_tokens=900, output_tokens=5))])
        script.features = frozenset(Feature)
        ProviderConfig.objects.filter(name="openrouter", category="TEXT").update(capabilities={"audio_input": True})
        assert not can_transcribe()

        request = advanced(speak(account))

        (prompt,) = script.prompts
        assert prompt.text == LISTEN
        assert [file.content_type for file in prompt.attachments] == ["audio/ogg"]
        assert (request.status, request.transcript, request.input_seconds) == ("COMPLETED", None, 0)

    def test_leaves_a_turn_with_words_in_the_conversation(self, account, chain):
        script = chain(openrouter=["Good morning.", "It is nine."])
        script.features = frozenset(Feature)
        ProviderConfig.objects.filter(name="openrouter", category="TEXT").update(capabilities={"audio_input": True})
        advanced(speak(account, conversation="c"))

        advanced(speak(account, conversation="c", text="What time is it?"))

        assert [turn.text for turn in script.prompts[1].history] == [LISTEN, "Good morning."]

    def test_is_asked_where_writing_it_down_has_failed(self, account, chain):
        script = chain(openai=[ServerFault()], openrouter=["Good morning."])
        script.features = frozenset(Feature)
        ProviderConfig.objects.filter(name="openrouter", category="TEXT").update(capabilities={"audio_input": True})
        ProviderConfig.objects.filter(name="openai", category="TEXT").delete()

        request = advanced(speak(account))

        assert request.status == "COMPLETED"
        assert [operation for _, operation, _ in trail(request)] == ["transcribe", "generate"]


def test_what_a_worker_that_was_thought_lost_has_heard_is_used(account, chain):
    def fail_after_the_other_one_has_heard() -> str:
        Request.objects.update(transcript="What time is it?", input_seconds=2)
        raise ServerFault

    script = chain(groq=[fail_after_the_other_one_has_heard], openai=["It is nine."])
    ProviderConfig.objects.filter(name__in=["openai-transcribe", "groq"], category="TEXT").delete()

    request = advanced(speak(account))

    assert (request.status, request.transcript) == ("COMPLETED", "What time is it?")
    assert script.prompts[-1].text == "What time is it?"


def test_the_language_of_an_ai_model_is_that_of_what_is_said(account, chain):
    script = chain(groq=["Guten Morgen."], openai=["Good morning."])
    ProviderConfig.objects.filter(name__in=["openai-transcribe", "groq"], category="TEXT").delete()

    advanced(speak(account, make_model(options={"language": "de"})))

    assert script.prompts[0].output_options.language == "de"


def test_a_recording_that_is_too_long_is_refused(account, settings):
    settings.MAX_AUDIO_SECONDS = 100
    with pytest.raises(PromptInvalid, match="The recording is 2 minutes long"):
        speak(account)


@pytest.mark.parametrize("content", [b"fLaC" + bytes(500), b"OggS" + bytes(500), b"MZ"])
def test_what_cannot_be_measured_is_not_taken(content):
    assert store_audio(content=content, key="k") is None


def test_what_was_heard_before_is_no_attempt_at_the_answer(account, chain):
    """The numbers of a caller's attempts go on, and a refusal to hear is none to answer."""
    chain(openai=[ContentRefused()], anthropic=["Good morning."])
    request = make_request(account=account, input_text="Hello")
    make_attempt(caller_key=request.id, number=1, operation="transcribe", provider="openai", route="openai-transcribe",
                 state="FAILED", error_class=ContentRefused.error_class, cost=None)  # fmt: skip
    Request.objects.filter(id=request.id).update(fence=1)

    assert advanced(request).status == "COMPLETED"
    assert [number for number, *_ in Attempt.objects.order_by("number").values_list("number")] == [1, 2, 3]

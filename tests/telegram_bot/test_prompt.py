"""A prompt becomes a request and a placeholder, and then an answer."""

import gc

import pytest

from providers.errors import ContentRefused, NotSent, OutcomeUnknown
from providers.types import UnknownPolicy
from requests_app.models import AIModel, LedgerEntry, Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from telegram_bot import texts
from telegram_bot.delivery import streaming
from telegram_bot.delivery.backend import request_deliver
from telegram_bot.models import Delivery, TelegramUpdate
from tests.factories import make_chat, make_model
from tests.fakes.telegram import refuse
from tests.flows.processes import wait_until
from tests.telegram_bot.updates import GROUP_ID, mention, message

pytestmark = pytest.mark.django_db

ADVANCE = "requests_app.tasks.advance"


def advance() -> Request:
    request = Request.objects.get()
    request_advance(request_id=request.id)
    request.refresh_from_db()
    return request


def test_a_prompt_is_answered_in_place_of_its_placeholder(fake, say, chain):
    chain(aimlapi=["**Hello**, Ada!"])

    outcome = say(message("Say hello"))
    assert fake.chat(42).texts == [texts.PLACEHOLDER]
    request = advance()

    assert outcome == f"accepted as {request.id}"
    (shown,) = fake.chat(42).messages
    assert (shown.text, [entity["type"] for entity in shown.entities]) == ("Hello, Ada!", ["bold"])
    assert request.status == "COMPLETED"
    assert Delivery.objects.get().state == "DELIVERED"


@pytest.mark.django_db(transaction=True)
def test_an_idle_stream_is_still_known_when_the_answer_is_delivered(fake, say, chain, monkeypatch):
    chain(aimlapi=["Hello, Ada!"])
    close = streaming.live_message_close

    def close_when_idle(request_id):
        wait_until(lambda: is_idle(request_id), "the last partial edit")
        gc.collect()
        return close(request_id)

    def is_idle(request_id):
        live_message = streaming.live_messages.get(request_id)
        return live_message is None or live_message.is_idle

    monkeypatch.setattr("telegram_bot.delivery.backend.live_message_close", close_when_idle)
    say(message("Say hello"))
    advance()

    # Otherwise it would be shown again later, as if another process had streamed it.
    assert Delivery.objects.get().state == "DELIVERED"


@pytest.mark.django_db(transaction=True)
def test_the_wake_up_is_enqueued_before_the_placeholder_is_sent(fake, say, chain, enqueued):
    chain(aimlapi=["Hello"])
    enqueued_by_then: list[str] = []
    fake.will("sendMessage", lambda *_: enqueued_by_then.extend(task for task, _ in enqueued))

    say(message("Say hello"))

    assert ADVANCE in enqueued_by_then


def test_a_path_or_a_date_is_no_command(fake, say, chain):
    chain(aimlapi=["a", "b"])

    assert say(message("/etc/hosts – what is it?")).startswith("accepted")
    assert say(message("/new")) == "started a conversation"
    assert say(message("/ what is this sign called?")).startswith("accepted")


def test_the_same_update_handled_twice_is_one_request_one_hold_and_one_placeholder(fake, say, chain):
    chain(aimlapi=["Hello"])
    update = message("Say hello")
    say(update)

    TelegramUpdate.objects.update(handled_at=None, outcome="")
    say(update)

    assert Request.objects.count() == 1
    assert LedgerEntry.objects.filter(kind="HOLD").count() == 1
    assert fake.chat(42).texts == [texts.PLACEHOLDER]


def test_turns_of_a_conversation_are_remembered_until_new(fake, say, chain):
    script = chain(aimlapi=["one", "two", "three"])
    for text in ("first", "second", "/new", "third"):
        say(message(text))
        for request in Request.objects.filter(status="PENDING"):
            request_advance(request_id=request.id)

    assert [[turn.text for turn in prompt.history] for prompt in script.prompts] == [[], ["first", "one"], []]


def test_without_credits_no_placeholder_is_sent(fake, say, chain, settings):
    chain(aimlapi=[])
    settings.WELCOME_CREDITS = 0

    assert say(message("Say hello")) == "refused: NO_CREDITS"

    assert fake.chat(42).texts == [texts.NO_CREDITS]
    assert not Delivery.objects.exists()


def test_a_prompt_that_is_too_long_is_refused_with_the_limit(fake, say, chain, settings):
    chain(aimlapi=[])
    settings.MAX_PROMPT_CHARACTERS = 1000

    assert say(message("x" * 1001)) == "refused: PROMPT_INVALID"

    assert "at most 1,000" in fake.chat(42).texts[0]
    assert not Request.objects.exists()


def test_without_a_provider_the_user_is_told_and_keeps_the_credits(fake, say, chain):
    chain()

    say(message("Say hello"))
    request = advance()

    assert request.error_code == "NO_PROVIDER"
    assert fake.chat(42).texts == [f"⚠️ {texts.FAILURES['NO_PROVIDER']}\n\nYour 1 credit is back."]


def test_without_any_model_nothing_is_accepted(fake, say):
    AIModel.objects.update(enabled=False)

    assert say(message("Say hello")) == "refused: no model available"
    assert fake.chat(42).texts == [texts.NO_MODEL_AVAILABLE]


def test_a_chosen_model_that_was_disabled_is_replaced_by_the_first(fake, say, chain):
    chain(aimlapi=["Hello"])
    gone = make_model(name="Gone AI", slug="gone-ai", category="TEXT", enabled=False)
    make_chat(42, type="private", model=gone)

    say(message("Say hello"))

    assert Request.objects.get().model == make_model()


def test_a_mention_without_a_prompt_asks_for_one(fake, say, chain):
    chain(aimlapi=[])
    fake.chat(GROUP_ID)

    assert say(mention("@test_bot")) == "refused: empty"
    assert fake.chat(GROUP_ID).texts == [texts.EMPTY_PROMPT]


def test_a_mention_in_a_group_is_answered_as_a_reply_and_is_no_part_of_the_prompt(fake, say, chain):
    chain(aimlapi=["Hello"])
    fake.chat(GROUP_ID)
    raw = mention("Hey @test_bot, say hello")

    say(raw)

    assert Request.objects.get().input_text == "Hey , say hello"
    assert fake.chat(GROUP_ID).messages[0].reply_to == raw["message"]["message_id"]


def test_a_prompt_in_a_topic_is_answered_there(fake, say, chain):
    chain(aimlapi=["Hello"])

    say(message("Say hello", message_thread_id=7, is_topic_message=True))

    assert fake.chat(42).messages[0].thread_id == 7
    assert Request.objects.get().conversation == f"telegram:{make_chat(42).pk}:7:1"


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([NotSent()], "ALL_PROVIDERS_FAILED"),
        ([ContentRefused(), ContentRefused()], "CONTENT_REFUSED"),
        ([OutcomeUnknown("cut")], "PAYMENT_UNCERTAIN"),
    ],
)
def test_a_failure_replaces_the_placeholder_and_says_that_the_credits_are_back(fake, say, chain, outcomes, code):
    names = ["aimlapi", "piapi"][: len(outcomes)]
    chain(**{name: [outcome] for name, outcome in zip(names, outcomes, strict=True)}).policy = UnknownPolicy.STOP

    say(message("Say hello"))
    request = advance()

    assert request.error_code == code
    assert fake.chat(42).texts == [f"⚠️ {texts.FAILURES[code]}\n\nYour 1 credit is back."]


def test_a_cancelled_request_says_so(fake, say, chain):
    chain(aimlapi=[])
    say(message("Say hello"))
    request = Request.objects.get()

    request_cancel(request_id=request.id, actor="test")
    request_deliver(request_id=request.id)

    assert fake.chat(42).texts == ["⚠️ Cancelled.\n\nYour 1 credit is back."]


@pytest.mark.parametrize(
    "code", ["ALL_PROVIDERS_FAILED", "NO_PROVIDER", "CONTENT_REFUSED", "DEADLINE", "SOMETHING_NEW"]
)
def test_every_failure_has_a_text_without_its_code(code):
    request = Request(status="FAILED", error_code=code, credits=3)

    text = texts.failure(request)

    assert text.endswith("Your 3 credits are back.")
    assert code not in text


def test_a_user_who_has_blocked_the_bot_is_sent_nothing_more(fake, say, chain):
    chain(aimlapi=["Hello"])
    fake.chat(42).is_blocked = True

    say(message("Say hello"))
    advance()

    assert Delivery.objects.get().state == "UNDELIVERABLE"
    assert Request.objects.get().status == "COMPLETED"
    assert len(fake.called("sendMessage")) == 1
    assert not fake.called("editMessageText")


def test_in_a_topic_that_was_closed_meanwhile_the_answer_goes_to_the_chat_itself(fake, say, chain):
    chain(aimlapi=["Hello"])
    fake.will("sendMessage", refuse(400, "Bad Request: message thread not found"))

    say(message("Say hello", message_thread_id=7, is_topic_message=True))
    advance()

    assert [(shown.text, shown.thread_id) for shown in fake.chat(42).messages] == [("Hello", None)]

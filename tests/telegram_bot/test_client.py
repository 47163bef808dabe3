"""The Bot API client: the translation of errors, and what must never leave it."""

import asyncio
import logging
import threading

import pytest
from telegram.error import TelegramError

from telegram_bot.api import client as client_module
from telegram_bot.api.client import QuietRequest, get_client
from telegram_bot.api.errors import (
    BotApiError,
    CallRefused,
    ChatMoved,
    ChatUnreachable,
    EntitiesRefused,
    MessageGone,
    NotReached,
    OutcomeUnsure,
    PollingConflict,
    SlowDown,
    ThreadGone,
    TokenRefused,
)
from telegram_bot.content.rendering import MessagePart
from tests.fakes.telegram import TOKEN, answers, flood, no_answer, refuse

HELLO = MessagePart("Hello")


@pytest.mark.parametrize(
    ("code", "description", "error_class"),
    [
        (400, "Bad Request: message to edit not found", MessageGone),
        (400, "Bad Request: message can't be edited", MessageGone),
        (400, "Bad Request: MESSAGE_ID_INVALID", MessageGone),
        (400, "Bad Request: message thread not found", ThreadGone),
        (400, "Bad Request: TOPIC_CLOSED", ThreadGone),
        (400, "Bad Request: can't parse entities: Can't find end", EntitiesRefused),
        (400, "Bad Request: chat not found", ChatUnreachable),
        (400, "Bad Request: not enough rights to send text messages to the chat", ChatUnreachable),
        (400, "Bad Request: have no rights to send a message", ChatUnreachable),
        (400, "Bad Request: SOMETHING_NEW", CallRefused),
        (401, "Unauthorized", TokenRefused),
        (404, "Not Found", TokenRefused),
        (403, "Forbidden: bot was blocked by the user", ChatUnreachable),
        (409, "Conflict: terminated by other getUpdates request", PollingConflict),
        (500, "Internal Server Error", OutcomeUnsure),
        (502, "Bad Gateway", OutcomeUnsure),
    ],
)
def test_each_refusal_is_translated(fake, code, description, error_class):
    fake.will("sendMessage", refuse(code, description))

    with pytest.raises(error_class):
        get_client().send(42, HELLO)


def test_a_429_carries_its_retry_after(fake):
    fake.will("sendMessage", flood(13_938))

    with pytest.raises(SlowDown) as caught:
        get_client().send(42, HELLO)

    assert caught.value.retry_after == 13_938


def test_a_group_that_moved_carries_its_new_id(fake):
    fake.will("sendMessage", refuse(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1007))

    with pytest.raises(ChatMoved) as caught:
        get_client().send(42, HELLO)

    assert caught.value.new_chat_id == -1007


def test_an_edit_that_changes_nothing_is_no_error(fake):
    message_id = get_client().send(42, HELLO)

    get_client().edit(42, message_id, HELLO)

    assert fake.chat(42).texts == ["Hello"]


def test_a_call_that_was_not_sent_differs_from_one_that_may_have_arrived(fake, settings, monkeypatch):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.2)
    fake.will("sendMessage", no_answer)
    with pytest.raises(OutcomeUnsure):
        get_client().send(42, HELLO)

    settings.TELEGRAM_API_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(NotReached):
        get_client().send(42, HELLO)


def test_a_call_ends_at_its_deadline(fake):
    with pytest.raises(OutcomeUnsure):
        get_client().run(asyncio.sleep(60), 0.05)


def test_it_is_thread_safe_with_one_bot(fake):
    sent: list[int] = []
    threads = [threading.Thread(target=lambda: sent.append(get_client().send(42, HELLO))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(set(sent)) == 20
    assert sum(thread.name == "telegram" and thread.is_alive() for thread in threading.enumerate()) >= 1


def test_without_a_token_the_error_says_where_to_get_one(settings):
    settings.TELEGRAM_BOT_TOKEN = ""

    with pytest.raises(TokenRefused, match="BotFather"):
        get_client()


@pytest.mark.parametrize(
    "fault",
    [
        refuse(400, "Bad Request: canary-free"),
        refuse(401, "Unauthorized"),
        refuse(502, "Bad Gateway"),
        no_answer,
        lambda server, call: True,  # closes the connection without a response
    ],
)
def test_neither_token_nor_text_is_ever_in_an_error_a_log_or_a_repr(fake, caplog, monkeypatch, fault):
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.2)
    caplog.set_level(logging.INFO)
    fake.will("sendMessage", fault)

    with pytest.raises(BotApiError) as caught:
        get_client().send(42, MessagePart("canary"))

    errors = [caught.value, caught.value.__cause__]
    seen = caplog.text + "".join(f"{error!r} {error}" for error in errors) + repr(get_client()) + repr(get_client().bot)
    assert TOKEN not in seen
    assert "canary" not in seen


@pytest.mark.parametrize("result", ["canary", [], {}, {"ok": True}, {"ok": True, "result": None}, {"result": {"a": 1}}])
def test_a_response_without_a_message_id_leaves_the_outcome_unsure(fake, caplog, result):
    fake.will("sendMessage", answers(result))

    with pytest.raises(OutcomeUnsure):
        get_client().send(42, MessagePart("canary"))

    assert "canary" not in caplog.text


def test_a_response_that_ptb_cannot_parse_still_gives_the_message_id(fake):
    newer = {"message_id": 7, "date": 10**15, "chat": None, "entities": "of another kind"}
    fake.will("sendMessage", answers({"ok": True, "result": newer}))

    assert get_client().send(42, HELLO) == 7


def test_an_executed_edit_needs_no_particular_result(fake):
    message_id = get_client().send(42, HELLO)
    fake.will("editMessageText", answers({"ok": True, "result": None}))

    get_client().edit(42, message_id, MessagePart("Bye"))

    assert fake.chat(42).texts == ["Bye"]


def test_a_forked_process_gets_a_client_of_its_own(fake, monkeypatch):
    ours = get_client()
    monkeypatch.setattr("telegram_bot.api.client.os.getpid", lambda: -1)

    theirs = get_client()

    assert theirs is not ours
    ours.close()


def test_it_calls_the_base_url_of_the_settings(fake):
    assert (get_client().me().id, get_client().me().username) == (4242, "test_bot")
    assert get_client().bot.base_file_url.startswith(f"{fake.url}/file/bot")


def test_a_body_that_is_not_json_is_not_quoted(caplog):
    with pytest.raises(TelegramError) as caught:
        QuietRequest.parse_json_payload(b"canary, half a bo")

    assert "canary" not in caplog.text + str(caught.value)

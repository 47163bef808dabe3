"""Prompts wait for their turn: nothing is refused for being early, and each knows the answers before it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import LedgerEntry, Request
from requests_app.services.execution import request_advance
from requests_app.services.maintenance import maintenance_begin, maintenance_end
from telegram_bot import texts
from telegram_bot.chats import HANDLE_TASK
from telegram_bot.due_work import chats_due
from telegram_bot.handlers import waiting
from telegram_bot.handlers.waiting import LOOK_BEHIND_SECONDS, LOOK_SECONDS, MAX_WAITING, NOTICE_SECONDS
from telegram_bot.models import TelegramChat, TelegramThread, TelegramUpdate, TelegramUser
from telegram_bot.selectors import updates_unhandled
from telegram_bot.sweeper import sweep_telegram
from telegram_bot.updates.queue import MAX_TRIES, queue_drain
from tests.factories import make_account, make_chat, make_model, make_user
from tests.fakes.telegram import flood
from tests.telegram_bot.rows import asked
from tests.telegram_bot.test_media import png
from tests.telegram_bot.updates import GROUP_ID, USER, mention, message

pytestmark = pytest.mark.django_db

BEN = {"id": 77, "is_bot": False, "first_name": "Ben"}


def drain(chat_id: int = 42) -> int:
    return queue_drain(chat_id=make_chat(chat_id).pk)


def answer() -> str:
    """Have the one open request answered, and return what it asked."""
    request = Request.objects.get(completed_at=None)
    request_advance(request_id=request.id)
    return request.input_text


def wait(seconds: float) -> None:
    """Let so many seconds pass for what waits, and for the notices."""
    past = timedelta(seconds=seconds)
    for update in TelegramUpdate.objects.exclude(next_at=None):
        assert update.next_at
        assert update.held_at
        times = {"next_at": update.next_at - past, "held_at": update.held_at - past}
        TelegramUpdate.objects.filter(pk=update.pk).update(**times)
    for user in TelegramUser.objects.exclude(waiting_told_at=None):
        assert user.waiting_told_at
        TelegramUser.objects.filter(pk=user.pk).update(waiting_told_at=user.waiting_told_at - past)


def test_a_second_text_is_accepted_when_the_first_is_answered_and_knows_its_answer(fake, say, chain):
    script = chain(aimlapi=["Paris", "2 million"])
    say(message("The capital of France?"))

    assert say(message("How many live there?")) == ""
    assert asked() == ["The capital of France?"]
    assert LedgerEntry.objects.filter(kind="HOLD").count() == 1
    assert fake.chat(42).texts == [texts.PLACEHOLDER]

    answer()
    assert drain() == 1
    answer()

    assert fake.chat(42).texts == ["Paris", "2 million"]
    (_, prompt) = script.prompts
    assert [turn.text for turn in prompt.history] == ["The capital of France?", "Paris"]


def test_the_end_of_the_first_wakes_a_worker_for_the_chat(
    fake, say, chain, enqueued, django_capture_on_commit_callbacks
):
    chain(aimlapi=["Paris"])
    say(message("One"))
    say(message("Two"))

    with django_capture_on_commit_callbacks(execute=True):
        answer()

    assert (HANDLE_TASK, make_chat(42).pk) in enqueued
    assert chats_due(10, timedelta(0)) == [make_chat(42).pk]


def test_many_are_answered_in_their_order_and_none_is_refused(fake, say, chain):
    chain(aimlapi=list("abcdef"))
    for text in "123456":
        say(message(text))

    answered = []
    for _ in range(6):
        answered.append(answer())
        drain()

    assert "".join(answered) == "".join(asked()) == "123456"
    assert not TelegramUpdate.objects.filter(handled_at=None).exists()
    assert fake.chat(42).texts == list("abcdef")


def test_one_that_comes_between_the_answer_and_the_next_in_line_does_not_overtake_it(fake, say, chain):
    chain(aimlapi=["a", "b", "c"])
    say(message("1"))
    say(message("2"))
    Request.objects.update(status="FAILED", completed_at=timezone.now())  # and its worker died before it told anybody

    say(message("3"))
    assert asked() == ["1"]

    wait(LOOK_SECONDS)
    drain()
    answer()
    drain()
    assert asked() == ["1", "2", "3"]


def test_where_the_wake_up_is_lost_it_is_looked_at_again(fake, say, chain):
    chain(aimlapi=["a", "b"])
    for text in "123":
        say(message(text))
    chat = make_chat(42)
    assert chats_due(10, timedelta(0)) == []
    Request.objects.update(status="FAILED", completed_at=timezone.now())

    wait(LOOK_SECONDS)
    assert chats_due(10, timedelta(0)) == [chat.pk]
    drain()
    assert asked() == ["1", "2"]

    Request.objects.filter(completed_at=None).update(status="FAILED", completed_at=timezone.now())
    wait(LOOK_BEHIND_SECONDS)
    drain()
    assert asked() == ["1", "2", "3"]


def test_what_ends_while_one_begins_to_wait_is_seen(fake, say, chain, monkeypatch):
    """Its end finds nothing that waits, since that is not written yet."""
    chain(aimlapi=["a", "b"])
    say(message("1"))
    real = waiting._is_one_too_many

    def ends_meanwhile(context):
        answer()
        return real(context)

    monkeypatch.setattr(waiting, "_is_one_too_many", ends_meanwhile)

    assert say(message("2")).startswith("accepted")


def test_a_long_wait_is_told_once_a_minute_and_a_short_one_not(fake, say, chain):
    chain(aimlapi=["a", "b"])
    for text in "123":
        say(message(text))
    assert fake.chat(42).texts == [texts.PLACEHOLDER]

    for _ in range(3):
        wait(LOOK_SECONDS)
        drain()
    assert fake.chat(42).texts == [texts.PLACEHOLDER, texts.waiting(2)]

    wait(NOTICE_SECONDS)
    drain()
    assert fake.chat(42).texts[2:] == [texts.waiting(2)]


def test_a_notice_that_telegram_refuses_is_left_out_and_the_prompt_still_waits(fake, say, chain):
    chain(aimlapi=["a", "b"])
    say(message("1"))
    say(message("2"))
    fake.will("sendMessage", flood(5))

    wait(LOOK_SECONDS)
    drain()
    answer()
    drain()

    assert asked() == ["1", "2"]


def test_more_than_can_wait_are_left_out_which_is_said_once(fake, say, chain):
    chain(aimlapi=["a"])
    outcomes = [say(message(str(number))) for number in range(MAX_WAITING + 4)]

    assert outcomes[1:] == [""] * MAX_WAITING + ["refused: too many wait"] * 3
    assert fake.chat(42).texts == [texts.PLACEHOLDER, texts.LEFT_OUT]


def test_cancel_drops_what_waits_and_nothing_that_comes_after_it(fake, say, chain):
    chain(aimlapi=["a", "b"])
    for text in "123":
        say(message(text))

    say(message("/cancel"))
    say(message("4"))

    assert fake.chat(42).texts[1] == f"{texts.CANCELLED} 2 messages that waited are dropped."
    assert asked() == ["1", "4"]
    assert TelegramUpdate.objects.filter(outcome="cancelled while it waited").count() == 2


def test_cancel_says_so_where_nothing_is_under_way_any_more(fake, say, chain):
    chain(aimlapi=["a"])
    say(message("1"))
    say(message("2"))
    Request.objects.update(status="FAILED", completed_at=timezone.now())

    assert say(message("/cancel")) == "dropped 1 that waited"
    assert fake.chat(42).texts[1:] == ["One message that waited is dropped."]


def test_one_waits_in_the_conversation_in_which_it_was_sent(fake, say, chain):
    chain(aimlapi=list("abc"))
    say(message("1"))
    say(message("2"))
    say(message("/new"))
    say(message("3"))

    answer()
    drain()
    for request in Request.objects.filter(completed_at=None):
        request_advance(request_id=request.id)
    drain()

    conversations = dict(Request.objects.values_list("input_text", "conversation"))
    assert conversations["1"] == conversations["2"] != conversations["3"]
    assert [conversations[text][-1] for text in "123"] == ["1", "1", "2"]


def test_new_with_a_prompt_begins_at_once_and_the_prompt_waits_for_those_before_it(fake, say, chain):
    chain(aimlapi=list("abc"))
    say(message("1"))
    say(message("2"))

    assert say(message("/new 3")) == ""
    assert TelegramThread.objects.get().conversation == 2

    answer()
    drain()
    assert dict(Request.objects.values_list("input_text", "conversation"))["3"].endswith(":2")


def test_users_of_a_group_do_not_wait_for_each_other(fake, say, chain):
    fake.chat(GROUP_ID)
    chain(aimlapi=list("abcd"))

    for text, sender in (("1", None), ("2", BEN), ("3", None), ("4", BEN)):
        command = {"type": "bot_command", "offset": 0, "length": 13}
        fields = {"from": sender} if sender else {}
        say(message(f"/new@test_bot {text}", chat_id=GROUP_ID, **{"entities": [command], **fields}))

    assert asked() == ["1", "2", "3", "4"]  # each in a conversation of its own


def test_pictures_are_made_side_by_side_up_to_the_limit_and_then_wait(fake, say, chain, settings):
    settings.MAX_OPEN_REQUESTS = 2
    chain(aimlapi=[])
    make_user(42, account=make_account(credits=100))
    make_chat(42, model=make_model(category="IMAGE"), type="private")
    for text in "123":
        say(message(text))
    assert asked() == ["1", "2"]

    Request.objects.filter(input_text="1").update(status="FAILED", completed_at=timezone.now())
    wait(LOOK_SECONDS)
    drain()

    assert asked() == ["1", "2", "3"]


def test_the_file_of_one_that_waits_is_not_downloaded_at_every_look(fake, say, chain):
    chain(aimlapi=["a", "b"])
    fake.files["photo-1"] = png()
    say(message("1"))
    say(message(photo=[{"file_id": "photo-1", "file_unique_id": "u", "width": 8, "height": 8}], caption="2"))
    before = len(fake.called("getFile"))

    for _ in range(3):
        wait(LOOK_SECONDS)
        drain()

    assert len(fake.called("getFile")) == before
    answer()
    drain()
    assert asked() == ["1", "2"]


def test_one_that_waits_waits_for_the_end_of_maintenance_mode_too(fake, say, chain):
    chain(aimlapi=["a", "b"])
    say(message("1"))
    say(message("2"))
    maintenance_begin()
    answer()
    drain()
    assert asked() == ["1"]

    maintenance_end()
    sweep_telegram()
    drain()
    assert asked() == ["1", "2"]


def test_where_credits_do_not_last_the_next_in_line_is_told_so_when_its_turn_comes(fake, say, chain):
    chain(aimlapi=["a"])
    make_user(42, account=make_account(credits=make_model().token_cost))
    say(message("1"))
    say(message("2"))
    assert fake.chat(42).texts == [texts.PLACEHOLDER]

    answer()
    drain()

    assert fake.chat(42).texts == ["a", texts.NO_CREDITS]
    assert not TelegramUpdate.objects.filter(handled_at=None).exists()


def test_a_cancel_that_dies_halfway_leaves_nothing_that_goes_on(fake, say, chain, monkeypatch):
    chain(aimlapi=["a"])
    for text in "123":
        say(message(text))
    monkeypatch.setattr("telegram_bot.handlers.cancel.request_cancel", fail)

    say(message("/cancel"))

    assert TelegramUpdate.objects.filter(outcome="cancelled while it waited").count() == 2


def test_a_cancel_that_is_repeated_says_again_what_it_dropped(fake, say, chain):
    chain(aimlapi=["a"])
    say(message("1"))
    say(message("2"))
    fake.will("sendMessage", flood(5))

    assert say(message("/cancel")) == ""
    TelegramUpdate.objects.update(next_at=None)
    drain()

    assert fake.chat(42).texts[-1] == f"{texts.CANCELLED} One message that waited is dropped."


def test_cancel_is_about_one_topic(fake, say, chain):
    chain(aimlapi=["a", "b"])
    topics = [{"message_thread_id": number, "is_topic_message": True} for number in (1, 2)]
    for topic in topics:
        for text in "12":
            say(message(text, **topic))

    say(message("/cancel", **topics[0]))

    cancelled = Request.objects.get(status="CANCELLED")
    assert cancelled.conversation.split(":")[2] == "1"
    assert TelegramUpdate.objects.get(outcome="cancelled while it waited").thread_id == 1


def test_one_that_was_accepted_by_a_worker_that_died_does_not_wait_for_itself(fake, say, chain, monkeypatch):
    chain(aimlapi=["a", "b"])
    for text in "123":
        say(message(text))
    monkeypatch.setattr("telegram_bot.handlers.prompt.placeholder_send", fail)  # after the commit
    answer()
    drain()
    assert asked() == ["1", "2"]
    monkeypatch.undo()
    TelegramUpdate.objects.filter(tries__gt=0).update(next_at=timezone.now())

    drain()

    assert sorted(TelegramUpdate.objects.values_list("outcome", flat=True))[0] == ""  # of the third
    assert TelegramUpdate.objects.filter(handled_at=None).count() == 1


def test_what_was_promised_an_answer_is_not_left_out(fake, say, chain):
    chain(aimlapi=[])
    maintenance_begin()
    for number in range(MAX_WAITING + 4):
        say(message(str(number)))
    maintenance_end()
    sweep_telegram()
    drain()

    assert not TelegramUpdate.objects.filter(outcome="refused: too many wait").exists()
    assert TelegramUpdate.objects.filter(handled_at=None).count() == MAX_WAITING + 3


def test_maintenance_mode_takes_nothing_out_of_the_line(fake, say, chain):
    chain(aimlapi=["a", "b", "c"])
    say(message("1"))
    say(message("2"))
    maintenance_begin()
    wait(LOOK_SECONDS)
    drain()
    maintenance_end()
    answer()
    say(message("3"))
    assert asked() in (["1"], ["1", "2"])

    sweep_telegram()
    drain()
    answer()
    drain()

    assert asked() == ["1", "2", "3"]


def test_one_waits_for_the_model_that_answered_when_it_was_sent(fake, say, chain):
    chain(aimlapi=["a", "b"])
    say(message("1"))
    say(message("2"))
    text_model = Request.objects.get().model
    TelegramChat.objects.update(model=make_model(category="IMAGE"))

    answer()
    drain()

    assert {request.model for request in Request.objects.all()} == {text_model}


def test_a_third_picture_does_not_wait_for_a_text(fake, say, chain, settings):
    settings.MAX_OPEN_REQUESTS = 2
    chain(aimlapi=[])
    make_user(42, account=make_account(credits=100))
    say(message("a text"))
    TelegramChat.objects.update(model=make_model(category="IMAGE"))
    say(message("1"))
    say(message("2"))
    Request.objects.filter(input_text="1").update(status="FAILED", completed_at=timezone.now())

    wait(LOOK_SECONDS)
    drain()

    assert asked() == ["a text", "1", "2"]


def test_one_that_is_given_up_lets_the_next_go(fake, say, chain, monkeypatch):
    chain(aimlapi=["a", "b"])
    for text in "123":
        say(message(text))
    Request.objects.update(status="FAILED", completed_at=timezone.now())
    TelegramUpdate.objects.filter(raw__message__text="2").update(tries=MAX_TRIES, next_at=timezone.now())

    drain()

    assert asked() == ["1", "3"]


def test_in_a_group_each_is_told_that_their_messages_are_left_out(fake, say, chain, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_WAITING", 1)
    fake.chat(GROUP_ID)
    chain(aimlapi=[])
    for sender in (USER, BEN):
        for text in "123":
            say(mention(f"@test_bot {text}", **{"from": sender}))

    assert fake.chat(GROUP_ID).texts.count(texts.LEFT_OUT) == 2


def test_a_notice_of_what_is_left_out_is_not_lost_in_a_flood(fake, say, chain, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_WAITING", 0)
    chain(aimlapi=[])
    say(message("1"))
    fake.will("sendMessage", flood(5))

    assert say(message("2")) == ""
    TelegramUpdate.objects.filter(handled_at=None).update(next_at=None)
    drain()

    assert fake.chat(42).texts[1:] == [texts.LEFT_OUT]


def test_one_that_is_tried_again_later_is_not_tried_sooner(fake, say, chain):
    chain(aimlapi=["a"])
    say(message("1"))
    say(message("2"))
    later = timezone.now() + timedelta(seconds=60)
    TelegramUpdate.objects.filter(handled_at=None).update(tries=3, next_at=later)

    answer()

    assert TelegramUpdate.objects.get(handled_at=None).next_at == later


def test_one_that_waits_is_no_backlog_until_nobody_looks_at_it(fake, say, chain):
    chain(aimlapi=[])
    say(message("1"))
    say(message("2"))
    wait(300)  # it was due since 290 s
    assert 285 < updates_unhandled().oldest_seconds() < 295

    TelegramUpdate.objects.filter(handled_at=None).update(next_at=timezone.now())
    assert updates_unhandled().oldest_seconds() < 5


def fail(*_, **__):
    raise RuntimeError

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
from telegram_bot.models import TelegramThread, TelegramUpdate
from telegram_bot.sweeper import sweep_telegram
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_account, make_chat, make_model, make_user
from tests.fakes.telegram import flood
from tests.telegram_bot.test_media import png
from tests.telegram_bot.updates import GROUP_ID, message

pytestmark = pytest.mark.django_db

BEN = {"id": 77, "is_bot": False, "first_name": "Ben"}


def drain(chat_id: int = 42) -> int:
    return queue_drain(chat_id=make_chat(chat_id).pk)


def answer() -> str:
    """Have the one open request answered, and return what it asked."""
    request = Request.objects.get(completed_at=None)
    request_advance(request_id=request.id)
    return request.input_text


def asked() -> list[str]:
    return list(Request.objects.order_by("created_at").values_list("input_text", flat=True))


def wait(seconds: float) -> None:
    """Let so many seconds pass for what waits, and for the notices."""
    past = timedelta(seconds=seconds)
    for update in TelegramUpdate.objects.exclude(next_at=None):
        assert update.next_at
        assert update.held_at
        times = {"next_at": update.next_at - past, "held_at": update.held_at - past}
        TelegramUpdate.objects.filter(pk=update.pk).update(**times)
    for thread in TelegramThread.objects.exclude(waiting_told_at=None):
        assert thread.waiting_told_at
        TelegramThread.objects.filter(pk=thread.pk).update(waiting_told_at=thread.waiting_told_at - past)


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
    assert TelegramUpdate.objects.get(handled_at=None).next_at is None


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
    real = waiting._number_waiting

    def ends_meanwhile(context):
        answer()
        return real(context)

    monkeypatch.setattr(waiting, "_number_waiting", ends_meanwhile)

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

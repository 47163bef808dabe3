"""A chat's updates are handled in order, by one worker at a time, and none is stranded."""

import logging
import threading
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.tasks import handle_chat
from telegram_bot.updates import dispatcher, queue
from telegram_bot.updates.ingest import update_ingest
from telegram_bot.updates.queue import queue_drain
from tests.fakes.telegram import Hold, flood, no_answer
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

OTHER = uuid.uuid4()  # another worker's claim


@pytest.fixture(autouse=True)
def _nothing_is_rung(enqueued):
    """The tests themselves are the workers."""


def outcomes() -> list[str]:
    return list(TelegramUpdate.objects.order_by("update_id").values_list("outcome", flat=True))


def test_the_oldest_comes_first_whatever_its_number_is(fake):
    newer, older = message("/new"), message("/help")
    for raw in (newer, older):
        update_ingest(raw)
    TelegramUpdate.objects.filter(update_id=older["update_id"]).update(
        received_at=timezone.now() - timedelta(minutes=1)
    )

    assert queue_drain(chat_id=42) == 2

    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_running_it_twice_is_harmless(fake):
    update_ingest(message("/help"))

    handle_chat(42)
    handle_chat(42)

    assert fake.chat(42).texts == [texts.HELP]


def test_a_chat_without_updates_costs_nothing(fake, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert queue_drain(chat_id=7) == 0

    assert not TelegramChat.objects.exists()


def test_another_workers_chat_is_left_alone_until_its_lease_has_run_out(fake):
    update_ingest(message("/help"))
    TelegramChat.objects.create(chat_id=42, lease_until=timezone.now() + timedelta(seconds=30))
    assert queue_drain(chat_id=42) == 0

    TelegramChat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert queue_drain(chat_id=42) == 1


def test_a_worker_that_has_lost_the_chat_handles_nothing_more(fake, monkeypatch):
    handled = []

    def lose(*, row: TelegramUpdate) -> str:
        handled.append(row.update_id)
        TelegramChat.objects.update(holder=OTHER, lease_until=timezone.now() + timedelta(seconds=30))
        return "done"

    monkeypatch.setattr(queue, "update_handle", lose)
    for _ in range(3):
        update_ingest(message("/help"))

    queue_drain(chat_id=42)

    assert len(handled) == 1
    assert TelegramChat.objects.get().holder == OTHER
    assert TelegramChat.objects.get().lease_until


def test_what_arrives_while_the_chat_is_given_back_is_handled_without_another_ring(fake, monkeypatch):
    look = queue._next_due
    late = [message("/new")]

    def arrive_after_the_last_look(chat_id):
        row = look(chat_id)
        if row is None and late:
            update_ingest(late.pop())
        return row

    monkeypatch.setattr(queue, "_next_due", arrive_after_the_last_look)
    update_ingest(message("/help"))

    queue_drain(chat_id=42)

    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_an_update_that_another_worker_has_handled_meanwhile_is_let_be(fake, monkeypatch):
    update_ingest(message("/help"))
    claim = queue._claim

    def come_second(chat_id):
        TelegramUpdate.objects.update(handled_at=timezone.now(), outcome="done by another")
        return claim(chat_id)

    monkeypatch.setattr(queue, "_claim", come_second)

    assert queue_drain(chat_id=42) == 0
    assert outcomes() == ["done by another"]


@pytest.mark.django_db(transaction=True)
def test_two_workers_rung_at_once_share_nothing(fake):
    for text in ("/help", "/new"):
        update_ingest(message(text))
    hold = Hold()
    fake.will("sendMessage", hold)
    first = threading.Thread(target=handle_chat, args=(42,))
    first.start()
    assert hold.arrived.wait(5)

    assert queue_drain(chat_id=42) == 0
    hold.go()
    first.join(10)

    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_a_broken_update_is_tried_again_later_and_given_up_one_day(fake, monkeypatch, caplog):
    prompt = "canary"

    def fail(_):
        raise KeyError(prompt)

    monkeypatch.setitem(dispatcher.COMMANDS, "help", fail)
    caplog.set_level(logging.DEBUG)
    for raw in (message("/help"), message("/new")):
        update_ingest(raw)

    for _ in range(queue.MAX_TRIES):
        assert not fake.chat(42).texts
        queue_drain(chat_id=42)
        TelegramUpdate.objects.filter(handled_at=None).update(next_at=timezone.now() - timedelta(seconds=1))

    assert outcomes() == ["given up: KeyError", "began a conversation"]
    assert "canary" not in caplog.text
    assert "test_update_queue.py" in caplog.text


def test_an_update_that_workers_die_of_is_given_up(fake):
    update_ingest(message("/help"))
    TelegramUpdate.objects.update(tries=queue.MAX_TRIES)

    queue_drain(chat_id=42)

    assert outcomes() == ["given up: nobody survived it"]
    assert fake.chat(42).texts == []


def test_a_short_pause_holds_the_chats_updates_back_in_order(fake):
    fake.will("sendMessage", flood(10))
    for text in ("/help", "/new"):
        update_ingest(message(text))

    assert queue_drain(chat_id=42) == 1
    assert queue_drain(chat_id=42) == 0
    TelegramUpdate.objects.exclude(next_at=None).update(next_at=timezone.now() - timedelta(seconds=1))

    assert queue_drain(chat_id=42) == 2
    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_a_long_pause_is_not_worth_holding_a_chat_back_for(fake):
    fake.will("sendMessage", flood(3600))
    for text in ("/help", "/new"):
        update_ingest(message(text))

    queue_drain(chat_id=42)

    assert outcomes() == ["given up: Telegram wants a pause of 3600 s", "began a conversation"]


def test_a_reply_without_a_confirmation_is_not_sent_again(fake, monkeypatch):
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)
    fake.will("sendMessage", no_answer)
    update_ingest(message("/help"))

    queue_drain(chat_id=42)
    queue_drain(chat_id=42)

    assert outcomes() == ["answered, perhaps: Telegram gave no sound answer (ReadTimeout)."]
    assert fake.chat(42).texts == [texts.HELP]


def test_while_telegram_cannot_be_reached_the_update_waits(fake, settings):
    settings.TELEGRAM_API_BASE_URL = "http://127.0.0.1:9"
    update_ingest(message("/help"))

    queue_drain(chat_id=42)

    row = TelegramUpdate.objects.get()
    assert row.handled_at is None
    assert row.next_at


def test_a_user_who_has_blocked_the_bot_is_noted(fake):
    fake.chat(42).is_blocked = True
    update_ingest(message("/help"))

    queue_drain(chat_id=42)

    assert outcomes()[0].startswith("not answered: The bot may not write to this chat")
    assert not TelegramChat.objects.get().is_reachable

"""The queue of a chat's updates: handled in order, by one worker at a time, and none is left behind."""

import logging
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from telegram_bot import texts
from telegram_bot.api import client
from telegram_bot.models import TelegramChat, TelegramUpdate
from telegram_bot.statements import Known, chat_want
from telegram_bot.tasks import handle_chat
from telegram_bot.updates import dispatcher, queue
from telegram_bot.updates.ingest import update_ingest
from telegram_bot.updates.queue import queue_drain
from tests.factories import make_chat
from tests.fakes.telegram import Hold, flood, no_answer
from tests.flows.processes import wait_until
from tests.proof.test_locks import is_a_session_blocked
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

OTHER = uuid.uuid4()  # another worker's claim


@pytest.fixture(autouse=True)
def _no_broker(enqueued):
    """The tests themselves are the workers."""


def outcomes() -> list[str]:
    return list(TelegramUpdate.objects.order_by("update_id").values_list("outcome", flat=True))


def test_the_oldest_update_is_handled_first_whatever_its_id_is(fake):
    newer, older = message("/new"), message("/help")
    for raw in (newer, older):
        update_ingest(raw)
    TelegramUpdate.objects.filter(update_id=older["update_id"]).update(
        received_at=timezone.now() - timedelta(minutes=1)
    )

    assert queue_drain(chat_id=make_chat(42).pk) == 2

    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_the_task_is_idempotent(fake):
    update_ingest(message("/help"))

    handle_chat(make_chat(42).pk)
    handle_chat(make_chat(42).pk)

    assert fake.chat(42).texts == [texts.HELP]


def test_a_chat_without_updates_gets_no_row(fake):
    assert queue_drain(chat_id=7) == 0

    assert not TelegramChat.objects.exists()


def test_a_chat_that_another_worker_has_claimed_is_left_alone_until_the_lease_runs_out(fake):
    update_ingest(message("/help"))
    make_chat(42, lease_until=timezone.now() + timedelta(seconds=30))
    assert queue_drain(chat_id=make_chat(42).pk) == 0

    TelegramChat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert queue_drain(chat_id=make_chat(42).pk) == 1


def test_a_worker_that_has_lost_the_chat_handles_nothing_more(fake, monkeypatch):
    handled = []

    def lose(*, row: TelegramUpdate, known: Known) -> str:
        handled.append(row.update_id)
        TelegramChat.objects.update(holder=OTHER, lease_until=timezone.now() + timedelta(seconds=30))
        return "done"

    monkeypatch.setattr(queue, "update_handle", lose)
    for _ in range(3):
        update_ingest(message("/help"))

    queue_drain(chat_id=make_chat(42).pk)

    assert len(handled) == 1
    assert TelegramChat.objects.get().holder == OTHER
    assert TelegramChat.objects.get().lease_until


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_what_arrives_while_the_lease_is_released_is_handled_without_another_wake_up(fake):
    update_ingest(message("/help"))
    hold = Hold()
    fake.will("sendMessage", hold)
    owner = threading.Thread(target=handle_chat, args=(make_chat(42).pk,))
    owner.start()
    assert hold.arrived.wait(5)

    with transaction.atomic():
        # The worker that was woken finds the chat owned; the owner is too early to see what it was woken for.
        assert chat_want(chat_id=make_chat(42).pk)
        hold.go()
        wait_until(is_a_session_blocked, "the owner to release the chat")
        update_ingest(message("/new"))
    owner.join(10)

    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_an_owner_waits_for_a_lock_on_its_chat_and_lets_go_of_it_all_the_same(fake):
    update_ingest(message("/help"))
    hold = Hold()
    fake.will("sendMessage", lambda server, call: hold(server, call) or flood(1)(server, call))
    owner = threading.Thread(target=handle_chat, args=(make_chat(42).pk,))
    owner.start()
    assert hold.arrived.wait(5)

    with transaction.atomic():
        TelegramChat.objects.select_for_update().get()
        hold.go()
        wait_until(is_a_session_blocked, "the owner to release the chat")
    owner.join(10)

    assert TelegramChat.objects.get().lease_until is None


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_woken_at_once_one_handles_everything(fake):
    for text in ("/help", "/new"):
        update_ingest(message(text))
    hold = Hold()
    fake.will("sendMessage", hold)
    first = threading.Thread(target=handle_chat, args=(make_chat(42).pk,))
    first.start()
    assert hold.arrived.wait(5)

    assert queue_drain(chat_id=make_chat(42).pk) == 0
    hold.go()
    first.join(10)

    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_a_broken_update_is_tried_again_later_and_given_up_in_the_end(fake, monkeypatch, caplog):
    prompt = "canary"

    def fail(_):
        raise KeyError(prompt)

    monkeypatch.setitem(dispatcher.COMMANDS, "help", fail)
    caplog.set_level(logging.DEBUG)
    for raw in (message("/help"), message("/new")):
        update_ingest(raw)

    for _ in range(queue.MAX_TRIES):
        assert not fake.chat(42).texts
        queue_drain(chat_id=make_chat(42).pk)
        TelegramUpdate.objects.filter(handled_at=None).update(next_at=timezone.now() - timedelta(seconds=1))

    assert outcomes() == ["given up: KeyError", "started a conversation"]
    assert "canary" not in caplog.text
    assert "test_update_queue.py" in caplog.text


def test_an_update_that_crashes_its_workers_is_given_up(fake):
    update_ingest(message("/help"))
    TelegramUpdate.objects.update(tries=queue.MAX_TRIES)

    queue_drain(chat_id=make_chat(42).pk)

    assert outcomes() == ["given up: it crashed every worker"]
    assert fake.chat(42).texts == []


def test_a_short_pause_delays_the_chats_updates_in_order(fake):
    fake.will("sendMessage", flood(10))
    for text in ("/help", "/new"):
        update_ingest(message(text))

    assert queue_drain(chat_id=make_chat(42).pk) == 1
    assert queue_drain(chat_id=make_chat(42).pk) == 0
    TelegramUpdate.objects.exclude(next_at=None).update(next_at=timezone.now() - timedelta(seconds=1))

    assert queue_drain(chat_id=make_chat(42).pk) == 2
    assert fake.chat(42).texts == [texts.HELP, texts.NEW_CONVERSATION]


def test_a_long_pause_does_not_delay_the_chats_other_updates(fake):
    fake.will("sendMessage", flood(3600))
    for text in ("/help", "/new"):
        update_ingest(message(text))

    queue_drain(chat_id=make_chat(42).pk)

    assert outcomes() == ["given up: Telegram wants a pause of 3600 s", "started a conversation"]


def test_a_reply_without_a_confirmation_is_not_sent_again(fake, monkeypatch):
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)
    fake.will("sendMessage", no_answer)
    update_ingest(message("/help"))

    queue_drain(chat_id=make_chat(42).pk)
    queue_drain(chat_id=make_chat(42).pk)

    assert outcomes() == ["answered, perhaps: Telegram gave no valid response (time-out)."]
    assert fake.chat(42).texts == [texts.HELP]


def test_while_telegram_cannot_be_reached_the_update_waits(fake, settings):
    settings.TELEGRAM_API_BASE_URL = "http://127.0.0.1:9"
    update_ingest(message("/help"))

    queue_drain(chat_id=make_chat(42).pk)

    row = TelegramUpdate.objects.get()
    assert row.handled_at is None
    assert row.next_at


def test_a_user_who_has_blocked_the_bot_is_recorded_as_unreachable(fake):
    fake.chat(42).is_blocked = True
    update_ingest(message("/help"))

    queue_drain(chat_id=make_chat(42).pk)

    assert outcomes()[0].startswith("not answered: The bot may not write to this chat")
    assert not TelegramChat.objects.get().is_reachable

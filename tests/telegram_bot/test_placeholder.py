"""The placeholder and the answer race: whichever is ready second has the answer shown."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import Request
from telegram_bot import tasks, texts
from telegram_bot.api import client
from telegram_bot.delivery.backend import TelegramDeliveryBackend
from telegram_bot.delivery.claims import placeholder_find
from telegram_bot.delivery.placeholder import placeholder_place, placeholder_prepare
from telegram_bot.models import Delivery
from tests.factories import make_chat, make_request
from tests.fakes.telegram import Hold, flood, hang_up_after, no_answer, refuse

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def request_row(fake, monkeypatch, enqueued) -> Request:
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)
    make_chat(42, type="private")
    request = make_request()
    placeholder_prepare(request=request, chat=make_chat(42), thread_id=None, reply_to=None)
    due_now()
    return request


def end(request: Request, text: str = "Four.") -> None:
    Request.objects.filter(id=request.id).update(
        status="COMPLETED", output_text=text, actual_provider="aimlapi", completed_at=timezone.now()
    )


def place(request: Request) -> bool:
    return placeholder_place(request_id=request.id)


def due_now() -> None:
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def test_placing_it_is_idempotent(fake, request_row):
    assert place(request_row)
    assert not place(request_row)

    assert fake.chat(42).texts == [texts.PLACEHOLDER]


def test_an_answer_that_is_ready_first_is_shown_by_the_placeholders_sender(fake, request_row):
    hold = Hold()
    fake.will("sendMessage", hold)
    sender = threading.Thread(target=tasks.place, args=(request_row.id,))
    sender.start()
    assert hold.arrived.wait(5)

    end(request_row)
    TelegramDeliveryBackend().deliver(request_row.id)
    assert not fake.called("editMessageText")
    hold.go()
    sender.join(10)

    assert fake.chat(42).texts == ["Four."]
    assert Delivery.objects.get().state == "DELIVERED"


def test_an_answer_that_is_ready_second_is_shown_by_its_worker(fake, request_row):
    place(request_row)
    assert not fake.called("editMessageText")

    end(request_row)
    TelegramDeliveryBackend().deliver(request_row.id)

    assert fake.chat(42).texts == ["Four."]


def test_one_whose_sender_died_is_placed_again_after_a_while_and_not_before(fake, request_row):
    Delivery.objects.update(next_at=timezone.now() + timedelta(seconds=10))
    assert not place(request_row)

    due_now()

    assert place(request_row)


def test_one_without_a_confirmation_is_placed_again_and_only_one_becomes_the_answer(fake, request_row):
    fake.will("sendMessage", no_answer)
    assert not place(request_row)
    end(request_row)

    due_now()
    assert place(request_row)

    # The first one may remain; see placeholder.py.
    assert fake.chat(42).texts == [texts.PLACEHOLDER, "Four."]


def test_one_that_is_sent_too_late_is_deleted(fake, request_row):
    hold = Hold()
    fake.will("sendMessage", hold)
    late = threading.Thread(target=tasks.place, args=(request_row.id,))
    late.start()
    assert hold.arrived.wait(5)
    due_now()

    assert place(request_row)
    hold.go()
    late.join(10)

    (shown,) = fake.chat(42).messages
    assert shown.id == Delivery.objects.get().message_id


@pytest.mark.parametrize(
    "fault", [flood(30), refuse(502, "Bad Gateway"), refuse(400, "Bad Request: SOMETHING_NEW"), hang_up_after]
)
def test_a_sender_that_was_overtaken_changes_nothing_about_the_answer(fake, request_row, monkeypatch, fault):
    monkeypatch.setattr(client, "READ_SECONDS", 5)
    hold = Hold()
    fake.will("sendMessage", lambda server, call: hold(server, call) or fault(server, call))
    overtaken = threading.Thread(target=tasks.place, args=(request_row.id,))
    overtaken.start()
    assert hold.arrived.wait(5)
    due_now()
    end(request_row)
    assert place(request_row)

    hold.go()
    overtaken.join(10)

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.error) == ("DELIVERED", "")
    assert fake.chat(42).texts.count("Four.") == 1
    assert not placeholder_place(request_id=request_row.id)


def test_a_pause_that_telegram_demands_is_kept(fake, request_row):
    fake.will("sendMessage", flood(30))

    assert not place(request_row)
    assert not place(request_row)

    delivery = Delivery.objects.get()
    assert delivery.state == "PLACING"
    assert delivery.next_at
    assert delivery.next_at > timezone.now() + timedelta(seconds=25)
    assert len(fake.called("sendMessage")) == 1


def test_in_a_chat_that_blocked_the_bot_it_is_undeliverable(fake, request_row):
    fake.chat(42).is_blocked = True

    place(request_row)

    assert Delivery.objects.get().state == "UNDELIVERABLE"


def test_after_a_placeholder_that_telegram_refuses_the_answer_is_a_message_of_its_own(fake, request_row):
    fake.will("sendMessage", refuse(400, "Bad Request: SOMETHING_NEW"))

    assert not place(request_row)
    assert placeholder_find(request_row.id) == (42, None, False)
    end(request_row)
    TelegramDeliveryBackend().deliver(request_row.id)

    assert fake.chat(42).texts == ["Four."]
    assert Delivery.objects.get().state == "DELIVERED"


def test_an_answer_that_is_ready_when_its_placeholder_is_refused_is_shown_at_once(fake, request_row):
    fake.will("sendMessage", refuse(400, "Bad Request: SOMETHING_NEW"))
    end(request_row)

    place(request_row)

    assert fake.chat(42).texts == ["Four."]


def test_in_a_closed_topic_it_is_sent_to_the_chat_as_a_whole(fake, request_row):
    Delivery.objects.update(thread_id=7, reply_to=5)
    fake.will("sendMessage", refuse(400, "Bad Request: message thread not found"))

    assert place(request_row)

    assert fake.chat(42).messages[0].thread_id is None
    assert Delivery.objects.get().thread_id is None

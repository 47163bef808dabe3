"""/cancel says truthfully what it costs: the price, once a part of the answer was about to be shown; else nothing."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from requests_app.delivery_backend import get_delivery_backend
from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.execution import request_advance
from telegram_bot import texts
from telegram_bot.delivery import streaming
from telegram_bot.delivery.claims import delivery_note_refused, delivery_note_shown
from telegram_bot.models import Delivery
from tests.fakes.telegram import Hold, refuse
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db(transaction=True)

READERS = 30  # as many as took answers worth $1.50 for nothing


@pytest.fixture(autouse=True)
def _fast_stream(monkeypatch, settings):
    monkeypatch.setattr(streaming, "EDIT_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(streaming, "PLACEHOLDER_POLL_SECONDS", 0.01)
    settings.WELCOME_CREDITS = 2 * READERS


def in_thread(act: Callable[[], object]) -> None:
    """Act as another process does, and wait for the end."""

    def run() -> None:
        act()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)


def balance() -> int:
    return Account.objects.get(telegram_user__telegram_id=42).balance


def test_who_reads_the_stream_and_cancels_before_its_end_pays_each_time(fake, say, streaming_chain):
    def read_and_cancel() -> None:
        fake.wait_for(lambda: any("Half of" in text for text in fake.chat(42).texts))
        in_thread(lambda: say(message("/cancel")))

    streaming_chain(read_and_cancel, times=READERS)
    for _ in range(READERS):
        outcome = say(message("A long story"))
        request_advance(request_id=outcome.removeprefix("accepted as "))
        fake.forget_chats()
        fake.chat(42)

    assert set(Request.objects.values_list("status", flat=True)) == {"CANCELLED"}
    assert balance() == 2 * READERS - READERS
    assert sorted(LedgerEntry.objects.exclude(kind="TOPUP").values_list("kind", flat=True)) == (
        ["CAPTURE"] * READERS + ["HOLD"] * READERS
    )


def test_the_reply_and_the_placeholder_say_what_it_has_cost(fake, say, streaming_chain):
    def read_and_cancel() -> None:
        fake.wait_for(lambda: any("Half of" in text for text in fake.chat(42).texts))
        in_thread(lambda: say(message("/cancel")))

    streaming_chain(read_and_cancel)
    request_advance(request_id=say(message("A long story")).removeprefix("accepted as "))

    words = "Cancelled. A part of the answer was shown already, so it costs 1 credit."
    assert fake.chat(42).texts == [f"⚠️ {words}", words]


def test_who_cancels_before_anything_is_shown_pays_nothing(fake, say, streaming_chain):
    streaming_chain(lambda: None)
    say(message("A long story"))

    say(message("/cancel"))
    get_delivery_backend().deliver(Request.objects.get().id)

    assert balance() == 2 * READERS
    assert fake.chat(42).texts == ["⚠️ Cancelled.\n\nYour 1 credit is back.", texts.CANCELLED]


def test_who_cancels_after_telegram_has_refused_to_show_anything_pays_nothing(fake, say, streaming_chain, monkeypatch):
    taken_back = threading.Event()

    def take_back(*args: object) -> None:
        delivery_note_refused(*args)
        taken_back.set()

    def cancel() -> None:
        assert taken_back.wait(10)
        in_thread(lambda: request_cancel(request_id=Request.objects.get().id, actor="test"))

    monkeypatch.setattr(streaming, "delivery_note_refused", take_back)
    fake.will("editMessageText", refuse(400, "Bad Request: SOMETHING_NEW"))
    streaming_chain(cancel)
    request_advance(request_id=say(message("A long story")).removeprefix("accepted as "))

    assert balance() == 2 * READERS


def test_a_partial_answer_is_noted_before_it_is_sent(fake, say, streaming_chain):
    shown_at = []
    hold = Hold()

    def look() -> None:
        assert hold.arrived.wait(10)
        shown_at.append(Delivery.objects.get().shown_at)
        hold.go()

    fake.will("editMessageText", hold)
    streaming_chain(look)
    request_advance(request_id=say(message("A long story")).removeprefix("accepted as "))

    assert shown_at[0] is not None


def test_nothing_is_shown_after_a_cancellation_that_gave_the_credits_back(fake, say, chain):
    chain(aimlapi=[])
    say(message("A long story"))
    request = Request.objects.get()

    request_cancel(request_id=request.id, actor="test")

    assert not delivery_note_shown(request.id, Delivery.objects.get().message_id, 11)
    assert Delivery.objects.get().shown_at is None
    assert get_delivery_backend().bytes_shown(request.id) is None


def test_what_was_shown_stays_shown_when_the_next_route_starts_afresh(fake, say, chain):
    chain(aimlapi=[])
    say(message("A long story"))
    request, message_id = Request.objects.get(), Delivery.objects.get().message_id

    assert delivery_note_shown(request.id, message_id, 3_000)
    assert delivery_note_shown(request.id, message_id, 11)

    assert get_delivery_backend().bytes_shown(request.id) == 3_000


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row locks, but one writer at a time")
def test_a_cancellation_waits_for_the_note_that_is_being_written(fake, say, chain):
    chain(aimlapi=[])
    say(message("A long story"))
    request = Request.objects.get()
    message_id = Delivery.objects.get().message_id
    may_cancel = threading.Event()

    def cancel() -> None:
        may_cancel.wait(10)
        request_cancel(request_id=request.id, actor="test")

    canceller = threading.Thread(target=in_thread, args=(cancel,))
    canceller.start()
    with transaction.atomic():
        is_noted = delivery_note_shown(request.id, message_id, 11)
        may_cancel.set()
        canceller.join(0.5)
        assert canceller.is_alive(), "it waits"
    canceller.join(10)

    assert is_noted
    assert balance() == 2 * READERS - 1


def test_a_partial_edit_that_telegram_refuses_still_leaves_a_true_answer(fake, say, streaming_chain):
    fake.will("editMessageText", refuse(400, "Bad Request: SOMETHING_NEW"))
    streaming_chain(lambda: fake.wait_for(lambda: fake.called("editMessageText")))

    request_advance(request_id=say(message("A long story")).removeprefix("accepted as "))

    assert fake.chat(42).texts == ["The whole answer."]

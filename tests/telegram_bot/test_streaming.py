"""Streaming: partial answers are shown within the rate limits, and never replace the answer for good."""

import gc
import logging
import os
import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone

from requests_app import tasks
from requests_app.models import Request
from requests_app.services.leases import Lease, keeper
from telegram_bot.api import client
from telegram_bot.content.rendering import partial_message
from telegram_bot.delivery import streaming
from telegram_bot.delivery.backend import TelegramDeliveryBackend
from telegram_bot.delivery.streaming import LiveMessage
from telegram_bot.models import Delivery
from tests.factories import make_chat, make_request
from tests.fakes.telegram import FakeTelegram, Hold, flood, late, no_answer, refuse, units_of
from tests.flows.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

INTERVAL_SECONDS = 0.15


@pytest.fixture
def delivery(fake, monkeypatch, enqueued) -> Delivery:
    """The delivery of a request whose placeholder is in chat 42, with short intervals between partial edits."""
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)
    monkeypatch.setattr(streaming, "EDIT_INTERVAL_SECONDS", INTERVAL_SECONDS)
    monkeypatch.setattr(streaming, "MAX_EDIT_INTERVAL_SECONDS", INTERVAL_SECONDS)
    monkeypatch.setattr(streaming, "PLACEHOLDER_POLL_SECONDS", 0.02)
    make_chat(42, type="private")
    message_id = fake.execute("sendMessage", {"chat_id": 42, "text": "⏳"})["message_id"]
    return Delivery.objects.create(
        request=make_request(), part=0, kind="RESULT", state="PENDING", chat=make_chat(42), message_id=message_id
    )


def end(delivery: Delivery, text: str = "The answer.") -> None:
    Request.objects.filter(id=delivery.request_id).update(
        status="COMPLETED", output_text=text, actual_provider="aimlapi", completed_at=timezone.now()
    )


def partial_texts(fake: FakeTelegram) -> list[str]:
    return fake.chat(42).messages[0].versions[1:]


def test_the_first_words_are_shown_at_once_and_then_the_latest(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("One")
    fake.wait_for(lambda: partial_texts(fake) == ["One …"])
    show("One two")
    show("One two **three")
    fake.wait_for(lambda: partial_texts(fake)[-1] == "One two three …")

    assert len(partial_texts(fake)) == 2


def test_partial_edits_keep_their_interval_and_never_overlap(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    for number in range(1, 500):
        show("word " * number)
        if number % 25 == 0:
            threading.Event().wait(0.02)  # the pace of a fast stream: about a thousand tokens a second
    fake.wait_for(lambda: partial_texts(fake)[-1].count("word") == 499)

    times = [call.at for call in fake.called("editMessageText")]
    assert len(times) >= 3
    assert all(later - earlier >= INTERVAL_SECONDS * 0.95 for earlier, later in pairwise(times))


def test_showing_costs_the_worker_next_to_nothing(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    hold = Hold()
    fake.will("editMessageText", hold)
    text = "word " * 2000

    began = time.perf_counter()
    for number in range(1000):
        show(text + str(number))
    seconds = time.perf_counter() - began
    hold.go()

    assert seconds < 1  # a millisecond each on a loaded machine; about five microseconds on an idle one


def test_the_answer_waits_for_the_partial_edit_under_way_and_replaces_it(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    hold = Hold()
    fake.will("editMessageText", hold)
    show("Half an ans")
    assert hold.arrived.wait(5)
    end(delivery)

    deliverer = threading.Thread(target=tasks.deliver, args=(delivery.request_id,))
    deliverer.start()
    show("Half an answ")
    assert len(fake.called("editMessageText")) == 1
    hold.go()
    deliverer.join(10)

    assert partial_texts(fake) == ["Half an ans …", "The answer."]


def test_a_worker_without_the_lease_shows_nothing_once_the_answer_is_shown(fake, delivery):
    stale = TelegramDeliveryBackend().on_partial(delivery.request_id)
    fresh = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert stale
    assert fresh
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    stale("An old half of ano")
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert partial_texts(fake) == ["The answer."]


def test_partial_edits_wait_until_the_placeholder_is_sent(fake, delivery):
    Delivery.objects.update(state="PLACING", message_id=None)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("One two")
    Delivery.objects.update(state="PENDING", message_id=delivery.message_id)

    fake.wait_for(lambda: partial_texts(fake) == ["One two …"])


def test_a_pause_that_telegram_demands_is_kept_and_the_stream_goes_on(fake, delivery):
    fake.will("editMessageText", flood(1))
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("One")
    fake.wait_for(lambda: fake.called("editMessageText"))
    show("One two")
    fake.wait_for(lambda: partial_texts(fake))

    first, second = fake.called("editMessageText")
    assert second.at - first.at >= 1
    assert partial_texts(fake) == ["One two …"]


def test_after_three_consecutive_failures_only_the_answer_is_shown(fake, delivery):
    fake.will("editMessageText", *[refuse(502, "Bad Gateway")] * 3)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    for number in range(1, 4):
        show("word " * number)
        fake.wait_for(lambda number=number: len(fake.called("editMessageText")) == number)

    show("word " * 5)
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert partial_texts(fake) == ["The answer."]


def test_after_an_unconfirmed_partial_edit_the_answer_is_shown_again_later(fake, delivery):
    fake.will("editMessageText", no_answer)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: fake.called("editMessageText"))
    end(delivery)

    TelegramDeliveryBackend().deliver(delivery.request_id)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error) == ("PENDING", "a partial edit may still arrive")
    assert fake.chat(42).texts == ["The answer."]

    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    TelegramDeliveryBackend().deliver(delivery.request_id)
    delivery.refresh_from_db()
    assert delivery.state == "DELIVERED"


def test_a_stream_whose_placeholder_is_sent_after_the_end_does_not_replace_the_answer(fake, delivery):
    message_id = delivery.message_id
    Delivery.objects.update(state="PLACING", message_id=None, next_at=timezone.now() + timedelta(minutes=1))
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("The answ")  # waits for its placeholder from now on
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)  # and so does the answer

    Delivery.objects.update(state="PENDING", message_id=message_id, next_at=None)
    time.sleep(2 * streaming.PLACEHOLDER_POLL_SECONDS)  # in which the stream would find it

    assert partial_texts(fake) == []


def test_a_worker_that_has_lost_the_lease_stops_its_stream_while_its_successor_works(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: partial_texts(fake) == ["Half an ans …"])
    show("Half an answer")  # waits for its turn

    TelegramDeliveryBackend().deliver(delivery.request_id)
    fake.execute("editMessageText", {"chat_id": 42, "message_id": delivery.message_id, "text": "The answer."})
    time.sleep(2 * INTERVAL_SECONDS)  # in which the partial edit would be made

    assert partial_texts(fake)[-1] == "The answer."


def test_an_answer_waits_for_the_unconfirmed_partial_edit_of_a_worker_that_has_lost_the_lease(fake, delivery):
    fake.will("editMessageText", no_answer)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: fake.called("editMessageText"))

    TelegramDeliveryBackend().deliver(delivery.request_id)

    delivery.refresh_from_db()
    assert delivery.state == "PENDING"
    assert delivery.next_at > timezone.now()


def test_a_worker_that_is_frozen_after_its_last_look_at_the_request_edits_nothing(fake, delivery, monkeypatch):
    monkeypatch.setattr(streaming, "CALL_SECONDS", 0.05)
    note_shown = streaming.delivery_note_shown

    def freeze_afterwards(*args: object) -> bool:
        is_open = note_shown(*args)
        time.sleep(0.1)  # in which another worker shows the answer
        return is_open

    monkeypatch.setattr(streaming, "delivery_note_shown", freeze_afterwards)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("Half an ans")
    wait_until(lambda: streaming.live_messages[delivery.request_id]._failures >= 1, "the edit was tried")
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert partial_texts(fake) == ["The answer."]


def test_the_stream_of_a_request_that_was_cancelled_elsewhere_stops(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: partial_texts(fake) == ["Half an ans …"])

    Request.objects.update(status="CANCELLED")  # as another process does
    show("Half an answer")
    time.sleep(2 * INTERVAL_SECONDS)  # in which the partial edit would be made

    assert partial_texts(fake) == ["Half an ans …"]


def test_an_answer_that_a_dead_worker_has_replaced_is_restored_once(fake, delivery):
    end(delivery)
    Request.objects.update(started_at=timezone.now())
    TelegramDeliveryBackend().deliver(delivery.request_id)  # in a process that has not streamed it
    assert Delivery.objects.get().state == "PENDING"
    late = {"chat_id": 42, "message_id": delivery.message_id, "text": "Half an ans …"}
    fake.execute("editMessageText", late)

    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        TelegramDeliveryBackend().deliver(delivery.request_id)

    assert fake.chat(42).texts == ["The answer."]
    assert Delivery.objects.get().state == "DELIVERED"


def test_an_answer_that_two_workers_have_streamed_is_shown_again_once_no_stream_can_replace_it(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    Request.objects.update(fence=2, started_at=timezone.now())  # an earlier worker is frozen, or dead
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)
    assert Delivery.objects.get().state == "PENDING"
    fake.execute("editMessageText", {"chat_id": 42, "message_id": delivery.message_id, "text": "Half an ans …"})

    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert fake.chat(42).texts == ["The answer."]
    assert Delivery.objects.get().state == "DELIVERED"


def test_a_long_answer_is_shown_as_far_as_one_message_goes(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("😀 word " * 3000)
    fake.wait_for(lambda: partial_texts(fake))

    assert 4000 < units_of(partial_texts(fake)[0]) <= 4096
    assert partial_texts(fake)[0].endswith(" …")


def test_a_partial_answer_without_visible_text_is_not_shown(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show(" \n")
    show(" \n\u200b")
    show("Hi")
    fake.wait_for(lambda: partial_texts(fake) == ["Hi …"])


def test_a_stream_to_a_chat_that_blocked_the_bot_logs_no_text(fake, delivery, caplog):
    caplog.set_level(logging.INFO)
    fake.chat(42).is_blocked = True
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("canary")
    fake.wait_for(lambda: fake.called("editMessageText"))
    show("canary canary")
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert "canary" not in caplog.text


def test_a_stream_that_has_ended_is_forgotten(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("One")
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    del show
    gc.collect()

    assert delivery.request_id not in streaming.live_messages


def second_delivery(fake: FakeTelegram, chat_id: int = 42) -> Delivery:
    """The delivery of another request, whose placeholder is in this chat too."""
    message_id = fake.execute("sendMessage", {"chat_id": chat_id, "text": "⏳"})["message_id"]
    return Delivery.objects.create(
        request=make_request(), part=0, kind="RESULT", state="PENDING", chat=make_chat(chat_id), message_id=message_id
    )


def edit_times(fake: FakeTelegram) -> list[float]:
    return [call.at for call in fake.called("editMessageText")]


def test_a_pause_holds_for_every_stream_of_its_chat(fake, delivery):
    first = TelegramDeliveryBackend().on_partial(delivery.request_id)
    second = TelegramDeliveryBackend().on_partial(second_delivery(fake).request_id)
    assert first
    assert second
    fake.will("editMessageText", flood(1))

    first("One")
    fake.wait_for(lambda: fake.called("editMessageText"))
    second("Two")
    fake.wait_for(lambda: sorted(fake.chat(42).texts) == ["One …", "Two …"])

    refused, *others = edit_times(fake)
    assert len(others) == 2
    assert all(later - refused >= 1 for later in others)


def test_streams_of_one_chat_share_its_interval_and_those_of_others_do_not(fake, delivery, monkeypatch):
    monkeypatch.setattr(streaming, "EDIT_INTERVAL_SECONDS", 0.3)
    monkeypatch.setattr(streaming, "MAX_EDIT_INTERVAL_SECONDS", 0.3)
    fake.chat(43)
    make_chat(43, type="private")
    deliveries = [delivery, second_delivery(fake), second_delivery(fake, 43)]
    shows = [TelegramDeliveryBackend().on_partial(each.request_id) for each in deliveries]

    for show in shows:
        assert show
        show("Hello")
    fake.wait_for(lambda: [*fake.chat(42).texts, *fake.chat(43).texts] == ["Hello …"] * 3)

    at = {chat_id: [call.at for call in calls_of(fake, chat_id)] for chat_id in (42, 43)}
    assert at[42][1] - at[42][0] >= 0.3 * 0.95
    assert at[43][0] < at[42][1]


def calls_of(fake: FakeTelegram, chat_id: int) -> list:
    return [call for call in fake.called("editMessageText") if call.parameters["chat_id"] == chat_id]


def test_the_interval_grows_with_the_answer(fake, delivery, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_EDIT_INTERVAL_SECONDS", 4 * INTERVAL_SECONDS)
    monkeypatch.setattr(streaming, "LONG_ANSWER_CHARACTERS", 100)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    for words in (1, 30, 31):
        show("word " * words)
        fake.wait_for(lambda words=words: partial_texts(fake)[-1:] == ["word " * words + "…"])

    first, second, third = edit_times(fake)
    assert second - first >= INTERVAL_SECONDS * 0.95
    assert third - second >= 4 * INTERVAL_SECONDS * 0.95


def test_a_message_that_is_full_is_neither_edited_nor_converted_again(fake, delivery, monkeypatch):
    converted: list[int] = []
    monkeypatch.setattr(streaming, "partial_message", lambda text: converted.append(1) or partial_message(text))
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("word " * 2000)
    fake.wait_for(lambda: partial_texts(fake))
    began = time.monotonic()
    for number in range(100):
        show("word " * 2000 + str(number))
        threading.Event().wait(0.01)
    intervals = (time.monotonic() - began) / INTERVAL_SECONDS

    assert len(edit_times(fake)) == 1
    assert len(converted) <= intervals + 3


def test_many_streams_share_a_few_threads_and_none_starves(fake, delivery, monkeypatch):
    monkeypatch.setattr(streaming, "_senders", streaming.Senders())
    chat_ids = range(100, 160)
    for chat_id in chat_ids:
        fake.chat(chat_id)
        make_chat(chat_id, type="private")
    fake.inject_fault = lambda method: late(0.05) if method == "editMessageText" else None
    deliveries = [second_delivery(fake, chat_id) for chat_id in chat_ids]
    others = set(threading.enumerate())
    shows = [TelegramDeliveryBackend().on_partial(each.request_id) for each in deliveries]

    for show in shows:
        assert show
        show("Hello")
    fake.wait_for(lambda: all(fake.chat(chat_id).texts == ["Hello …"] for chat_id in chat_ids))

    threads = {thread for thread in threading.enumerate() if thread not in others}
    senders = {thread for thread in threads if thread.name.startswith("telegram-sender")}
    assert 1 <= len(senders) <= streaming.MAX_SENDERS


def test_a_request_that_was_cancelled_elsewhere_has_its_providers_call_aborted(fake, delivery):
    lease = Lease(delivery.request_id, fence=1)
    keeper.keep(lease)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: partial_texts(fake) == ["Half an ans …"])
    assert not lease.is_lost

    Request.objects.update(status="CANCELLED")
    show("Half an answer")

    wait_until(lambda: lease.is_lost, "the loss of the lease")
    keeper.let_go(lease)


def test_a_forked_process_has_senders_of_its_own(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Hello")
    fake.wait_for(lambda: partial_texts(fake) == ["Hello …"])

    child = os.fork()
    if not child:
        stub = Stub()
        streaming._senders.schedule(stub, 0)
        os._exit(0 if stub.advanced.wait(5) and not streaming.live_messages else 1)

    assert os.waitpid(child, 0)[1] == 0


class Stub(LiveMessage):
    """A live message that counts how often it is advanced."""

    def __init__(self, seconds: list[float | None] | None = None) -> None:
        self.advanced = threading.Event()
        self.times: list[float] = []
        self._seconds = iter(seconds or [])

    def advance(self) -> float | None:
        self.times.append(time.monotonic())
        self.advanced.set()
        return next(self._seconds, None)


def test_senders_advance_each_message_when_it_is_due():
    senders = streaming.Senders()
    late_one, early_one, repeated = Stub(), Stub(), Stub([0.1, 0.1])
    began = time.monotonic()

    senders.schedule(late_one, 0.4)
    senders.schedule(early_one, 0.05)
    senders.schedule(repeated, 0)
    wait_until(lambda: late_one.times and early_one.times and len(repeated.times) == 3, "all of them")

    assert late_one.times[0] - began >= 0.4
    assert early_one.times[0] - began >= 0.05
    assert early_one.times[0] < late_one.times[0]
    assert repeated.times[2] - repeated.times[0] >= 0.2
    assert (len(late_one.times), len(early_one.times)) == (1, 1)


def test_what_is_due_earlier_is_not_kept_waiting_by_what_is_due_late():
    senders = streaming.Senders()
    late_one, early_one = Stub(), Stub()
    senders.schedule(late_one, 3600)
    wait_until(lambda: senders._has_timekeeper, "the timekeeper")

    senders.schedule(early_one, 0.05)

    assert early_one.advanced.wait(10)
    assert late_one.times == []


def test_of_two_streams_that_are_due_at_once_one_takes_the_turn():
    pauses = streaming.ChatPauses()

    assert pauses.take_turn(42, 10)
    assert not pauses.take_turn(42, 10)
    assert pauses.take_turn(43, 10)
    assert 9 < pauses.seconds_left(42) <= 10


def test_a_longer_pause_outlasts_a_shorter_one():
    pauses = streaming.ChatPauses()

    pauses.pause(42, 100)
    pauses.pause(42, 1)

    assert pauses.seconds_left(42) > 90


def test_pauses_that_are_over_are_forgotten(monkeypatch):
    monkeypatch.setattr(streaming, "MAX_KEPT_PAUSES", 10)
    pauses = streaming.ChatPauses()
    pauses.pause(-1, 100)

    for chat_id in range(1, 100):
        pauses.pause(chat_id, 0)

    assert pauses.seconds_left(-1) > 90
    assert len(pauses._not_before) <= 11


def test_senders_forget_a_message_that_nobody_references():
    senders = streaming.Senders()
    kept, dropped = Stub(), Stub()
    times = dropped.times
    senders.schedule(dropped, 0.05)
    senders.schedule(kept, 0.1)

    del dropped
    gc.collect()

    assert kept.advanced.wait(5)
    assert times == []

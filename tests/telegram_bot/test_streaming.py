"""An answer grows before its reader's eyes, politely, and no frame ever stands over the answer."""

import gc
import logging
import threading
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone

from requests_app import tasks
from requests_app.models import Request
from telegram_bot.api import client
from telegram_bot.delivery import streaming
from telegram_bot.delivery.backend import TelegramDeliveryBackend
from telegram_bot.models import Delivery, TelegramChat
from tests.factories import make_request
from tests.fakes.telegram import FakeTelegram, Hold, flood, no_answer, refuse, units_of

pytestmark = pytest.mark.django_db(transaction=True)

PAUSE_SECONDS = 0.15


@pytest.fixture
def delivery(fake, monkeypatch, enqueued) -> Delivery:
    """A request whose placeholder stands in chat 42; frames come quicker than in life."""
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)
    monkeypatch.setattr(streaming, "EDIT_INTERVAL_SECONDS", PAUSE_SECONDS)
    monkeypatch.setattr(streaming, "LOOK_UP_SECONDS", 0.02)
    TelegramChat.objects.create(chat_id=42, type="private")
    message_id = fake.execute("sendMessage", {"chat_id": 42, "text": "⏳"})["message_id"]
    return Delivery.objects.create(
        request=make_request(), part=0, kind="RESULT", state="PENDING", chat_id=42, message_id=message_id
    )


def end(delivery: Delivery, text: str = "The answer.") -> None:
    Request.objects.filter(id=delivery.request_id).update(
        status="COMPLETED", output_text=text, actual_provider="aimlapi", completed_at=timezone.now()
    )


def frames(fake: FakeTelegram) -> list[str]:
    return fake.chat(42).messages[0].versions[1:]


def test_the_first_words_are_shown_at_once_and_then_the_latest(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("One")
    fake.wait_for(lambda: frames(fake) == ["One …"])
    show("One two")
    show("One two **three")
    fake.wait_for(lambda: frames(fake)[-1] == "One two **three …")

    assert len(frames(fake)) == 2


def test_frames_keep_their_distance_and_never_overlap(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    for number in range(1, 500):
        show("word " * number)
        if number % 25 == 0:
            threading.Event().wait(0.02)  # a stream's own pace: about a thousand tokens a second
    fake.wait_for(lambda: frames(fake)[-1].count("word") == 499)

    times = [call.at for call in fake.called("editMessageText")]
    assert len(times) >= 3
    assert all(later - earlier >= PAUSE_SECONDS * 0.95 for earlier, later in pairwise(times))


def test_showing_costs_the_stream_next_to_nothing(fake, delivery):
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


def test_the_answer_waits_for_the_frame_under_way_and_stands_over_it(fake, delivery):
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

    assert frames(fake) == ["Half an ans …", "The answer."]


def test_a_stale_worker_shows_no_frames_once_the_answer_stands(fake, delivery):
    stale = TelegramDeliveryBackend().on_partial(delivery.request_id)
    fresh = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert stale
    assert fresh
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    stale("An old half of ano")
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert frames(fake) == ["The answer."]


def test_while_the_placeholder_is_on_its_way_frames_wait_for_it(fake, delivery):
    Delivery.objects.update(state="PLACING", message_id=None)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("One two")
    Delivery.objects.update(state="PENDING", message_id=delivery.message_id)

    fake.wait_for(lambda: frames(fake) == ["One two …"])


def test_a_pause_that_telegram_wants_is_kept_and_the_stream_goes_on(fake, delivery):
    fake.will("editMessageText", flood(1))
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("One")
    fake.wait_for(lambda: fake.called("editMessageText"))
    show("One two")
    fake.wait_for(lambda: frames(fake))

    first, second = fake.called("editMessageText")
    assert second.at - first.at >= 1
    assert frames(fake) == ["One two …"]


def test_after_three_faults_the_reader_waits_for_the_answer(fake, delivery):
    fake.will("editMessageText", *[refuse(502, "Bad Gateway")] * 3)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    for number in range(1, 4):
        show("word " * number)
        fake.wait_for(lambda number=number: len(fake.called("editMessageText")) == number)

    show("word " * 5)
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    assert frames(fake) == ["The answer."]


def test_after_a_frame_without_a_confirmation_the_answer_is_shown_once_more_later(fake, delivery):
    fake.will("editMessageText", no_answer)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: fake.called("editMessageText"))
    end(delivery)

    TelegramDeliveryBackend().deliver(delivery.request_id)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error) == ("PENDING", "unsettled frame")
    assert fake.chat(42).texts == ["The answer."]

    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    TelegramDeliveryBackend().deliver(delivery.request_id)
    delivery.refresh_from_db()
    assert delivery.state == "DELIVERED"


def test_a_stream_whose_placeholder_comes_after_the_answer_shows_no_frame_over_it(fake, delivery):
    message_id = delivery.message_id
    Delivery.objects.update(state="PLACING", message_id=None, next_at=timezone.now() + timedelta(minutes=1))
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("The answ")  # waits for its placeholder from now on
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)  # and so does the answer

    Delivery.objects.update(state="PENDING", message_id=message_id, next_at=None)
    time.sleep(2 * streaming.LOOK_UP_SECONDS)  # in which the stream would look

    assert frames(fake) == []


def test_a_worker_that_has_lost_its_request_ends_its_stream_while_its_successor_works(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: frames(fake) == ["Half an ans …"])
    show("Half an answer")  # waits for its turn

    TelegramDeliveryBackend().deliver(delivery.request_id)
    fake.execute("editMessageText", {"chat_id": 42, "message_id": delivery.message_id, "text": "The answer."})
    time.sleep(2 * PAUSE_SECONDS)  # in which the frame would come

    assert frames(fake)[-1] == "The answer."


def test_an_answer_waits_for_a_frame_without_a_confirmation_of_a_worker_that_has_lost_it(fake, delivery):
    fake.will("editMessageText", no_answer)
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: fake.called("editMessageText"))

    TelegramDeliveryBackend().deliver(delivery.request_id)

    delivery.refresh_from_db()
    assert delivery.state == "PENDING"
    assert delivery.next_at > timezone.now()


def test_a_request_that_was_cancelled_elsewhere_grows_no_further(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("Half an ans")
    fake.wait_for(lambda: frames(fake) == ["Half an ans …"])

    Request.objects.update(status="CANCELLED")  # as another process does
    show("Half an answer")
    time.sleep(2 * PAUSE_SECONDS)  # in which the frame would come

    assert frames(fake) == ["Half an ans …"]


def test_what_a_worker_that_died_has_written_over_an_answer_is_mended_once(fake, delivery):
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


def test_a_long_answer_is_shown_as_far_as_one_message_goes(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show("😀 word " * 3000)
    fake.wait_for(lambda: frames(fake))

    assert 4000 < units_of(frames(fake)[0]) <= 4096
    assert frames(fake)[0].endswith(" …")


def test_nothing_visible_is_no_frame(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show

    show(" \n")
    show(" \n\u200b")
    show("Hi")
    fake.wait_for(lambda: frames(fake) == ["Hi …"])


def test_a_stream_whose_chat_is_gone_never_notices(fake, delivery, caplog):
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


def test_streams_that_have_ended_leave_nothing_behind(fake, delivery):
    show = TelegramDeliveryBackend().on_partial(delivery.request_id)
    assert show
    show("One")
    end(delivery)
    TelegramDeliveryBackend().deliver(delivery.request_id)

    del show
    gc.collect()

    assert delivery.request_id not in streaming._frames

"""Delivery is idempotent: an answer is shown once, whatever Telegram does meanwhile."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from providers.types import CUT
from requests_app import tasks
from requests_app.delivery_backend import DELIVER_TASK
from requests_app.due_work import due_work
from requests_app.models import Request
from telegram_bot import chats, texts
from telegram_bot.api import client
from telegram_bot.chats import chat_set_reachable
from telegram_bot.delivery import backend
from telegram_bot.delivery.backend import TelegramDeliveryBackend
from telegram_bot.delivery.streaming import StreamStatus, live_messages
from telegram_bot.models import Delivery, TelegramChat
from telegram_bot.sweeper import sweep_telegram
from tests.factories import make_chat, make_request
from tests.fakes.telegram import Hold, flood, no_answer, not_reached, refuse
from tests.flows.processes import wait_until
from tests.telegram_bot.updates import GROUP_ID

pytestmark = pytest.mark.django_db

PARAGRAPH = "A line of a long answer.\n" * 100  # 2,500 characters; a part holds one and a half of it


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch, enqueued):
    """A call without a response times out quickly."""
    monkeypatch.setattr(client, "READ_SECONDS", 0.4)


@pytest.fixture
def placed(fake) -> Delivery:
    """The delivery of a request whose placeholder is in chat 42."""
    make_chat(42, type="private")
    message_id = fake.execute("sendMessage", {"chat_id": 42, "text": texts.PLACEHOLDER})["message_id"]
    return Delivery.objects.create(
        request=make_request(), part=0, kind="RESULT", state="PENDING", chat=make_chat(42), message_id=message_id
    )


def end(delivery: Delivery, text: str = "", **fields) -> None:
    """End the delivery's request, with this answer or as the fields say."""
    answered = {"status": "COMPLETED", "output_text": text, "actual_provider": "aimlapi"} if text else {}
    Request.objects.filter(id=delivery.request_id).update(
        **{"completed_at": timezone.now(), "lease_until": None, **answered, **fields}
    )


def deliver(delivery: Delivery) -> None:
    TelegramDeliveryBackend().deliver(delivery.request_id)
    delivery.refresh_from_db()


def rows(delivery: Delivery) -> list[tuple[int, str]]:
    found = Delivery.objects.filter(request_id=delivery.request_id).order_by("part")
    return list(found.values_list("part", "state"))


def due_now(delivery: Delivery) -> None:
    Delivery.objects.filter(request_id=delivery.request_id).update(next_at=timezone.now() - timedelta(seconds=1))


def test_the_placeholder_becomes_the_answer(fake, placed):
    end(placed, "It is **four**.")

    deliver(placed)

    assert fake.chat(42).texts == ["It is four."]
    assert placed.state == "DELIVERED"
    assert placed.delivered_at


def test_delivering_again_shows_nothing_twice(fake, placed):
    end(placed, "Four." + PARAGRAPH * 2)
    deliver(placed)
    shown = fake.chat(42).texts

    deliver(placed)

    assert fake.chat(42).texts == shown
    assert placed.state == "DELIVERED"


def test_delivering_again_restores_an_answer_that_a_late_partial_edit_has_replaced(fake, placed):
    end(placed, "Four.")
    deliver(placed)
    fake.execute("editMessageText", {"chat_id": 42, "message_id": placed.message_id, "text": "Fo …"})

    deliver(placed)

    assert fake.chat(42).texts == ["Four."]


def test_a_request_that_has_not_ended_is_not_shown(fake, placed):
    for status in ("PENDING", "PROCESSING", "QUARANTINED"):
        end(placed, status=status, completed_at=None)
        deliver(placed)

    assert fake.chat(42).texts == [texts.PLACEHOLDER]


@pytest.mark.django_db(transaction=True)
def test_a_request_without_a_chat_is_ignored(fake):
    request = make_request(status="FAILED", error_code="DEADLINE")

    TelegramDeliveryBackend().deliver(request.id)

    show = TelegramDeliveryBackend().on_partial(request.id)
    assert show
    show("Half of the answer")
    wait_until(lambda: live_messages[request.id].is_idle, "the stream")
    assert fake.calls == []


def test_an_answer_that_is_ready_before_the_placeholder_is_left_to_its_sender(fake, placed):
    Delivery.objects.update(state="PLACING", message_id=None)
    end(placed, "Four.")

    deliver(placed)

    assert placed.state == "PLACING"
    assert not fake.called("editMessageText")


def test_the_further_parts_of_a_long_answer_are_replies_to_the_first(fake, placed):
    end(placed, PARAGRAPH * 4)

    deliver(placed)

    first, *others = fake.chat(42).messages
    assert len(others) == 2
    assert "".join(message.text + "\n" for message in fake.chat(42).messages) == PARAGRAPH * 4
    assert {message.reply_to for message in others} == {first.id}
    assert rows(placed) == [(0, "DELIVERED"), (1, "DELIVERED"), (2, "DELIVERED")]


class TestAnAnswerOfManyMessages:
    ANSWER = PARAGRAPH * 10

    def test_is_its_first_part_and_a_file_with_all_of_it(self, fake, placed):
        end(placed, self.ANSWER)

        deliver(placed)
        deliver(placed)

        first, note, file = fake.chat(42).messages
        assert self.ANSWER.startswith(first.text)
        assert note.text == texts.WHOLE_ANSWER_IN_FILE
        assert (file.kind, file.file) == ("document", self.ANSWER.encode())
        assert rows(placed) == [(0, "DELIVERED"), (1, "DELIVERED"), (2, "DELIVERED")]

    def test_says_below_the_file_that_it_was_cut(self, fake, placed):
        end(placed, self.ANSWER, finish_reason=CUT)

        deliver(placed)

        assert [message.kind for message in fake.chat(42).messages] == ["text", "text", "document", "text"]
        assert fake.chat(42).texts[-1] == texts.ANSWER_CUT

    def test_in_a_group_which_may_forbid_files_is_all_of_them(self, fake, placed):
        fake.chat(GROUP_ID)
        message_id = fake.execute("sendMessage", {"chat_id": GROUP_ID, "text": texts.PLACEHOLDER})["message_id"]
        Delivery.objects.update(chat=make_chat(GROUP_ID), message_id=message_id)
        end(placed, self.ANSWER)

        deliver(placed)

        assert len(fake.chat(GROUP_ID).messages) == 7

    def test_that_was_begun_in_messages_by_the_release_before_is_ended_in_messages(self, fake, placed):
        end(placed, self.ANSWER)
        fields = {"request": placed.request, "kind": "RESULT", "state": "PENDING", "chat": placed.chat}
        Delivery.objects.bulk_create(Delivery(part=part, **fields) for part in range(1, 7))

        deliver(placed)

        assert "".join(message.text + "\n" for message in fake.chat(42).messages) == self.ANSWER
        assert {state for _, state in rows(placed)} == {"DELIVERED"}


class Killed(BaseException):
    """kill -9, as seen from inside."""


def die(*_, **__):
    raise Killed


def die_at_claim(execute, sql, params, many, context):
    """Execute a statement of the database, unless it claims a message for sending."""
    if "SENDING" in (params or ()):
        raise Killed
    return execute(sql, params, many, context)


def assert_the_next_look_finishes(fake, delivery: Delivery) -> None:
    Delivery.objects.filter(state="PENDING", next_at__isnull=False).update(next_at=timezone.now())  # the claim runs out
    sweep_telegram()
    assert due_work(10) == [(DELIVER_TASK, delivery.request_id)]
    deliver(delivery)

    assert rows(delivery) == [(0, "DELIVERED"), (1, "DELIVERED")]
    assert fake.chat(42).texts[0].startswith("First.")
    assert len(fake.chat(42).texts) == 2


@pytest.mark.parametrize(
    "step", ["telegram_bot.delivery.backend.message_parts", "telegram_bot.api.client.TelegramClient.edit"]
)
def test_a_worker_that_dies_before_the_edit_leaves_the_rest_to_the_next_look(fake, placed, enqueued, monkeypatch, step):
    end(placed, "First." + PARAGRAPH * 3, completed_at=timezone.now() - timedelta(minutes=1))
    with monkeypatch.context() as patch:
        patch.setattr(step, die)
        with pytest.raises(Killed):
            deliver(placed)

    assert_the_next_look_finishes(fake, placed)


def test_a_worker_that_dies_after_the_edit_leaves_the_rest_to_the_next_look(fake, placed, enqueued):
    end(placed, "First." + PARAGRAPH * 3, completed_at=timezone.now() - timedelta(minutes=1))
    with connection.execute_wrapper(die_at_claim), pytest.raises(Killed):
        deliver(placed)

    assert_the_next_look_finishes(fake, placed)


def test_a_pause_that_telegram_demands_is_kept_and_then_the_rest_is_shown(fake, placed):
    end(placed, PARAGRAPH * 4)
    fake.will("sendMessage", flood(30))

    deliver(placed)

    assert rows(placed) == [(0, "DELIVERED"), (1, "PENDING"), (2, "PENDING")]
    waiting = Delivery.objects.get(part=1)
    assert waiting.next_at
    assert waiting.next_at > timezone.now() + timedelta(seconds=25)

    deliver(placed)
    assert len(fake.chat(42).messages) == 1

    due_now(placed)
    deliver(placed)
    assert len(fake.chat(42).messages) == 3


def test_a_pause_before_the_edit_is_kept_as_well(fake, placed):
    end(placed, "Four.")
    fake.will("editMessageText", flood(30))

    deliver(placed)
    deliver(placed)

    assert placed.state == "PENDING"
    assert len(fake.called("editMessageText")) == 1

    due_now(placed)
    deliver(placed)
    assert fake.chat(42).texts == ["Four."]


@pytest.mark.parametrize("fault", [no_answer, not_reached, refuse(502, "Bad Gateway"), refuse(500, "Internal")])
def test_an_edit_without_a_confirmation_is_repeated(fake, placed, fault):
    end(placed, "Four.")
    fake.will("editMessageText", fault)

    deliver(placed)
    assert (placed.state, placed.tries) == ("PENDING", 1)

    due_now(placed)
    deliver(placed)
    assert placed.state == "DELIVERED"
    assert fake.chat(42).texts == ["Four."]


@pytest.mark.parametrize("fault", [no_answer, refuse(502, "Bad Gateway")])
def test_a_part_without_a_confirmation_is_not_sent_again_and_the_next_one_follows(fake, placed, fault):
    end(placed, PARAGRAPH * 4)
    fake.will("sendMessage", fault)

    deliver(placed)
    due_now(placed)
    deliver(placed)

    assert rows(placed) == [(0, "DELIVERED"), (1, "UNCERTAIN"), (2, "DELIVERED")]
    assert len(fake.called("sendMessage")) == 2


def test_a_part_that_was_not_sent_is_sent_when_telegram_is_back(fake, placed, settings):
    end(placed, PARAGRAPH * 4)
    fake.will("sendMessage", flood(1))
    deliver(placed)
    due_now(placed)

    settings.TELEGRAM_API_BASE_URL = "http://127.0.0.1:9"
    deliver(placed)
    Delivery.objects.filter(part=0).update(state="DELIVERED", next_at=None)
    settings.TELEGRAM_API_BASE_URL = fake.url
    due_now(placed)
    deliver(placed)

    assert [state for _, state in rows(placed)] == ["DELIVERED"] * 3
    assert len(fake.chat(42).messages) == 3


def test_a_deleted_placeholder_gets_its_user_one_new_message(fake, placed):
    end(placed, "Four.")
    fake.chat(42).messages.clear()

    deliver(placed)
    deliver(placed)

    assert fake.chat(42).texts == ["Four."]
    assert placed.state == "DELIVERED"
    assert placed.message_id == fake.chat(42).messages[0].id


def test_an_answer_that_its_user_has_deleted_does_not_come_back(fake, placed):
    end(placed, "Four.")
    deliver(placed)
    fake.chat(42).messages.clear()

    deliver(placed)

    assert fake.chat(42).messages == []
    assert placed.state == "DELIVERED"


def test_a_new_message_without_a_confirmation_is_not_repeated(fake, placed):
    end(placed, "Four.")
    fake.chat(42).messages.clear()
    fake.will("sendMessage", no_answer)

    deliver(placed)
    deliver(placed)

    assert fake.chat(42).texts == ["Four."]
    assert placed.state == "UNCERTAIN"


@pytest.mark.parametrize("words", ["can't parse entities: byte offset 3", "entity beginning at UTF-16 offset 1 ends"])
def test_formatting_that_telegram_refuses_is_removed(fake, placed, words):
    end(placed, "It is **four**.\n" + PARAGRAPH * 2)
    fake.will("editMessageText", refuse(400, f"Bad Request: {words}"))
    fake.will("sendMessage", refuse(400, f"Bad Request: {words}"))

    deliver(placed)

    assert fake.chat(42).texts[0].startswith("It is four.")
    assert fake.chat(42).messages[0].entities == []
    assert [state for _, state in rows(placed)] == ["DELIVERED", "DELIVERED"]


def test_a_user_who_has_blocked_the_bot_gets_the_answer_when_they_come_back(fake, placed):
    end(placed, "Four.")
    fake.chat(42).is_blocked = True

    deliver(placed)
    assert (placed.state, placed.error) == ("UNDELIVERABLE", "the chat cannot be reached")
    assert not TelegramChat.objects.get().is_reachable
    deliver(placed)
    assert len(fake.called("editMessageText")) == 1

    fake.chat(42).is_blocked = False
    chat_set_reachable(chat_id=make_chat(42).pk, is_reachable=True)
    deliver(placed)
    assert fake.chat(42).texts == ["Four."]


def test_a_chat_that_cannot_be_reached_is_noted_with_its_messages_or_not_at_all(placed, monkeypatch):
    """Between the two a worker may be frozen, and the chat may have come back when it goes on."""

    class Frozen:
        @property
        def objects(self):
            raise TimeoutError

    monkeypatch.setattr(chats, "Delivery", Frozen())

    with pytest.raises(TimeoutError):
        chat_set_reachable(chat_id=placed.chat_id, is_reachable=False)

    assert TelegramChat.objects.get().is_reachable


def test_a_look_from_before_they_came_back_drops_no_further_part(fake, placed):
    end(placed, "word " * 1000)
    fake.chat(42).is_blocked = True
    deliver(placed)
    assert {state for _, state in rows(placed)} == {"UNDELIVERABLE"}

    fake.chat(42).is_blocked = False
    chat_set_reachable(chat_id=make_chat(42).pk, is_reachable=True)
    backend._deliver(placed, StreamStatus.SETTLED)  # read while the chat could not be reached
    deliver(placed)

    assert {state for _, state in rows(placed)} == {"DELIVERED"}


def test_a_group_that_became_a_supergroup_gets_the_answer_under_its_new_id(fake, placed):
    end(placed, "Four.")
    fake.chat(-1007)
    fake.will("editMessageText", refuse(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1007))

    deliver(placed)
    deliver(placed)

    assert fake.chat(-1007).texts == ["Four."]


def test_an_answer_without_visible_text_says_so(fake, placed):
    end(placed, "\u200b")

    deliver(placed)

    assert fake.chat(42).texts == [texts.EMPTY_ANSWER]


def test_a_long_job_ends_with_one_notice(fake, placed):
    end(placed, "Four.", created_at=timezone.now() - timedelta(seconds=21))

    deliver(placed)
    deliver(placed)

    first, notice = fake.chat(42).messages
    assert (notice.text, notice.reply_to) == (texts.NOTICE_READY, first.id)
    assert rows(placed) == [(-1, "DELIVERED"), (0, "DELIVERED")]


def test_a_notice_without_a_confirmation_is_not_sent_again(fake, placed):
    end(placed, "Four.", created_at=timezone.now() - timedelta(seconds=21))
    fake.will("sendMessage", no_answer)

    deliver(placed)
    deliver(placed)

    assert fake.chat(42).texts == ["Four.", texts.NOTICE_READY]


def test_the_notice_of_a_failure_says_so(fake, placed):
    end(placed, status="FAILED", error_code="DEADLINE", created_at=timezone.now() - timedelta(seconds=91))

    deliver(placed)

    assert fake.chat(42).texts[1] == texts.NOTICE_FAILED


@pytest.mark.parametrize("seconds", [0, 19])
def test_a_short_job_needs_no_notice(fake, placed, seconds):
    end(placed, "Four.", created_at=timezone.now() - timedelta(seconds=seconds))

    deliver(placed)

    assert fake.chat(42).texts == ["Four."]


def test_further_parts_need_no_notice(fake, placed):
    end(placed, PARAGRAPH * 2, created_at=timezone.now() - timedelta(minutes=1))

    deliver(placed)

    assert texts.NOTICE_READY not in fake.chat(42).texts


def test_with_an_unknown_token_the_delivery_waits_for_the_operator(fake, placed, settings):
    end(placed, "Four.")
    settings.TELEGRAM_BOT_TOKEN = "4242:wrong"

    deliver(placed)

    assert placed.state == "PENDING"
    assert "TELEGRAM_BOT_TOKEN" in placed.error


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_deliver_at_once_send_each_part_once(fake, placed):
    end(placed, PARAGRAPH * 6)
    hold = Hold()
    fake.will("sendMessage", hold)
    first = threading.Thread(target=tasks.deliver, args=(placed.request_id,))
    first.start()
    assert hold.arrived.wait(5)

    deliver(placed)
    assert len(fake.called("sendMessage")) == 1
    hold.go()
    first.join(10)

    assert "".join(message.text + "\n" for message in fake.chat(42).messages) == PARAGRAPH * 6
    assert {state for _, state in rows(placed)} == {"DELIVERED"}

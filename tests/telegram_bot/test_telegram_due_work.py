"""What a worker finds due by itself: updates, placeholders and deliveries that nobody has claimed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.due_work import GRACE
from requests_app.models import Request
from telegram_bot.due_work import telegram_sources
from telegram_bot.models import Delivery
from tests.factories import make_chat
from tests.telegram_bot.rows import ago, make_delivery, make_update

pytestmark = pytest.mark.django_db


HANDLE = "telegram_bot.tasks.handle_chat"
PLACE = "telegram_bot.tasks.place"
DELIVER = "requests_app.tasks.deliver"


def due() -> list[tuple[str, str | int]]:
    return [(source.task, key) for source in telegram_sources() for key in source.find(10, GRACE)]


def test_a_chat_with_due_updates_is_found_once(enqueued):
    make_update()
    make_update()

    assert due() == [(HANDLE, make_chat(42).pk)]


@pytest.mark.parametrize(
    "fields",
    [
        {"received_at": timezone.now() + timedelta(hours=1)},  # its first wake-up is expected to arrive
        {"handled_at": timezone.now(), "outcome": "done"},
        {"next_at": timezone.now() + timedelta(hours=1)},
    ],
)
def test_it_leaves_updates_alone_that_are_not_due(enqueued, fields):
    make_update(**fields)

    assert due() == []


def test_updates_after_one_that_must_wait_wait_too(enqueued):
    make_update(next_at=timezone.now() + timedelta(minutes=1), tries=1)
    make_update()

    assert due() == []


def test_the_chats_that_have_waited_longest_come_first(enqueued):
    for chat_id, age in ((7, 10), (8, 90), (9, 30)):
        make_update(chat=make_chat(chat_id), received_at=ago(age))

    assert due() == [(HANDLE, make_chat(chat_id).pk) for chat_id in (8, 9, 7)]


def test_it_leaves_a_chat_alone_that_a_worker_has_claimed(enqueued):
    make_update()
    make_chat(42, lease_until=timezone.now() + timedelta(seconds=30))

    assert due() == []


def test_a_placeholder_is_found_whose_sender_was_lost():
    delivery = make_delivery(status="PROCESSING", state="PLACING", message_id=None, next_at=ago(1))

    assert due() == [(PLACE, delivery.request_id)]


def test_it_leaves_a_placeholder_to_its_sender_for_a_while():
    make_delivery(state="PLACING", message_id=None, next_at=timezone.now() + timedelta(seconds=10))

    assert due() == []


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
def test_it_finds_the_delivery_of_an_end_that_was_not_shown(status):
    delivery = make_delivery(status="FAILED")
    fields = {"status": status, "output_text": "Four.", "actual_provider": "aimlapi"}
    Request.objects.filter(id=delivery.request_id).update(**fields)

    assert due() == [(DELIVER, delivery.request_id)]


def test_it_finds_a_request_once_however_many_parts_wait():
    delivery = make_delivery(next_at=ago(1))
    for part in (1, 2):
        make_delivery(part=part, next_at=ago(1), message_id=None)
    Delivery.objects.update(request=delivery.request_id)

    assert due() == [(DELIVER, delivery.request_id)]


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "QUARANTINED"])
def test_it_leaves_placeholders_of_unfinished_requests_alone(status):
    make_delivery(status=status)

    assert due() == []


@pytest.mark.parametrize("state", ["DELIVERED", "UNCERTAIN", "UNDELIVERABLE"])
def test_it_leaves_finished_deliveries_alone(state):
    make_delivery(state=state)

    assert due() == []

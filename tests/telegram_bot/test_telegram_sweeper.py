"""The sweeper enqueues due updates, placeholders and deliveries that no worker has claimed."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from requests_app.models import Request
from telegram_bot.models import Delivery, TelegramChat, TelegramUpdate
from telegram_bot.sweeper import sweep_telegram
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_request
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db

HANDLE = "telegram_bot.tasks.handle_chat"
PLACE = "telegram_bot.tasks.place"
DELIVER = "requests_app.tasks.deliver"


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def make_update(**fields: Any) -> None:
    raw = message("Hello")
    update_ingest(raw)
    TelegramUpdate.objects.filter(update_id=raw["update_id"]).update(**{"received_at": ago(60), **fields})


def make_delivery(*, status: str = "FAILED", **fields: Any) -> Delivery:
    request = make_request(status=status, completed_at=None if status in Request.OPEN else ago(60))
    values = {"part": 0, "kind": "RESULT", "state": "PENDING", "chat_id": 42, "message_id": 1, "created_at": ago(60)}
    return Delivery.objects.create(**{"request": request, **values, **fields})


def test_it_enqueues_a_chat_with_due_updates_once(enqueued):
    make_update()
    make_update()
    enqueued.clear()

    assert sweep_telegram() == 1
    assert enqueued == [(HANDLE, 42)]


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
    enqueued.clear()

    assert sweep_telegram() == 0
    assert enqueued == []


def test_it_leaves_a_chat_alone_that_a_worker_has_claimed(enqueued):
    make_update()
    TelegramChat.objects.create(chat_id=42, lease_until=timezone.now() + timedelta(seconds=30))
    enqueued.clear()

    assert sweep_telegram() == 0


def test_it_deletes_handled_updates_after_a_week_and_unhandled_ones_never(enqueued):
    week = timedelta(days=7).total_seconds()
    make_update(received_at=ago(week + 60), handled_at=ago(week), outcome="done")
    make_update(received_at=ago(week - 60), handled_at=ago(week - 60), outcome="done")
    make_update(received_at=ago(week + 60))

    sweep_telegram()

    assert TelegramUpdate.objects.count() == 2


def test_it_enqueues_a_placeholder_whose_sender_was_lost(enqueued):
    delivery = make_delivery(status="PROCESSING", state="PLACING", message_id=None, next_at=ago(1))

    sweep_telegram()

    assert enqueued == [(PLACE, delivery.request_id)]


def test_it_leaves_a_placeholder_to_its_sender_for_a_while(enqueued):
    make_delivery(state="PLACING", message_id=None, next_at=timezone.now() + timedelta(seconds=10))

    assert sweep_telegram() == 0


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
def test_it_enqueues_the_delivery_of_an_end_that_was_not_shown(enqueued, status):
    delivery = make_delivery(status="FAILED")
    fields = {"status": status, "output_text": "Four.", "actual_provider": "aimlapi"}
    Request.objects.filter(id=delivery.request_id).update(**fields)

    sweep_telegram()

    assert enqueued == [(DELIVER, delivery.request_id)]


def test_it_enqueues_a_request_once_however_many_parts_wait(enqueued):
    delivery = make_delivery(next_at=ago(1))
    for part in (1, 2):
        make_delivery(part=part, next_at=ago(1), message_id=None)
    Delivery.objects.update(request=delivery.request_id)

    assert sweep_telegram() == 1


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING", "QUARANTINED"])
def test_it_leaves_placeholders_of_unfinished_requests_alone(enqueued, status):
    make_delivery(status=status)

    assert sweep_telegram() == 0


@pytest.mark.parametrize("state", ["DELIVERED", "UNCERTAIN", "UNDELIVERABLE"])
def test_it_leaves_finished_deliveries_alone(enqueued, state):
    make_delivery(state=state)

    assert sweep_telegram() == 0


def test_a_part_whose_sender_died_is_marked_as_uncertain_and_not_sent_again(enqueued):
    lost = make_delivery(state="SENDING", part=1, message_id=None, next_at=ago(1))
    under_way = make_delivery(state="SENDING", part=1, message_id=None, next_at=timezone.now() + timedelta(seconds=9))

    sweep_telegram()

    lost.refresh_from_db()
    under_way.refresh_from_db()
    assert (lost.state, lost.error) == ("UNCERTAIN", "its sender was lost")
    assert under_way.state == "SENDING"

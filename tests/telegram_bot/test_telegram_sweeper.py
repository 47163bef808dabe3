"""The sweeper marks deliveries whose sender was lost, and deletes old updates. It wakes nobody."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from requests_app.models import Request
from telegram_bot.models import Delivery, TelegramUpdate
from telegram_bot.sweeper import sweep_telegram
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_request
from tests.telegram_bot.updates import message

pytestmark = pytest.mark.django_db


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


def test_it_deletes_handled_updates_after_a_week_and_unhandled_ones_never(enqueued):
    week = timedelta(days=7).total_seconds()
    make_update(received_at=ago(week + 60), handled_at=ago(week), outcome="done")
    make_update(received_at=ago(week - 60), handled_at=ago(week - 60), outcome="done")
    make_update(received_at=ago(week + 60))

    sweep_telegram()

    assert TelegramUpdate.objects.count() == 2


def test_it_enqueues_nothing_however_long_something_waits(enqueued):
    make_update()
    make_delivery()
    make_delivery(status="PROCESSING", state="PLACING", message_id=None, next_at=ago(1))
    enqueued.clear()

    assert sweep_telegram() == 0
    assert enqueued == []


def test_a_part_whose_sender_died_is_marked_as_uncertain_and_not_sent_again(enqueued):
    lost = make_delivery(state="SENDING", part=1, message_id=None, next_at=ago(1))
    under_way = make_delivery(state="SENDING", part=1, message_id=None, next_at=timezone.now() + timedelta(seconds=9))

    sweep_telegram()

    lost.refresh_from_db()
    under_way.refresh_from_db()
    assert (lost.state, lost.error) == ("UNCERTAIN", "its sender was lost")
    assert under_way.state == "SENDING"

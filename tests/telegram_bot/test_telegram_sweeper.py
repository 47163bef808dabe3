"""The sweeper marks deliveries whose sender was lost, and deletes old updates. It wakes nobody."""

from datetime import timedelta

import pytest
from django.utils import timezone

from telegram_bot.models import TelegramUpdate
from telegram_bot.sweeper import sweep_telegram
from tests.telegram_bot.rows import ago, make_delivery, make_update

pytestmark = pytest.mark.django_db


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

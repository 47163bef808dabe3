"""The sweeper marks deliveries whose sender was lost, and deletes old updates. It wakes nobody."""

from datetime import timedelta

import pytest
from django.utils import timezone

from telegram_bot.models import TelegramUpdate
from telegram_bot.sweeper import sweep_telegram
from tests.row_locks import needs_row_locks, row_locked_by_another
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


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_rows_that_somebody_has_locked_are_left_to_the_next_round(enqueued):
    frozen, lost = (make_delivery(state="SENDING", part=1, message_id=None, next_at=ago(1)) for _ in range(2))
    week = timedelta(days=7, seconds=60).total_seconds()
    for _ in range(2):
        make_update(received_at=ago(week), handled_at=ago(60), outcome="done")
    kept = TelegramUpdate.objects.earliest("id")

    with row_locked_by_another(frozen), row_locked_by_another(kept):
        assert sweep_telegram() == 2

    lost.refresh_from_db()
    assert lost.state == "UNCERTAIN"
    assert list(TelegramUpdate.objects.all()) == [kept]
    assert sweep_telegram() == 2

"""Heartbeats: one row for each process, written every few seconds while it lives."""

from datetime import timedelta

import pytest
from django.utils import timezone

from requests_app.models import WorkerHeartbeat
from requests_app.services import heartbeats
from requests_app.services.heartbeats import Heartbeat

pytestmark = pytest.mark.django_db


def test_a_worker_says_what_it_does_and_goes_without_a_trace():
    heartbeat = Heartbeat("worker", queues=["chat", "text"], slots=16)

    heartbeat.beat(busy=3)

    row = WorkerHeartbeat.objects.get()
    assert (row.kind, row.queues, row.slots, row.busy) == ("worker", "chat,text", 16, 3)
    heartbeat.end()
    assert not WorkerHeartbeat.objects.exists()


def test_it_writes_one_row_and_not_at_every_call(monkeypatch):
    heartbeat = Heartbeat("worker")
    assert heartbeat.beat()
    WorkerHeartbeat.objects.update(seen_at=timezone.now() - timedelta(minutes=1))

    assert not heartbeat.beat()
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.0)
    heartbeat._next_beat = 0.0
    assert heartbeat.beat(busy=7)

    row = WorkerHeartbeat.objects.get()
    assert row.busy == 7
    assert row.seen_at > timezone.now() - timedelta(seconds=30)

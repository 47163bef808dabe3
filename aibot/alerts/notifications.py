"""Notifications: each channel is told of each alert once, that it has begun and that it is over.

A channel that fails or hangs holds up neither another channel nor the process that watches.
"""

import threading
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from aibot.alerts.channels import Message, channel_send, channels_in_use
from aibot.models import Alert, Notification
from providers.db import delete_unlocked, give_back_connection, update_unlocked

WAIT_SECONDS = 5.0  # of a round for its messages; what takes longer goes on beside the rounds that follow
MAX_PER_ROUND = 20  # of a channel
CLAIM = timedelta(minutes=5)  # of whoever sends it; then another may
MIN_PAUSE_SECONDS = 60  # after a failure
MAX_PAUSE_SECONDS = 3600
MAX_LATE = timedelta(days=1)  # an end that a channel has not taken by then is not told there

_senders: dict[str, "_Sender"] = {}  # the last one of each channel, in this process


def notifications_write() -> None:
    """Write what each channel is to be told. Idempotent.

    A channel that was opened later is told what is still the case; one that was not told of a begin hears of no end.
    """
    is_late = Q(alert__ended_at__isnull=False, is_end=False) | Q(alert__ended_at__lt=Now() - MAX_LATE)
    delete_unlocked(_due().filter(is_late))
    for channel in channels_in_use():
        told = Notification.objects.filter(alert=OuterRef("pk"), channel=channel)
        begun = Alert.objects.filter(~Exists(told.filter(is_end=False)), ended_at=None, seen_at__gte=F("tell_at"))
        ended = Alert.objects.filter(
            Exists(told.filter(is_end=False, sent_at__isnull=False)),
            ~Exists(told.filter(is_end=True)),
            ended_at__gt=Now() - MAX_LATE,
        )
        rows = [Notification(alert=alert, channel=channel, is_end=False) for alert in begun]
        rows += [Notification(alert=alert, channel=channel, is_end=True) for alert in ended]
        Notification.objects.bulk_create(rows, ignore_conflicts=True)


def notifications_send() -> int:
    """Send what is due, each channel in a thread of its own; return how many were sent within WAIT_SECONDS.

    Each is sent once; again only where its sender died between sending and noting it, or where it took longer than
    CLAIM. Any number of processes may send at once.
    """
    until = time.monotonic() + WAIT_SECONDS
    senders = [_begin(channel) for channel in _due().order_by().values_list("channel", flat=True).distinct()]
    for sender in senders:
        sender.join(max(0.0, until - time.monotonic()))
    return sum(sender.sent for sender in senders)


def _begin(channel: str) -> "_Sender":
    """Return the sender of a channel, which is started where it is not at work."""
    sender = _senders.get(channel)
    if sender is None or not sender.is_alive():
        sender = _senders[channel] = _Sender(channel)
        sender.start()
    return sender


class _Sender(threading.Thread):
    """Sends what is due by one channel, until it fails. A daemon: the end of the process does not wait for it."""

    def __init__(self, channel: str) -> None:
        super().__init__(name=f"alerts by {channel}", daemon=True)
        self.channel = channel
        self.sent = 0

    def run(self) -> None:
        try:
            due = _due().filter(channel=self.channel).select_related("alert").order_by("id")
            for notification in due[:MAX_PER_ROUND]:
                if not _claim(notification):
                    continue
                if not _send(notification):
                    break
                self.sent += 1
        finally:
            give_back_connection()


def _due() -> QuerySet[Notification]:
    return Notification.objects.filter(sent_at=None, next_at__lte=Now())


def _claim(notification: Notification) -> bool:
    """Return whether this thread is the one to send it now."""
    return update_unlocked(_due().filter(pk=notification.pk), next_at=Now() + CLAIM) > 0


def _send(notification: Notification) -> bool:
    message = _message(notification.alert, is_end=notification.is_end)
    give_back_connection()
    row = Notification.objects.filter(pk=notification.pk)
    if channel_send(notification.channel, message):
        row.update(sent_at=Now())
        return True
    pause_seconds = min(MIN_PAUSE_SECONDS * 2**notification.tries, MAX_PAUSE_SECONDS)
    row.update(tries=notification.tries + 1, next_at=Now() + timedelta(seconds=pause_seconds))
    return False


def _message(alert: Alert, *, is_end: bool) -> Message:
    if not is_end:
        advice = f"{alert.advice}\nSince {_time_of(alert.began_at)}."
        return Message(f"🔴 {alert.title}", advice, alert.remedy, alert.routes)
    assert alert.ended_at is not None  # noqa: S101 — the end of an alert is written when it has ended
    minutes = max(1, round((alert.ended_at - alert.began_at).total_seconds() / 60))
    return Message(f"🟢 Over: {alert.title}", f"From {_time_of(alert.began_at)} on, for about {minutes} min.")


def _time_of(moment: datetime) -> str:
    return timezone.localtime(moment).strftime(f"%Y-%m-%d %H:%M {settings.TIME_ZONE}")

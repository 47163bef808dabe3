"""The watch: notes as alerts what is not as it should be, tells the operator once, and once more when it is over.

The sweeper keeps it; where no sweeper has shown a sign of life, the workers do. A row that somebody has locked is left
to a later round. While the database is away nobody watches: for that hour there is deploy/prometheus/alerts.yaml.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from aibot.alerts.channels import Notified, operator_notify
from aibot.alerts.conditions import WEBHOOK, Condition, service_conditions, webhook_condition
from aibot.models import Alert
from providers.db import delete_unlocked, update_unlocked
from requests_app.dispatch import CHAT
from requests_app.due_work import DueSource
from requests_app.services.heartbeats import processes_at_work
from telegram_bot.api.errors import BotApiError

WATCH_TASK = "aibot.tasks.watch"
WATCH_SECONDS = 15.0  # between two looks of a process
CALM = timedelta(minutes=2)  # for which it must be gone to be over; what comes and goes is one event
CLAIM = timedelta(minutes=1)  # of whoever tells it; then another may
KEPT = timedelta(days=90)
MAX_LATE = timedelta(days=1)  # an end that no channel took by then is told to nobody

_next_watch = 0.0  # on time.monotonic()


def sweep_alerts() -> int:
    """Watch, if it is time; return how many messages were sent. Idempotent; any number of sweepers may."""
    return watch() if _is_time() else 0


def alert_sources() -> list[DueSource]:
    """Return the watch as due work of a worker that finds no sweeper."""
    return [DueSource(WATCH_TASK, CHAT, _unwatched)]


def _unwatched(limit: int, _: timedelta) -> Sequence[str]:
    return ["now"][:limit] if _is_time() and not processes_at_work().sweepers else []


def _is_time() -> bool:
    global _next_watch
    now = time.monotonic()
    if now < _next_watch:
        return False
    _next_watch = now + WATCH_SECONDS
    return True


def watch() -> int:
    """Bring the alerts up to date with what is the case, tell what is to be told; return how many messages were sent.

    Each begin and each end is told once; again only after a crash between sending and noting it. Asks Telegram.
    """
    for condition in service_conditions():
        _note(condition)
    try:
        condition_at_telegram = webhook_condition()
    except BotApiError:
        _see(WEBHOOK)  # nobody knows whether it is over
    else:
        if condition_at_telegram is not None:
            _note(condition_at_telegram)
    _end_what_is_over()
    return _tell_all()


def _open() -> QuerySet[Alert]:
    return Alert.objects.filter(ended_at=None)


def _note(condition: Condition) -> None:
    words = {"title": condition.title[:200], "advice": condition.advice[:500]}
    if _see(condition.key, **words):
        return
    # Without patience the very moment: SQLite compares texts, and writes a sum with more digits.
    tell_at = Now() + timedelta(seconds=condition.patience_seconds) if condition.patience_seconds else Now()
    alert = Alert(key=condition.key, **words, tell_at=tell_at, seen_at=Now())
    Alert.objects.bulk_create([alert], ignore_conflicts=True)


def _see(key: str, **words: str) -> bool:
    """Note that an alert is still the case; False where there is none."""
    alert = _open().filter(key=key)
    return update_unlocked(alert, **words, seen_at=Now()) > 0 or alert.exists()


def _end_what_is_over() -> None:
    over = _open().filter(seen_at__lt=Now() - CALM)
    delete_unlocked(over.filter(told_at=None))
    update_unlocked(over.exclude(told_at=None), ended_at=F("seen_at"))
    delete_unlocked(Alert.objects.filter(ended_at__lt=Now() - KEPT))


def _tell_all() -> int:
    """Tell what is to be told, and return how many messages were sent.

    Once a channel fails the others wait for the next round: who calls this has other work, too.
    """
    sent = 0
    for alert in _to_tell().order_by("began_at"):
        if not _claim(alert):
            continue
        is_taken, is_smooth = _tell(alert)
        sent += is_taken
        if not is_smooth:
            break
    return sent


def _to_tell() -> QuerySet[Alert]:
    begun = Q(told_at=None, ended_at=None, seen_at__gte=F("tell_at"))  # it has lasted, and is still the case
    ended = Q(told_at__isnull=False, end_told_at=None, ended_at__gt=Now() - MAX_LATE)
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    return Alert.objects.filter(begun | ended, unclaimed)


def _claim(alert: Alert) -> bool:
    """Return whether this process is the one to tell it now. A message that nobody took is sent again after CLAIM."""
    return update_unlocked(_to_tell().filter(pk=alert.pk), claimed_until=Now() + CLAIM) > 0


def _tell(alert: Alert) -> Notified:
    """Tell the begin or the end of an alert."""
    if alert.ended_at is None:
        notified = operator_notify(f"🔴 {alert.title}", f"{alert.advice}\nSince {_time_of(alert.began_at)}.")
    else:
        minutes = max(1, round((alert.ended_at - alert.began_at).total_seconds() / 60))
        notified = operator_notify(
            f"🟢 Over: {alert.title}", f"From {_time_of(alert.began_at)} on, for about {minutes} min."
        )
    if notified.is_taken:
        told = "told_at" if alert.ended_at is None else "end_told_at"
        Alert.objects.filter(pk=alert.pk).update(**{told: Now(), "claimed_until": None})
    return notified


def _time_of(moment: datetime) -> str:
    return timezone.localtime(moment).strftime(f"%Y-%m-%d %H:%M {settings.TIME_ZONE}")

"""The watch: notes as alerts what is not as it should be, tells the operator once, and once more when it is over.

The sweeper keeps it; where no sweeper has shown a sign of life, the workers do. A row that somebody has locked is left
to a later round. While the database is away nobody watches: for that hour there is deploy/prometheus/alerts.yaml.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Now

from aibot.alerts.condition import Condition
from aibot.alerts.conditions import WEBHOOK, service_conditions, webhook_condition
from aibot.alerts.notifications import notifications_send, notifications_write
from aibot.models import Alert, Notification
from providers.db import delete_unlocked, update_unlocked
from requests_app.dispatch import CHAT
from requests_app.due_work import DueSource
from requests_app.services.heartbeats import processes_at_work
from telegram_bot.api.errors import BotApiError

WATCH_TASK = "aibot.tasks.watch"
WATCH_SECONDS = 15.0  # between two looks of a process
CALM = timedelta(minutes=2)  # for which it must be gone to be over; what comes and goes is one event
KEPT = timedelta(days=90)

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

    Idempotent, and any number of processes may. Asks Telegram; it and the channels may take ten seconds.
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
    notifications_write()
    return notifications_send()


def _open() -> QuerySet[Alert]:
    return Alert.objects.filter(ended_at=None)


def _note(condition: Condition) -> None:
    words: dict[str, Any] = {"title": condition.title[:200], "advice": condition.advice[:500]}
    words |= {"remedy": condition.remedy or "", "routes": condition.routes}
    if _see(condition.key, **words):
        return
    # Without patience the very moment: SQLite compares texts, and writes a sum with more digits.
    tell_at = Now() + timedelta(seconds=condition.patience_seconds) if condition.patience_seconds else Now()
    alert = Alert(key=condition.key, **words, tell_at=tell_at, seen_at=Now())
    Alert.objects.bulk_create([alert], ignore_conflicts=True)


def _see(key: str, **words: Any) -> bool:
    """Note that an alert is still the case; False where there is none."""
    alert = _open().filter(key=key)
    return update_unlocked(alert, **words, seen_at=Now()) > 0 or alert.exists()


def _end_what_is_over() -> None:
    over = _open().filter(seen_at__lt=Now() - CALM)
    told = Exists(Notification.objects.filter(alert=OuterRef("pk")))
    delete_unlocked(over.filter(~told))
    update_unlocked(over.filter(told), ended_at=F("seen_at"))
    delete_unlocked(Alert.objects.filter(ended_at__lt=Now() - KEPT))

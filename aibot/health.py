"""Liveness and readiness, for load balancers and process managers. Open to all, so nothing secret is said here."""

import logging
import math
import os
import threading
import time
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from aibot.database_state import is_migrated
from providers.transport.deadlines import Deadline
from requests_app.selectors import oldest_due_seconds
from requests_app.services.heartbeats import processes_at_work
from requests_app.services.maintenance import maintenance_mode
from telegram_bot.api.errors import BotApiError
from telegram_bot.bot_status import bot_status
from telegram_bot.selectors import deliveries_unfinished, updates_unhandled

logger = logging.getLogger("aibot.health")

BROKER_TIMEOUT_SECONDS = 0.5  # to connect and to answer, each
MAX_DELAY_SECONDS = 30  # workers look every two seconds, by default
TELEGRAM_SECONDS = 5.0  # for all calls
TELEGRAM_CACHE_SECONDS = 30.0  # anybody may ask for the verbose report
NOTE = (
    "Ready means that the database answers and is migrated, and that each queue has a worker. Without workers updates "
    "are stored all the same, and none is lost: a proxy should ask /healthz instead. The broker only carries wake-up "
    "messages: without it requests start a few seconds late. If on_time is false, there are too few workers, or "
    "Telegram takes no messages. In maintenance prompts wait, and nothing else. Without a sweeper overdue requests do "
    "not end. With ?verbose this report says what Telegram sees."
)


@never_cache
@require_safe
def healthz(_: HttpRequest) -> JsonResponse:
    """Return 200 as long as the process is alive. Nothing else is checked."""
    return JsonResponse({"alive": True})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if updates are stored and answered, else 503 with what is missing."""
    report: dict[str, Any] = {"ready": False, "database": False, "migrated": False, "broker": broker_answers()}
    try:
        report["migrated"] = is_migrated()
        report["database"] = True
        if report["migrated"]:
            report |= _work()
    except DatabaseError:
        logger.warning("Not ready: the database does not answer.")
    if "verbose" in request.GET:
        report["telegram"] = telegram_report.read()
    return JsonResponse({**report, "note": NOTE}, status=200 if report["ready"] else 503)


def _work() -> dict[str, Any]:
    """Return who is at work, and for how long the oldest piece of each kind has waited."""
    at_work = processes_at_work()
    unserved = [queue for queue, workers in at_work.by_queue.items() if not workers]
    waiting = {
        "oldest_update_seconds": updates_unhandled().oldest_seconds(),
        "oldest_due_seconds": oldest_due_seconds(),
        "oldest_delivery_seconds": deliveries_unfinished().oldest_seconds(),
    }
    return {
        "ready": not unserved,
        "maintenance": maintenance_mode() is not None,
        "workers": at_work.workers,
        "queues_without_worker": unserved,
        "sweepers": at_work.sweepers,
        "on_time": max(waiting.values()) <= MAX_DELAY_SECONDS,
        **{name: round(seconds, 1) for name, seconds in waiting.items()},
    }


class TelegramReport:
    """What Telegram sees, without an address. Anybody may ask, so it is kept for a while. Thread-safe."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._asked_at = -math.inf  # on time.monotonic()
        self._report: dict[str, Any] = {"problems": ["Telegram is being asked: try again in a few seconds."]}

    def read(self) -> dict[str, Any]:
        """Return the report. One caller at a time asks Telegram; the others get the last answer and wait for nobody."""
        if time.monotonic() - self._asked_at > TELEGRAM_CACHE_SECONDS and self._asking.acquire(blocking=False):
            try:
                self._report = _ask_telegram()
                self._asked_at = time.monotonic()
            finally:
                self._asking.release()
        return self._report


telegram_report = TelegramReport()


def _ask_telegram() -> dict[str, Any]:
    if not settings.TELEGRAM_BOT_TOKEN:
        return {"bot": None}
    try:
        status = bot_status(deadline=Deadline.after(TELEGRAM_SECONDS))
    except BotApiError as error:
        return {"bot": None, "problems": [f"Telegram did not say: {error}"]}
    webhook = status.webhook
    return {
        "bot": f"@{status.identity.username}",
        "has_webhook": bool(webhook.url),
        "as_set": webhook.url == status.expected_url,
        "pending_updates": webhook.pending,
        "last_error": webhook.last_error,
        "last_error_at": webhook.last_error_at,
        "reads_groups": status.identity.reads_groups,
        "problems": status.problems,
    }


def broker_answers() -> bool:
    """Return within a second whether the broker answers; the embedded one is a folder."""
    if not settings.REDIS_URL:
        return os.access(settings.QUEUE_DIR, os.W_OK)
    try:
        # A connection of its own, because Celery's waits longer and tries several times.
        with Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=BROKER_TIMEOUT_SECONDS,
            socket_timeout=BROKER_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as broker:
            return bool(broker.ping())
    except (RedisError, OSError):
        return False

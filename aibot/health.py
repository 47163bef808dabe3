"""Liveness and readiness, for load balancers and process managers. Open to all, so nothing secret is said here."""

import logging
import os
from functools import cache

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from requests_app.selectors import oldest_due_seconds

logger = logging.getLogger("aibot.health")

BROKER_TIMEOUT_SECONDS = 0.5  # to connect and to answer, each
MAX_DELAY_SECONDS = 30  # workers look every two seconds, by default
NOTE = (
    "Ready means that the database answers and is migrated. The broker only carries wake-up messages: without it "
    "requests start a few seconds late, and none is lost. If on_time is false, no worker is running, or too few."
)


@never_cache
@require_safe
def healthz(_: HttpRequest) -> JsonResponse:
    """Return 200 as long as the process is alive. Nothing else is checked."""
    return JsonResponse({"alive": True})


@never_cache
@require_safe
def readyz(_: HttpRequest) -> JsonResponse:
    """Return 200 if the process can serve, else 503 with what is missing."""
    report: dict[str, bool | float] = {"ready": False, "database": False, "migrated": False, "broker": broker_answers()}
    try:
        report["migrated"] = is_migrated()
        report["database"] = True
        if report["migrated"]:
            oldest = oldest_due_seconds()
            report |= {"ready": True, "on_time": oldest <= MAX_DELAY_SECONDS, "oldest_due_seconds": round(oldest, 1)}
    except DatabaseError:
        logger.warning("Not ready: the database does not answer.")
    return JsonResponse({**report, "note": NOTE}, status=200 if report["ready"] else 503)


def is_migrated() -> bool:
    """Return whether every migration of this code is applied. One query; raises DatabaseError without a database."""
    applied = MigrationRecorder(connection).applied_migrations()
    return all(migration in applied for migration in _newest_migrations())


@cache
def _newest_migrations() -> tuple[tuple[str, str], ...]:
    """Return the last migration of each app, as this process's code knows them."""
    return tuple(MigrationLoader(connection=None).graph.leaf_nodes())


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

"""The sweeper's part for requests: a periodic reconciliation of what the database says with what workers do."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from providers.chain.attempts import attempts_close
from providers.chain.jobs import jobs_to_cancel
from providers.models import Attempt
from requests_app.delivery_backend import DELIVER_TASK
from requests_app.dispatch import enqueue
from requests_app.models import Request
from requests_app.selectors import requests_due
from requests_app.services.completion import CANCEL_JOB_TASK, request_end
from requests_app.services.intake import ADVANCE_TASK

logger = logging.getLogger("requests_app.sweeper")

QUARANTINED = Request.Status.QUARANTINED
MAX_PER_SWEEP = 500
MIN_ASIDE_SECONDS = 30.0
MAX_ASIDE_SECONDS = 3600.0


class FaultyRows:
    """Rows whose step failed, put aside with exponential backoff: one row's fault never ends a round."""

    def __init__(self) -> None:
        self._aside: dict[str, tuple[float, float]] = {}  # key: (time.monotonic() of the next try, pause in seconds)

    def each(self, step: Callable[[str], bool], keys: Iterable[str]) -> int:
        """Run `step` for each key and return how many returned True. What it raises is logged, and ends nothing."""
        done = 0
        for key in keys:
            until, pause_seconds = self._aside.get(key, (0.0, MIN_ASIDE_SECONDS))
            if until > time.monotonic():
                continue
            try:
                done += step(key)
                self._aside.pop(key, None)
            except Exception:
                logger.exception("%s cannot be swept; it is put aside for %.0f s.", key, pause_seconds)
                self._aside[key] = time.monotonic() + pause_seconds, min(2 * pause_seconds, MAX_ASIDE_SECONDS)
        return done


_faulty = FaultyRows()


def sweep_requests() -> int:
    """End requests past their deadline, enqueue those that are due and unclaimed, close and cancel orphaned calls.

    Returns how many. Idempotent, and any number of sweepers may run: ending is a conditional update, and a second
    wake-up finds nothing to claim.
    """
    swept = _faulty.each(_end_overdue, _overdue()) + _faulty.each(_close_orphaned, _orphaned())
    due = [(ADVANCE_TASK, request_id) for request_id in requests_due(MAX_PER_SWEEP)]
    due += [(CANCEL_JOB_TASK, str(attempt_id)) for attempt_id in jobs_to_cancel()]
    for task, key in due:
        enqueue(task, key)
    return swept + len(due)


def _overdue() -> list[str]:
    unclaimed = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    overdue = Request.objects.filter(
        unclaimed, completed_at__isnull=True, deadline_at__lt=Now(), status__in=[*Request.OPEN, QUARANTINED]
    )
    return list(overdue.order_by("created_at").values_list("id", flat=True)[:MAX_PER_SWEEP])


def _end_overdue(request_id: str) -> bool:
    request = Request.objects.get(id=request_id)
    has_ended = request_end(
        request=request,
        to=Request.Status.FAILED,
        error_code="DEADLINE",
        actor="sweeper",
        reason="past its deadline",
        fence=request.fence,
    )
    if has_ended:
        enqueue(DELIVER_TASK, request_id)
    return has_ended


def _orphaned() -> set[str]:
    """Return the callers of open calls whose request has ended, after its worker had the time to stop them."""
    had_time = Now() - timedelta(seconds=2 * settings.LEASE_SECONDS)
    ended = Request.objects.filter(id=OuterRef("caller_key"), completed_at__lt=had_time)
    orphaned = Attempt.objects.filter(Exists(ended), finished_at__isnull=True).order_by("created_at")
    return set(orphaned.values_list("caller_key", flat=True)[:MAX_PER_SWEEP])


def _close_orphaned(caller_key: str) -> bool:
    for attempt_id in attempts_close(caller_key=caller_key):
        enqueue(CANCEL_JOB_TASK, str(attempt_id))
    return True

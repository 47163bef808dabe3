"""The sweeper's part for requests: a periodic reconciliation of what the database says with what workers do."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from providers.chain.attempts import attempts_close
from providers.db import unlocked
from providers.models import Attempt
from requests_app.models import Request
from requests_app.services.completion import request_end
from requests_app.services.faulty_rows import FaultyRows
from requests_app.services.heartbeats import heartbeats_remove_stale

QUARANTINED = Request.Status.QUARANTINED
MAX_PER_SWEEP = 500

_faulty = FaultyRows()


def sweep_requests() -> int:
    """End requests past their deadline, close orphaned calls, remove the heartbeats of the dead; return how many.

    It wakes nobody: a row that is enqueued at every round while it waits makes an outage feed itself, and the workers
    find what is due by themselves (due_work.py). Idempotent, and any number of sweepers may run: ending is a
    conditional update.
    """
    overdue = _overdue().order_by("created_at").values_list("id", flat=True)
    swept = _faulty.each(_end_overdue, overdue[:MAX_PER_SWEEP]) + _faulty.each(_close_orphaned, _orphaned())
    return swept + heartbeats_remove_stale()


def _overdue() -> QuerySet[Request]:
    unclaimed = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    return Request.objects.filter(
        unclaimed, completed_at__isnull=True, deadline_at__lt=Now(), status__in=[*Request.OPEN, QUARANTINED]
    )


def _end_overdue(request_id: str) -> bool:
    with transaction.atomic():
        # Asked again under the lock: since the query a worker may have claimed it, or the operator given it more time.
        request = unlocked(_overdue().filter(id=request_id)).first()
        return request is not None and request_end(
            request=request,
            to=Request.Status.FAILED,
            error_code="DEADLINE",
            actor="sweeper",
            reason="past its deadline",
            fence=request.fence,
        )


def _orphaned() -> set[str]:
    """Return the callers of open calls whose request has ended, after its worker had the time to stop them."""
    had_time = Now() - timedelta(seconds=2 * settings.LEASE_SECONDS)
    ended = Request.objects.filter(id=OuterRef("caller_key"), completed_at__lt=had_time)
    orphaned = Attempt.objects.filter(Exists(ended), finished_at__isnull=True).order_by("created_at")
    return set(orphaned.values_list("caller_key", flat=True)[:MAX_PER_SWEEP])


def _close_orphaned(caller_key: str) -> bool:
    attempts_close(caller_key=caller_key)
    return True

"""The sweeper's part for requests: a periodic reconciliation of what the database says with what workers do."""

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from providers.chain.attempts import attempts_close
from providers.chain.jobs import jobs_to_cancel
from providers.models import Attempt
from requests_app.delivery_backend import DELIVER_TASK
from requests_app.dispatch import enqueue
from requests_app.models import Request
from requests_app.services.completion import CANCEL_JOB_TASK, request_end
from requests_app.services.intake import ADVANCE_TASK

QUARANTINED = Request.Status.QUARANTINED
MAX_PER_SWEEP = 500


def sweep_requests() -> int:
    """End requests past their deadline, enqueue those that are due and unclaimed, close and cancel orphaned calls.

    Returns how many. Idempotent, and any number of sweepers may run: ending is a conditional update, and a second
    wake-up finds nothing to claim.
    """
    return _end_overdue() + _enqueue_due() + _close_orphaned_attempts() + _enqueue_job_cancellations()


def _end_overdue() -> int:
    ended = 0
    for request in _unclaimed().filter(deadline_at__lt=Now())[:MAX_PER_SWEEP]:
        if request_end(
            request=request,
            to=Request.Status.FAILED,
            error_code="DEADLINE",
            actor="sweeper",
            reason="past its deadline",
            fence=request.fence,
        ):
            enqueue(DELIVER_TASK, request.id)
            ended += 1
    return ended


def _enqueue_due() -> int:
    due = _unclaimed().filter(Q(next_at__isnull=True) | Q(next_at__lte=Now()))
    ids = list(due.order_by("created_at").values_list("id", flat=True)[:MAX_PER_SWEEP])
    for request_id in ids:
        enqueue(ADVANCE_TASK, request_id)
    return len(ids)


def _close_orphaned_attempts() -> int:
    """Close open attempts of ended requests: a worker that had claimed one began them after its end."""
    ended = Request.objects.filter(id=OuterRef("caller_key")).exclude(status__in=[*Request.OPEN, QUARANTINED])
    open_attempts = Attempt.objects.filter(Exists(ended), finished_at__isnull=True)
    caller_keys = set(open_attempts.values_list("caller_key", flat=True)[:MAX_PER_SWEEP])
    for caller_key in caller_keys:
        attempts_close(caller_key=caller_key)
    return len(caller_keys)


def _enqueue_job_cancellations() -> int:
    attempt_ids = jobs_to_cancel()
    for attempt_id in attempt_ids:
        enqueue(CANCEL_JOB_TASK, str(attempt_id))
    return len(attempt_ids)


def _unclaimed() -> QuerySet[Request]:
    return Request.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), status__in=Request.OPEN)

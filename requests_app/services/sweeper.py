"""The net under the doorbell: requests that everyone forgot."""

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
    """End requests past their deadline, wake workers for those that are due and unclaimed, and cancel lost jobs.

    Returns how many. Idempotent, and any number of sweepers may run: ending is a conditional update, and a second
    wake-up finds nothing to claim.
    """
    return _end_overdue() + _enqueue_due() + _let_go() + _stop_jobs()


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


def _let_go() -> int:
    """Close calls of requests that have ended: begun by a worker that had claimed one just before somebody ended it."""
    ended = Request.objects.filter(id=OuterRef("caller_key")).exclude(status__in=[*Request.OPEN, QUARANTINED])
    callers = Attempt.objects.filter(Exists(ended), finished_at__isnull=True).values_list("caller_key", flat=True)
    keys = set(callers[:MAX_PER_SWEEP])
    for caller_key in keys:
        attempts_close(caller_key=caller_key)
    return len(keys)


def _stop_jobs() -> int:
    attempts = jobs_to_cancel()
    for attempt_id in attempts:
        enqueue(CANCEL_JOB_TASK, str(attempt_id))
    return len(attempts)


def _unclaimed() -> QuerySet[Request]:
    return Request.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), status__in=Request.OPEN)

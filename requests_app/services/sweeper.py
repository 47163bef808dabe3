"""The net under the doorbell: requests that everyone forgot."""

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from providers.chain.attempts import attempts_let_go
from providers.chain.jobs import jobs_to_stop
from providers.models import Attempt
from requests_app.delivery_backend import DELIVER_TASK
from requests_app.dispatch import ring
from requests_app.models import Request
from requests_app.services.completion import CANCEL_JOB_TASK, request_end
from requests_app.services.intake import ADVANCE_TASK

QUARANTINED = Request.Status.QUARANTINED
MOST_PER_SWEEP = 500


def sweep_requests() -> int:
    """End requests past their deadline, ring for those that are due and unclaimed, and for jobs that go on in vain.

    Returns how many. Any number of sweepers may run: ending is a conditional update, and a double ring claims nothing.
    """
    return _end_overdue() + _ring_due() + _let_go() + _stop_jobs()


def _end_overdue() -> int:
    ended = 0
    for request in _unclaimed().filter(deadline_at__lt=Now())[:MOST_PER_SWEEP]:
        if request_end(
            request=request,
            to=Request.Status.FAILED,
            error_code="DEADLINE",
            actor="sweeper",
            reason="past its deadline",
            fence=request.fence,
        ):
            ring(DELIVER_TASK, request.id)
            ended += 1
    return ended


def _ring_due() -> int:
    due = _unclaimed().filter(Q(next_at__isnull=True) | Q(next_at__lte=Now()))
    ids = list(due.order_by("created_at").values_list("id", flat=True)[:MOST_PER_SWEEP])
    for request_id in ids:
        ring(ADVANCE_TASK, request_id)
    return len(ids)


def _let_go() -> int:
    """Close calls of requests that have ended: begun by a worker that had claimed one just before somebody ended it."""
    ended = Request.objects.filter(id=OuterRef("caller_key")).exclude(status__in=[*Request.OPEN, QUARANTINED])
    callers = Attempt.objects.filter(Exists(ended), finished_at__isnull=True).values_list("caller_key", flat=True)
    keys = set(callers[:MOST_PER_SWEEP])
    for caller_key in keys:
        attempts_let_go(caller_key=caller_key)
    return len(keys)


def _stop_jobs() -> int:
    attempts = jobs_to_stop()
    for attempt_id in attempts:
        ring(CANCEL_JOB_TASK, str(attempt_id))
    return len(attempts)


def _unclaimed() -> QuerySet[Request]:
    return Request.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), status__in=Request.OPEN)

"""Decisions of users and operators about a request: to cancel it, or what becomes of a quarantined one."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from requests_app.delivery_backend import DELIVER_TASK, get_delivery_backend
from requests_app.dispatch import enqueue_on_commit, queue_for
from requests_app.models import Request
from requests_app.services.completion import request_end
from requests_app.services.intake import ADVANCE_TASK
from requests_app.services.leases import keeper
from requests_app.states import transition

Status = Request.Status


def request_cancel(*, request_id: str, actor: str, reason: str = "cancelled") -> bool:
    """Cancel an open or quarantined request and have its user told. Returns False where it has ended already.

    A provider call that is under way is aborted, and its cost recorded where it is known. The credits are given back
    unless the user has seen a part of the answer: then that is charged, by its size or whole, else reading would be
    free.
    """
    with transaction.atomic():
        # Locked before the question, so that no part of the answer is shown for the first time between it and the end.
        request = Request.objects.select_for_update(no_key=True).get(id=request_id)
        shown_bytes = get_delivery_backend().bytes_shown(request_id)
        is_cancelled = request_end(
            request=request,
            to=Status.CANCELLED,
            error_code="CANCELLED",
            actor=actor,
            reason=reason,
            shown_bytes=shown_bytes,
        )
        if is_cancelled:
            enqueue_on_commit(DELIVER_TASK, request_id)
    if is_cancelled:
        keeper.lose(request_id)  # at once where this process makes the call; elsewhere with the next renewal
    return is_cancelled


def request_release(*, request_id: str, actor: str, reason: str) -> bool:
    """Fail a quarantined request, give back its credits and have its user told. Returns False where it is none.

    An answer that comes all the same is refused from then on.
    """
    with transaction.atomic():
        request = Request.objects.select_for_update(no_key=True).get(id=request_id)
        is_released = request.status == Status.QUARANTINED and request_end(
            request=request, to=Status.FAILED, error_code="RELEASED", actor=actor, reason=reason
        )
        if is_released:
            enqueue_on_commit(DELIVER_TASK, request_id)
    return is_released


def request_resume(*, request_id: str, actor: str, reason: str = "resumed by an operator") -> bool:
    """Resume a quarantined request, with a new deadline. Returns False where it is not in quarantine."""
    request = Request.objects.get(id=request_id)
    with transaction.atomic():
        is_resumed = transition(
            request_id=request_id,
            sources=[Status.QUARANTINED],
            to=Status.PROCESSING,
            actor=actor,
            reason=reason,
            tries=0,
            lease_until=None,
            deadline_at=Now() + timedelta(seconds=settings.DEADLINE_SECONDS[request.category]),
        )
        if is_resumed:
            enqueue_on_commit(ADVANCE_TASK, request_id, queue=queue_for(request.category))
    return is_resumed

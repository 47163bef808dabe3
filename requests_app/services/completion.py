"""How a request ends, with an answer or without, or is quarantined. Nothing is delivered here."""

from typing import Any

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now

from providers.chain.attempts import Answer, attempts_close
from providers.types import TextResult
from requests_app.dispatch import enqueue_on_commit
from requests_app.models import Request
from requests_app.services.credits import credits_capture, credits_release
from requests_app.states import transition

Status = Request.Status

CANCEL_JOB_TASK = "requests_app.tasks.cancel_job"


def request_complete(*, request: Request, answer: Answer, processing_ms: int) -> bool:
    """Store the answer and capture the credits, together. Returns False where the request has ended already.

    No fencing token is checked: the first answer completes the request, even from a worker that has lost the lease,
    because it is valid and paid for. Call inside the transaction that marks the attempt as succeeded.
    """
    with transaction.atomic(savepoint=False):
        is_first = transition(
            request_id=request.id,
            sources=[Status.PROCESSING],
            to=Status.COMPLETED,
            actor="worker",
            reason=f"answered by {answer.provider}",
            **_output_of(answer),
            actual_provider=answer.provider,
            cost=answer.cost,
            cost_source=answer.cost_source,
            processing_ms=processing_ms,
            **_ENDED,
        )
        if is_first:
            credits_capture(request=request)
    return is_first


def _output_of(answer: Answer) -> dict[str, Any]:
    if answer.media is None:
        return {"output_text": answer.result.text if isinstance(answer.result, TextResult) else ""}
    return {"output_media": [answer.media.as_dict()], "output_url": default_storage.url(answer.media.name)}


def request_end(
    *, request: Request, to: Status, error_code: str, actor: str, reason: str, fence: int | None = None
) -> bool:
    """End the request without an answer and release the credits, together.

    `to` is FAILED or CANCELLED. Returns False where the request has ended already or, with `fence`, where another
    worker owns it by now. A call under way is abandoned; if it answers all the same, its cost is recorded.
    """
    with transaction.atomic():
        has_ended = transition(
            request_id=request.id,
            sources=[Status.PENDING, Status.PROCESSING, Status.QUARANTINED],
            to=to,
            actor=actor,
            reason=reason,
            fence=fence,
            error_code=error_code,
            **_ENDED,
        )
        if has_ended:
            attempts_with_jobs = attempts_close(caller_key=request.id)
            for attempt_id in attempts_with_jobs:
                enqueue_on_commit(CANCEL_JOB_TASK, str(attempt_id))
            credits_release(request=request, reason=reason)
    return has_ended


def request_quarantine(*, request: Request, reason: str) -> bool:
    """Set aside a request that crashes its workers. Its credits stay held until an operator decides."""
    return transition(
        request_id=request.id,
        sources=[Status.PENDING, Status.PROCESSING],
        to=Status.QUARANTINED,
        actor="worker",
        reason=reason,
        lease_until=None,
    )


_ENDED: dict[str, Any] = {"lease_until": None, "next_at": None, "completed_at": Now()}

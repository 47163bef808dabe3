"""Looking at a request sooner than planned."""

from django.db import transaction
from django.db.models.functions import Now

from requests_app.dispatch import enqueue_on_commit
from requests_app.models import Request
from requests_app.services.intake import ADVANCE_TASK


def request_wake(*, request_id: str) -> bool:
    """Let a worker look at an open request now. Returns False where it has ended.

    Repeats are harmless. A worker that holds the request at this moment goes on; the next look is then the planned one.
    """
    with transaction.atomic():
        is_open = Request.objects.filter(id=request_id, status__in=Request.OPEN).update(next_at=Now()) > 0
        if is_open:
            enqueue_on_commit(ADVANCE_TASK, request_id)
    return is_open

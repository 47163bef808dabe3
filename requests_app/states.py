"""The moves that a request's status may make, and the one function that makes them."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from requests_app.errors import TransitionRefused
from requests_app.models import Request, RequestEvent

Status = Request.Status

MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELLED, Status.QUARANTINED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.QUARANTINED}),
    Status.QUARANTINED: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.CANCELLED: frozenset(),
}


def transition(
    *,
    request_id: str,
    sources: Iterable[Status],
    to: Status,
    actor: str,
    reason: str = "",
    fence: int | None = None,
    **fields: Any,
) -> bool:
    """Move a request from one of `sources` to `to`, set `fields` with it, and write who did it and why.

    Returns False, with nothing written, where the request is in none of the sources by now or, with `fence`, where
    another worker has claimed it since: losing that race is an ordinary outcome. Raises TransitionRefused for a move
    that is never allowed. Call inside a transaction where something else must happen together with the move.
    """
    for source in sources:
        if to not in MOVES[source]:
            raise TransitionRefused(f"{source} → {to}")
    rows = Request.objects.filter(id=request_id)
    if fence is not None:
        rows = rows.filter(fence=fence)
    with transaction.atomic(savepoint=False):
        # One conditional UPDATE for each status that it may come from: the one that changes a row tells the status.
        for source in sources:
            if rows.filter(status=source).update(status=to, **fields):
                RequestEvent.objects.create(
                    request_id=request_id, from_status=source, to_status=to, actor=actor, reason=reason[:300]
                )
                return True
    return False

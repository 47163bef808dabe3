"""What operators do to requests: the table of operations, each a service."""

from collections.abc import Sequence
from itertools import groupby

from requests_app.admin.operations import Decision, Operation, Target
from requests_app.delivery_backend import get_delivery_backend, version_of
from requests_app.models import Request
from requests_app.services.cancellation import request_cancel, request_release, request_resume
from requests_app.services.refunds import charges_of, request_refund
from requests_app.services.repeats import (
    can_be_resent,
    can_be_retried,
    latest_asking,
    request_resend,
    request_retry,
)

Status = Request.Status


def _said(decision: Decision) -> dict[str, str]:
    return {"request_id": decision.row_id, "actor": decision.actor, "reason": decision.reason}


def _cancel(decision: Decision) -> str:
    return "Cancelled" if request_cancel(**_said(decision)) else ""


def _resume(decision: Decision) -> str:
    return "Resumed" if request_resume(**_said(decision)) else ""


def _release(decision: Decision) -> str:
    return "Released" if request_release(**_said(decision)) else ""


def _retry(decision: Decision) -> str:
    request = request_retry(**_said(decision), seen=decision.seen)
    return f"Asked anew as {request.id}" if request else ""


def _resend(decision: Decision) -> str:
    return "Sent again" if request_resend(request_id=decision.row_id, seen=decision.seen) else ""


def _refund(decision: Decision) -> str:
    return "Refunded" if request_refund(**_said(decision)) else ""


def _plain(rows: Sequence[Request]) -> list[Target]:
    return [Target(row) for row in rows]


def _with_askings(rows: Sequence[Request]) -> list[Target]:
    latest = [(row, latest_asking(row)) for row in rows]
    return [Target(row, "" if seen == row.id else f"asked anew before, as {seen}", seen) for row, seen in latest]


def _with_charges(rows: Sequence[Request]) -> list[Target]:
    charges = charges_of([row.id for row in rows])
    charged = [(row, charges.get(row.id, 0)) for row in rows]
    return [Target(row, f"{number:,} credit{'' if number == 1 else 's'}") for row, number in charged if number > 0]


def _with_messages(rows: Sequence[Request]) -> list[Target]:
    parts = sorted(get_delivery_backend().history([row.id for row in rows]), key=lambda part: part.request_id)
    known = {request_id: list(group) for request_id, group in groupby(parts, key=lambda part: part.request_id)}
    return [
        Target(row, "; ".join(f"{part.what}: {part.outcome}" for part in known[row.id]), version_of(known[row.id]))
        for row in rows
        if row.id in known
    ]


OPERATIONS = [
    Operation(
        name="cancel",
        label="Cancel",
        description="Cancel: end the request; its credits go back, but for what was shown",
        consequences="The provider's call is aborted, and the user told. Credits go back, but for what was shown.",
        permission="operate",
        done="cancelled; requests that have ended stay as they are",
        applies=lambda row: row.status in (*Request.OPEN, Status.QUARANTINED),
        targets=_plain,
        run=_cancel,
    ),
    Operation(
        name="resume",
        label="Resume",
        description="Resume: take out of quarantine and try again",
        consequences="It is tried again, with a new deadline.",
        permission="operate",
        done="resumed; only quarantined requests can be",
        applies=lambda row: row.status == Status.QUARANTINED,
        targets=_plain,
        run=_resume,
    ),
    Operation(
        name="release",
        label="Release",
        description="Release: fail a quarantined request and give its credits back",
        consequences="It fails, its credits go back and its user is told. An answer that comes later is not shown.",
        permission="operate",
        done="released; only quarantined requests can be",
        applies=lambda row: row.status == Status.QUARANTINED,
        targets=_plain,
        run=_release,
    ),
    Operation(
        name="retry",
        label="Ask anew",
        description="Ask anew: a failed or cancelled request once more, at its user's cost",
        consequences="A new request of the same user, held and charged as any, whose answer appears in the same chat.",
        permission="retry",
        done="asked anew; what was asked since the page was opened is not",
        applies=can_be_retried,
        targets=_with_askings,
        run=_retry,
    ),
    Operation(
        name="resend",
        label="Send again",
        description="Send again: show an answer once more in its chat",
        consequences="Messages that were not confirmed as shown are sent as new ones; where all were, all are sent "
        "once more. Nothing is charged, and what was given back stays given back.",
        permission="operate",
        done="sent again; what is under way, or was sent since the page was opened, is not",
        applies=can_be_resent,
        targets=_with_messages,
        run=_resend,
    ),
    Operation(
        name="refund",
        label="Refund",
        description="Refund: give back what answers have cost, once",
        consequences="What the answer has cost goes back to its user, once.",
        permission="refund",
        done="refunded; the others had cost nothing, or were refunded before",
        applies=lambda row: row.completed_at is not None,
        targets=_with_charges,
        run=_refund,
    ),
]

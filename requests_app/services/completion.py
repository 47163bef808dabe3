"""How a request ends, with an answer or without, or is quarantined. Nothing is delivered here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now

from providers.chain.attempts import Answer, attempts_abandon, attempts_close
from providers.chain.candidates import NO_KEY, Skip
from providers.models import Attempt
from providers.types import CostSource, Operation, TextResult, Usage
from requests_app import statements
from requests_app.credit_rates import Size, Terms, tokens_of_bytes, used_size
from requests_app.dispatch import enqueue_on_commit
from requests_app.models import Request
from requests_app.options import seconds_of
from requests_app.selectors import audio_seconds_of, input_images_of, question_of
from requests_app.services.credits import credits_capture, credits_release
from requests_app.states import transition

Status = Request.Status

CANCEL_JOB_TASK = "requests_app.tasks.cancel_job"
QUARANTINE_TIME = timedelta(days=1)  # for an operator to decide; then the credits go back


@dataclass(frozen=True, slots=True)
class Walk:
    """A request's walk down the chain, as its row keeps it."""

    skipped: Sequence[dict[str, str]] = ()  # the routes that were passed by, with the reason
    routes_asked: int = 0  # for the answer; a route that was asked twice counts once
    routes_passed_by: int = 0  # and not asked in the end; those without a key, which are not in use, do not count

    @classmethod
    def of(cls, asked: Iterable[str], skipped: Sequence[dict[str, str]], *, heard: Sequence[Skip] = ()) -> "Walk":
        """Return the walk that asked the routes of these names, after that to its transcript, which `heard` is of."""
        asked = set(asked)
        passed_by = {skip["route"] for skip in skipped if skip["reason"] != NO_KEY} - asked
        return cls([*(skip.as_dict() for skip in heard), *skipped], len(asked), len(passed_by))

    def as_columns(self) -> dict[str, Any]:
        """Return it by the names of the request's columns."""
        return {
            "skipped": list(self.skipped),
            "routes_asked": self.routes_asked,
            "routes_passed_by": self.routes_passed_by,
        }


def request_complete(*, request: Request, answer: Answer, walk: Walk | None = None, processing_ms: int) -> bool:
    """Store the answer and capture the credits, together. Returns False where the request has ended already.

    No fencing token is checked: the first answer completes the request, even from a worker that has lost the lease,
    and even out of quarantine, because it is valid and paid for. Idempotent. Call inside the transaction that marks the
    attempt as succeeded.
    """
    cost, cost_source = _with_transcript(request, answer)
    return statements.request_complete(
        request=request,
        reason=f"answered by {answer.provider}",
        charged=_credits_used(request, answer.result.usage, output_bytes=len(_text_of(answer).encode())),
        values={
            **_output_of(answer),
            "finish_reason": answer.result.finish_reason if isinstance(answer.result, TextResult) else "",
            "actual_provider": answer.provider,
            "actual_route": answer.route,
            **(walk.as_columns() if walk else {}),
            "cost": cost,
            "cost_source": cost_source,
            "processing_ms": processing_ms,
        },
    )


def _with_transcript(request: Request, answer: Answer) -> tuple[Decimal | None, CostSource]:
    """Return what the answer and the transcript of its prompt cost together, and the less certain of their sources."""
    if request.transcript is None:
        return answer.cost, answer.cost_source
    heard = Attempt.objects.filter(caller_key=request.id, operation=Operation.TRANSCRIBE, state=Attempt.State.OK)
    costs = [(answer.cost, answer.cost_source), *heard.values_list("cost", "cost_source")]
    sources = [CostSource(source) for _, source in costs]
    known = [cost for cost, _ in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None, max(sources, key=list(CostSource).index)


def request_note_transcript(*, request: Request, answer: Answer) -> None:
    """Keep what was said in the audio of a request. Idempotent; call in the transaction that ends the attempt."""
    seconds = answer.result.usage.seconds
    request.transcript = _text_of(answer)
    request.input_seconds = audio_seconds_of(request) if seconds is None else math.ceil(seconds)
    Request.objects.filter(id=request.id, transcript=None, content_erased_at=None).update(
        transcript=request.transcript, input_seconds=request.input_seconds
    )


def _credits_used(request: Request, usage: Usage, *, output_bytes: int) -> int:
    """Return what an answer, or the part of it that was seen, costs under the request's terms: at most what is held."""
    if not request.terms:
        return request.credits
    question = question_of(request.input_text, request.transcript)
    asked = Size(
        input_tokens=tokens_of_bytes(len(question.encode())),
        characters=len(question),
        seconds=seconds_of(request.options),
        heard_seconds=request.input_seconds,
        input_images=input_images_of(request),
    )
    size = used_size(usage, asked=asked, output_bytes=output_bytes)
    return min(request.credits, Terms.from_dict(request.terms).credits_for(size))


def _text_of(answer: Answer) -> str:
    return answer.result.text if isinstance(answer.result, TextResult) else ""


def _output_of(answer: Answer) -> dict[str, Any]:
    if answer.media is None:
        return {"output_text": _text_of(answer)}
    return {"output_media": [answer.media.as_dict()], "output_url": default_storage.url(answer.media.name)}


def request_end(
    *,
    request: Request,
    to: Status,
    error_code: str,
    actor: str,
    reason: str,
    fence: int | None = None,
    walk: Walk | None = None,
    shown_bytes: int | None = None,
) -> bool:
    """End the request without a complete answer, and release the credits or, where something was shown, capture them.

    `to` is FAILED or CANCELLED; `shown_bytes` is the length of what the user has seen of the answer, None for nothing.
    Returns False where the request has ended already or, with `fence`, where another worker owns it by now. A job under
    way is abandoned and cancelled; a call under way is aborted by its worker, which records what became of it.
    """
    walk = walk or _walk_so_far(request)
    charged = None if shown_bytes is None else _credits_used(request, Usage(), output_bytes=shown_bytes)
    with transaction.atomic():
        has_ended = transition(
            request_id=request.id,
            sources=[Status.PENDING, Status.PROCESSING, Status.QUARANTINED],
            to=to,
            actor=actor,
            reason=reason,
            fence=fence,
            error_code=error_code,
            **({} if charged is None else {"credits": charged}),
            **walk.as_columns(),
            **_ENDED,
        )
        if has_ended:
            attempts_with_jobs = attempts_abandon(caller_key=request.id)
            for attempt_id in attempts_with_jobs:
                enqueue_on_commit(CANCEL_JOB_TASK, str(attempt_id))
            if charged is not None:
                reason = "cancelled after a part of the answer was shown"
                credits_capture(request=request, charged=charged, reason=reason)
            else:
                credits_release(request=request, reason=reason)
    return has_ended


def _walk_so_far(request: Request) -> Walk:
    """Return the walk of a request that somebody else ends than its worker, from what is on record."""
    asked = Attempt.objects.filter(caller_key=request.id).exclude(operation=Operation.TRANSCRIBE)
    return Walk.of(asked.values_list("route", flat=True), request.skipped)


def request_abandon_jobs(*, request_id: str) -> None:
    """Give up the jobs that were submitted while somebody ended the request, and have them cancelled. Idempotent."""
    if Request.objects.filter(id=request_id, completed_at__isnull=True).exists():
        return  # it goes on with another worker
    for attempt_id in attempts_abandon(caller_key=request_id):
        enqueue_on_commit(CANCEL_JOB_TASK, str(attempt_id))


def request_quarantine(*, request: Request, reason: str) -> bool:
    """Set aside a request that crashes its workers. Its credits stay held until an operator decides, or its deadline.

    Its open call is written off as perhaps billed; if it answers all the same, the answer completes the request.
    """
    with transaction.atomic():
        is_quarantined = transition(
            request_id=request.id,
            sources=[Status.PENDING, Status.PROCESSING],
            to=Status.QUARANTINED,
            actor="worker",
            reason=reason,
            lease_until=None,
            deadline_at=Now() + QUARANTINE_TIME,
        )
        if is_quarantined:
            for attempt_id in attempts_close(caller_key=request.id):
                enqueue_on_commit(CANCEL_JOB_TASK, str(attempt_id))
    return is_quarantined


_ENDED: dict[str, Any] = {"lease_until": None, "next_at": None, "completed_at": Now()}

"""A worker's step of one request: claim it, run the chain, store the answer, have it delivered."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now

from providers.chain.attempts import Answer, AttemptRefused
from providers.chain.candidates import can_listen, can_transcribe
from providers.chain.fallback import ChainRun, Pending
from providers.chain.spans import request_span
from providers.db import commit_persistently, give_back_connection
from providers.errors import AllProvidersFailed, ChainError, NoProviderAvailable
from providers.size_estimates import is_audio
from providers.transport.deadlines import Deadline
from providers.types import Attachment, Category, OnText, Operation, OutputOptions, Prompt
from requests_app.delivery_backend import get_delivery_backend
from requests_app.dispatch import enqueue_on_commit, queue_for
from requests_app.errors import NothingHeard
from requests_app.log_context import logs_about
from requests_app.models import Request
from requests_app.options import max_output_tokens_of, output_options_of
from requests_app.selectors import LISTEN, history_of, input_images_of, question_of
from requests_app.services.completion import (
    Walk,
    request_abandon_jobs,
    request_complete,
    request_end,
    request_note_transcript,
    request_quarantine,
)
from requests_app.services.intake import ADVANCE_TASK
from requests_app.services.leases import CLAIMS_BEFORE_QUARANTINE, Lease, keeper, lease_claim, lease_give_back

logger = logging.getLogger("requests_app.execution")

Status = Request.Status


def request_advance(*, request_id: str, on_text: OnText | None = None) -> bool:
    """Take a request as far as it can go now, and have an end delivered. Returns whether there was anything to do.

    Idempotent, and safe to call from any number of workers: one of them claims the request, the others return False.
    After a crash the next call resumes where the database says the last one was. `on_text` receives the partial
    answer in place of the delivery backend.
    """
    with logs_about(request_id):
        return _advance(request_id, on_text)


def _advance(request_id: str, on_text: OnText | None) -> bool:
    claim = lease_claim(request_id=request_id)
    if claim is None:
        return False
    lease, request = claim
    if request.tries > CLAIMS_BEFORE_QUARANTINE:
        request_quarantine(request=request, reason=f"claimed {CLAIMS_BEFORE_QUARANTINE} times without progress")
        logger.error("%s is quarantined; an operator must decide.", request_id)
        return True
    # Referenced until the end of this function: by it the delivery backend knows that this process has streamed.
    on_partial = on_text or get_delivery_backend().on_partial(request_id)
    try:
        with keeper.kept(lease), request_span(request.id, request.category):
            if not _run_chain(request, lease, on_partial):
                return True
    except AttemptRefused:
        # A late partial edit of this worker may have replaced the answer that its successor has shown: deliver once
        # more. While the successor is still at work, this only stops the stream.
        logger.info("%s has ended, or belongs to another worker by now.", request_id)
    get_delivery_backend().deliver(request_id)
    return True


def request_wake(*, request_id: str) -> bool:
    """Make an open request due now and wake a worker. Returns False where the request has ended.

    Idempotent. A worker that owns the request at this moment goes on; it then decides itself when it is due again.
    """
    rows = Request.objects.filter(id=request_id, status__in=Request.OPEN)
    with transaction.atomic():
        is_open = rows.update(next_at=Now()) > 0
        if is_open:
            enqueue_on_commit(ADVANCE_TASK, request_id, queue=queue_for(rows.values_list("category", flat=True)[0]))
    return is_open


def _run_chain(request: Request, lease: Lease, on_text: OnText | None) -> bool:
    """Run the chain; return whether the request has ended, with an answer or without.

    False while a provider still works on a job: the lease is given back, and any worker polls when it is time.
    Raises AttemptRefused where another worker owns the request by now, or somebody has ended it.
    """
    claimed_at = time.monotonic()
    earlier_seconds, seconds_left = _elapsed_and_remaining(request)
    deadline = Deadline.after(seconds_left)
    runs: list[ChainRun] = []

    def store(answer: Answer) -> None:
        seconds = earlier_seconds + time.monotonic() - claimed_at
        walk = _walk_of(request, runs)
        request_complete(request=request, answer=answer, walk=walk, processing_ms=round(seconds * 1000))

    try:
        prompt, is_first = _heard(_prompt_of(request), request, lease, deadline, runs)
        run = ChainRun(
            prompt,
            caller_key=request.id,
            label=str(request.model_id),  # costs are summed by AI model
            deadline=deadline,
            store=store,
            on_text=on_text,
            proof=lease,
            is_first=is_first,
        )
        runs.append(run)
        outcome = run.answer()
        if isinstance(outcome, Pending):
            if not lease_give_back(lease, seconds=outcome.seconds, skipped=_walk_of(request, runs).skipped):
                request_abandon_jobs(request_id=request.id)
            return False
    except ChainError as error:
        code, reason = error.code, error.__doc__ or ""
        if commit_persistently(
            lambda: request_end(
                request=request,
                to=Status.FAILED,
                error_code=code,
                actor="worker",
                reason=reason,
                fence=lease.fence,
                walk=_walk_of(request, runs),
            ),
            deadline=Deadline.after(settings.LEASE_SECONDS),
        ):
            logger.warning("%s failed (%s); its credits are given back.", request.id, code)
    return True


def _walk_of(request: Request, runs: Sequence[ChainRun]) -> Walk:
    """Return what these runs have asked and passed by, the last for the answer, with what earlier steps passed by."""
    if not runs:
        return Walk(request.skipped)
    *heard, last = runs
    passed_by = [skip.as_dict() for skip in last.skips]
    again = {skip["route"] for skip in passed_by}
    earlier = [skip for skip in request.skipped if skip["route"] not in again]
    return Walk.of(last.asked_routes, [*earlier, *passed_by], heard=[skip for run in heard for skip in run.skips])


def _heard(
    prompt: Prompt, request: Request, lease: Lease, deadline: Deadline, runs: list[ChainRun]
) -> tuple[Prompt, bool]:
    """Return the prompt with its audio as text, where some route makes it, and whether nothing was asked before.

    Where none can, the audio stays, for a route that listens itself. Raises a ChainError. A run that is made for it is
    added to `runs`.
    """
    audio = tuple(file for file in prompt.attachments if is_audio(file.content_type))
    is_first = request.fence == 1
    if not audio:
        return prompt, is_first
    if request.transcript is None:
        if not can_transcribe():
            return replace(prompt, text=prompt.text or LISTEN), is_first
        run = ChainRun(
            Prompt(
                Category.TEXT,
                "",
                operation=Operation.TRANSCRIBE,
                attachments=audio,
                output_options=OutputOptions(language=prompt.output_options.language),
            ),
            caller_key=request.id,
            label=str(request.model_id),  # costs are summed by AI model
            deadline=deadline,
            store=lambda answer: request_note_transcript(request=request, answer=answer),
            proof=lease,
            is_first=is_first,
        )
        runs.append(run)
        try:
            run.answer()
        except (AllProvidersFailed, NoProviderAvailable):
            # A worker that was thought lost may have heard it meanwhile.
            request.refresh_from_db(fields=["transcript", "input_seconds"])
            if request.transcript is None and not can_listen():
                raise
            if request.transcript is None:
                return replace(prompt, text=prompt.text or LISTEN), False
    if not (request.transcript or "").strip():
        raise NothingHeard  # what was written beside it is about it
    question = question_of(request.input_text, request.transcript)
    rest = tuple(file for file in prompt.attachments if not is_audio(file.content_type))
    return replace(prompt, text=question, attachments=rest), False


def _elapsed_and_remaining(request: Request) -> tuple[float, float]:
    """Return the seconds since the first claim and those until the deadline, by the database's clock."""
    now: datetime = request.now  # type: ignore[attr-defined]  # annotated by lease_claim()
    started_at = request.started_at or now
    return (now - started_at).total_seconds(), (request.deadline_at - now).total_seconds()


def _prompt_of(request: Request) -> Prompt:
    return Prompt(
        category=Category(request.category),
        text=request.input_text,
        history=history_of(request),
        system=settings.SYSTEM_PROMPT if request.category == Category.TEXT else "",
        max_output_tokens=max_output_tokens_of(request.options),
        output_limit=request.terms.get("max_output_tokens"),
        output_options=output_options_of(request.options),
        tag=request.tag,
        attachments=_attachments_of(request),
        operation=Operation.EDIT if input_images_of(request) else Operation.GENERATE,
    )


def _attachments_of(request: Request) -> tuple[Attachment, ...]:
    if request.input_media:
        give_back_connection()  # a bucket may be slow
    return tuple(_attachment_of(stored) for stored in request.input_media)


def _attachment_of(stored: dict[str, Any]) -> Attachment:
    with default_storage.open(stored["name"]) as file:
        return Attachment(stored["content_type"], file.read())

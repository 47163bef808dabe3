"""One request, one step further: claim it, ask the chain, keep the answer, hand it to the outlet."""

import logging
import time
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage

from providers.chain.attempts import Answer, AttemptRefused
from providers.chain.fallback import FallbackManager, Pending
from providers.errors import ChainError
from providers.transport.deadlines import Deadline
from providers.types import Attachment, Category, OnText, Prompt
from requests_app.delivery_backend import get_delivery_backend
from requests_app.errors import LeaseLost
from requests_app.models import Request
from requests_app.options import output_options_of
from requests_app.selectors import history_of
from requests_app.services.completion import request_complete, request_end, request_quarantine
from requests_app.services.leases import CLAIMS_BEFORE_QUARANTINE, Lease, keeper, lease_claim, lease_give_back

logger = logging.getLogger("requests_app.execution")

Status = Request.Status


def request_advance(*, request_id: str, on_text: OnText | None = None) -> bool:
    """Bring a request to its end and hand the result to the outlet. Returns whether there was anything to do.

    Safe to call any number of times and from any number of workers: one of them claims the request, the others
    return False. After a crash the next call goes on where the database says the last one was. `on_text` receives
    the growing answer instead of the outlet.
    """
    claim = lease_claim(request_id=request_id)
    if claim is None:
        return False
    lease, request = claim
    if request.tries > CLAIMS_BEFORE_QUARANTINE:
        request_quarantine(request=request, reason=f"claimed {CLAIMS_BEFORE_QUARANTINE} times without an end")
        logger.error("%s is in quarantine; an operator must decide.", request_id)
        return True
    # Held until the end of this function: the outlet knows by it, when it delivers, that the stream was its own.
    show = on_text or get_delivery_backend().on_partial(request_id)
    keeper.keep(lease)
    try:
        if not _answer(request, lease, show):
            return True
    except (LeaseLost, AttemptRefused):
        # What this worker streamed may stand over the answer that its successor has shown: show that once more. Where
        # the successor is still at work, the outlet only ends the stream.
        logger.info("%s belongs to another worker by now.", request_id)
    finally:
        keeper.let_go(lease)
    get_delivery_backend().deliver(request_id)
    return True


def _answer(request: Request, lease: Lease, on_text: OnText | None) -> bool:
    """Ask the chain; return whether the request has ended with that, one way or the other.

    False where a vendor is still at work: the lease is given back, and any worker looks again when it is time.
    Raises LeaseLost and AttemptRefused.
    """
    claimed = time.monotonic()
    earlier_seconds, seconds_left = _seconds_around(request)

    def store(answer: Answer) -> None:
        seconds = earlier_seconds + time.monotonic() - claimed
        request_complete(request=request, answer=answer, processing_ms=round(seconds * 1000))

    try:
        outcome = FallbackManager().answer(
            _prompt_of(request),
            caller_key=request.id,
            deadline=Deadline.after(seconds_left),
            store=store,
            on_text=on_text,
            before_next=lease.check,
        )
        if isinstance(outcome, Pending):
            lease_give_back(lease, seconds=outcome.seconds)
            return False
    except ChainError as error:
        if request_end(
            request=request,
            to=Status.FAILED,
            error_code=error.code,
            actor="worker",
            reason=error.__doc__ or "",
            fence=lease.fence,
        ):
            logger.warning("%s failed (%s); its credits are given back.", request.id, error.code)
    return True


def _seconds_around(request: Request) -> tuple[float, float]:
    """Return the seconds since the first claim, and those before the deadline, by the database's clock."""
    now: datetime = request.now  # type: ignore[attr-defined]  # annotated by lease_claim()
    started_at = request.started_at or now
    return (now - started_at).total_seconds(), (request.deadline_at - now).total_seconds()


def _prompt_of(request: Request) -> Prompt:
    return Prompt(
        category=Category(request.category),
        text=request.input_text,
        history=history_of(request),
        system=settings.SYSTEM_PROMPT if request.category == Category.TEXT else "",
        output_options=output_options_of(request.options),
        attachments=tuple(_attachment_of(stored) for stored in request.input_media),
    )


def _attachment_of(stored: dict[str, Any]) -> Attachment:
    with default_storage.open(stored["name"]) as file:
        return Attachment(stored["content_type"], file.read())

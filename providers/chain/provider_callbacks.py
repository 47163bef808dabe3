"""Vendors that call us when a job is over: where they call, and whose job they mean.

A call is only a hint to look now rather than later. What became of the job is asked of the vendor, never read here.
"""

import re
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from providers.backends.base import Provider
from providers.backends.media_generation import JobProvider
from providers.models import Attempt
from providers.transport.json_fields import text_at
from providers.transport.webhook_signatures import signing_key

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")  # it becomes part of an address


def callback_url(provider: Provider, attempt_id: UUID) -> str:
    """Return where the vendor is to call when the job is over; "" where it cannot or nobody could believe it."""
    if not (isinstance(provider, JobProvider) and provider.calls_back):
        return ""
    # Another address would be a 422, and no order would go through.
    may_be_called = settings.PUBLIC_URL.startswith("https://") or settings.SANDBOX_ACTIVE
    if not settings.PUBLIC_URL or not may_be_called or not signing_key(settings.REPLICATE_WEBHOOK_SECRET):
        return ""
    return f"{settings.PUBLIC_URL}/hooks/{provider.slug}/?attempt={attempt_id}"


def match_callback(*, provider: str, attempt_id: str, job: Any) -> str | None:
    """Return the caller whose job this call is about, None where nobody waits for it. Repeats are harmless.

    `job` is the call's body, of which only the id is used: an order whose answer was lost takes it over, so that it
    is asked for from now on and nothing is bought again. An attempt that has an id keeps it.
    """
    job_id = text_at(job, "id")
    if not _JOB_ID.fullmatch(job_id):
        return None
    known = Attempt.objects.filter(provider=provider, job_id=job_id).first()
    attempt = known or _adopted(provider, attempt_id, job_id)
    return attempt.caller_key if attempt and attempt.state == Attempt.State.RUNNING else None


def _adopted(provider: str, attempt_id: str, job_id: str) -> Attempt | None:
    try:
        searched = Attempt.objects.filter(
            id=UUID(attempt_id), provider=provider, state=Attempt.State.UNKNOWN, finished_at=None, job_id=""
        )
        with transaction.atomic():
            searched.update(state=Attempt.State.RUNNING, job_id=job_id, error_class="", error_text="")
    except (ValueError, IntegrityError):  # no id of ours; or another call has taken the job, or the caller's turn
        return None
    return Attempt.objects.filter(id=UUID(attempt_id), provider=provider, job_id=job_id).first()

"""Providers that call us when a job is over: where they call, and whose job they mean.

A callback is only a hint to poll now rather than later. What became of the job is asked of the provider, never read
from the call.
"""

import re
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import IntegrityError, transaction

from providers.access import callback_secret
from providers.backends.base import Provider
from providers.models import Attempt
from providers.registry import PROVIDERS
from providers.transport.json_fields import text_at
from providers.transport.webhook_signatures import signing_key

_signer = Signer(sep=".", salt="provider-callback")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")  # it becomes part of an address


def callback_url(provider: Provider, attempt_id: UUID) -> str:
    """Return where the provider is to call when the job is over; "" where it makes no call that could be verified."""
    # Another address would be a 422 at Replicate, and no submission would go through.
    may_be_called = settings.PUBLIC_URL.startswith("https://") or settings.SANDBOX_ACTIVE
    if not settings.PUBLIC_URL or not may_be_called or not signing_key(callback_secret(provider.slug)):
        return ""
    return f"{settings.PUBLIC_URL}/hooks/{provider.slug}/?attempt={_signer.sign(str(attempt_id))}"


def match_callback(*, provider: str, signed_attempt: str, body: Any) -> str | None:
    """Return the caller whose job a verified call is about, None where nobody waits for it. Idempotent.

    The attempt is signed in the address, since the provider's signature does not cover that: a captured call that is
    repeated with another attempt would hand that one a foreign job.

    Of the call's body only the job's id is used: a submission whose answer was lost adopts it, so that it is polled
    from now on and nothing is bought again. An attempt that has an id keeps it.
    """
    callback = PROVIDERS[provider].callback
    job_id = text_at(body, *callback.job_id_path) if callback else ""
    if not _JOB_ID.fullmatch(job_id):
        return None
    known = Attempt.objects.filter(provider=provider, job_id=job_id).first()
    attempt = known or _adopted(provider, signed_attempt, job_id)
    return attempt.caller_key if attempt and attempt.state == Attempt.State.RUNNING else None


def _adopted(provider: str, signed_attempt: str, job_id: str) -> Attempt | None:
    try:
        attempt_id = UUID(_signer.unsign(signed_attempt))
        adoptable = Attempt.objects.filter(
            id=attempt_id, provider=provider, state=Attempt.State.UNKNOWN, finished_at=None, job_id=""
        )
        with transaction.atomic():
            adoptable.update(state=Attempt.State.RUNNING, job_id=job_id, error_class="", error_text="")
    except (BadSignature, IntegrityError):  # no attempt of ours; or another attempt has the job, or the caller's turn
        return None
    return Attempt.objects.filter(id=attempt_id, provider=provider, job_id=job_id).first()

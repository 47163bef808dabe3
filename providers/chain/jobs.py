"""Looking after long jobs: when to ask, what an answer means, and stopping those that nobody waits for."""

import logging
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from providers.backends.media_generation import POLL_SECONDS, JobProvider
from providers.chain.attempts import JOB_CANCELLED
from providers.chain.candidates import candidate_for_attempt
from providers.errors import OutcomeUnknown, ProviderError
from providers.models import Attempt
from providers.transport.deadlines import Deadline
from providers.types import Job, MediaResult, Prompt

logger = logging.getLogger("providers.chain.jobs")

ADOPTION_SECONDS = 300  # an order whose answer was lost is looked for this long before anything else is bought
MAX_CLOCK_SKEW = timedelta(minutes=2)  # by which a vendor's clock may differ from ours
CANCEL_WINDOW = timedelta(minutes=30)  # by then a job that nobody waits for has ended by itself
GRACE = timedelta(seconds=5)  # whoever was enqueued to stop a job is about to do it
POLL_DELAY_SHARE = 0.2  # the older a job, the longer the pause before the next question: a fifth of its age


def poll_delay_seconds(provider: JobProvider, age_seconds: float) -> float:
    """Return when to ask again, in seconds: soon for young jobs, seldom for old ones, within the poll budget.

    The budget is shared: with many jobs under way each is asked for less often.
    """
    pause = min(max(provider.first_poll_seconds, age_seconds * POLL_DELAY_SHARE), provider.max_poll_seconds)
    under_way = Attempt.objects.filter(state=Attempt.State.RUNNING, provider=provider.slug).count()
    return max(pause, under_way / provider.polls_per_second)


def poll_job(
    attempt: Attempt, provider: JobProvider, prompt: Prompt, *, deadline: Deadline
) -> MediaResult | Job | None:
    """Ask for the attempt's job, or look for it where its id was lost. None: not found, look again.

    Raises a ProviderError; where `ends_job` is set there is nothing more to learn.
    """
    if attempt.job_id:
        return provider.poll(prompt, attempt.job_id, deadline=deadline)
    found = provider.find(prompt, since=attempt.created_at - MAX_CLOCK_SKEW, deadline=deadline)
    attempt.refresh_from_db()
    if attempt.job_id:
        return Job(attempt.job_id)  # meanwhile the vendor has called and said it
    # Two people may have asked in the same words.
    taken = Attempt.objects.filter(provider=attempt.provider, job_id__in=[job.id for job in found])
    known = set(taken.values_list("job_id", flat=True))
    job = next((job for job in found if job.id not in known), None)
    if job is None and attempt.age_seconds() > ADOPTION_SECONDS:
        error = OutcomeUnknown(f"no such order at the vendor within {ADOPTION_SECONDS} s", provider=attempt.provider)
        error.ends_job = True
        raise error
    return job


def job_cancel(*, attempt_id: UUID | str) -> None:
    """Stop the job of an attempt that was given up, where the vendor can. Stopping it twice is harmless.

    Raises nothing: a vendor that cannot be reached is told when the sweeper calls.
    """
    attempt = _jobs_in("UNKNOWN", "ABANDONED", "EXPIRED").filter(id=attempt_id).first()
    candidate = candidate_for_attempt(attempt) if attempt else None
    if attempt is None or candidate is None or not isinstance(candidate.provider, JobProvider):
        return
    try:
        candidate.provider.cancel(attempt.job_id, deadline=Deadline.after(POLL_SECONDS))
    except ProviderError as error:
        logger.warning("The job of %s at %s could not be stopped: %s", attempt.caller_key, attempt.provider, error)
        if error.status is None:
            return
    Attempt.objects.filter(id=attempt.id, error_class="").update(error_class=JOB_CANCELLED)


def jobs_to_cancel() -> list[UUID]:
    """Return the attempts whose callers have ended and whose jobs go on, because whoever was to stop them did not."""
    since, until = Now() - CANCEL_WINDOW, Now() - GRACE
    let_go = _jobs_in("UNKNOWN", "ABANDONED").filter(error_class="", finished_at__gt=since, finished_at__lt=until)
    return list(let_go.values_list("id", flat=True))


def _jobs_in(*states: str) -> QuerySet[Attempt]:
    return Attempt.objects.filter(state__in=states, finished_at__isnull=False).exclude(job_id="")

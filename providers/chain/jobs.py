"""Long jobs: when to poll, what a poll means, and cancelling those that nobody waits for."""

import logging
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from providers.backends.media_generation import POLL_SECONDS, JobProvider
from providers.chain.attempts import JOB_CANCELLED
from providers.chain.candidates import candidate_for_attempt
from providers.errors import JobGone, JobNotFound, ProviderError
from providers.models import Attempt
from providers.transport.deadlines import Deadline
from providers.types import Job, MediaResult, Prompt

logger = logging.getLogger("providers.chain.jobs")

ADOPTION_SECONDS = 300  # a submission whose answer was lost is looked for this long before anything else is bought
VISIBLE_SECONDS = 60  # a provider's servers may differ about a younger job; an older one that it denies is over
MAX_CLOCK_SKEW = timedelta(minutes=2)  # between a provider's clock and ours
CANCEL_WINDOW = timedelta(minutes=30)  # by then a job that nobody waits for has ended by itself
GRACE = timedelta(seconds=5)  # the worker that was woken to cancel a job is about to do it
POLL_DELAY_SHARE = 0.2  # the older a job, the longer the pause before the next poll: a fifth of its age


def poll_delay_seconds(provider: JobProvider, age_seconds: float) -> float:
    """Return when to poll again, in seconds: soon for young jobs, seldom for old ones, within the poll budget.

    The budget is shared: with many jobs under way each is polled less often.
    """
    pause = min(max(provider.first_poll_seconds, age_seconds * POLL_DELAY_SHARE), provider.max_poll_seconds)
    under_way = Attempt.objects.filter(state=Attempt.State.RUNNING, provider=provider.slug).count()
    return max(pause, under_way / provider.polls_per_second)


def poll_job(
    attempt: Attempt, provider: JobProvider, prompt: Prompt, *, deadline: Deadline
) -> MediaResult | Job | None:
    """Poll the attempt's job, or look for it where its id was lost. None: not found, look again.

    Raises a ProviderError; where `ends_job` is set there is nothing more to learn.
    """
    if attempt.job_id:
        try:
            return provider.poll(prompt, attempt.job_id, deadline=deadline)
        except JobGone as error:
            error.complete(ends_job=attempt.age_seconds() > VISIBLE_SECONDS)
            raise
    found = provider.find_jobs(prompt, since=attempt.created_at - MAX_CLOCK_SKEW, deadline=deadline)
    attempt.refresh_from_db()
    if attempt.job_id:
        return Job(attempt.job_id)  # meanwhile a callback has brought it
    # Two people may have sent the same prompt.
    taken = Attempt.objects.filter(provider=attempt.provider, job_id__in=[job.id for job in found])
    known = set(taken.values_list("job_id", flat=True))
    job = next((job for job in found if job.id not in known), None)
    if job is None and attempt.age_seconds() > ADOPTION_SECONDS:
        raise JobNotFound(f"not there within {ADOPTION_SECONDS} s", provider=attempt.provider)
    return job


def job_cancel(*, attempt_id: UUID | str) -> None:
    """Cancel the job of an attempt that was given up, where the provider can. Idempotent.

    Raises nothing: a provider that cannot be reached is asked again when a worker looks.
    """
    attempt = _jobs_in("UNKNOWN", "ABANDONED", "EXPIRED").filter(id=attempt_id).first()
    candidate = candidate_for_attempt(attempt) if attempt else None
    if attempt is None or candidate is None or not isinstance(candidate.provider, JobProvider):
        return
    try:
        candidate.provider.cancel(attempt.job_id, deadline=Deadline.after(POLL_SECONDS))
    except ProviderError as error:
        logger.warning("The job of %s at %s could not be cancelled: %s", attempt.caller_key, attempt.provider, error)
        if error.status is None:
            return
    Attempt.objects.filter(id=attempt.id, error_class="").update(error_class=JOB_CANCELLED)


def jobs_to_cancel() -> list[UUID]:
    """Return the attempts whose callers have ended and whose jobs go on, because nobody has cancelled them yet."""
    since, until = Now() - CANCEL_WINDOW, Now() - GRACE
    abandoned = _jobs_in("UNKNOWN", "ABANDONED").filter(error_class="", finished_at__gt=since, finished_at__lt=until)
    return list(abandoned.values_list("id", flat=True))


def _jobs_in(*states: str) -> QuerySet[Attempt]:
    return Attempt.objects.filter(state__in=states, finished_at__isnull=False).exclude(job_id="")

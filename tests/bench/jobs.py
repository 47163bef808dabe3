"""Measure how late 500 open jobs are polled: from their end at the provider to the answer in the database.

Run by `make bench`, on a real PostgreSQL and Redis, with one worker and one sweeper, or as
`python -m tests.servers python -m tests.bench.jobs [jobs]`.
"""

import sys
import time
from collections.abc import Callable

from tests.bench.environment import quiet_processes, set_up_django
from tests.bench.requests import percentile
from tests.fakes.replicate import KEY, FakeReplicate, running_replicate

JOBS = 500


def main(jobs: int) -> None:
    with running_replicate() as replicate:
        set_up_django(
            REPLICATE_API_TOKEN=KEY,
            REPLICATE_BASE_URL=replicate.url,
            MAX_OPEN_REQUESTS="100000",
            ALLOWED_HOSTS="localhost",
        )
        bench(replicate, jobs=jobs)


def bench(replicate: FakeReplicate, *, jobs: int) -> None:
    from django.core.management import call_command

    from providers.models import Attempt
    from requests_app.models import AIModel, Request
    from requests_app.services.accounts import account_ensure, account_top_up
    from requests_app.services.intake import request_accept

    call_command("migrate", verbosity=0)
    account = account_ensure(key="bench")
    account_top_up(account_id=account.pk, amount=10**9, actor="bench")
    model = AIModel.objects.get(slug="video-ai")
    commands = [["-m", "celery", "-A", "aibot", "--quiet", "worker", "--loglevel=ERROR"], ["manage.py", "sweep"]]
    with quiet_processes(*commands):
        for number in range(jobs):
            request_accept(intake_key=f"video:{number}", account=account, model=model, text=f"Video {number}")
        wait_for(lambda: Attempt.objects.filter(state="RUNNING").count() == jobs)
        time.sleep(40)  # until the pauses between polls have reached their usual length
        ended = time.time()
        replicate.finish.set()
        wait_for(lambda: not Request.objects.filter(status__in=Request.OPEN).exists())
        lags = [row.timestamp() - ended for row in Request.objects.values_list("completed_at", flat=True)]
        p50, p95 = percentile(lags, 0.5), percentile(lags, 0.95)
        print(f"{jobs} jobs end at once, one worker: lag p50 {p50:.1f} s, p95 {p95:.1f} s")
        print(f"submitted {len(replicate.jobs)}, attempts {Attempt.objects.count()}")


def wait_for(is_so: Callable[[], bool], seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.3)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else JOBS)

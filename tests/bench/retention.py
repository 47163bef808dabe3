"""Measure retention: how many rows a second one sweeper deletes, and what requests beside it notice.

Run by `make bench`, or as `python -m tests.servers python -m tests.bench.retention [n]` with n requests of last year.
Prints figures without limits: they mean something on an idle machine only.
"""

import sys
import threading
import time
from datetime import timedelta

from tests.bench.environment import report, set_up_django
from tests.bench.requests import percentile, server, workers

OLD = 150_000  # more than it deletes while it is measured; each has an attempt beside it
FRESH = 20_000  # which stay, and among which the old ones lie
RATE, SECONDS = 10, 30.0  # requests a second beside it, for so long
DAYS = 30


def main(old: int) -> None:
    set_up_django(
        OPENAI_API_KEY="bench-openai-key",
        OPENAI_BASE_URL="http://127.0.0.1:18101",
        MAX_OPEN_REQUESTS="100000",
        RETENTION_ROWS_DAYS=str(DAYS),
    )
    bench(old)


def bench(old: int) -> None:
    """Fill the tables, delete as fast as it goes, then at the sweeper's own pace beside requests."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.models import ExpressionWrapper, F, fields
    from django.utils import timezone

    from providers.models import Attempt, ProviderConfig
    from requests_app.models import AIModel, LedgerEntry, Request, RequestEvent
    from requests_app.services.accounts import account_ensure, account_top_up
    from requests_app.services.intake import request_accept
    from requests_app.services.retention import sweep_retention

    call_command("migrate", verbosity=0)
    ProviderConfig.objects.filter(category="TEXT").exclude(provider="openai").update(enabled=False)
    account = account_ensure(key="bench")
    account_top_up(account_id=account.pk, amount=10**9, actor="bench")
    model = AIModel.objects.get(slug="text-ai")

    def fill(run: str, count: int, age: timedelta) -> None:
        moment = timezone.now() - age
        values = {"user": account, "model": model, "category": "TEXT", "input_text": "Hi " * 60, "credits": 1}
        ended = {
            "rolled_up": True,
            "status": "COMPLETED",
            "output_text": "Hello " * 100,
            "actual_provider": "openai",
            "completed_at": moment,
            "deadline_at": moment,
        }
        for start in range(0, count, 5000):
            rows = [
                Request(id=f"req_{run}_{n}", intake_key=f"{run}:{n}", created_at=moment, **values, **ended)
                for n in range(start, min(count, start + 5000))
            ]
            Request.objects.bulk_create(rows)
            RequestEvent.objects.bulk_create(
                [
                    RequestEvent(request=row, from_status=before, to_status=after, actor="bench")
                    for row in rows
                    for before, after in (("", "PENDING"), ("PENDING", "PROCESSING"), ("PROCESSING", "COMPLETED"))
                ]
            )
            LedgerEntry.objects.bulk_create(
                [
                    LedgerEntry(account=account, request=row, kind=kind, amount=amount, actor="bench")
                    for row in rows
                    for kind, amount in (("HOLD", -1), ("CAPTURE", 0))
                ]
            )
            Attempt.objects.bulk_create(
                [
                    Attempt(
                        caller_key=row.id,
                        number=1,
                        category="TEXT",
                        provider="openai",
                        model="bench",
                        state="OK",
                        created_at=moment,
                        finished_at=moment,
                        rolled_up=True,
                    )
                    for row in rows
                ]
            )

    def offer(run: str) -> list[float]:
        """Accept requests at an even pace; return the milliseconds from each to its answer."""
        begun = time.monotonic()
        for number in range(int(RATE * SECONDS)):
            time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
            request_accept(intake_key=f"{run}:{number}", account=account, model=model, text="Say hello")
        time.sleep(3)
        span = ExpressionWrapper(F("completed_at") - F("created_at"), output_field=fields.DurationField())
        rows = Request.objects.filter(intake_key__startswith=f"{run}:").annotate(span=span)
        return [row.total_seconds() * 1000 for row in rows.values_list("span", flat=True)]

    fill("old", old, timedelta(days=365))
    fill("fresh", FRESH, timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
    with server(18101, 0.0), workers(1):
        offer("warm")
        alone = offer("alone")
        report("answered, nothing deleted", f"p50 {percentile(alone, 0.5):.1f}, p95 {percentile(alone, 0.95):.1f} ms")
        is_over, deleted, working = threading.Event(), [0], [0.0]

        def sweep() -> None:
            while not is_over.is_set():
                begun = time.monotonic()
                deleted[0] += sweep_retention()
                working[0] += time.monotonic() - begun
                is_over.wait(3)

        sweeper, begun = threading.Thread(target=sweep), time.monotonic()
        sweeper.start()
        beside = offer("beside")
        is_over.set()
        sweeper.join()
        seconds = time.monotonic() - begun
        report("answered beside it", f"p50 {percentile(beside, 0.5):.1f}, p95 {percentile(beside, 0.95):.1f} ms")
        assert deleted[0] < 2 * old, "it ran out of rows: fill more"
        report(
            "deleted at its own pace",
            f"{deleted[0] / seconds:.0f} rows/s sustained, {deleted[0] / working[0]:.0f} at work",
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else OLD)

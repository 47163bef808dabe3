"""Measure the statistics endpoints and the list of attempts, over millions of them.

Run as `python -m tests.servers python -m tests.bench.statistics [attempts]`. Makes a database of its own there:
attempts of one year, all but the newest folded. Compares the endpoints' sums with a recount of the raw rows. Prints
figures without limits: they mean something on an idle machine only.
"""

# ruff: noqa: E402 — Django must be set up before its models are imported

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from providers.models import Attempt, AttemptRollup
from providers.statistics.rollups import attempts_fold, fold_attempts

ATTEMPTS = 10_000_000
TAIL = 5_000  # finished, not folded yet: half a minute of busy workers and a late sweeper
CALLS = 200
PATHS = [
    "/api/providers/stats",
    "/api/providers/stats?days=30",
    "/api/providers/stats/TEXT",
    "/api/providers/cost/TEXT",
    "/api/providers/recommended/TEXT",
    "/admin/providers/attempt/",
    "/admin/providers/attempt/?state__exact=FAILED&provider=openai",
    "/admin/providers/attempt/?q=req_4711",
    "/metrics",
]
# Eleven pairs of category and provider; the attempts are spread evenly over the year.
FILL = """
INSERT INTO providers_attempt (id, caller_key, number, category, provider, model, state, job_id, error_class,
    error_text, http_status, usage, cost, cost_source, duration_ms, first_token_ms, created_at, finished_at, rolled_up)
SELECT md5(n::text)::uuid, 'req_' || n, 1, pair[1], pair[2], 'model-id', state, '', '', '',
    200, '{"prompt_tokens": 12, "completion_tokens": 80}',
    CASE WHEN state = 'OK' AND n %% 50 > 0 THEN (1 + n %% 977) * 0.0000013 END, 'computed', 300 + n %% 4001, 200,
    moment, moment + interval '2 seconds', n > %(tail)s
FROM (
    SELECT n, CASE WHEN n %% 20 = 0 THEN 'FAILED' WHEN n %% 33 = 0 THEN 'UNKNOWN' ELSE 'OK' END AS state,
        now() - interval '2 hours' - n * (interval '365 days' / %(rows)s) AS moment,
        (ARRAY[['TEXT','aimlapi'],['TEXT','piapi'],['TEXT','openrouter'],['TEXT','openai'],['TEXT','anthropic'],
               ['TEXT','xai'],['IMAGE','replicate'],['IMAGE','openai'],['VIDEO','replicate'],['AUDIO','elevenlabs'],
               ['AUDIO','replicate']])[1 + n %% 11 : 1 + n %% 11] AS pairs
    FROM generate_series(1, %(rows)s) AS n
) AS numbered, LATERAL (SELECT ARRAY[pairs[1][1], pairs[1][2]] AS pair) AS chosen
"""


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ATTEMPTS
    if connection.vendor != "postgresql":
        sys.exit("Needs PostgreSQL: python -m tests.servers python -m tests.bench.statistics")
    connection.settings_dict["OPTIONS"]["options"] = ""  # to write so many rows takes longer than a statement may
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        fill(rows)
        measure()
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def fill(rows: int) -> None:
    """Write the attempts and their hourly sums."""
    with timed(f"{rows:,} attempts written"), connection.cursor() as cursor, without_indexes():
        cursor.execute(FILL, {"rows": rows, "tail": TAIL})
    with timed("hourly sums counted"):
        attempts_fold.rebuild()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE providers_attempt")
        cursor.execute("VACUUM ANALYZE providers_attemptrollup")
    print(f"{AttemptRollup.objects.count():,} hourly sums, {TAIL:,} attempts not folded yet")


def measure() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("bench"))
    for path in PATHS:
        milliseconds = sorted(_call(client, path) for _ in range(CALLS))
        p50, p95 = statistics.median(milliseconds), milliseconds[int(CALLS * 0.95)]
        print(f"{path:62} p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   worst {milliseconds[-1]:6.1f} ms")
    compare(client)
    with timed(f"{TAIL:,} attempts folded"):
        while fold_attempts():
            pass
    compare(client)


def _call(client: Client, path: str) -> float:
    began = time.perf_counter()
    response = client.get(path)
    assert response.status_code == 200, response.content
    return (time.perf_counter() - began) * 1000


def compare(client: Client) -> None:
    """Count the raw rows in plain SQL and compare them with the endpoint."""
    with timed("recounted from the raw rows"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT category, provider, COUNT(*), COUNT(*) FILTER (WHERE state = 'OK'), SUM(cost) "
            "FROM providers_attempt WHERE finished_at IS NOT NULL GROUP BY category, provider"
        )
        raw = {(category, provider): figures for category, provider, *figures in cursor.fetchall()}
    for row in client.get("/api/providers/stats").json():
        # A route without traffic is listed with what may be expected of it.
        requests, successes, cost = raw.get((row["category"], row["provider"]), (0, 0, 0))
        assert (row["requests"], row["successes"]) == (requests, successes), row
        assert row["totalCost"] == float(cost), row
    print("The statistics equal the recount.")


@contextmanager
def without_indexes() -> Iterator[None]:
    """Drop the table's indexes and make them again afterwards, which takes a fraction of the time."""
    with connection.schema_editor() as editor:
        for index in Attempt._meta.indexes:
            editor.remove_index(Attempt, index)
    yield
    with connection.schema_editor() as editor:
        for index in Attempt._meta.indexes:
            editor.add_index(Attempt, index)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what} in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()

"""Measure requests: accepted to answered at rest, throughput and CPU, many at once, one account, a hanging provider.

Run by `make bench`, on a real PostgreSQL and Redis, or as `python -m tests.servers python -m tests.bench.requests [n]`
with n requests under load. Prints figures without limits: they mean something on an idle machine only. The provider is
a loopback server in a process of its own.
"""

import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.bench.environment import cpu_seconds, postgres_process, quiet_processes, report, set_up_django

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 0,
    "model": "bench",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!", "refusal": None}}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}
REQUESTS = 1500  # under load
CALLERS, PER_CALLER = 50, 20  # of one account
CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello!"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": ANSWER["usage"]},
]


def serve(port: int, delay_seconds: float) -> None:
    """Answer OpenAI-shaped chat calls, plain or streamed, `delay_seconds` after each; below 0: never."""
    head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "bench"}
    stream = "".join(f"data: {json.dumps(head | chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(headers.split("content-length:")[1].split("\r\n")[0])
                is_stream = b'"stream": true' in (sent := await reader.readexactly(length)) or b'"stream":true' in sent
                await asyncio.sleep(delay_seconds if delay_seconds >= 0 else 3600)
                body = (stream if is_stream else json.dumps(ANSWER)).encode()
                kind = "text/event-stream" if is_stream else "application/json"
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", port, backlog=512)
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def server(port: int, delay_seconds: float) -> Iterator[str]:
    process = multiprocessing.Process(target=serve, args=(port, delay_seconds), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


@contextmanager
def workers(count: int) -> Iterator[list[int]]:
    """Run so many workers for the length of the block; yield their process ids."""
    command = ["-m", "celery", "-A", "aibot", "--quiet", "worker", "--loglevel=ERROR"]
    with quiet_processes(*([*command, "-n", f"bench{n}@%h"] for n in range(count))) as pids:
        time.sleep(6)
        yield pids


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main(requests: int) -> None:
    set_up_django(
        OPENAI_API_KEY="bench-openai-key",
        XAI_API_KEY="bench-xai-key",
        OPENAI_BASE_URL="http://127.0.0.1:18101",
        XAI_BASE_URL="http://127.0.0.1:18102",
        MAX_OPEN_REQUESTS="100000",
        DATABASE_POOL_SIZE=str(CALLERS + 5),
        ALLOWED_HOSTS="localhost",
    )
    bench(cores=multiprocessing.cpu_count(), count=requests)


def bench(*, cores: int, count: int) -> None:
    """Run every measurement; the one under load with so many requests."""
    import requests
    from django.core.management import call_command
    from django.db import connection
    from django.db.models import Count, ExpressionWrapper, F, fields
    from django.db.models.functions import Now

    from providers.models import Attempt, ProviderConfig, ProviderHealth
    from requests_app.models import AIModel, LedgerEntry, Request
    from requests_app.services.accounts import account_ensure, account_top_up
    from requests_app.services.intake import request_accept

    call_command("migrate", verbosity=0)
    ProviderConfig.objects.filter(category="TEXT").exclude(provider="openai").update(enabled=False)
    account = account_ensure(key="bench")
    account_top_up(account_id=account.pk, amount=10**9, actor="bench")
    model = AIModel.objects.get(slug="text-ai")

    def accept(count: int, run: str) -> None:
        for number in range(count):
            request_accept(intake_key=f"{run}:{number}", account=account, model=model, text="Say hello")

    def wait_for(run: str, count: int, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        rows = Request.objects.filter(intake_key__startswith=f"{run}:").exclude(status__in=Request.OPEN)
        while rows.count() < count and time.monotonic() < deadline:
            time.sleep(0.05)
        states = Request.objects.filter(intake_key__startswith=f"{run}:").values_list("status").annotate(Count("id"))
        assert dict(states) == {"COMPLETED": count}, dict(states)

    def milliseconds(run: str) -> list[float]:
        span = ExpressionWrapper(F("completed_at") - F("created_at"), output_field=fields.DurationField())
        rows = Request.objects.filter(intake_key__startswith=f"{run}:").annotate(span=span)
        return [row.total_seconds() * 1000 for row in rows.values_list("span", flat=True)]

    with server(18101, 0.0), workers(1):
        session, direct = requests.Session(), []
        for _ in range(200):
            began = time.perf_counter()
            session.post("http://127.0.0.1:18101/chat/completions", json={"stream": True}, timeout=5).content  # noqa: B018
            direct.append((time.perf_counter() - began) * 1000)
        accept(20, "warm")
        wait_for("warm", 20)
        accepted = {}
        for number in range(200):
            request_accept(intake_key=f"rest:{number}", account=account, model=model, text="Say hello")
            accepted[f"rest:{number}"] = time.time()
            time.sleep(0.03)
        wait_for("rest", 200)
        rows = Request.objects.filter(intake_key__in=accepted).values_list("intake_key", "completed_at")
        spans = [(completed_at.timestamp() - accepted[key]) * 1000 for key, completed_at in rows]
        over = [span - statistics.median(direct) for span in spans]
        report(
            "accepted to answered over the direct call, at rest",
            f"p50 {percentile(over, 0.5):.1f} ms, p99 {percentile(over, 0.99):.1f} ms",
        )

    postgres = postgres_process()
    with server(18101, 0.0), workers(cores) as pids:
        before, began = (sum(map(cpu_seconds, pids)), cpu_seconds(postgres)), time.perf_counter()
        accept(count, "load")
        wait_for("load", count)
        rate = count / (time.perf_counter() - began)
        worker_ms = (sum(map(cpu_seconds, pids)) - before[0]) / count * 1000
        postgres_ms = (cpu_seconds(postgres) - before[1]) / count * 1000
        report(
            f"answered requests, {cores} workers, everything on this box",
            f"{rate:.0f}/s; CPU ms an answer: worker {worker_ms:.1f}, PostgreSQL {postgres_ms:.1f} with acceptance",
        )

    def accept_for_one(caller: int) -> None:
        try:
            for number in range(PER_CALLER):
                request_accept(
                    intake_key=f"one:{caller}:{number}", account=account, model=model, text="Hi", wakes_worker=False
                )
        finally:
            connection.close()

    with ThreadPoolExecutor(CALLERS) as callers:
        began = time.perf_counter()
        list(callers.map(accept_for_one, range(CALLERS)))
        rate = CALLERS * PER_CALLER / (time.perf_counter() - began)
    holds = LedgerEntry.objects.filter(request__intake_key__startswith="one:", kind="HOLD").count()
    assert holds == CALLERS * PER_CALLER, holds
    Request.objects.filter(intake_key__startswith="one:").update(status="CANCELLED", completed_at=Now())
    report(f"acceptances, {CALLERS} callers of one account, one process", f"{rate:.0f}/s, no error, {holds} holds")

    with server(18101, 1.0), workers(1):
        accept(200, "wait")
        wait_for("wait", 200)
        spans = milliseconds("wait")
        report(
            "200 requests at once on a 1-s provider, one worker",
            f"p50 {percentile(spans, 0.5):.0f} ms, slowest {max(spans):.0f} ms",
        )

    ProviderConfig.objects.filter(category="TEXT", provider="xai").update(enabled=True, priority=1, timeout_seconds=1)
    ProviderConfig.objects.filter(category="TEXT", provider="openai").update(priority=2)
    with server(18101, 0.0), server(18102, -1), workers(cores):
        for number in range(60):
            request_accept(intake_key=f"hang:{number}", account=account, model=model, text="Say hello")
            wait_for("hang", number + 1)
        slow = Attempt.objects.filter(provider="xai").count()
        paused = [value for value in milliseconds("hang") if value < 900]
        report(
            f"a hanging first provider (1 s), 60 in a row, {cores} workers",
            f"{slow} slow calls; while it is paused p50 {percentile(paused, 0.5):.1f} ms",
        )
    assert ProviderHealth.objects.filter(provider="xai").exists()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS)

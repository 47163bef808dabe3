"""Measure what is no answer: the webhook, a failover, the circuit breaker's row, memory, starts, the sweeper at rest.

Run by `make bench`, or as `POSTGRES_FSYNC=on python -m tests.servers python -m tests.bench.service`. Prints figures
without limits: they mean something on an idle machine only.
"""

import asyncio
import itertools
import json
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bench.environment import cpu_seconds, postgres_process, quiet_processes, report, set_up_django
from tests.bench.loopback import HttpConnection
from tests.bench.requests import percentile, server
from tests.proof.process_pool import command_of

WEB_PORT, GOOD_PORT, BAD_PORT = 18121, 18122, 18123
SECRET = "bench-secret"
UPDATES_PER_SECOND, UPDATE_SECONDS = 200, 10
CONNECTIONS = 16
CHATS = 500
ROUNDS = 300  # of a request alone, with a failover and without
FAILING_THREADS, FAILURES = 100, 20  # on one route
REST_SECONDS = 20


# --- The webhook ---


def webhook(postgres: int) -> None:
    with our_processes("web") as (web,):
        wait_for(is_open(WEB_PORT))
        asyncio.run(_webhook(web, postgres))


async def _webhook(web: int, postgres: int) -> None:
    connections = [HttpConnection("127.0.0.1", WEB_PORT) for _ in range(CONNECTIONS)]
    ids = itertools.count(1)

    async def post(connection: HttpConnection) -> float:
        number = next(ids)
        user = {"id": 10_000 + number % CHATS, "is_bot": False, "first_name": "Bench"}
        message = {"message_id": number, "date": int(time.time()), "from": user, "text": "Hello"}
        message["chat"] = {"id": user["id"], "type": "private"}
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET, "X-Forwarded-Proto": "https"}
        began = time.perf_counter()
        status = await connection.post("/telegram/webhook/", {"update_id": number, "message": message}, headers)
        assert status == 200, status
        return (time.perf_counter() - began) * 1000

    async def at_a_rate(rate: float, seconds: float) -> list[float]:
        began, tasks = time.monotonic(), []
        for number in range(round(rate * seconds)):
            await asyncio.sleep(began + number / rate - time.monotonic())
            tasks.append(asyncio.create_task(post(connections[number % CONNECTIONS])))
        return list(await asyncio.gather(*tasks))

    async def back_to_back(connection: HttpConnection, until: float) -> int:
        posted = 0
        while time.monotonic() < until:
            await post(connection)
            posted += 1
        return posted

    await at_a_rate(UPDATES_PER_SECOND, CHATS / UPDATES_PER_SECOND)  # every chat is known afterwards
    before = cpu_seconds(web), cpu_seconds(postgres)
    spans = await at_a_rate(UPDATES_PER_SECOND, UPDATE_SECONDS)
    web_ms, postgres_ms = (
        (cpu_seconds(pid) - earlier) / len(spans) * 1000 for pid, earlier in zip((web, postgres), before, strict=True)
    )
    report(
        f"webhook at {UPDATES_PER_SECOND}/s, 2 processes",
        f"p50 {percentile(spans, 0.5):.1f} ms, p99 {percentile(spans, 0.99):.1f} ms; "
        f"CPU ms an update: web {web_ms:.1f}, PostgreSQL {postgres_ms:.1f}",
    )
    began = time.monotonic()
    posted = await asyncio.gather(*(back_to_back(connection, began + 5) for connection in connections))
    report(f"webhook, {CONNECTIONS} callers back to back", f"{sum(posted) / (time.monotonic() - began):.0f}/s")


# --- The chain, without Celery and without a chat ---


class _Fails(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": {"message": "The server had an error", "type": "server_error"}}).encode()
        self.send_response(500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve_failures() -> None:
    ThreadingHTTPServer(("127.0.0.1", BAD_PORT), _Fails).serve_forever()


def chain(postgres: int) -> None:
    from providers.models import ProviderConfig, ProviderHealth
    from requests_app.models import AIModel, Request
    from requests_app.services.accounts import account_ensure, account_top_up
    from requests_app.services.execution import request_advance
    from requests_app.services.intake import request_accept

    account = account_ensure(key="bench")
    account_top_up(account_id=account.pk, amount=10**9, actor="bench")
    model = AIModel.objects.get(slug="text-ai")
    routes = ProviderConfig.objects.filter(category="TEXT")
    routes.exclude(provider="openai").update(enabled=False)

    def cpu_ms(run: str) -> tuple[float, float]:
        """Return the CPU of this process and of PostgreSQL for one request, acceptance excluded."""
        requests = [
            request_accept(intake_key=f"{run}:{n}", account=account, model=model, text="Say hello", wakes_worker=False)
            for n in range(ROUNDS)
        ]
        own, theirs = 0.0, cpu_seconds(postgres)
        for request in requests:
            ProviderHealth.objects.all().delete()  # or the breaker would spare the failing calls
            began = time.process_time()
            request_advance(request_id=request.id, on_text=len)
            own += time.process_time() - began
        assert Request.objects.filter(intake_key__startswith=f"{run}:", status="COMPLETED").count() == ROUNDS
        return own / ROUNDS * 1000, (cpu_seconds(postgres) - theirs) / ROUNDS * 1000

    bad = subprocess.Popen([sys.executable, "-c", "from tests.bench.service import serve_failures; serve_failures()"])
    try:
        wait_for(is_open(BAD_PORT))
        with server(GOOD_PORT, 0.0):
            cpu_ms("warm")
            plain, plain_postgres = cpu_ms("plain")
            routes.filter(provider="xai").update(enabled=True, priority=1)
            routes.filter(provider="openai").update(priority=2)
            time.sleep(1.5)  # until the routes are read anew
            failed_over, _ = cpu_ms("failover")
    finally:
        bad.kill()
        bad.wait()
    report("the chain with its rows, a request", f"CPU {plain:.1f} ms, PostgreSQL {plain_postgres:.1f} ms")
    report("a failover on a 500, beyond that", f"CPU {failed_over - plain:.1f} ms, its rows and its call included")


def breaker() -> None:
    from django.db import connection

    from providers.chain.circuit_breaker import Circuit, record_failure
    from providers.errors import ServerFault
    from providers.models import ProviderHealth

    ProviderHealth.objects.all().delete()

    def writes() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'providers_providerhealth'")
            return int(cursor.fetchone()[0])

    def fail(_: int) -> list[float]:
        spans = []
        for _ in range(FAILURES):
            began = time.perf_counter()
            record_failure(Circuit("openai", "TEXT", "openai"), error=ServerFault())
            connection.close()  # as a worker's thread does before it waits for its next call
            spans.append((time.perf_counter() - began) * 1000)
        return spans

    before = writes()
    with ThreadPoolExecutor(FAILING_THREADS) as threads:
        began = time.perf_counter()
        spans = [span for thread in threads.map(fail, range(FAILING_THREADS)) for span in thread]
        seconds = time.perf_counter() - began
    time.sleep(1.5)  # until PostgreSQL has added up its statistics
    report(
        f"{len(spans)} failures of one route, {FAILING_THREADS} threads on 10 connections",
        f"{len(spans) / seconds:.0f}/s, p99 {percentile(spans, 0.99):.0f} ms, {writes() - before} writes of its row",
    )


# --- Memory, starts, rest ---


def footprint() -> None:
    from requests_app.models import WorkerHeartbeat

    WorkerHeartbeat.objects.all().delete()
    began = time.monotonic()
    with our_processes("web", "worker", "worker-chat") as pids:
        wait_for(is_open(WEB_PORT))
        web_seconds = time.monotonic() - began
        wait_for(lambda: WorkerHeartbeat.objects.filter(kind="worker").count() == 2)
        worker_seconds = time.monotonic() - began
        time.sleep(2)
        sizes = [sum(map(_pss, _family(pid))) / 1e6 for pid in pids]
    report(
        "2 web processes and their parent, worker, worker-chat",
        f"{sum(sizes):.0f} MB PSS ({', '.join(f'{size:.0f}' for size in sizes)}); all started at once on these cores, "
        f"web ready after {web_seconds:.1f} s, both workers after {worker_seconds:.1f} s",
    )
    with our_processes("sweeper") as (sweeper,):
        wait_for(lambda: WorkerHeartbeat.objects.filter(kind="sweeper").exists())
        time.sleep(2)
        before = cpu_seconds(sweeper)
        time.sleep(REST_SECONDS)
        report("the sweeper at rest", f"{(cpu_seconds(sweeper) - before) / REST_SECONDS:.1%} of a core")
    with server(GOOD_PORT, 0.0):
        before = _children_seconds()
        subprocess.run(
            [sys.executable, "manage.py", "ask", "TEXT", "Hello"], check=True, capture_output=True, timeout=60
        )
        report("ask TEXT", f"{_children_seconds() - before:.2f} s CPU")


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _family(root: int) -> Iterator[int]:
    yield root
    for path in Path(f"/proc/{root}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from _family(int(child))


def _pss(pid: int) -> int:
    """Return a process's memory in bytes, what it shares with others divided among them."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(lines["Pss"].split()[0]) * 1024


# --- Processes ---


def our_processes(*names: str) -> AbstractContextManager[list[int]]:
    """Run these processes of the Procfile for the length of the block; yield their ids."""
    return quiet_processes(*map(_program, names))


def _program(name: str) -> list[str]:
    """Return a process's line of the Procfile as arguments of Python, on our port."""
    command = command_of(name).replace("${HOST:-127.0.0.1}:${PORT:-8000}", f"127.0.0.1:{WEB_PORT}")
    module, *arguments = shlex.split(command.replace("${WEB_CONCURRENCY:-2}", "2"))
    return arguments if module == "python" else ["-m", module, *arguments]


def is_open(port: int) -> Callable[[], bool]:
    def connect() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return connect


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def main() -> None:
    set_up_django(
        OPENAI_API_KEY="bench-openai-key",
        OPENAI_BASE_URL=f"http://127.0.0.1:{GOOD_PORT}",
        XAI_API_KEY="bench-xai-key",
        XAI_BASE_URL=f"http://127.0.0.1:{BAD_PORT}",
        MAX_OPEN_REQUESTS="100000",
        ALLOWED_HOSTS="127.0.0.1",
        TELEGRAM_BOT_TOKEN="4242:bench",
        TELEGRAM_API_BASE_URL="http://127.0.0.1:1",
        TELEGRAM_WEBHOOK_SECRET=SECRET,
    )
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    postgres = postgres_process()
    webhook(postgres)
    chain(postgres)
    breaker()
    footprint()


if __name__ == "__main__":
    main()

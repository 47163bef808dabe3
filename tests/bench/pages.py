"""Measure what an operator and a monitor open, and the sweeper at rest, over an invented history.

Run by `make bench`, or as `python -m tests.servers python -m tests.bench.pages [requests]`, which makes a database of
its own there. `python -m tests.bench.pages --existing` measures the database that DATABASE_URL or DATA_DIR names, as
`manage.py generate_history` has left it, on SQLite too; there it adds a superuser called bench.

It walks every list of the admin with each of its filters, each pair of them on the largest tables, each order,
searches, the first and the last page, pages of single rows, and the endpoints of the API, of Prometheus and of load
balancers. All in this process, through Django's test client: middleware, database and templates, but no socket. Prints
what misses its target (docs/benchmarks.md); figures mean something on an idle machine only, and one that shares its
cores is never quite: beside each call a loop that never changes is timed.
"""

import gc
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tests.bench.environment import cpu_seconds, postgres_process, quiet_processes, report, set_up_django
from tests.bench.requests import percentile

REQUESTS = 500_000
ENDPOINT_MS = {"postgresql": 50, "sqlite": 300}
PAGE_MS = {"postgresql": 200, "sqlite": 300}
SWEEPER_SHARE = 0.01  # of a core
CALLS, CALLS_OF_A_PAIR = 20, 5
PATIENCE_SECONDS = 4.0  # for one address: what is slow needs no twenty calls
REST_SECONDS = 60
CATEGORIES = ("TEXT", "IMAGE", "VIDEO", "AUDIO")
ENDPOINTS = [
    *(f"/api/providers/stats{query}" for query in ("", "?days=1", "?days=30")),
    *(
        f"/api/providers/{what}/{category}{query}"
        for what in ("stats", "cost", "recommended")
        for category in CATEGORIES
        for query in ("", "?days=7")
    ),
    *("/metrics", "/readyz", "/healthz"),
    *(
        f"/api/{records}{query}"
        for records in ("requests", "attempts", "models", "routes", "accounts")
        for query in ("", "?pageSize=200")
    ),
    "/api/requests?status=FAILED",
    "/api/attempts?state=FAILED",
]
PAGES = [
    *(
        f"/api/analytics/{what}{period}"
        for what in ("success-rates?", "fallbacks?", "margins?", "costs?", "costs?by=user&")
        for period in ("period=today", "days=7", "days=90", "days=400")
    ),
    *(f"/admin/?period={period}" for period in ("today", "yesterday", "7", "30", "90", "month")),
    "/admin/?from=2025-11-01&to=2026-11-28",
    *(f"/admin/providers/providerconfig/order/{category}/generate/" for category in CATEGORIES),
    *(f"/admin/providers/providerconfig/playground/{category}/" for category in CATEGORIES),
    "/admin/providers/attemptrollup/reconciliation/",
    "/admin/requests_app/request/replay/",
]
PAIRED = ("requests_app.request", "providers.attempt", "telegram_bot.delivery")


@dataclass(frozen=True, slots=True)
class Figure:
    """How long one address took, in milliseconds."""

    address: str
    p50: float
    p95: float
    cpu: float  # of this process and of PostgreSQL, on average: on a busy machine it says more than the others
    target: float
    calls: tuple[tuple[float, float], ...]  # each in milliseconds, and what the yardstick took beside it

    def p95_at_speed(self, yardstick: float) -> float:
        """Return the p95 of a machine on which the yardstick takes so long."""
        return percentile([milliseconds * yardstick / beside for milliseconds, beside in self.calls], 0.95)

    @property
    def is_missed(self) -> bool:
        return self.p95 > self.target

    def __str__(self) -> str:
        mark = f"  MISSED: {self.target:.0f}" if self.is_missed else ""
        return f"{self.address:<100} p50 {self.p50:6.0f}  p95 {self.p95:6.0f}  CPU {self.cpu:5.0f}{mark}"


def main(arguments: list[str]) -> None:
    set_up_django(
        is_fresh="--existing" not in arguments, OPENAI_API_KEY="bench-openai-key", HTTPS="False", DEBUG="False"
    )
    from django.core.management import call_command
    from django.db import connection
    from django.test import override_settings

    from aibot.api_throttles import NamedRate

    if "--existing" not in arguments:
        connection.settings_dict["OPTIONS"]["options"] = ""  # to write so many rows takes longer than a statement may
        call_command("migrate", verbosity=0)
        call_command("generate_history", requests=int(arguments[0]) if arguments else REQUESTS)
    NamedRate.THROTTLE_RATES = dict.fromkeys(NamedRate.THROTTLE_RATES, "1000000/minute")  # it calls quickly
    with override_settings(
        ALLOWED_HOSTS=["testserver"],
        STORAGES={
            "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
            "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
        },
    ):
        walk()
    rest()


def walk() -> None:
    """Open everything; print each address, then what missed its target."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import setup_test_environment, teardown_test_environment

    user = User.objects.filter(username="bench").first() or User.objects.create_superuser("bench")
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # /readyz says at each call that no worker runs
    client = Client()
    client.force_login(user)
    setup_test_environment()  # only with it do answers say which filters there are
    pages, pairs = list(addresses(client)), list(pairs_of_filters(client))
    teardown_test_environment()
    gc.collect()
    gc.freeze()  # as aibot/wsgi.py does
    endpoint_ms, page_ms = ENDPOINT_MS[connection.vendor], PAGE_MS[connection.vendor]
    server = postgres_process() if connection.vendor == "postgresql" else None
    figures = [measured(client, address, endpoint_ms, CALLS, server) for address in ENDPOINTS]
    figures += [measured(client, address, page_ms, CALLS, server) for address in dict.fromkeys(pages)]
    figures += [measured(client, address, page_ms, CALLS_OF_A_PAIR, server) for address in pairs]
    missed = sorted((figure for figure in figures if figure.is_missed), key=lambda figure: -figure.p95)
    report(f"{len(figures)} addresses", f"{len(missed)} missed their target")
    beside = [yardstick for figure in figures for _, yardstick in figure.calls]
    fast, slow = percentile(beside, 0.05), percentile(beside, 0.95)
    at_speed = sum(figure.p95_at_speed(fast) > figure.target for figure in figures)
    report("the machine", f"a loop took {fast:.1f} to {slow:.1f} ms (p5, p95); always at its best: {at_speed} missed")
    for figure in missed:
        print(f"{figure}  at its best: {figure.p95_at_speed(fast):.0f}")


def measured(client: Any, address: str, target: float, calls: int, server: int | None = None) -> Figure:
    """Open an address this often; `server` is the process of PostgreSQL."""
    milliseconds: list[float] = []
    yardsticks: list[float] = []
    client.get(address)  # what only the first call of a process does
    cpu, began = 0.0, time.perf_counter()
    while len(milliseconds) < calls and (len(milliseconds) < 3 or time.perf_counter() - began < PATIENCE_SECONDS):
        yardsticks.append(_yardstick())
        cpu_before, before = _cpu(server), time.perf_counter()
        response = client.get(address)
        milliseconds.append((time.perf_counter() - before) * 1000)
        cpu += _cpu(server) - cpu_before
        assert response.status_code in (200, 503), f"{address}: {response.status_code}"  # 503: no worker is running
    calls_made = tuple(zip(milliseconds, yardsticks, strict=True))
    p50, p95 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.95)
    figure = Figure(address, p50, p95, cpu * 1000 / len(milliseconds), target, calls_made)
    print(figure, flush=True)
    return figure


def _yardstick() -> float:
    """Return how many milliseconds this machine takes now for what never changes."""
    before = time.perf_counter()
    sum(number * number for number in range(100_000))
    return (time.perf_counter() - before) * 1000


def _cpu(server: int | None) -> float:
    """Return the CPU seconds of this process and of PostgreSQL."""
    return time.process_time() + (cpu_seconds(server) if server else 0.0)


def addresses(client: Any) -> Iterator[str]:
    """Yield the pages of the admin: all that its lists offer, and what cannot be read off them."""
    from django.contrib import admin

    yield "/admin/"
    yield from PAGES
    for model, model_admin in admin.site._registry.items():
        found = listed(client, model)
        if found is None:
            continue
        url = url_of(model)
        yield url
        yield from (url + query for queries in queries_of_filters(found) for query in queries)
        columns = [
            position for position, name in enumerate(found.list_display) if name in (model_admin.sortable_by or ())
        ]
        yield from (f"{url}?o={sign}{position}" for position in columns for sign in ("", "-"))
        last = found.paginator.num_pages
        yield from (f"{url}?p={page}" for page in {2: True, last: True} if 1 < page <= last)
        keys = model._default_manager.order_by("pk").values_list("pk", flat=True)
        yield from (f"{url}{key}/change/" for key in (keys.first(), keys.last()) if key is not None)
    yield from searches()


def listed(client: Any, model: Any) -> Any:
    """Return what a list of the admin contains; None where it is none that can be opened."""
    response = client.get(url_of(model))
    return response.context["cl"] if response.status_code == 200 and "cl" in response.context else None


def url_of(model: Any) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def queries_of_filters(found: Any) -> list[list[str]]:
    """Return the queries of each filter's choices."""
    offered = [[choice["query_string"] for choice in spec.choices(found)] for spec in found.filter_specs]
    return [[query for query in queries if query not in ("?", "")] for queries in offered]


def pairs_of_filters(client: Any) -> Iterator[str]:
    from django.apps import apps

    for label in PAIRED:
        model = apps.get_model(label)
        found = listed(client, model)
        for one, other in combinations(queries_of_filters(found), 2):
            yield from (f"{url_of(model)}{first}&{second.removeprefix('?')}" for first in one for second in other)


def searches() -> Iterator[str]:
    """Yield searches that find one row, many rows and none, and the lists of single users."""
    from providers.models import Attempt
    from requests_app.models import Account, LedgerEntry, Request
    from telegram_bot.models import TelegramUpdate, TelegramUser

    requests = Request.objects.order_by("-created_at")
    request, busiest, quietest = requests[5000], Account.objects.order_by("pk")[0], Account.objects.order_by("-pk")[0]
    user = TelegramUser.objects.exclude(username="").order_by("-pk")[0]
    users = (busiest.name, quietest.key, str(user.telegram_id), f"@{user.username}", busiest.name[:3], "Test", "nobody")
    paid = LedgerEntry.objects.filter(kind="TOPUP").order_by("-id")[0]
    job = Attempt.objects.filter(category="IMAGE").exclude(job_id="").order_by("-created_at")[0].job_id
    asked: dict[str, tuple[str, ...]] = {
        "requests_app/request": (
            *users,
            request.id,
            request.id[:12],
            request.intake_key,
            "req_nobody",
            '"no-such-word"',
        ),
        "requests_app/account": users,
        "requests_app/ledgerentry": (request.id, paid.external_ref, "nobody"),
        "requests_app/requestevent": (request.id, "nobody"),
        "providers/attempt": (request.id, job, "nobody"),
        "telegram_bot/delivery": (request.id, "nobody"),
        "telegram_bot/telegramupdate": (str(TelegramUpdate.objects.order_by("-pk")[0].update_id), "12345"),
        "telegram_bot/telegramuser": (str(user.telegram_id), user.username, "nobody"),
        "telegram_bot/telegramchat": (str(user.telegram_id), "12345"),
    }
    for page, words in asked.items():
        yield from (f"/admin/{page}/?q={each.replace(' ', '+')}" for each in words)
    for account in (busiest, quietest):
        yield f"/admin/requests_app/request/?user__id__exact={account.pk}"
        yield f"/admin/requests_app/ledgerentry/?account__id__exact={account.pk}"


def rest() -> None:
    """Run a sweeper that has nothing to do; print what it and the database take."""
    from django.db import connection

    from requests_app.models import WorkerHeartbeat

    server = postgres_process() if connection.vendor == "postgresql" else None
    with quiet_processes(["manage.py", "sweep"]) as (sweeper,):
        deadline = time.monotonic() + 60
        while not WorkerHeartbeat.objects.filter(kind="sweeper").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(15)  # until it has folded what the history has left
        before = cpu_seconds(sweeper), cpu_seconds(server) if server else 0.0
        time.sleep(REST_SECONDS)
        share = (cpu_seconds(sweeper) - before[0]) / REST_SECONDS
        servers = (cpu_seconds(server) - before[1]) / REST_SECONDS if server else 0.0
    words = f"{share:.2%} of a core, PostgreSQL {servers:.2%}" if server else f"{share:.2%} of a core"
    report("the sweeper at rest", words + ("  MISSED: 1 %" if share > SWEEPER_SHARE else ""))


if __name__ == "__main__":
    main(sys.argv[1:])

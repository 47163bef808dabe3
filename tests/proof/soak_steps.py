"""The steps of a soak: prepare, inject faults, recover, drain the work, check, report."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.db.models import Count, F, Q
from django.db.models.functions import Greatest, Now

from providers.models import Attempt
from providers.sandbox import Sandbox
from requests_app.models import Account, AIModel, Request
from requests_app.services.accounts import account_top_up
from telegram_bot.chats import chat_ensure
from telegram_bot.models import Delivery, DeliveryState, TelegramUpdate
from tests.fakes.telegram import FakeTelegram
from tests.proof.checker import Evidence, Violation, answered_by_model, check
from tests.proof.facts import Facts
from tests.proof.fast_timings import shorten_timeouts, shorten_waits
from tests.proof.fault_injection import FaultInjector
from tests.proof.fleet import EMBEDDED_SLOTS, SLOTS, Fleet
from tests.proof.loading import load_facts
from tests.proof.nemesis import Nemesis, Servers
from tests.proof.queue_watch import QueueWatch
from tests.proof.traffic import Traffic

T = TypeVar("T")
State = DeliveryState

START_SECONDS = 60.0  # for the first processes on a loaded machine
DRAIN_SECONDS = 180.0  # after the last fault; by then all work is done or stuck
REPORT_SECONDS = 30.0  # between two lines about the remaining work
CHECK_SECONDS = 0.5
MAX_IDLE_SECONDS = settings.LEASE_SECONDS + 2 * settings.SWEEP_SECONDS + 5  # and a loaded machine
EVERY_NTH_WITHOUT_TOP_UP = 8  # users whose credits run out
MIN_CREDITS = 300
MAX_VIOLATIONS_SHOWN = 40
CLOCKS = ("", "+45s", "-45s")  # of the machines, in turn


def run_soak(
    *,
    servers: Servers | None,
    sandbox: Sandbox,
    bot_api: FakeTelegram,
    logs: Path,
    port: int,
    seconds: float,
    knee: float,
    seed: int,
    has_wrong_clocks: bool,
) -> int:
    """Run a soak and return its exit code. Without `servers` it is embedded."""
    logging.disable(logging.WARNING)  # failures are expected
    shorten_waits()
    call_command("migrate", verbosity=0)
    shorten_timeouts()
    traffic = Traffic(
        url=f"http://127.0.0.1:{port}/telegram/webhook/",
        secret=settings.TELEGRAM_WEBHOOK_SECRET,
        bot_api=bot_api,
        knee=knee,
        seed=seed,
    )
    _spread_models(traffic)
    faults = FaultInjector(sandbox=sandbox, bot_api=bot_api, seed=seed)
    fleet = Fleet(
        os.environ,
        logs,
        port=port,
        slots=SLOTS if servers else EMBEDDED_SLOTS,
        clocks=CLOCKS if has_wrong_clocks else CLOCKS[:1],
    )
    nemesis = Nemesis(fleet=fleet, traffic=traffic, bot_api=bot_api, servers=servers, seconds=seconds, seed=seed)
    queues = QueueWatch()
    with ExitStack() as stack:
        stack.callback(fleet.close)
        fleet.start()
        _wait_for_processes(fleet)
        traffic.start()
        stack.callback(traffic.stop)
        faults.start()
        nemesis.start()
        stack.callback(nemesis.stop)
        _pass(
            seconds,
            queues,
            lambda: print(f"{len(traffic.acknowledged)} updates, {nemesis.interruptions} interruptions", flush=True),
        )
        nemesis.join()
        faults.stop()
        traffic.end()
        faults_ended = time.monotonic()
        is_drained = _drain(traffic)
        drained_seconds = time.monotonic() - faults_ended
        stuck = fleet.shut_down()
        facts = _retry_database(
            lambda: load_facts(
                bill=sandbox.billing.as_list(),
                telegram=bot_api,
                acknowledged=set(traffic.acknowledged),
                max_idle_seconds=MAX_IDLE_SECONDS,
                excused_placeholders=nemesis.interruptions + faults.unsure_sends,
                excused_uploads=nemesis.interruptions,
                credit_price=settings.CREDIT_PRICE_USD,
            )
        )
    violations = check(facts)
    violations += [Violation("soak", "nemesis", error) for error in nemesis.errors]
    if not is_drained:
        violations.append(Violation("soak", "drain", f"unfinished work after {DRAIN_SECONDS:g} s"))
    if queues.worst:
        violations.append(Violation("soak", "queue too long", queues.worst))
    if stuck:
        violations.append(Violation("soak", "SIGTERM", f"{len(stuck)} processes did not end"))
    if violations:
        _write_evidence(facts, bot_api, logs)
    _report(facts, traffic, faults, nemesis, fleet, queues, drained_seconds, violations)
    return 1 if violations else 0


def _spread_models(traffic: Traffic) -> None:
    """Give the chats AI models of all four categories."""
    models = list(AIModel.objects.order_by("position"))
    for chat_id in traffic.chats:
        chat_ensure(telegram_id=chat_id, type="private", model=models[chat_id % len(models)])


def _pass(seconds: float, queues: QueueWatch, each_minute: Callable[[], None]) -> None:
    """Wait, top up most of the users meanwhile, and watch the queues."""
    began = time.monotonic()
    minutes = 0
    while (passed := time.monotonic() - began) < seconds:
        if passed >= 60 * (minutes + 1):
            minutes += 1
            each_minute()
        time.sleep(min(CHECK_SECONDS, seconds - passed))
        _retry_database(_top_up)
        _retry_database(queues.sample)


def _top_up() -> None:
    for account in Account.objects.filter(balance__lt=MIN_CREDITS):
        if int(account.key.rpartition(":")[2]) % EVERY_NTH_WITHOUT_TOP_UP:
            reference = f"soak:{account.pk}:{account.ledger.count()}"
            account_top_up(account_id=account.pk, amount=2 * MIN_CREDITS, actor="soak", external_ref=reference)


def _open_work() -> list[str]:
    """Return a line for each piece of unfinished work."""
    ended = ~Q(request__status__in=[*Request.OPEN, Request.Status.QUARANTINED])
    unfinished = Q(state__in=[State.PLACING, State.SENDING]) | (Q(state=State.PENDING) & ended)
    updates = TelegramUpdate.objects.select_related("chat").filter(handled_at=None)
    requests = Request.objects.filter(status__in=Request.OPEN).annotate(due=Greatest("next_at", "lease_until") - Now())
    deliveries = Delivery.objects.filter(unfinished).annotate(due=F("next_at") - Now())
    return [
        *(f"update {row.update_id} of {row.chat}, tried {row.tries} times" for row in updates),
        *(f"{row.id} {row.category} {row.status}, claimed {row.tries} times, due in {row.due}" for row in requests),
        *(f"{row} {row.state}, tried {row.tries} times, due in {row.due}: {row.error}" for row in deliveries),
    ]


def _usd(costs: Iterable[Decimal | None]) -> Decimal:
    return sum((cost for cost in costs if cost is not None), Decimal(0))


def _drain(traffic: Traffic) -> bool:
    """Wait until all work is done, and report what is not. Return False where that takes longer than DRAIN_SECONDS."""
    began = time.monotonic()
    reports = 1
    while not traffic.is_delivered() or (left := _retry_database(_open_work)):
        passed = time.monotonic() - began
        if passed > REPORT_SECONDS * reports:
            reports += 1
            print(
                f"Left after {passed:.0f} s:",
                *(left[:10] if traffic.is_delivered() else ["updates"]),
                sep="\n  ",
            )
        if passed > DRAIN_SECONDS:
            return False
        time.sleep(CHECK_SECONDS)
    return True


def _retry_database(work: Callable[[], T]) -> T:
    """Run a function that uses the database, again for as long as the database is away."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return work()
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(CHECK_SECONDS)
        finally:
            connections.close_all()


def _wait_for_processes(fleet: Fleet) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (fleet.web_workers() and fleet.alive("worker")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no process answers after {START_SECONDS:g} s")
        time.sleep(CHECK_SECONDS)


def _write_evidence(facts: Facts, bot_api: FakeTelegram, logs: Path) -> None:
    """Write files with what the processes' logs do not contain: the rows, and the changes of the chats."""
    rows = [*facts.updates, *facts.requests, *facts.attempts, *facts.deliveries, *facts.bill, *facts.messages]
    (logs / "facts.txt").write_text("\n".join(map(str, rows)))
    lines = [
        f"{datetime.fromtimestamp(change.at, UTC):%T.%f} {change.chat_id} {change.message_id} {change.method} "
        f"{change.text!r}"
        for change in bot_api.changes
    ]
    (logs / "chats.txt").write_text("\n".join(lines))


def _report(
    facts: Facts,
    traffic: Traffic,
    faults: FaultInjector,
    nemesis: Nemesis,
    fleet: Fleet,
    queues: QueueWatch,
    drained_seconds: float,
    violations: list[Violation],
) -> None:
    evidence = Evidence(facts)
    states = Counter(request.status for request in facts.requests)
    outcomes = Counter(update.outcome.partition(":")[0].partition(" as ")[0] for update in facts.updates)
    lines = {
        "updates acknowledged": len(facts.acknowledged),
        "updates written": dict(traffic.counts),
        "updates' outcomes": dict(outcomes.most_common(12)),
        "slowest answer of the webhook, s": round(traffic.slowest_seconds, 2),
        "requests": len(facts.requests),
        "requests by status": dict(states),
        "reasons of failures": dict(
            Counter(Request.objects.exclude(error_code="").values_list("error_code", flat=True))
        ),
        "requests by category": dict(Request.objects.order_by().values_list("category").annotate(Count("id"))),
        "attempts": dict(Counter(attempt.state for attempt in facts.attempts)),
        "errors of attempts": dict(
            Attempt.objects.order_by().exclude(error_class="").values_list("error_class").annotate(Count("id"))
        ),
        "calls on the providers' bill": len(facts.bill),
        "bill, known costs, USD": f"{_usd(line.cost for line in facts.bill if line.is_billed)}, "
        f"{_usd(attempt.cost for attempt in facts.attempts)}",
        "calls at an unknown cost": sum(a.cost is None and (a.was_unknown or a.state == "OK") for a in facts.attempts),
        "cost for credits, by AI model": {
            model: f"${_usd(request.cost for request in requests)} for {sum(request.credits for request in requests)}"
            for model, requests in answered_by_model(facts).items()
        },
        "billed calls": sum(line.is_billed for line in facts.bill),
        "second payments": sum(prompt.second_payments for prompt in evidence.prompts.values()),
        "uploads": f"{facts.uploads}, {sum(facts.confirmed_uploads.values())} confirmed",
        "longest queue": queues.longest,
        "deliveries": dict(Counter(delivery.state for delivery in facts.deliveries)),
        "stray placeholders": len(evidence.stray_placeholders),
        "kill -9, pauses": f"{nemesis.number_of('kill')}, {nemesis.number_of('pause')}",
        "actions of the nemesis": dict(nemesis.counts),
        "injected faults": dict(sorted(faults.counts.items())),
        "processes started": fleet.started,
        "clocks": ", ".join(sorted({slot.clock or "right" for slot in fleet.slots})),
        "drained after, s": round(drained_seconds, 1),
        "violations": len(violations),
    }
    for name, value in lines.items():
        print(f"{name:<40} {value}")
    for violation in violations[:MAX_VIOLATIONS_SHOWN]:
        print(f"VIOLATION {violation}")

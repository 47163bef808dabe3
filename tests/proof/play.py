"""The soak in its acts: prepare, let everything fail, heal, let the work run dry, judge, report."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
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
from telegram_bot.models import Delivery, TelegramChat, TelegramUpdate
from tests.fakes.telegram import FakeTelegram
from tests.proof.checker import Case, Violation, check
from tests.proof.facts import Facts
from tests.proof.fast_timings import shorten_timeouts, shorten_waits
from tests.proof.fault_injection import Weather
from tests.proof.fleet import Fleet
from tests.proof.loading import load_facts
from tests.proof.nemesis import Nemesis
from tests.proof.traffic import Traffic
from tests.servers import Server

T = TypeVar("T")
State = Delivery.State

START_SECONDS = 60.0  # for the first processes on a loaded machine
DRAIN_SECONDS = 180.0  # after the last fault; by then everything has ended or is stuck
TELL_SECONDS = 30.0  # between two lines about what is left
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = settings.LEASE_SECONDS + 2 * settings.SWEEP_SECONDS + 5  # and a loaded machine
POOR = 8  # every so manieth user gets no credits beyond the first
ENOUGH_CREDITS = 60
MAX_VIOLATIONS_SHOWN = 40


def play(
    *,
    postgres: Server,
    valkey: Server,
    sandbox: Sandbox,
    bot_api: FakeTelegram,
    logs: Path,
    port: int,
    seconds: float,
    per_second: float,
    seed: int,
) -> int:
    """Run a soak and return its exit code."""
    logging.disable(logging.WARNING)  # the world is meant to break
    shorten_waits()
    call_command("migrate", verbosity=0)
    shorten_timeouts()
    traffic = Traffic(
        url=f"http://127.0.0.1:{port}/telegram/webhook/",
        secret=settings.TELEGRAM_WEBHOOK_SECRET,
        bot_api=bot_api,
        per_second=per_second,
        seed=seed,
    )
    _spread_models(traffic)
    weather = Weather(sandbox=sandbox, bot_api=bot_api, seed=seed)
    fleet = Fleet(os.environ, logs, port=port)
    nemesis = Nemesis(fleet=fleet, postgres=postgres, valkey=valkey, seconds=seconds, seed=seed)
    with ExitStack() as stack:
        stack.callback(fleet.close)
        fleet.begin()
        _wait_for_processes(fleet)
        traffic.begin()
        stack.callback(traffic.stop)
        weather.begin()
        nemesis.begin()
        stack.callback(nemesis.stop)
        _pass(seconds, lambda: print(f"{len(traffic.acknowledged)} updates, {nemesis.deaths} deaths", flush=True))
        nemesis.join()
        weather.calm()
        traffic.end()
        healed = time.monotonic()
        is_dry = _drain(traffic)
        drained_seconds = time.monotonic() - healed
        stuck = fleet.retire()
        facts = _insistently(
            lambda: load_facts(
                bill=sandbox.bill.as_list(),
                telegram=bot_api,
                acknowledged=set(traffic.acknowledged),
                patience_seconds=PATIENCE_SECONDS,
                excused_placeholders=nemesis.deaths + weather.unsure_sends,
            )
        )
    violations = check(facts)
    violations += [Violation("soak", "nemesis", fault) for fault in nemesis.faults]
    if not is_dry:
        violations.append(Violation("soak", "drain", f"work is left after {DRAIN_SECONDS:g} s"))
    if stuck:
        violations.append(Violation("soak", "SIGTERM", f"{len(stuck)} processes did not end"))
    if violations:
        _keep_evidence(facts, bot_api, logs)
    _report(facts, traffic, weather, nemesis, fleet, drained_seconds, violations)
    return 1 if violations else 0


def _spread_models(traffic: Traffic) -> None:
    """Let the chats begin with labels of all four categories."""
    models = list(AIModel.objects.order_by("position"))
    TelegramChat.objects.bulk_create(
        TelegramChat(chat_id=chat_id, type="private", model=models[chat_id % len(models)]) for chat_id in traffic.chats
    )


def _pass(seconds: float, each_minute: Callable[[], None]) -> None:
    """Let time pass, and keep most of the users in credits meanwhile."""
    began = time.monotonic()
    minutes = 0
    while (passed := time.monotonic() - began) < seconds:
        if passed >= 60 * (minutes + 1):
            minutes += 1
            each_minute()
        time.sleep(min(LOOK_SECONDS, seconds - passed))
        _insistently(_top_up)


def _top_up() -> None:
    for account in Account.objects.filter(balance__lt=ENOUGH_CREDITS):
        if int(account.key.rpartition(":")[2]) % POOR:
            reference = f"soak:{account.pk}:{account.ledger.count()}"
            account_top_up(account_id=account.pk, amount=2 * ENOUGH_CREDITS, actor="soak", external_ref=reference)


def _left() -> list[str]:
    """Return what is left to do for anybody."""
    ended = ~Q(request__status__in=[*Request.OPEN, Request.Status.QUARANTINED])
    unfinished = Q(state__in=[State.PLACING, State.SENDING]) | (Q(state=State.PENDING) & ended)
    updates = TelegramUpdate.objects.filter(handled_at=None)
    requests = Request.objects.filter(status__in=Request.OPEN).annotate(due=Greatest("next_at", "lease_until") - Now())
    deliveries = Delivery.objects.filter(unfinished).annotate(due=F("next_at") - Now())
    return [
        *(f"update {row.update_id} of {row.chat_id}, tried {row.tries} times" for row in updates),
        *(f"{row.id} {row.category} {row.status}, claimed {row.tries} times, due in {row.due}" for row in requests),
        *(f"{row} {row.state}, tried {row.tries} times, due in {row.due}: {row.error}" for row in deliveries),
    ]


def _drain(traffic: Traffic) -> bool:
    """Wait until all work is done, and say now and then what is not. Returns False where it does not come to an end."""
    began = time.monotonic()
    told = 1
    while not traffic.is_delivered() or (left := _insistently(_left)):
        passed = time.monotonic() - began
        if passed > TELL_SECONDS * told:
            told += 1
            print(
                f"After {passed:.0f} s there is left:",
                *(left[:10] if traffic.is_delivered() else ["updates"]),
                sep="\n  ",
            )
        if passed > DRAIN_SECONDS:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _insistently(work: Callable[[], T]) -> T:
    """Do something with the database, however often it goes away meanwhile."""
    patience = time.monotonic() + START_SECONDS
    while True:
        try:
            return work()
        except DatabaseError:
            if time.monotonic() > patience:
                raise
            time.sleep(LOOK_SECONDS)
        finally:
            connections.close_all()


def _wait_for_processes(fleet: Fleet) -> None:
    patience = time.monotonic() + START_SECONDS
    while not (fleet.web_workers() and fleet.alive("worker")):
        if time.monotonic() > patience:
            raise TimeoutError(f"no process answers after {START_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def _keep_evidence(facts: Facts, bot_api: FakeTelegram, logs: Path) -> None:
    """Write down what the logs of the processes do not tell: the rows, and what happened in the chats."""
    rows = [*facts.updates, *facts.requests, *facts.attempts, *facts.deliveries, *facts.bill, *facts.messages]
    (logs / "facts.txt").write_text("\n".join(map(str, rows)))
    lines = [
        f"{datetime.fromtimestamp(deed.at, UTC):%T.%f} {deed.chat_id} {deed.message_id} {deed.method} {deed.text!r}"
        for deed in bot_api.deeds
    ]
    (logs / "chats.txt").write_text("\n".join(lines))


def _report(
    facts: Facts,
    traffic: Traffic,
    weather: Weather,
    nemesis: Nemesis,
    fleet: Fleet,
    drained_seconds: float,
    violations: list[Violation],
) -> None:
    case = Case(facts)
    states = Counter(request.status for request in facts.requests)
    outcomes = Counter(update.outcome.partition(":")[0].partition(" as ")[0] for update in facts.updates)
    lines = {
        "updates acknowledged": len(facts.acknowledged),
        "updates written": dict(traffic.counts),
        "updates' outcomes": dict(outcomes.most_common(12)),
        "slowest answer of the webhook, s": round(traffic.slowest_seconds, 2),
        "requests": len(facts.requests),
        "requests by end": dict(states),
        "reasons of failures": dict(
            Counter(Request.objects.exclude(error_code="").values_list("error_code", flat=True))
        ),
        "requests by category": dict(Request.objects.order_by().values_list("category").annotate(Count("id"))),
        "attempts": dict(Counter(attempt.state for attempt in facts.attempts)),
        "errors of attempts": dict(
            Attempt.objects.order_by().exclude(error_class="").values_list("error_class").annotate(Count("id"))
        ),
        "vendors' calls": len(facts.bill),
        "vendors' bills": sum(line.is_billed for line in facts.bill),
        "second payments, each beside an UNKNOWN": sum(prompt.second_payments for prompt in case.prompts.values()),
        "deliveries": dict(Counter(delivery.state for delivery in facts.deliveries)),
        "stray placeholders": len(case.stray_placeholders),
        "kill -9, pauses": f"{nemesis.number_of('kill')}, {nemesis.number_of('pause')}",
        "faults of processes and servers": dict(nemesis.counts),
        "faults outside": dict(sorted(weather.counts.items())),
        "processes started": fleet.started,
        "drained after, s": round(drained_seconds, 1),
        "violations": len(violations),
    }
    for name, value in lines.items():
        print(f"{name:<40} {value}")
    for violation in violations[:MAX_VIOLATIONS_SHOWN]:
        print(f"VIOLATION {violation}")

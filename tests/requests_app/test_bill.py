"""The costs of our attempts against the sandbox's own billing, to the last digit, over a mixed run with faults.

BILL_REQUESTS=1000 makes the run longer.
"""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.registry import PROVIDERS
from providers.sandbox import Sandbox
from providers.sandbox.faults import InjectedFault
from providers.types import Category
from requests_app.models import Account, AIModel, Request
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from tests.factories import make_account

pytestmark = pytest.mark.django_db

REQUESTS = int(os.environ.get("BILL_REQUESTS", "120"))
FAULTY_SHARE = 0.2
# A hanging call lasts until our time-out, so there are few of them.
FAULTS = [*[fault for fault in InjectedFault if fault != InjectedFault.HANG] * 5, InjectedFault.HANG]
MAX_POLLS = 20  # of one job


def test_the_billing_is_the_sum_of_the_attempts_costs(sandboxed, memory_backend, enqueued):
    chance = random.Random(20261123)
    ProviderConfig.objects.update(enabled=True, priority=1, timeout_seconds=1)  # so that each comes first at times
    account = make_account(credits=1_000_000)
    models = list(AIModel.objects.filter(enabled=True))

    for number in range(REQUESTS):
        _ask(sandboxed, account, chance.choice(models), number, chance)

    assert Request.objects.count() == REQUESTS
    attempts = list(Attempt.objects.all())
    assert _differences(attempts, sandboxed.billing.as_list()) == []
    known = sum((attempt.cost for attempt in attempts if attempt.cost is not None), Decimal(0))
    unknown = [attempt for attempt in attempts if attempt.cost is None]
    billed = [line for line in sandboxed.billing.as_list() if line["billed"]]
    charged = sum((Decimal(line["cost"]) for line in billed if line["cost"] is not None), Decimal(0))
    assert charged - known == _billed_beside_unknown(unknown, sandboxed.billing.as_list())
    print(_summary(attempts, billed, charged, known))


def _ask(sandbox: Sandbox, account: Account, model: AIModel, number: int, chance: random.Random) -> None:
    """Let one request run to its end; one in five meets faults on its way."""
    ProviderHealth.objects.all().delete()  # closes every circuit breaker, or after the first faults few would be asked
    if chance.random() < FAULTY_SHARE:
        for slug in chance.sample(list(PROVIDERS), k=3):
            sandbox.break_provider(slug, chance.choice(FAULTS))
    scene = chance.choice(["lake", "lake", "lake", "lake", "forbidden lake", "insufficient-funds lake"])
    request = request_accept(
        intake_key=f"bill:{number}",
        account=account,
        model=model,
        text=f"A {scene}, number {number}",
        wakes_worker=False,
    )
    for poll in range(MAX_POLLS):
        request_advance(request_id=request.id)
        request.refresh_from_db()
        if request.status not in Request.OPEN:
            break
        if poll == 2:
            sandbox.heal()  # a job's provider recovers at last
    sandbox.heal()
    assert request.status in ("COMPLETED", "FAILED"), f"{request.id} is still {request.status}"


def _differences(attempts: Sequence[Attempt], billing: Sequence[dict[str, Any]]) -> list[str]:
    """Compare each request's calls: every line has its attempt, and what we know of its cost is what was billed."""
    prompts = dict(Request.objects.values_list("id", "input_text"))
    lines = defaultdict(list)
    for line in billing:
        lines[line["prompt"], line["provider"]].append(line)
    found = []
    for attempt in attempts:
        mine = lines.pop((prompts[attempt.caller_key], attempt.provider), [])
        facts = f"{attempt} cost {attempt.cost} beside {mine}"
        if len(mine) > 1:
            found.append(f"called twice: {facts}")
        billed = next((line for line in mine if line["billed"]), None)
        if attempt.state == Attempt.State.OK and billed is None:
            found.append(f"succeeded without a bill: {facts}")
        if attempt.state == Attempt.State.FAILED and billed is not None:
            found.append(f"billed, and recorded as never executed: {facts}")
        if attempt.cost is not None and (billed is None or attempt.cost != Decimal(billed["cost"])):
            found.append(f"another cost: {facts}")
        if attempt.state == Attempt.State.OK and attempt.cost is None and mine and mine[0]["cost"] is not None:
            found.append(f"the cost could have been known: {facts}")
    return [*found, *(f"no attempt for {line}" for left in lines.values() for line in left)]


def _billed_beside_unknown(unknown: Sequence[Attempt], billing: Sequence[dict[str, Any]]) -> Decimal:
    """Return what was billed for calls of which we know that we do not know their cost."""
    prompts = dict(Request.objects.values_list("id", "input_text"))
    calls = Counter((prompts[attempt.caller_key], attempt.provider) for attempt in unknown)
    costs = [line["cost"] for line in billing if line["billed"] and calls[line["prompt"], line["provider"]]]
    return sum((Decimal(cost) for cost in costs if cost is not None), Decimal(0))


def _summary(attempts: Sequence[Attempt], billed: Sequence[Any], charged: Decimal, known: Decimal) -> str:
    """Return the figures of a long run, for whoever has asked for it with -s."""
    states = Counter(attempt.state for attempt in attempts)
    unknown = Counter(attempt.provider for attempt in attempts if attempt.is_billed and attempt.cost is None)
    categories = Counter(Request.objects.values_list("category", flat=True))
    return (
        f"\n{REQUESTS} requests {dict(categories)}, {len(attempts)} attempts {dict(states)}\n"
        f"{len(billed)} billed calls, ${charged:f}; our costs ${known:f}; unknown costs {dict(unknown)}"
    )


def test_every_category_takes_part():
    assert set(AIModel.objects.values_list("category", flat=True)) == set(Category)

"""The figures of periods: whatever is folded, refunded, deleted and counted again, they equal a recount of all rows."""

import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from providers.access import current_purpose
from providers.models import Attempt
from providers.statistics.rollups import attempts_fold, fold_attempts
from providers.types import Purpose
from requests_app.analytics.periods import Period, today
from requests_app.analytics.rollups import fold_requests, requests_fold
from requests_app.analytics.selectors import (
    Filters,
    costs,
    fallbacks,
    model_margins,
    requests_by_route,
    series_of,
    success_rates,
    top_users,
    totals_of,
)
from requests_app.analytics.sums import figures_read_once
from requests_app.models import Account, LedgerEntry, Request
from requests_app.services.credits import credits_take_back, credits_top_up
from requests_app.services.refunds import request_refund
from requests_app.services.retention import sweep_retention
from tests.factories import make_account, make_attempt, make_model, make_request

pytestmark = pytest.mark.django_db

State = Attempt.State
ENDS = ["COMPLETED"] * 5 + ["FAILED", "CANCELLED", "REJECTED"]
RETENTION_DAYS = 3


class World:
    """Requests, attempts and the ledger as traffic leaves them, and a copy of each row that retention takes."""

    def __init__(self, seed: int, settings: Any) -> None:
        self.dice, self.settings = random.Random(seed), settings
        self.accounts = [make_account(credits=1000) for _ in range(3)]
        self.models = [make_model(category=category, provider="openai") for category in ("TEXT", "TEXT", "IMAGE")]
        self.gone: dict[Any, Any] = {}
        self.numbers = count()

    def act(self) -> None:
        often = [self.ask, self.end_attempt, self.end_request, fold_attempts, fold_requests]
        seldom = [self.refund, self.top_up, self.take_back, self.delete_old, self.recount]
        self.settings.SANDBOX_ACTIVE = self.dice.random() < 0.3
        self.dice.choice([*(often * 3), self.end_attempt, self.end_attempt, *seldom])()
        self.settings.SANDBOX_ACTIVE = False

    def ask(self) -> None:
        model = self.dice.choice(self.models)
        made_at = timezone.now() - timedelta(minutes=self.dice.randrange(self.dice.choice([5, 5, 45]) * 24 * 60))
        price = self.dice.randrange(1, 9)
        request = make_request(
            account=self.dice.choice(self.accounts), model=model, created_at=made_at, credits=price,
            status="PROCESSING", purpose=current_purpose(),
        )  # fmt: skip
        self.enter(request, "HOLD", -price)
        for number in range(self.dice.randrange(4)):
            provider = self.dice.choice(["openai", "aimlapi", "replicate"])
            make_attempt(
                caller_key=request.id, number=number + 1, category=model.category, provider=provider, route=provider,
                label=self.dice.choice([str(model.pk), str(model.pk), ""]), cost=None, finished_at=None,
                purpose=current_purpose(self.dice.choice([Purpose.USER] * 3 + [Purpose.TEST])), state="UNKNOWN",
                reserved_cost=Decimal("0.25"), created_at=made_at + timedelta(minutes=self.dice.randrange(90)),
                operation=self.dice.choice(["generate", "generate", "transcribe"]),
            )  # fmt: skip

    def end_attempt(self) -> None:
        # Those of the sandbox end once: they are never folded, and their requests are as soon as they have ended.
        attempt = self.any(
            Attempt.objects.filter(rolled_up=False).exclude(purpose="sandbox", finished_at__isnull=False)
        )
        if attempt:
            state = self.dice.choice([State.OK, State.OK, State.FAILED, State.UNKNOWN, State.EXPIRED])
            has_cost = state != State.FAILED and self.dice.random() < 0.8
            Attempt.objects.filter(pk=attempt.pk).update(
                state=state,
                error_class=self.dice.choice(["", "ContentRefused"]) if state == State.FAILED else "",
                cost=Decimal(self.dice.randrange(1, 10**11)).scaleb(-10) if has_cost else None,
                duration_ms=self.dice.randrange(60_000),
                first_token_ms=self.dice.choice([None, self.dice.randrange(9_000)]),
                finished_at=Now(),
            )

    def end_request(self) -> None:
        request = self.any(Request.objects.filter(completed_at=None))
        if not request:
            return
        status = self.dice.choice(ENDS)
        is_charged = status == "COMPLETED" or (status == "CANCELLED" and self.dice.random() < 0.5)
        charged = self.dice.randrange(request.credits + 1) if is_charged else 0
        answered = {"actual_provider": "openai", "actual_route": "openai", "output_text": "Hello"}
        Request.objects.filter(pk=request.pk).update(
            status=status, completed_at=Now(), processing_ms=self.dice.randrange(60_000),
            routes_asked=self.dice.randrange(5), credits=charged if is_charged else request.credits,
            **(answered if status == "COMPLETED" else {}),
        )  # fmt: skip
        self.enter(request, "CAPTURE" if is_charged else "RELEASE", request.credits - charged)

    def refund(self) -> None:
        request = self.any(Request.objects.filter(status="COMPLETED"))
        if request:
            request_refund(request_id=request.pk, actor="test", reason="")

    def top_up(self) -> None:
        account, is_paid = self.dice.choice(self.accounts), self.dice.random() < 0.5
        credits_top_up(account_id=account.pk, amount=self.dice.randrange(1, 99), actor="test", is_paid=is_paid)

    def take_back(self) -> None:
        credits_take_back(account_id=self.dice.choice(self.accounts).pk, amount=1, actor="test", reason="")

    def delete_old(self) -> None:
        before = {row.pk: row for model in (Request, Attempt) for row in model.objects.all()}
        sweep_retention()
        left = {*Request.objects.values_list("pk", flat=True), *Attempt.objects.values_list("pk", flat=True)}
        self.gone |= {key: row for key, row in before.items() if key not in left}

    def recount(self) -> None:
        for fold in (attempts_fold, requests_fold):
            assert all(not wrong for _, _, wrong in fold.check())
            assert not fold.totals().wrong
        attempts_fold.rebuild()
        requests_fold.rebuild()

    def enter(self, request: Request, kind: str, amount: int) -> None:
        LedgerEntry.objects.create(account=request.user, request=request, kind=kind, amount=amount, actor="test")
        account = Account.objects.get(pk=request.user_id)
        account.balance += amount
        account.save()

    def any(self, rows: Any) -> Any:
        rows = list(rows.order_by("pk"))
        return self.dice.choice(rows) if rows else None

    def rows_of(self, model: type, period: Period) -> list[Any]:
        rows = [*model.objects.all(), *(row for row in self.gone.values() if isinstance(row, model))]
        return [row for row in rows if period.begin <= row.created_at < period.end]

    def ended(self, period: Period) -> list[Request]:
        rows = self.rows_of(Request, period)
        return [request for request in rows if request.completed_at and request.purpose == current_purpose()]

    def finished(self, period: Period) -> list[Attempt]:
        rows = self.rows_of(Attempt, period)
        return [attempt for attempt in rows if attempt.finished_at and attempt.purpose != Purpose.SANDBOX]

    def calls_of(self, request: Request) -> list[Attempt]:
        rows = [*Attempt.objects.filter(caller_key=request.pk), *self.gone.values()]
        return [row for row in rows if isinstance(row, Attempt) and row.caller_key == request.pk]


def cost_of(attempts: list[Attempt]) -> Decimal:
    return sum((attempt.cost for attempt in attempts if attempt.cost is not None), Decimal(0))


def unknown_of(attempts: list[Attempt]) -> int:
    return sum(attempt.cost is None and attempt.is_billed for attempt in attempts)


def depth_of(world: World, request: Request) -> int:
    calls = sum(call.operation != "transcribe" for call in world.calls_of(request))
    return min(3, request.routes_asked or max(1, calls))


def charged_for(request: Request) -> int:
    """By the ledger, which keeps the ids of requests that are gone."""
    entries = LedgerEntry.objects.filter(request_id=request.pk, kind__in=["HOLD", "CAPTURE", "RELEASE"])
    return -sum(entries.values_list("amount", flat=True))


def assert_period(world: World, period: Period) -> None:
    """Of real calls everything, of the sandbox what is kept of it: retention takes its calls."""
    for world.settings.SANDBOX_ACTIVE in (True, False):
        assert_requests(world, period)
    assert_calls(world, period)


def assert_requests(world: World, period: Period) -> None:
    ended = world.ended(period)
    by_status = Counter(request.status for request in ended)
    totals = totals_of(period)
    assert (totals.requests, totals.completed, totals.failed, totals.cancelled, totals.rejected) == (
        len(ended), by_status["COMPLETED"], by_status["FAILED"], by_status["CANCELLED"], by_status["REJECTED"]
    )  # fmt: skip
    depths = Counter(depth_of(world, request) for request in ended if request.status == "COMPLETED")
    assert (totals.by_first, totals.by_second, totals.by_later) == (depths[1], depths[2], depths[3])
    assert totals.credits_charged == sum(map(charged_for, ended))
    entries = LedgerEntry.objects.filter(
        created_at__gte=period.begin, created_at__lt=period.end, purpose=current_purpose()
    )
    assert totals.credits_refunded == sum(entries.filter(kind="REFUND").values_list("amount", flat=True))
    assert totals.credits_sold == sum(entries.filter(is_paid=True).values_list("amount", flat=True))
    given = entries.filter(kind__in=["TOPUP", "ADJUST"], is_paid=False)
    assert totals.credits_given == sum(given.values_list("amount", flat=True))
    assert_percentiles(totals.p50_ms, totals.p95_ms, [r.processing_ms for r in ended if r.status == "COMPLETED"])
    assert sum(point.requests for point in series_of(period)) == totals.requests
    assert sum(each.total for each in requests_by_route(period)) == totals.completed
    assert sum(row.completed for row in fallbacks(period)) == totals.completed
    margins = model_margins(period)
    assert sum(row.credits_charged for row in margins) == totals.credits_charged
    assert sum(row.credits_refunded for row in margins) == totals.credits_refunded


def assert_calls(world: World, period: Period) -> None:
    finished, totals = world.finished(period), totals_of(period)
    of_users = [attempt for attempt in finished if attempt.purpose == "user"]
    assert (totals.cost, totals.unknown_costs) == (cost_of(finished), unknown_of(finished))
    assert totals.test_cost == cost_of([attempt for attempt in finished if attempt.purpose == "test"])
    assert totals.perhaps_billed == Decimal("0.25") * unknown_of(finished)
    successes = [attempt for attempt in of_users if attempt.state == "OK"]
    first_words = [each.first_token_ms for each in successes if each.first_token_ms is not None]
    assert_percentiles(totals.first_words_p50_ms, totals.first_words_p95_ms, first_words)
    # The parts add up to the whole.
    points = series_of(period)
    assert [point.day for point in points] == period.points
    assert sum(point.cost for point in points) == totals.cost
    rates = success_rates(period)
    assert sum(each.requests for each in rates) == len(of_users)
    assert sum(each.successes for each in rates) == len(successes)
    assert sum(each.total_cost for each in rates) == totals.cost
    assert sum(row.cost for row in costs(period)) == totals.cost
    assert sum(row.cost for row in model_margins(period)) == totals.cost
    for model in world.models:
        cost = sum(row.cost for row in costs(period, Filters(model=model)))
        assert cost == cost_of([attempt for attempt in finished if attempt.label == str(model.pk)])


def assert_percentiles(p50: int | None, p95: int | None, times: list[int]) -> None:
    times = sorted(times)
    for shown, share in ((p50, 0.5), (p95, 0.95)):
        if not times:
            assert shown is None
        else:
            true = times[max(0, -(-len(times) * int(share * 100) // 100) - 1)]
            assert abs(shown - true) <= 0.1 * true + 1, (shown, true)


def assert_read_once(period: Period) -> None:
    """What is read once for a page are the same figures, by fewer statements."""

    def figures() -> list[Any]:
        analyses = (totals_of, series_of, requests_by_route, success_rates, fallbacks, model_margins, top_users)
        return [analysis(period) for analysis in analyses]

    with CaptureQueriesContext(connection) as apart:
        expected = figures()
    with CaptureQueriesContext(connection) as together, figures_read_once(period):
        assert figures() == expected
    assert len(together) < len(apart) - 10


def assert_users(world: World, period: Period) -> None:
    for world.settings.SANDBOX_ACTIVE in (True, False):
        assert_top_users(world, period)


def assert_top_users(world: World, period: Period) -> None:
    ended = world.ended(period)
    for row in top_users(period, by="cost"):
        of_user = [request for request in ended if request.user_id == row.account.pk]
        calls = [call for request in of_user for call in world.calls_of(request) if call.finished_at]
        assert (row.requests, row.credits_charged) == (len(of_user), sum(map(charged_for, of_user)))
        assert (row.cost, row.unknown_costs) == (cost_of(calls), unknown_of(calls))
        refunds = LedgerEntry.objects.filter(
            account=row.account, kind="REFUND", purpose=current_purpose(),
            created_at__gte=period.begin, created_at__lt=period.end,
        )  # fmt: skip
        assert row.credits_refunded == sum(refunds.values_list("amount", flat=True))
    assert sum(row.requests for row in top_users(period)) == len(ended)


@pytest.mark.parametrize("seed", range(3))
def test_all_figures_equal_a_recount_of_all_rows_at_any_moment(seed, settings, monkeypatch):
    settings.RETENTION_ROWS_DAYS, settings.TIME_ZONE = RETENTION_DAYS, ["UTC", "Asia/Kolkata", "Pacific/Apia"][seed]
    monkeypatch.setattr(attempts_fold, "batch_rows", 7)
    monkeypatch.setattr(requests_fold, "batch_rows", 5)
    world = World(seed, settings)
    week = Period(today() - timedelta(days=6), today())
    some_days = Period(today() - timedelta(days=4), today() - timedelta(days=2))
    some_weeks = Period(today() - timedelta(days=40), today() - timedelta(days=3))
    for step in range(160):
        world.act()
        if step % 16 == 0:
            assert_period(world, week)
            assert_period(world, some_days)
            assert_users(world, some_days)
        if step % 80 == 79:
            assert_users(world, some_weeks)
            assert_users(world, Period(some_weeks.first, today()))
    Attempt.objects.filter(finished_at=None).update(state=State.FAILED, finished_at=Now())
    Attempt.objects.filter(state=State.UNKNOWN).update(finished_at=timezone.now() - timedelta(hours=2))
    while fold_attempts() + fold_requests():
        pass
    assert not Request.objects.filter(completed_at__isnull=False, rolled_up=False).exists()
    for period in (week, some_days, some_weeks):
        assert_period(world, period)
        assert_users(world, period)
        assert_read_once(period)

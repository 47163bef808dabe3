"""The hourly sums: whenever attempts are folded, the statistics equal a recount of the raw rows."""

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from providers.models import Attempt, AttemptRollup
from providers.statistics import folding
from providers.statistics.rollups import attempts_fold, fold_attempts
from providers.statistics.selectors import provider_stats
from tests.factories import make_attempt

State = Attempt.State
MONDAY = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)


def make_random_attempts(dice: random.Random, number: int) -> None:
    """Attempts of all kinds over a few hours, with costs that floats cannot hold exactly."""
    for _ in range(number):
        state = dice.choice([*State])
        is_finished = state not in Attempt.LIVE
        has_cost = is_finished and state != State.FAILED and dice.random() < 0.8
        make_attempt(
            state=state,
            category=dice.choice(["TEXT", "IMAGE"]),
            provider=dice.choice(["aimlapi", "openai", "replicate"]),
            created_at=MONDAY + timedelta(minutes=dice.randrange(300)),
            finished_at=MONDAY + timedelta(hours=6) if is_finished else None,
            cost=Decimal(dice.randrange(1, 10**11)).scaleb(-10) if has_cost else None,
            duration_ms=dice.randrange(60_000) if is_finished else None,
        )


def recount(since: datetime | None = None) -> dict[tuple[str, str], tuple]:
    """The statistics, counted in Python from every raw row."""
    rows = defaultdict(list)
    for attempt in Attempt.objects.exclude(state__in=Attempt.LIVE):
        if since is None or attempt.created_at >= since:
            rows[attempt.category, attempt.provider].append(attempt)
    figures = {}
    for key, attempts in rows.items():
        successes = [attempt for attempt in attempts if attempt.state == State.OK]
        figures[key] = (
            len(attempts),
            len(successes),
            sum(1 for attempt in successes if attempt.cost is not None),
            sum(1 for attempt in attempts if attempt.cost is None and attempt.is_billed),
            sum((attempt.cost for attempt in attempts if attempt.cost is not None), Decimal(0)),
            sum(attempt.duration_ms for attempt in successes),
        )
    return figures


def statistics(since: datetime | None = None) -> dict[tuple[str, str], tuple]:
    return {
        (stats.category, stats.provider): (
            stats.requests,
            stats.successes,
            stats.priced_successes,
            stats.unknown_costs,
            stats.total_cost,
            stats.success_ms,
        )
        for stats in provider_stats(since=since)
        if stats.requests
    }


def checked() -> tuple[int, list[datetime]]:
    """How many hours were checked, and which of them are wrong."""
    (_, *hours), _ = attempts_fold.check()
    return tuple(hours)


def delete_as_retention(rows: QuerySet[Attempt]) -> None:
    with transaction.atomic():
        newest, number = max(attempt.created_at for attempt in rows), rows.filter(attempts_fold.counted).count()
        attempts_fold.note_deletion(newest=newest, number=number)
        rows.delete()


def rebuilt() -> int:
    """How many hours were counted again."""
    (_, hours), _ = attempts_fold.rebuild()
    return hours


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(5))
def test_statistics_equal_the_recount_before_between_and_after_folds(seed, monkeypatch):
    dice = random.Random(seed)
    monkeypatch.setattr(attempts_fold, "batch_rows", 7)  # so that it takes several batches, the last one partly full
    monkeypatch.setattr(folding, "MAX_SECONDS", 0)  # and leaves something for the next
    since = MONDAY + timedelta(hours=2)
    for _ in range(4):
        make_random_attempts(dice, 20)
        assert statistics() == recount()
        fold_attempts()
        assert statistics() == recount()
        assert statistics(since) == recount(since)

    while fold_attempts():
        pass
    assert not Attempt.objects.filter(finished_at__isnull=False, rolled_up=False).exists()
    assert statistics() == recount()

    attempts_fold.rebuild()
    assert statistics() == recount()


@pytest.mark.django_db
def test_a_fold_marks_what_it_counts_and_counts_it_once():
    make_attempt()
    make_attempt(state=State.SENDING, finished_at=None, cost=None)

    assert fold_attempts() == 1
    assert fold_attempts() == 0

    rollup = AttemptRollup.objects.get()
    assert (rollup.requests, rollup.successes, rollup.total_cost) == (1, 1, Decimal("0.0015"))
    assert list(Attempt.objects.order_by("number", "state").values_list("state", "rolled_up")) == [
        ("OK", True),
        ("SENDING", False),
    ]


@pytest.mark.django_db
def test_an_unknown_outcome_is_counted_at_once_but_folded_only_when_no_late_answer_can_change_it():
    make_attempt(state=State.UNKNOWN, cost=None, caller_key="fresh")
    make_attempt(state=State.UNKNOWN, cost=None, caller_key="old", finished_at=timezone.now() - timedelta(hours=2))

    assert fold_attempts() == 1
    assert statistics() == recount()

    # The worker that was written off brings its answer after all.
    Attempt.objects.filter(caller_key="fresh").update(state=State.OK, cost=Decimal("0.25"))
    assert statistics() == recount()
    fold_attempts()
    assert statistics() == recount()


@pytest.mark.django_db
def test_a_crash_between_the_sums_and_the_mark_leaves_neither(monkeypatch):
    make_attempt()

    def die(self, **fields):
        raise KeyboardInterrupt

    monkeypatch.setattr("django.db.models.query.QuerySet.update", die)
    with pytest.raises(KeyboardInterrupt):
        fold_attempts()
    monkeypatch.undo()

    assert not AttemptRollup.objects.exists()
    assert statistics() == recount()
    assert fold_attempts() == 1
    assert statistics() == recount()


@pytest.mark.django_db(transaction=True)
def test_sweepers_that_fold_at_once_count_every_row_once(monkeypatch):
    monkeypatch.setattr(attempts_fold, "batch_rows", 5)
    make_random_attempts(random.Random(1), 120)
    expected = recount()

    def sweep(number: int) -> int:
        try:
            folded = sum(fold_attempts() for _ in range(10))
            if number == 0:
                attempts_fold.rebuild()
            return folded
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        sweeps = [pool.submit(sweep, number) for number in range(4)]
        # Whoever reads meanwhile sees the right figures too.
        while not all(sweep.done() for sweep in sweeps):
            assert statistics() == expected

    assert sum(sweep.result() for sweep in sweeps) == sum(figures[0] for figures in expected.values())
    assert statistics() == expected


@pytest.mark.django_db
def test_the_command_counts_broken_sums_again(capsys):
    make_attempt()
    fold_attempts()
    AttemptRollup.objects.update(requests=99, total_cost=7)
    make_attempt()

    call_command("recount")

    assert capsys.readouterr().out == (
        "Counted 1 hours and 1 days of attempts again and added 1 new ones.\n"
        "Counted 0 days of requests again and added 0 new ones.\n"
    )
    assert statistics() == recount()


@pytest.mark.django_db
def test_a_check_says_which_hours_have_other_sums_and_writes_nothing(capsys):
    make_random_attempts(random.Random(7), 60)
    fold_attempts()
    call_command("recount", "--check")
    assert capsys.readouterr().out.startswith("The sums of 5 hours of attempts agree with the raw rows.\n")

    row = AttemptRollup.objects.filter(hour=MONDAY + timedelta(hours=2)).first()
    AttemptRollup.objects.filter(pk=row.pk).update(total_cost=row.total_cost + Decimal("0.0000000001"))
    AttemptRollup.objects.filter(hour=MONDAY + timedelta(hours=3)).delete()

    with pytest.raises(CommandError, match=r"2 of 5 hours .*: 2026-11-02 12:00 UTC, 2026-11-02 13:00 UTC;"):
        call_command("recount", "--check")
    assert not AttemptRollup.objects.filter(hour=MONDAY + timedelta(hours=3)).exists()

    call_command("recount")
    call_command("recount", "--check")


@pytest.mark.django_db
def test_a_check_leaves_out_hours_whose_attempts_were_deleted():
    for hours in (0, 1, 5):
        make_attempt(created_at=MONDAY + timedelta(hours=hours), cost=Decimal(1))
    fold_attempts()
    delete_as_retention(Attempt.objects.filter(created_at=MONDAY))

    assert checked() == (2, [])


@pytest.mark.django_db
def test_an_idle_sweep_asks_once_and_writes_nothing(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert fold_attempts() == 0


@pytest.mark.django_db
def test_what_the_sandbox_answered_is_never_counted_beside_real_answers(settings):
    make_attempt(purpose="sandbox", cost=Decimal(7))
    make_attempt(cost=Decimal(1))

    assert fold_attempts() == 1
    make_attempt(purpose="sandbox", cost=Decimal(7))
    make_attempt(cost=Decimal(1))

    assert [(stats.requests, stats.total_cost) for stats in provider_stats() if stats.requests] == [(2, Decimal(2))]
    settings.SANDBOX_ACTIVE = True
    assert [(stats.requests, stats.total_cost) for stats in provider_stats() if stats.requests] == [(2, Decimal(14))]


@pytest.mark.django_db
def test_a_rebuild_keeps_the_sums_of_hours_whose_attempts_were_deleted():
    for hours in (0, 1, 5):
        make_attempt(created_at=MONDAY + timedelta(hours=hours), cost=Decimal(1))
    fold_attempts()
    delete_as_retention(Attempt.objects.filter(created_at=MONDAY))
    AttemptRollup.objects.filter(hour__gt=MONDAY + timedelta(hours=2)).update(requests=7)  # a wrong one

    assert rebuilt() == 2

    assert list(AttemptRollup.objects.order_by("hour").values_list("requests", flat=True)) == [1, 1, 1]
    delete_as_retention(Attempt.objects.all())
    assert rebuilt() == 0
    assert AttemptRollup.objects.count() == 3

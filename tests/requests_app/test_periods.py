"""Periods of whole days: in any time zone, over changes of the clocks, and the ones before them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from providers.statistics.rollups import fold_attempts
from requests_app.analytics import periods
from requests_app.analytics.periods import NAMES, Period, StepKind, period_between, period_from, period_named
from requests_app.analytics.rollups import fold_requests
from requests_app.analytics.selectors import costs, series_of, top_users, totals_of
from tests.factories import make_attempt, make_request

NOW = datetime(2026, 11, 3, 11, 30, tzinfo=UTC)  # a Tuesday; in Apia and Auckland it is the fourth already


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    monkeypatch.setattr(periods.timezone, "now", lambda: NOW)


@pytest.mark.parametrize(
    ("zone", "begin", "hours"),
    [
        ("UTC", "2026-03-29T00:00Z", 24),
        ("Europe/Berlin", "2026-03-28T23:00Z", 23),  # the clocks go forward
        ("Pacific/Apia", "2026-03-28T11:00Z", 24),  # UTC+13
        ("Asia/Kathmandu", "2026-03-28T18:15Z", 24),
        ("America/New_York", "2026-03-29T04:00Z", 24),
    ],
)
def test_a_day_is_that_of_the_operators_time_zone(settings, zone, begin, hours):
    settings.TIME_ZONE = zone
    day = Period(date(2026, 3, 29), date(2026, 3, 29))

    assert (day.begin, day.end - day.begin) == (datetime.fromisoformat(begin), timedelta(hours=hours))


def test_the_day_on_which_clocks_go_back_has_25_hours(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    day = Period(date(2026, 10, 25), date(2026, 10, 25))

    assert day.end - day.begin == timedelta(hours=25)


@pytest.mark.parametrize(
    ("zone", "name", "first", "last"),
    [
        ("UTC", "today", "2026-11-03", "2026-11-03"),
        ("Pacific/Apia", "today", "2026-11-04", "2026-11-04"),
        ("UTC", "yesterday", "2026-11-02", "2026-11-02"),
        ("UTC", "7", "2026-10-28", "2026-11-03"),
        ("Pacific/Apia", "30", "2026-10-06", "2026-11-04"),
        ("UTC", "90", "2026-08-06", "2026-11-03"),
        ("UTC", "month", "2026-11-01", "2026-11-03"),
    ],
)
def test_named_periods_end_today_where_the_operator_is(settings, zone, name, first, last):
    settings.TIME_ZONE = zone

    period = period_named(name)

    assert (period.first.isoformat(), period.last.isoformat()) == (first, last)
    assert (period.before.days, period.before.last) == (period.days, period.first - timedelta(days=1))


def test_every_name_is_a_period():
    assert all(period_named(name) for name in NAMES)


@pytest.mark.parametrize(
    ("days", "kind", "points"),
    [(1, "day", 1), (92, "day", 92), (93, "week", 14), (637, "week", 92), (638, "month", 22), (3660, "month", 122)],
)
def test_a_series_has_few_points(days, kind, points):
    period = period_from({"days": str(days)})

    assert period.step == StepKind(kind)
    assert len(period.points) == points
    assert period.points[0] <= period.first
    assert period.points[-1] <= period.last < period.step.after(period.points[-1])


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ((2026, 11, 2), (2026, 11, 1), "after the last"),
        ((2026, 11, 5), (2026, 11, 6), "future"),
        ((2016, 1, 1), (2026, 11, 1), "3,660 days"),
        ((1999, 12, 31), (1999, 12, 31), "2000"),
    ],
)
def test_an_impossible_period_is_refused_in_words(first, last, words):
    with pytest.raises(ValueError, match=words):
        period_between(date(*first), date(*last))


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        ((2026, 11, 1), (2026, 11, 1), "1 Nov 2026"),
        ((2026, 11, 1), (2026, 11, 7), "1–7 Nov 2026"),
        ((2026, 10, 30), (2026, 11, 2), "30 Oct – 2 Nov 2026"),
        ((2025, 12, 31), (2026, 1, 1), "31 Dec 2025 – 1 Jan 2026"),
    ],
)
def test_it_reads_as_people_write_it(first, last, shown):
    assert str(Period(date(*first), date(*last))) == shown


@pytest.mark.django_db
@pytest.mark.parametrize("is_folded", [False, True], ids=["raw", "folded"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia", "Asia/Kathmandu", "America/St_Johns"])
def test_what_happens_at_midnight_counts_to_its_day(settings, zone, is_folded):
    settings.TIME_ZONE = zone
    local = ZoneInfo(zone)
    second = timedelta(seconds=1)
    for day in range(23, 28):  # the clocks of Berlin go back on the 25th
        midnight = datetime(2026, 10, day, tzinfo=local).astimezone(UTC)
        for moment in (midnight - second, midnight, midnight + second):
            request = make_request(
                status="COMPLETED", actual_provider="openai", output_text="Hi", created_at=moment,
                completed_at=timezone.now(), processing_ms=100,
            )  # fmt: skip
            make_attempt(caller_key=request.id, created_at=moment, cost=Decimal(1))
    if is_folded:
        assert (fold_attempts(), fold_requests()) == (15, 15)

    # Three days, of which each has the two moments of its begin and the one of its end.
    period = Period(date(2026, 10, 24), date(2026, 10, 26))
    assert (totals_of(period).requests, totals_of(period).cost) == (9, 9)
    assert [(point.requests, point.cost) for point in series_of(period)] == [(3, 3)] * 3
    assert [cost.cost for cost in costs(period)] == [3, 3, 3]
    assert sum(user.cost for user in top_users(period)) == 9

"""A period out of months and days: each day of it once and no other, by as few days as possible."""

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from providers.statistics.months import Stretch, month_of, next_month, stretches

DAY = timedelta(days=1)
DAYS = st.dates(date(2024, 1, 1), date(2027, 12, 31))


def days_of(part: Stretch, newest: date) -> list[date]:
    """The days of a stretch; of months those that may have rows."""
    last = next_month(part.last) - DAY if part.are_months else part.last
    days = [part.first + number * DAY for number in range((last - part.first).days + 1)]
    return [day for day in days if day <= newest]


@given(one=DAYS, other=DAYS, later=st.integers(0, 40))
def test_each_day_of_a_period_counts_once_and_no_other(one, other, later):
    first, last = min(one, other), max(one, other)
    newest = last + later * DAY
    counted: Counter[date] = Counter()

    for part in stretches(first, last, newest=newest):
        assert part.first <= part.last
        assert not part.are_months or (month_of(part.first), month_of(part.last)) == (part.first, part.last)
        for day in days_of(part, newest):
            counted[day] += part.sign

    days = (last - first).days + 1
    assert {day: number for day, number in counted.items() if number} == {first + n * DAY: 1 for n in range(days)}


@given(one=DAYS, other=DAYS, later=st.integers(0, 40))
def test_few_days_are_read_beside_the_months(one, other, later):
    first, last = min(one, other), max(one, other)
    newest = last + later * DAY

    single = [part for part in stretches(first, last, newest=newest) if not part.are_months]

    assert sum((part.last - part.first).days + 1 for part in single) <= 32


def test_a_period_that_ends_today_takes_the_present_month_as_a_whole():
    today = date(2026, 11, 28)

    assert stretches(date(2026, 8, 31), today, newest=today) == [
        Stretch(date(2026, 9, 1), date(2026, 11, 1), are_months=True),
        Stretch(date(2026, 8, 31), date(2026, 8, 31)),
    ]
    assert stretches(date(2026, 11, 2), today, newest=today) == [
        Stretch(date(2026, 11, 1), date(2026, 11, 1), are_months=True),
        Stretch(date(2026, 11, 1), date(2026, 11, 1), sign=-1),
    ]
    assert stretches(today, today, newest=today) == [Stretch(today, today)]

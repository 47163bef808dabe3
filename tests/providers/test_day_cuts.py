"""How time is cut into days: each moment belongs to one, whatever zones were changed to, and what is sealed stays."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.statistics.day_cuts import BEGIN, MOMENT, DayCuts, midnight, zones_left

# With summer time, without, half hours, a day that never was (Apia), and 26 hours from the first to the last.
ZONES = [
    *("UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"),
    *("Pacific/Kiritimati", "Pacific/Pago_Pago", "Pacific/Apia", "America/Halifax", "Etc/GMT+12"),
]
zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.integers(0, 120 * 24 * 60).map(lambda minutes: datetime(2011, 12, 20, tzinfo=UTC) + minutes * MINUTE)
BERLIN, NEW_YORK, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")
MINUTE = timedelta(minutes=1)
MIDNIGHT = datetime(2026, 11, 11, tzinfo=UTC)


def day_of(cuts: DayCuts, moment: datetime) -> date:
    """The day of a moment, told in the plainest way."""
    _, name = max(each for each in cuts.zones if each[0] <= moment)
    return moment.astimezone(ZoneInfo(name)).date()


def is_within(cuts: DayCuts, day: date, moment: datetime) -> bool:
    return any(since <= moment < until for since, until in cuts._moments(day, day))


@st.composite
def histories(draw) -> tuple[DayCuts, datetime | None]:
    """Cuts after some changes of the time zone, with retention at work between them."""
    cuts, deleted_until = DayCuts.all_in(draw(zones)), None
    for _ in range(draw(st.integers(0, 4))):
        later = draw(st.none() | moments)
        deleted_until = max((each for each in (deleted_until, later) if each), default=None)
        cuts = cuts.cut_anew(draw(zones), deleted_until=deleted_until)
    return cuts, deleted_until


@given(histories(), moments)
def test_each_moment_belongs_to_one_day(history, moment):
    cuts, _ = history
    day = day_of(cuts, moment)

    assert [each for each in (day + timedelta(days=n) for n in range(-3, 4)) if is_within(cuts, each, moment)] == [day]
    assert cuts.begin(day) <= moment
    assert day in cuts.days_between(moment, moment + MOMENT)


@given(histories(), zones, moments, moments)
def test_days_of_deleted_rows_neither_lose_a_moment_nor_get_one(history, zone, deleted, moment):
    cuts, earlier = history
    deleted_until = max(each for each in (deleted, earlier) if each)
    changed = cuts.cut_anew(zone, deleted_until=deleted_until)
    before, after = day_of(cuts, moment), day_of(changed, moment)

    for day in (before, after):
        if cuts.begin(day) <= deleted_until or changed.begin(day) <= deleted_until:
            assert before == after
    if moment > deleted_until + timedelta(days=4):
        assert after == moment.astimezone(zone).date()


@given(histories(), zones)
def test_cutting_anew_again_changes_nothing(history, zone):
    cuts, deleted_until = history
    changed = cuts.cut_anew(zone, deleted_until=deleted_until)

    assert changed.cut_anew(zone, deleted_until=deleted_until) == changed
    assert DayCuts.from_json(changed.as_json()) == changed


@pytest.mark.parametrize(
    ("zone", "since"),
    [(NEW_YORK, MIDNIGHT + timedelta(hours=5)), (KOLKATA, MIDNIGHT + timedelta(hours=18.5))],
    ids=["west", "east"],
)
def test_the_zone_changes_at_its_first_midnight_after_the_last_day_that_lost_a_row(zone, since):
    cuts = DayCuts.all_in(ZoneInfo("UTC"))
    deleted_until = MIDNIGHT - timedelta(hours=20)

    changed = cuts.cut_anew(zone, deleted_until=deleted_until)

    assert changed.zones == ((BEGIN, "UTC"), (since, zone.key))
    assert changed.cut_anew(ZoneInfo("UTC"), deleted_until=deleted_until) == cuts
    assert changed.others(zone) == [("UTC", since.astimezone(zone).date())]
    assert changed.others(zone, date(2026, 11, 13), date(2026, 11, 20)) == []


def test_where_nothing_was_deleted_all_days_are_cut_anew():
    cuts = DayCuts.all_in(BERLIN).cut_anew(KOLKATA, deleted_until=None)

    assert cuts == DayCuts.all_in(KOLKATA)
    assert cuts.begin(date(2026, 11, 11)) == midnight(date(2026, 11, 11), KOLKATA)


def test_zones_are_left_where_a_recount_would_change_days(settings):
    in_utc = (DayCuts.all_in(ZoneInfo("UTC")).as_json(), MIDNIGHT)
    assert zones_left([in_utc]) == []

    settings.TIME_ZONE = "Asia/Kolkata"
    in_part = DayCuts.from_json(in_utc[0]).changed(MIDNIGHT + timedelta(days=9), KOLKATA)
    done = DayCuts.from_json(in_utc[0]).cut_anew(KOLKATA, deleted_until=MIDNIGHT)

    assert zones_left([in_utc]) == ["UTC"]
    assert zones_left([(in_part.as_json(), MIDNIGHT)]) == ["UTC"]
    assert zones_left([(done.as_json(), MIDNIGHT)]) == []

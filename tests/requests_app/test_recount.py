"""A recount never touches what retention may have taken, and a change of the time zone counts nothing twice."""

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.models import F, Max, Sum
from django.db.models.query import QuerySet
from django.utils import timezone

from aibot.checks import check_days
from aibot.overview import zone_notice
from providers.models import Attempt, AttemptDayRollup, AttemptHistogram, AttemptRollup, FoldState
from providers.statistics.day_cuts import DayCuts
from providers.statistics.folding import Fold
from providers.statistics.rollups import attempts_fold, fold_attempts
from providers.statistics.sum_tables import DAYS
from requests_app.analytics.periods import Period, today
from requests_app.analytics.rollups import fold_requests, requests_fold
from requests_app.analytics.selectors import series_of, totals_of
from requests_app.models import AccountMonthRollup, AccountRollup, Request, RequestHistogram, RequestRollup
from requests_app.services import retention
from requests_app.services.faulty_rows import FaultyRows
from requests_app.services.retention import sweep_retention
from tests.factories import make_account, make_attempt, make_model, make_request
from tests.row_locks import needs_row_locks, row_locked_by_another

pytestmark = pytest.mark.django_db

BY_DAY = (AttemptDayRollup, AttemptHistogram, RequestRollup, RequestHistogram, AccountRollup)
RETENTION_DAYS = 8
FOLDS: tuple[Fold, ...] = (attempts_fold, requests_fold)


@pytest.fixture(autouse=True)
def _no_faulty_rows(monkeypatch):
    monkeypatch.setattr(retention, "_faulty", FaultyRows())


class Traffic:
    """Requests with an attempt each, all ended, over the last two weeks."""

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)
        self.account, self.model = make_account(), make_model(category="TEXT", provider="openai")
        self.made: list[datetime] = []

    def add(self, number: int, *, minutes: int = 14 * 24 * 60) -> None:
        now = timezone.now()
        for _ in range(number):
            self.at(now - timedelta(minutes=self.dice.randrange(minutes)))

    def at(self, moment: datetime) -> Request:
        request = make_request(
            account=self.account, model=self.model, status="COMPLETED", created_at=moment, completed_at=moment,
            credits=1, actual_provider="openai", output_text="Hello", processing_ms=self.dice.randrange(9_000),
        )  # fmt: skip
        make_attempt(
            caller_key=request.pk, created_at=moment, cost=Decimal("0.0000000001") * self.dice.randrange(1, 10**9),
            first_token_ms=self.dice.choice([None, 100]),
        )  # fmt: skip
        self.made.append(moment)
        return request

    def fold(self) -> None:
        while fold_attempts() + fold_requests():
            pass

    def days_in(self, zone: str) -> Counter[date]:
        return Counter(moment.astimezone(ZoneInfo(zone)).date() for moment in self.made)


@pytest.fixture
def traffic(settings) -> Traffic:
    """Two weeks of it in the days of UTC, of which retention has taken the first."""
    traffic = Traffic()
    traffic.add(90)
    traffic.fold()
    settings.RETENTION_ROWS_DAYS = RETENTION_DAYS
    assert sweep_retention()
    settings.RETENTION_ROWS_DAYS = 0
    return traffic


def stored(model: type) -> list[tuple]:
    return sorted(row[1:] for row in model.objects.values_list())


def sealed_until() -> date:
    """The last day (of UTC) of which a request may be deleted."""
    (newest,) = FoldState.objects.filter(name="requests").values_list("deleted_until", flat=True)
    return newest.astimezone(UTC).date()


def days_of(model: type, column: str = "requests") -> Counter[date]:
    return Counter(dict(model.objects.values_list("day").annotate(total=Sum(column))))


def assert_each_counted_once(traffic: Traffic) -> None:
    for model in (AttemptRollup, AttemptDayRollup, RequestRollup, AccountRollup):
        folded = model.objects.aggregate(total=Sum("requests"))["total"]
        raw = Attempt if model in (AttemptRollup, AttemptDayRollup) else Request
        assert folded + raw.objects.filter(rolled_up=False).count() == len(traffic.made), model
    call_command("recount", "--check")
    assert AccountMonthRollup.objects.aggregate(total=Sum("requests")) == AccountRollup.objects.aggregate(
        total=Sum("requests")
    )
    everything = Period(today() - timedelta(days=30), today())
    assert totals_of(everything).requests == len(traffic.made)
    assert sum(point.requests for point in series_of(everything)) == len(traffic.made)


class TestRetention:
    def test_it_records_what_it_deletes_and_no_sums_of_that_are_counted_again(self, traffic):
        oldest = Request.objects.earliest("created_at").created_at
        before = {model: stored(model) for model in (*BY_DAY, AttemptRollup)}

        for name in ("attempts", "requests"):
            state = FoldState.objects.get(name=name)
            assert state.deleted_until < oldest
            assert state.deleted_rows == sum(moment < oldest for moment in traffic.made) > 0
        call_command("recount")

        assert {model: stored(model) for model in before} == before
        assert_each_counted_once(traffic)

    def test_one_old_row_that_outlived_its_neighbours_replaces_no_sums(self, settings, monkeypatch):
        """Its file cannot be deleted, and so it stays when all others of its day, and all its attempts, are gone."""
        traffic, day = Traffic(), timezone.now() - timedelta(days=20)
        for minutes in range(5):
            traffic.at(day + timedelta(minutes=minutes))
        refused = [Request.objects.earliest("created_at"), traffic.at(day + timedelta(days=2))]
        file = {"name": "refused.png", "content_type": "image/png"}
        Request.objects.filter(pk__in=[request.pk for request in refused]).update(output_media=[file])
        traffic.add(20, minutes=600)
        traffic.fold()
        before = {model: stored(model) for model in (*BY_DAY, AttemptRollup)}
        settings.RETENTION_ROWS_DAYS = RETENTION_DAYS
        monkeypatch.setattr("django.core.files.storage.default_storage.delete", refuse)
        sweep_retention()
        settings.RETENTION_ROWS_DAYS = 0
        assert list(Request.objects.order_by("created_at")[:2]) == refused

        call_command("recount")

        assert {model: stored(model) for model in before} == before
        assert_each_counted_once(traffic)

    def test_wrong_sums_after_what_is_deleted_are_counted_again_and_those_before_never(self, traffic):
        sealed = sealed_until()
        AttemptDayRollup.objects.filter(day__gt=sealed).update(requests=99)
        sums = stored(AttemptDayRollup)

        call_command("recount")

        assert stored(AttemptDayRollup) != sums
        assert_each_counted_once(traffic)
        AttemptDayRollup.objects.filter(day=sealed).update(requests=99)
        call_command("recount")
        assert set(AttemptDayRollup.objects.filter(day=sealed).values_list("requests", flat=True)) == {99}
        with pytest.raises(
            CommandError, match=r"all sums of attempts by days: they count \d+, of \d+ on record and \d"
        ):
            call_command("recount", "--check")

    @pytest.mark.parametrize("died_in", ["save", "delete"])
    def test_who_dies_in_a_deletion_has_neither_deleted_nor_recorded(self, settings, monkeypatch, died_in):
        traffic = Traffic()
        traffic.add(20)
        traffic.fold()
        before = list(FoldState.objects.order_by("name").values())
        settings.RETENTION_ROWS_DAYS = RETENTION_DAYS

        def die(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(*((FoldState, "save", die) if died_in == "save" else (QuerySet, "delete", die)))
        with pytest.raises(KeyboardInterrupt):
            sweep_retention()
        monkeypatch.undo()

        assert (Request.objects.count(), Attempt.objects.count()) == (20, 20)
        assert list(FoldState.objects.order_by("name").values()) == before
        assert_each_counted_once(traffic)

    def test_the_record_is_written_before_the_rows_go_in_the_same_transaction(self, settings):
        """Whoever counts again meanwhile waits for it, and then reads that they are gone."""
        traffic = Traffic()
        traffic.at(timezone.now() - timedelta(days=20))
        traffic.fold()
        settings.RETENTION_ROWS_DAYS = RETENTION_DAYS
        statements: list[str] = []

        def listen(execute, sql, params, many, context):
            statements.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(listen):
            sweep_retention()

        for table in ("requests", "providers_attempt"):
            deleted = next(i for i, sql in enumerate(statements) if "DELETE" in sql and f'FROM "{table}"' in sql)
            recorded = max(i for i, sql in enumerate(statements[:deleted]) if 'UPDATE "providers_foldstate"' in sql)
            assert "SAVEPOINT" not in "".join(statements[recorded:deleted])


def refuse(*_) -> None:
    raise PermissionError


@needs_row_locks
@pytest.mark.django_db(transaction=True)
class TestLocks:
    def test_a_deletion_waits_for_a_recount_and_a_recount_for_a_deletion(self, settings):
        traffic = Traffic()
        traffic.add(20)
        traffic.fold()
        settings.RETENTION_ROWS_DAYS = RETENTION_DAYS

        with row_locked_by_another(FoldState.objects.get(name="attempts")):
            for call in (sweep_retention_of_attempts, attempts_fold.rebuild, attempts_fold.check):
                with pytest.raises(OperationalError, match="lock timeout"):
                    impatiently(call)
            requests_fold.rebuild()

        assert Attempt.objects.count() == 20
        sweep_retention()
        assert_each_counted_once(traffic)

    def test_nobody_folds_while_somebody_counts_again(self):
        traffic = Traffic()
        traffic.add(20)
        traffic.fold()
        traffic.add(5)

        state = FoldState.objects.get(name="attempts")
        with row_locked_by_another(state), pytest.raises(OperationalError, match="lock timeout"):
            impatiently(fold_attempts)

        traffic.fold()
        assert_each_counted_once(traffic)


def sweep_retention_of_attempts() -> None:
    retention._delete_attempts(timedelta(days=RETENTION_DAYS), 0)


def impatiently(call: Callable[[], object]) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '50ms'")
        call()


class TestTimeZone:
    ZONES = ("America/New_York", "Asia/Kolkata", "Pacific/Kiritimati")

    @pytest.mark.parametrize("zone", ZONES)
    def test_until_a_recount_all_days_stay_as_they_are_cut(self, traffic, settings, zone):
        settings.TIME_ZONE = zone
        traffic.add(10)

        assert_each_counted_once(traffic)
        traffic.fold()

        assert days_of(RequestRollup) == days_of(AttemptDayRollup) == traffic.days_in("UTC")
        assert_each_counted_once(traffic)

    @pytest.mark.parametrize("zone", ZONES)
    def test_a_recount_cuts_the_days_anew_whose_rows_are_there(self, traffic, settings, zone, capsys):
        sealed = sealed_until()
        kept = {model: [row for row in stored(model) if sealed >= next(d for d in row if type(d) is date)]
                for model in BY_DAY}  # fmt: skip
        settings.TIME_ZONE = zone

        call_command("recount")

        (stays,) = requests_fold.cuts().others(ZoneInfo(zone))
        assert f"Days of requests before {stays[1]} stay those of UTC: some of their rows" in capsys.readouterr().out
        for model in (RequestRollup, AttemptDayRollup, AccountRollup):
            days = days_of(model)
            assert {day: n for day, n in days.items() if day > stays[1]} == {
                day: n for day, n in traffic.days_in(zone).items() if day > stays[1]
            }
            assert {day: n for day, n in days.items() if day <= sealed} == {
                day: n for day, n in traffic.days_in("UTC").items() if day <= sealed
            }
        for model, rows in kept.items():
            assert [row for row in stored(model) if row in rows] == rows
        assert_each_counted_once(traffic)
        traffic.add(10)
        traffic.fold()
        assert_each_counted_once(traffic)

    def test_where_nothing_is_deleted_all_days_are_cut_anew(self, settings):
        traffic = Traffic()
        traffic.add(60)
        traffic.fold()

        for zone in (*self.ZONES, "UTC"):
            settings.TIME_ZONE = zone
            call_command("recount")
            assert days_of(RequestRollup) == days_of(AttemptDayRollup) == traffic.days_in(zone)
            assert requests_fold.cuts() == attempts_fold.cuts() == DayCuts.all_in(ZoneInfo(zone))
            assert_each_counted_once(traffic)

    def test_a_recount_that_dies_counts_each_row_once_and_a_repeat_goes_on(self, traffic, settings, monkeypatch):
        settings.TIME_ZONE = "Asia/Kolkata"
        changes = 0
        cut = Fold._cut_a_day_anew

        def die_in_the_middle(fold: Fold) -> bool:
            nonlocal changes
            changes += 1
            if changes == 4:
                raise KeyboardInterrupt
            return cut(fold)

        monkeypatch.setattr(Fold, "_cut_a_day_anew", die_in_the_middle)
        with pytest.raises(KeyboardInterrupt):
            attempts_fold.rebuild()
        monkeypatch.undo()
        assert len(attempts_fold.cuts().zones) == 2

        assert_each_counted_once(traffic)
        traffic.add(10)
        traffic.fold()
        assert_each_counted_once(traffic)
        call_command("recount")
        assert not check_days(databases=["default"])
        assert_each_counted_once(traffic)

    def test_who_dies_in_a_day_has_changed_nothing(self, traffic, settings, monkeypatch):
        settings.TIME_ZONE = "Asia/Kolkata"
        before = {model: stored(model) for model in BY_DAY}

        def die(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(FoldState, "save", die)
        with pytest.raises(KeyboardInterrupt):
            attempts_fold.rebuild()
        monkeypatch.undo()

        assert {model: stored(model) for model in BY_DAY} == before
        assert_each_counted_once(traffic)

    def test_zones_may_be_changed_again_and_again_while_retention_goes_on(self, traffic, settings):
        for days, zone in ((7, "Asia/Kolkata"), (6, "America/New_York"), (5, "Pacific/Kiritimati"), (4, "UTC")):
            settings.TIME_ZONE = zone
            settings.RETENTION_ROWS_DAYS = days
            sweep_retention()
            settings.RETENTION_ROWS_DAYS = 0
            call_command("recount")
            traffic.add(5)
            traffic.fold()
            assert_each_counted_once(traffic)
            assert not check_days(databases=["default"])

    def test_a_wrong_sum_is_told_by_the_totals_where_no_day_tells_it(self, traffic, capsys):
        call_command("recount", "--check")
        known = f"{Request.objects.count()} on record and {len(traffic.made) - Request.objects.count()} that retention"
        assert f"In all they count requests once each, and have the same sums: {known}" in capsys.readouterr().out
        RequestRollup.objects.filter(day=sealed_until()).delete()

        with pytest.raises(CommandError, match="all sums of requests by AI models"):
            call_command("recount", "--check")

    def test_a_cost_that_is_wrong_in_a_day_of_deleted_rows_is_told_by_the_other_table(self, traffic, capsys):
        call_command("recount", "--check")
        assert "differ" not in capsys.readouterr().out
        rollup = AttemptDayRollup.objects.filter(day=sealed_until()).first()
        AttemptDayRollup.objects.filter(pk=rollup.pk).update(total_cost=F("total_cost") + Decimal("0.0000000001"))

        call_command("recount", "--check")

        words = r"Sums of deleted attempts differ, which a recount leaves: all total_cost, \S+ by hours and \S+ by days"
        assert re.search(words, capsys.readouterr().out)

    def test_a_month_that_is_not_the_sum_of_its_days_is_told_and_mended(self, traffic, capsys):
        month = AccountMonthRollup.objects.order_by("-month").first()
        AccountMonthRollup.objects.filter(pk=month.pk).update(credits=F("credits") + 1)

        with pytest.raises(CommandError, match=f"months of requests, beside their days: {month.month:%Y-%m}"):
            call_command("recount", "--check")

        assert requests_fold.months_fix() == 1
        assert requests_fold.months_fix() == 0
        call_command("recount", "--check")

    def test_a_check_and_the_overview_say_what_to_do(self, traffic, settings, admin_client, capsys):
        assert check_days(databases=["default"]) == []
        settings.TIME_ZONE = "America/New_York"

        (message,) = check_days(databases=["default"])
        assert (message.id, "America/New_York" in message.msg, "`manage.py recount`" in message.hint) == (
            "aibot.W006", True, True,
        )  # fmt: skip
        assert check_days() == []
        page = admin_client.get("/admin/", {"period": "30"})
        assert "TIME_ZONE is America/New_York, and the days of these figures are those of UTC" in page.content.decode()
        call_command("recount", "--check")
        assert "Days are those of UTC: `manage.py recount` cuts them in America/New_York." in capsys.readouterr().out

        call_command("recount")

        assert check_days(databases=["default"]) == []
        notice = zone_notice(Period(today() - timedelta(days=29), today()))
        ((_, until),) = requests_fold.cuts().others(ZoneInfo(settings.TIME_ZONE))
        assert f"Days before {until.day} {until:%b %Y} are those of UTC" in notice
        assert zone_notice(Period(today(), today())) == ""

    def test_the_first_fold_takes_the_zone_of_then(self, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        assert check_days(databases=["default"]) == []
        traffic = Traffic()
        traffic.add(10)
        traffic.fold()

        assert requests_fold.cuts() == DayCuts.all_in(ZoneInfo("Asia/Kolkata"))
        assert AttemptDayRollup.objects.aggregate(Max("day"))["day__max"] in traffic.days_in("Asia/Kolkata")
        assert DAYS.begin(date(2026, 11, 2), requests_fold.cuts()) == datetime(2026, 11, 1, 18, 30, tzinfo=UTC)

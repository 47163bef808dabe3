"""Our sums beside the providers', what is left there, and who asks for it."""

import csv
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from providers.access import accounts_of
from providers.accounts.base import Unit
from providers.models import Attempt, ProviderAccount, ProviderCharge
from providers.reconciliation import services
from providers.reconciliation.selectors import account_states, reconciliation, utc_day
from providers.reconciliation.services import account_ask, accounts_due, sweep_accounts
from providers.statistics.rollups import fold_attempts
from providers.types import Access
from tests.factories import make_attempt
from tests.fakes.http_server import FakeServer, answer, hang
from tests.flows.processes import wait_until

pytestmark = pytest.mark.django_db

PAGE = "/admin/providers/attemptrollup/reconciliation/"
UNKNOWN = Attempt.State.UNKNOWN
BALANCE = answer({"balance": 10_000_000})  # of AIMLAPI's credits: $5


@pytest.fixture
def keys(settings, server: FakeServer) -> FakeServer:
    """AIMLAPI, OpenAI with an admin key, and Replicate have keys; their accounts are asked at this server."""
    settings.PROVIDER_ACCESS = {
        slug: Access(f"key-of-{slug}", server.url) for slug in ("aimlapi", "openai", "replicate")
    }
    settings.ADMIN_ACCESS = {"openai": Access("admin-key", server.url)}
    return server


def today_at(hour: int, days_ago: int = 0) -> datetime:
    day = utc_day() - timedelta(days=days_ago)
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def attempt(days_ago: int = 1, hour: int = 12, **fields: Any) -> Attempt:
    moment = today_at(hour, days_ago)
    return make_attempt(created_at=moment, finished_at=moment, **{"provider": "openai", "cost": Decimal(1), **fields})


def charge(days_ago: int = 1, amount: str = "1", **fields: Any) -> ProviderCharge:
    day = utc_day() - timedelta(days=days_ago)
    fields = {"provider": "openai", "unit": "USD", **fields}
    return ProviderCharge.objects.create(day=day, amount=Decimal(amount), **fields)


def lines(days: int = 7) -> dict[tuple[date | None, str], Any]:
    found = reconciliation(utc_day() - timedelta(days=days - 1), utc_day())
    return {(line.day, line.provider): line for line in [*found.lines, *found.totals]}


def yesterday() -> Any:
    (line,) = [line for (day, _), line in lines().items() if day == utc_day() - timedelta(days=1)]
    return line


class TestTheTwoSides:
    def test_days_are_those_of_utc_and_hold_what_is_folded_and_what_is_not(self, settings):
        settings.TIME_ZONE = "Pacific/Auckland"
        attempt(2, 23)
        attempt(1, 0)
        fold_attempts()
        attempt(1, 23, cost=Decimal("0.5"))
        attempt(0, 0, cost=Decimal("0.25"))
        attempt(1, state=Attempt.State.FAILED, cost=None)

        known = {line.day: line.ours.known for line in lines().values() if line.day}

        today = utc_day()
        assert known == {
            today: Decimal("0.25"),
            today - timedelta(days=1): Decimal("1.5"),
            today - timedelta(days=2): Decimal(1),
        }
        assert lines()[None, "openai"].ours.known == Decimal("2.75")

    def test_what_the_sandbox_charges_stands_apart(self, settings):
        attempt(cost=Decimal(7), purpose="sandbox")
        charge(amount="7", purpose="sandbox")
        attempt()
        assert (yesterday().ours.known, yesterday().told) == (1, None)

        settings.SANDBOX_ACTIVE = True

        assert (yesterday().ours.known, yesterday().told) == (7, 7)

    def test_an_untold_day_is_unknown_and_not_0(self):
        attempt()

        assert (yesterday().told, yesterday().difference, yesterday().words) == (None, None, "not told")

    @pytest.mark.parametrize(
        ("told", "difference", "unexplained", "words"),
        [
            ("1.005", "0.005", "0", "agrees"),
            ("1.3", "0.3", "0", "the difference may be attempts of unknown cost"),
            ("1.9", "0.9", "0.5", "it charges more than we know of"),
            ("0.4", "-0.6", "-0.6", "we count more than it charges"),
        ],
    )
    def test_the_difference_itemised(self, told, difference, unexplained, words):
        attempt()
        attempt(state=UNKNOWN, cost=None, reserved_cost=Decimal("0.4"))
        charge(amount=told)

        line = yesterday()

        assert (line.ours.unknown, line.ours.unknown_at_most) == (1, Decimal("0.4"))
        assert (line.difference, line.unexplained, line.words) == (Decimal(difference), Decimal(unexplained), words)

    def test_a_day_that_goes_on_says_so(self):
        attempt(0, 0)
        charge(0, "9")

        assert lines()[utc_day(), "openai"].words == "it charges more than we know of; the day goes on"

    def test_credits_compare_with_nothing(self):
        charge(provider="elevenlabs", amount="240", unit="credits")

        line = yesterday()

        assert (line.told, line.difference) == (240, None)
        assert line.words == "told in credits, which nobody prices"

    def test_keys_add_up_and_the_whole_account_contains_them(self):
        charge(2, "1", provider="openrouter", key_id="a")
        charge(2, "2", provider="openrouter", key_id="b")
        charge(1, "1", provider="openrouter", key_id="a")
        charge(1, "5", provider="openrouter")

        told = {line.day: line.told for line in lines().values() if line.day}

        assert sorted(told.values()) == [3, 5]

    def test_a_period_compares_the_days_that_are_told(self):
        attempt(2, cost=Decimal(3))
        attempt(1)
        charge(1, "1")
        attempt(1, provider="replicate")

        openai, replicate = lines()[None, "openai"], lines()[None, "replicate"]

        assert (openai.ours.known, openai.told, openai.told_days, openai.words) == (1, 1, 1, "agrees")
        assert (replicate.ours.known, replicate.told) == (1, None)


class TestWhatIsLeft:
    def account(self, slug: str, balance: str | None, **fields: Any) -> None:
        (api,) = accounts_of(slug)
        amount = None if balance is None else Decimal(balance)
        told_at = None if balance is None else timezone.now()
        ProviderAccount.objects.create(
            provider=slug, key_id=api.access.key_id, balance=amount, asked_at=timezone.now(), told_at=told_at, **fields
        )

    def state(self, slug: str) -> Any:
        (state,) = [state for state in account_states() if state.provider == slug]
        return state

    def test_a_balance_lasts_as_long_as_our_spending_lets_it(self, keys):
        self.account("aimlapi", "12", unit="USD")
        moment = timezone.now() - timedelta(days=4)
        make_attempt(provider="aimlapi", cost=Decimal(8), created_at=moment, finished_at=moment)
        make_attempt(provider="aimlapi", cost=Decimal(8), created_at=moment - timedelta(days=9), finished_at=moment)

        state = self.state("aimlapi")

        assert round(state.per_day, 2) == 2
        assert round(state.days_left, 1) == 6
        assert abs(state.empty_at - (timezone.now() + timedelta(days=6))) < timedelta(minutes=5)

    def test_the_first_day_is_no_fraction_of_one(self, keys):
        self.account("aimlapi", "12", unit="USD")
        make_attempt(provider="aimlapi", cost=Decimal(3))

        assert self.state("aimlapi").per_day == 3

    def test_without_spending_nobody_knows(self, keys):
        self.account("aimlapi", "12", unit="USD")

        state = self.state("aimlapi")

        assert (state.balance, state.per_day, state.days_left, state.empty_at) == (12, None, None, None)

    def test_credits_last_by_what_was_charged_in_credits(self, settings, server):
        settings.PROVIDER_ACCESS = {"elevenlabs": Access("key", server.url)}
        refill = timezone.now() + timedelta(days=5)
        self.account("elevenlabs", "1000", unit="credits", refills_at=refill)
        for days_ago, amount in ((1, "100"), (2, "50"), (0, "999"), (9, "999")):
            charge(days_ago, amount, provider="elevenlabs", unit="credits")

        state = self.state("elevenlabs")

        assert (state.unit, state.per_day) == (Unit.CREDITS, 75)
        assert state.lasts_until_refill

    def test_who_tells_nothing_is_named_with_the_reason(self, keys):
        assert self.state("replicate").problem == "Its API tells neither charges nor a balance"
        assert self.state("aimlapi").problem == "It was not asked yet"
        self.account("openai", None)
        assert self.state("openai").problem == "It does not tell a balance"
        assert self.state("openai").is_admin_key

    def test_without_its_admin_key_the_variable_is_named(self, keys, settings):
        settings.ADMIN_ACCESS = {}

        assert self.state("openai").problem == "It is told to an admin key alone: set OPENAI_ADMIN_KEY"


class TestAsking:
    def ask(self, slug: str = "aimlapi") -> bool:
        (due,) = [(api, with_charges) for api, with_charges in accounts_due() if api.slug == slug] or [(None, False)]
        return due[0] is not None and account_ask(api=due[0], with_charges=due[1])

    def test_once_an_hour(self, keys):
        keys.will(BALANCE)

        assert (self.ask(), self.ask()) == (True, False)

        row = ProviderAccount.objects.get(provider="aimlapi")
        assert (row.balance, row.unit, row.problem) == (5, "USD", "")
        assert timedelta(hours=1) <= row.next_at - row.asked_at <= timedelta(hours=1, minutes=11)
        ProviderAccount.objects.update(next_at=Now())
        assert self.ask()

    def test_what_fails_leaves_what_was_told_and_says_why(self, keys, caplog):
        keys.will(BALANCE)
        self.ask()
        ProviderAccount.objects.update(next_at=Now())
        keys.will(answer({"message": "The key key-of-aimlapi is not valid"}, 401))

        assert self.ask()

        row = ProviderAccount.objects.get(provider="aimlapi")
        assert row.balance == 5
        assert row.problem == "HTTP 401, The key […] is not valid"
        assert "AIMLAPI did not tell its account" in caplog.text
        assert "key-of-aimlapi" not in caplog.text

    def test_a_day_that_is_told_again_is_corrected(self, keys):
        start = int(today_at(0).timestamp())
        for amount in (1, 2):
            result = {"amount": {"value": amount, "currency": "usd"}}
            keys.will(answer({"data": [{"start_time": start, "results": [result]}]}))
            ProviderAccount.objects.update(next_at=Now())
            self.ask("openai")

        row = ProviderCharge.objects.get()
        assert (row.day, row.amount, row.key_id, row.purpose) == (utc_day(), 2, "", "user")

    def test_the_days_of_an_account_are_asked_with_one_of_its_keys(self, settings, server):
        settings.PROVIDER_ACCESS = {"elevenlabs": Access("one", server.url, ("two",))}

        assert [with_charges for _, with_charges in accounts_due()] == [True, False]

        settings.PROVIDER_ACCESS = {"openrouter": Access("one", server.url, ("two",))}
        assert [with_charges for _, with_charges in accounts_due()] == [True, True]

    def test_a_counter_closes_the_day_before(self, settings, server, monkeypatch):
        monkeypatch.setattr("providers.accounts.openrouter.MIDNIGHT", timedelta(0))
        settings.PROVIDER_ACCESS = {"openrouter": Access("one", server.url)}
        key_id = settings.PROVIDER_ACCESS["openrouter"].key_id
        charge(1, "3", provider="openrouter", key_id=key_id, opening=Decimal(100))
        server.will(answer({"data": {"usage": 106.5, "usage_daily": 2, "limit_remaining": None}}))

        self.ask("openrouter")

        amounts = dict(ProviderCharge.objects.values_list("day", "amount"))
        assert amounts == {utc_day(): 2, utc_day() - timedelta(days=1): Decimal("4.5")}

    def test_without_a_key_nobody_is_asked(self, settings, django_assert_num_queries):
        settings.PROVIDER_ACCESS = settings.ADMIN_ACCESS = {}

        with django_assert_num_queries(0):
            assert list(accounts_due()) == []

    def test_at_rest_two_small_queries(self, keys, django_assert_num_queries):
        list(accounts_due())
        ProviderAccount.objects.update(next_at=timezone.now() + timedelta(hours=1))

        with django_assert_num_queries(2):
            assert list(accounts_due()) == []


@pytest.fixture
def sweeping(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(services, "_next_look", 0.0)
    monkeypatch.setattr(services, "_asker", None)
    yield
    if services._asker is not None:
        services._asker.join(10)


@pytest.mark.django_db(transaction=True)
class TestTheSweepersPart:
    def test_a_provider_that_hangs_holds_up_neither_the_sweeper_nor_the_others(self, keys, sweeping, monkeypatch):
        monkeypatch.setattr(services, "WAIT_SECONDS", 0.05)
        monkeypatch.setattr(services, "STATEMENT_SECONDS", 0.5)
        keys.will(hang, answer({"data": [{"start_time": int(today_at(0).timestamp()), "results": []}]}))

        assert sweep_accounts() == 2
        assert services._asker is not None
        assert services._asker.is_alive()
        assert sweep_accounts() == 0  # while it works

        wait_until(ProviderCharge.objects.exists, "the charges of OpenAI")
        assert "the time was up" in ProviderAccount.objects.get(provider="aimlapi").problem

    def test_of_many_sweepers_one_asks(self, keys):
        keys.will(answer({"balance": 1}))
        ((api, _), *_) = list(accounts_due())
        start = threading.Barrier(4)

        def one(_: int) -> bool:
            start.wait()
            try:
                return account_ask(api=api, with_charges=False)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(one, range(4))) == 1
        assert len(keys.received) == 1


class TestThePage:
    @pytest.fixture
    def figures(self, keys) -> None:
        attempt()
        attempt(state=UNKNOWN, cost=None, reserved_cost=Decimal("0.4"))
        charge(amount="1.9")
        attempt(provider="replicate", cost=Decimal("0.0015"))

    def test_it_shows_both_sides_and_what_is_left(self, figures, admin_client):
        page = admin_client.get(PAGE).content.decode()

        assert "Reconciliation" in page
        for words in ("$1.90", "$0.9000", "1, at most $0.4000", "$0.5000", "it charges more than we know of"):
            assert words in page
        assert "not told" in page
        assert "Its API tells neither charges nor a balance" in page
        assert "those of UTC" in page

    def test_the_csv(self, figures, admin_client):
        response = admin_client.get(f"{PAGE}csv/")

        assert response["Content-Type"] == "text/csv; charset=utf-8"
        openai, replicate = csv.DictReader(response.content.decode().splitlines())
        day = str(utc_day() - timedelta(days=1))
        assert openai == {
            "day_utc": day,
            "provider": "openai",
            "known_usd": "1",
            "unknown_attempts": "1",
            "unknown_at_most_usd": "0.4",
            "provider_says": "1.9",
            "unit": "USD",
            "difference_usd": "0.9",
            "explained_by_unknown_usd": "0.4",
            "unexplained_usd": "0.5",
            "verdict": "it charges more than we know of",
        }
        assert (replicate["known_usd"], replicate["provider_says"], replicate["difference_usd"]) == ("0.0015", "", "")

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("from=x&to=2026-11-01", "Days are written as"),
            ("from=2026-11-01", "Days are written as"),
            ("from=2026-11-02&to=2026-11-01", "ends before it begins"),
            ("from=2026-01-01&to=2026-11-01", "31 days at most"),
            ("from=0001-01-01&to=0001-01-02", "Nothing in this period"),
            ("from=2026-11-01&to=9999-12-31", "ends in the future"),
            ("from=%F0%9F%98%80&to=\N{ARABIC-INDIC DIGIT ONE}", "Days are written as"),
        ],
    )
    def test_a_bad_period_is_answered(self, keys, admin_client, query, words):
        response = admin_client.get(f"{PAGE}?{query}")

        assert response.status_code == 200
        assert words in response.content.decode()
        assert admin_client.get(f"{PAGE}csv/?{query}").status_code == 200

    def test_it_is_for_those_who_may_view_hourly_sums(self, keys, client):
        clerk = User.objects.create_user("clerk", is_staff=True)
        client.force_login(clerk)
        assert (client.get(PAGE).status_code, client.get(f"{PAGE}csv/").status_code) == (403, 403)

        clerk.user_permissions.add(Permission.objects.get(codename="view_attemptrollup"))

        assert (client.get(PAGE).status_code, client.get(f"{PAGE}csv/").status_code) == (200, 200)
        assert f'href="{PAGE}"' in client.get("/admin/").content.decode()

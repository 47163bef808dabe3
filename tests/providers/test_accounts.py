"""What providers tell of their accounts, in the shapes that their documents and public code show."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers.accounts import openrouter
from providers.accounts.base import AccountApi, Balance, Charge, Statement, Unit
from providers.registry import BUILT_IN, account_class
from providers.sandbox import running_sandbox
from providers.transport.deadlines import Deadline
from providers.types import Access, Category
from tests.fakes.http_server import (
    FakeServer,
    Step,
    answer,
    drip,
    endless,
    half_body,
    hang,
    head,
    reset,
)
from tests.sandboxes import PROMPT, ask_text

KEY = "sk-canary-0123456789"
FIRST, LAST = date(2026, 11, 21), date(2026, 11, 23)
UNIX_21 = 1_795_219_200  # 2026-11-21 at midnight, UTC
EVERY_PATH = [path for spec in BUILT_IN.values() for path in (spec.account.path, spec.account.admin_path) if path]


def api_of(name: str, server: FakeServer) -> AccountApi:
    (path,) = [path for path in EVERY_PATH if path.endswith(f".{name}")]
    return account_class(path)(Access(KEY, server.url))


def told(name: str, server: FakeServer, *bodies: Any, first: date = FIRST, last: date = LAST) -> Statement:
    server.will(*(answer(body) for body in bodies))
    return api_of(name, server).statement(first, last, with_charges=True, deadline=Deadline.after(5))


def bucket(day: int, **fields: Any) -> dict[str, Any]:
    """A bucket of OpenAI's, of a day so long after the first."""
    return {
        "object": "bucket",
        "start_time": UNIX_21 + 86_400 * day,
        "end_time": UNIX_21 + 86_400 * (day + 1),
        **fields,
    }


def cost(value: Any, currency: str = "usd") -> dict[str, Any]:
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": currency}}


class TestOpenAI:
    def test_each_day_has_the_sum_of_its_results(self, server):
        page = {"data": [bucket(0, results=[cost(0.06), cost("1.25")]), bucket(1, results=[])], "has_more": False}

        statement = told("OpenAIOrganization", server, page)

        assert statement == Statement(
            None, [Charge(FIRST, Decimal("1.31")), Charge(date(2026, 11, 22), Decimal(0))], []
        )
        (request,) = server.received
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.path == (
            f"/organization/costs?start_time={UNIX_21}&end_time={UNIX_21 + 3 * 86_400}&bucket_width=1d&limit=3"
        )

    @pytest.mark.parametrize("unread", [cost("much"), cost(None), cost(2, "eur"), {}, "?"])
    def test_a_day_of_which_a_part_cannot_be_read_is_not_told(self, server, unread):
        page = {"data": [bucket(0, results=[cost(0.06), unread]), bucket(1, results=[cost(3)])]}

        assert told("OpenAIOrganization", server, page).charges == [Charge(date(2026, 11, 22), Decimal(3))]


class TestAnthropic:
    def test_amounts_are_cents(self, server):
        results = [{"currency": "USD", "amount": "123.78912"}, {"currency": "USD", "amount": "0.5"}]
        page = {"data": [{"starting_at": "2026-11-21T00:00:00Z", "results": results}], "has_more": False}

        statement = told("AnthropicOrganization", server, page)

        assert statement.charges == [Charge(FIRST, Decimal("1.2428912"))]
        (request,) = server.received
        assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (KEY, "2023-06-01")
        assert "starting_at=2026-11-21T00%3A00%3A00Z&ending_at=2026-11-24T00%3A00%3A00Z" in request.path


class TestXai:
    TEAM = {"scope": "SCOPE_TEAM", "scopeId": "team-1", "teamId": "team-1"}

    def test_the_balance_is_what_xai_owes(self, server):
        usage = {
            "timeSeries": [
                {"groupLabels": ["a"], "dataPoints": [{"timestamp": "2026-11-21T00:00:00Z", "values": ["0.75"]}]},
                {"groupLabels": ["b"], "dataPoints": [{"timestamp": "2026-11-21T00:00:00Z", "values": [0.25]}]},
            ],
            "limitReached": False,
        }

        statement = told("XaiTeam", server, self.TEAM, {"changes": [], "total": {"val": "-4250"}}, self.TEAM, usage)

        assert statement == Statement(Balance(Decimal("42.5")), [Charge(FIRST, Decimal(1))], [])
        assert [request.path for request in server.received] == [
            "/auth/management-keys/validation",
            "/v1/billing/teams/team-1/prepaid/balance",
            "/auth/management-keys/validation",
            "/v1/billing/teams/team-1/usage",
        ]

    def test_a_cut_list_of_days_is_not_told(self, server):
        usage = {"timeSeries": [], "limitReached": True}

        statement = told("XaiTeam", server, self.TEAM, {"total": {"val": "-100"}}, self.TEAM, usage)

        assert (statement.balance, statement.charges) == (Balance(Decimal(1)), [])
        assert statement.problems == ["the answer says that it is not whole"]

    def test_a_key_of_no_team(self, server):
        statement = told("XaiTeam", server, {"scope": "SCOPE_ORGANIZATION", "scopeId": "o-1"})

        assert statement.balance is None
        assert "make one of a team's keys" in statement.problems[0]


class TestOpenRouter:
    def test_a_management_key_is_told_of_the_account(self, server):
        days = [
            {"date": "2026-11-21", "model": "a", "usage": 0.1, "byok_usage_inference": 5},
            {"date": "2026-11-21 00:00:00", "model": "b", "usage": 0.2},
            {"date": "2026-11-02", "model": "b", "usage": 7},
        ]

        statement = told(
            "OpenRouterAccount", server, {"data": {"total_credits": 10, "total_usage": 12.5}}, {"data": days}
        )

        assert statement == Statement(Balance(Decimal("-2.5")), [Charge(FIRST, Decimal("0.3"))], [])

    def test_a_usual_key_is_told_of_itself(self, server, monkeypatch):
        self.at(monkeypatch, datetime(2026, 11, 23, 12, tzinfo=UTC))
        key = {"data": {"limit_remaining": 4.5, "usage": 100.25, "usage_daily": 0.25}}

        statement = told("OpenRouterKey", server, key, key)

        charge = Charge(LAST, Decimal("0.25"), opening=Decimal(100))
        assert statement == Statement(Balance(Decimal("4.5")), [charge], [])

    def test_a_key_without_a_limit_has_no_balance(self, server, monkeypatch):
        self.at(monkeypatch, datetime(2026, 11, 23, 12, tzinfo=UTC))
        key = {"data": {"limit_remaining": None, "usage": 1, "usage_daily": 0}}

        assert told("OpenRouterKey", server, key, key).balance is None

    @pytest.mark.parametrize("minutes", [-3, 3])
    def test_around_midnight_nobody_knows_which_day_it_means(self, server, monkeypatch, minutes):
        self.at(monkeypatch, datetime(2026, 11, 23, tzinfo=UTC) + timedelta(minutes=minutes))

        assert told("OpenRouterKey", server, {"data": {"usage": 1, "usage_daily": 1}}).charges == []

    def at(self, monkeypatch, moment: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):  # as datetime's own
                return moment

        monkeypatch.setattr(openrouter, "datetime", Clock)


class TestElevenLabs:
    def test_credits_and_when_they_are_filled_up(self, server):
        subscription = {"character_count": 1_000, "character_limit": 10_000, "next_character_count_reset_unix": UNIX_21}
        stats = {"time": [UNIX_21 * 1000, (UNIX_21 + 86_400) * 1000], "usage": {"All": [240, 132.5]}}

        statement = told("ElevenLabsAccount", server, subscription, stats)

        balance = Balance(Decimal(9_000), Unit.CREDITS, datetime(2026, 11, 21, tzinfo=UTC))
        days = [Charge(FIRST, Decimal(240), Unit.CREDITS), Charge(date(2026, 11, 22), Decimal("132.5"), Unit.CREDITS)]
        assert statement == Statement(balance, days, [])
        assert server.received[0].headers["xi-api-key"] == KEY
        assert f"start_unix={UNIX_21}000&end_unix={(UNIX_21 + 3 * 86_400) * 1000 - 1}" in server.received[1].path

    def test_a_key_that_may_not_read_the_subscription_still_tells_the_days(self, server):
        refused = {"detail": {"status": "missing_permissions", "message": "The API key is missing user_read."}}
        stats = {"time": [UNIX_21 * 1000], "usage": {"All": [240]}}
        server.will(answer(refused, 401), answer(stats))

        statement = api_of("ElevenLabsAccount", server).statement(
            FIRST, LAST, with_charges=True, deadline=Deadline.after(5)
        )

        assert statement.balance is None
        assert [charge.amount for charge in statement.charges] == [240]
        assert statement.problems == ["HTTP 401, The API key is missing user_read."]


@pytest.mark.parametrize(
    ("name", "body", "balance"),
    [
        ("AimlapiAccount", {"balance": 10_000_000, "lowBalance": False}, Balance(Decimal(5))),
        (
            "PiapiAccount",
            {"code": 200, "data": {"equivalent_in_usd": 3.25}, "message": "success"},
            Balance(Decimal("3.25")),
        ),
        ("PiapiAccount", {"account_name": "a", "equivalent_in_usd": 0}, Balance(Decimal(0))),
        (
            "RunwareAccount",
            {"data": [{"taskType": "accountManagement", "balance": 2450.75}]},
            Balance(Decimal("2450.75")),
        ),
        ("KieAccount", {"code": 200, "msg": "success", "data": 100}, Balance(Decimal(100), Unit.CREDITS)),
    ],
)
def test_balances(server, name, body, balance):
    assert told(name, server, body) == Statement(balance, [], [])


def test_an_error_inside_of_a_200(server):
    statement = told("KieAccount", server, {"code": 401, "msg": "You do not have access permissions", "data": None})

    assert statement == Statement(None, [], ["HTTP 200, You do not have access permissions"])


FAULTS: dict[str, Step] = {
    "a wrong key": answer({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, 401),
    "no permission": answer({"error": "forbidden"}, 403),
    "elsewhere": answer(b"", 302, Location="https://example.com/"),
    "down": answer("<html><title>502 Bad Gateway</title></html>", 502, "text/html"),
    "a page": answer("<html></html>", 200, "text/html"),
    "no object": answer([1, 2]),
    "an empty object": answer({}),
    "nulls": answer({"data": None, "total": None, "balance": None, "usage": None}),
    "wrong types": answer({"data": {"0": True, "total_credits": "x"}, "balance": [], "usage": "y", "total": 3}),
    "huge numbers": answer(b'{"balance": 1e999999999, "data": 1e999999999, "total": {"val": 9e99}}'),
    "not a number": answer(b'{"balance": NaN, "data": [{"balance": Infinity}]}'),
    "nested": answer(b'{"data":' * 700 + b"1" + b"}" * 700),
    "endless": endless,
    "half a body": half_body,
    "reset": reset,
    "silence": hang,
    "drop by drop": drip(head(Content_Type="application/json", Content_Length=400) + b" " * 400, 0.05),
}


@pytest.mark.parametrize("path", EVERY_PATH, ids=lambda path: path.rpartition(".")[2])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_read_is_not_told_and_never_0(server, path, fault):
    server.will(FAULTS[fault])

    statement = account_class(path)(Access(KEY, server.url)).statement(
        FIRST, LAST, with_charges=True, deadline=Deadline.after(0.8)
    )

    assert statement.balance is None
    assert statement.charges == []
    assert KEY not in repr(statement)


def paths_and_addresses(slug: str) -> list[tuple[str, str]]:
    """Return who asks for a provider's account, and below which path of its server."""
    spec = BUILT_IN[slug]
    pairs = [(spec.account.path, spec.base_url), (spec.account.admin_path, spec.account.admin_base_url)]
    return [(path, urlsplit(address).path) for path, address in pairs if path]


@pytest.mark.parametrize("slug", [slug for slug in BUILT_IN if paths_and_addresses(slug)])
def test_the_sandbox_tells_what_it_has_charged(slug):
    today = datetime.now(UTC).date()
    with running_sandbox() as sandbox:
        if Category.TEXT in BUILT_IN[slug].backends:
            ask_text(sandbox, slug, PROMPT)
        for path, base_path in paths_and_addresses(slug):
            access = Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{base_path}")

            statement = account_class(path)(access).statement(
                today - timedelta(days=6), today, with_charges=True, deadline=Deadline.after(10)
            )

            assert statement.problems == []
            assert statement.balance or statement.charges
            if statement.charges and slug != "elevenlabs":  # which has spoken nothing
                assert statement.charges[0].amount > 0

"""The analyses over HTTP: shapes, filters, refusals, CSV, and the documentation."""

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from aibot.api_tokens import token_create
from aibot.models import ApiUsage, Scope
from providers.models import ProviderConfig
from providers.statistics.rollups import fold_attempts
from requests_app.analytics.periods import today
from requests_app.models import AIModel, LedgerEntry
from tests.factories import make_account, make_attempt, make_model, make_request

pytestmark = pytest.mark.django_db
ADDRESSES = ["success-rates", "fallbacks", "margins", "costs", "costs?by=user"]


@pytest.fixture
def token() -> dict[str, str]:
    """The header of a token of all scopes: costs by user need that of accounts, too."""
    owner = User.objects.create_superuser("owner")
    _, key = token_create(name="scripts", made_by=owner, scopes=Scope, expires_at=None)
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def model() -> AIModel:
    """An AI model with one answered request: the suggested provider has failed, another has answered."""
    model = make_model(slug="fine-text", provider="openai")
    account = make_account(key="telegram:7", name="=cmd|' /C calc'!A0")
    request = make_request(
        account=account, model=model, status="COMPLETED", credits=4, actual_provider="piapi", actual_route="piapi",
        output_text="Hello", processing_ms=2000, completed_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    for kind, amount in (("HOLD", -4), ("CAPTURE", 0), ("REFUND", 1)):
        LedgerEntry.objects.create(
            account=account,
            request=request,
            kind=kind,
            amount=amount,
            model=model if kind == "REFUND" else None,
            actor="test",
        )
    ours = {"caller_key": request.id, "label": str(model.pk)}
    make_attempt(number=1, provider="openai", state="FAILED", cost=None, **ours)
    make_attempt(number=2, provider="piapi", cost=Decimal("0.006"), duration_ms=2000, first_token_ms=400, **ours)
    make_attempt(provider="=1+1", label="", cost=Decimal("0.001"))
    return model


def rows_of(client: Any, address: str, token: dict[str, str]) -> list[dict[str, Any]]:
    response = client.get(f"/api/analytics/{address}", headers=token)
    assert response.status_code == 200, response.content
    return response.json()["rows"]


def test_success_rates_are_of_calls(client, token, model):
    rows = {row["route"]: row for row in rows_of(client, "success-rates?model=fine-text", token)}

    assert (rows["openai"]["attempts"], rows["openai"]["successRate"]) == (1, 0.0)
    assert rows["piapi"] == {
        "category": "TEXT", "provider": "piapi", "route": "piapi", "operation": "generate", "attempts": 1,
        "successes": 1, "failures": 0, "refusals": 0, "successRate": 100.0, "cost": 0.006, "unknownCosts": 0,
        "perhapsBilled": 0.0, "avgCost": 0.006, "p50Ms": rows["piapi"]["p50Ms"], "p95Ms": rows["piapi"]["p95Ms"],
        "firstWordsP50Ms": rows["piapi"]["firstWordsP50Ms"], "firstWordsP95Ms": rows["piapi"]["firstWordsP95Ms"],
    }  # fmt: skip
    assert rows["piapi"]["p50Ms"] == pytest.approx(2000, rel=0.1)
    assert rows["piapi"]["firstWordsP95Ms"] == pytest.approx(400, rel=0.1)


def test_fallbacks_say_who_has_answered_for_whom(client, token, model):
    assert rows_of(client, "fallbacks", token) == [
        {
            "model": "fine-text", "suggested": "openai", "answeredBy": "piapi", "isFallback": True, "requests": 1,
            "byFirst": 0, "bySecond": 1, "byLater": 0,
        }
    ]  # fmt: skip


def test_margins_set_costs_against_the_credits_used(client, token, model, settings):
    settings.CREDIT_PRICE_USD = Decimal("0.01")

    ours, others = rows_of(client, "margins", token)

    assert ours == {
        "model": "fine-text", "requests": 1, "completed": 1, "creditsCharged": 4, "creditsRefunded": 1,
        "creditsUsed": 3, "cost": 0.006, "unknownCosts": 0, "perhapsBilled": 0.0, "income": 0.03, "profit": 0.024,
        "margin": 0.8,
    }  # fmt: skip
    assert (others["model"], others["cost"], others["margin"]) == ("", 0.001, None)
    settings.CREDIT_PRICE_USD = Decimal(0)
    assert rows_of(client, "margins?model=fine-text", token)[0]["income"] is None


def test_costs_are_by_day_route_and_model_or_by_user(client, token, model):
    rows = rows_of(client, "costs?days=1", token)
    assert [(row["day"], row["route"], row["model"], row["cost"]) for row in rows] == [
        (today().isoformat(), "=1+1", "", 0.001),
        (today().isoformat(), "openai", "fine-text", 0.0),
        (today().isoformat(), "piapi", "fine-text", 0.006),
    ]
    assert rows_of(client, "costs?by=user&order=credits&limit=1", token) == [
        {
            "user": "telegram:7", "name": "=cmd|' /C calc'!A0", "requests": 1, "completed": 1, "creditsCharged": 4,
            "creditsRefunded": 1, "cost": 0.006, "unknownCosts": 0,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_filter_narrows_and_another_period_is_empty(client, token, model, address):
    yesterday = today() - timedelta(days=1)
    joint = "&" if "?" in address else "?"
    assert rows_of(client, address, token)
    assert rows_of(client, f"{address}{joint}from={yesterday}&to={yesterday}", token) == []
    if "by=user" not in address:
        assert rows_of(client, f"{address}{joint}category=image", token) == []


@pytest.mark.parametrize(
    "query",
    [
        "day=7", "days=0", "days=3661", "days=x", "days=²", "from=2026-11-01", "to=2026-11-01",
        "from=2026-11-02&to=2026-11-01", "from=1-1-1&to=2026-11-01", "from=1999-01-01&to=1999-01-02",
        "from=2001-01-01&to=2026-11-01", "from=9999-12-31&to=9999-12-31", "days=7&period=30", "period=year",
        "category=MUSIC", "model=nobody", "limit=5", "from=20261101%20&to=2026-11-01",
        "from=2026-W01-1&to=2026-11-01",
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["margins", "costs"])
def test_what_makes_no_sense_is_refused_in_words(client, token, address, query):
    response = client.get(f"/api/analytics/{address}?{query}", headers=token)

    assert response.status_code == 400
    assert response.json()["detail"]


def test_a_route_that_never_was_is_refused_and_one_that_was_removed_has_its_figures(client, token, model):
    response = client.get("/api/analytics/costs?route=open-ai", headers=token)
    assert (response.status_code, "open-ai" in response.json()["detail"]) == (400, True)

    fold_attempts()
    ProviderConfig.objects.filter(name="piapi").delete()
    assert {row["route"] for row in rows_of(client, "costs?route=piapi", token)} == {"piapi"}


@pytest.mark.parametrize("more", ["&limit=0", "&limit=1001", "&order=name", "&route=a", "&by=route"])
def test_users_are_asked_for_in_their_own_words(client, token, more):
    assert client.get(f"/api/analytics/costs?by=user{more}", headers=token).status_code == 400


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("by_header", [False, True], ids=["format=csv", "Accept: text/csv"])
def test_csv_has_the_same_rows_and_no_formulas(client, token, model, address, by_header):
    expected = rows_of(client, address, token)
    joint = "&" if "?" in address else "?"
    query, header = ("", {"accept": "text/csv"}) if by_header else (f"{joint}format=csv", {})

    response = client.get(f"/api/analytics/{address}{query}", headers={**token, **header})

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="')
    rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, shown in zip(expected, rows, strict=True):
        for name, value in row.items():
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
            assert shown[name] == (f"'{text}" if text.startswith("=") else text)


def test_csv_without_rows_has_its_columns_and_a_refusal_is_json(client, token):
    assert client.get("/api/analytics/fallbacks?format=csv", headers=token).getvalue().startswith(b"model,suggested,")
    refusal = client.get("/api/analytics/fallbacks?format=csv&day=7", headers=token)
    assert (refusal.status_code, refusal["content-type"]) == (400, "application/json")


@pytest.mark.parametrize("address", ["analytics/margins?days=7&days=30", "providers/stats?days=7&days=30"])
def test_a_parameter_that_is_there_twice_is_refused(client, token, address):
    assert client.get(f"/api/{address}", headers=token).status_code == 400


@pytest.mark.parametrize(("query", "rate"), [("", "records"), ("?format=csv", "exports")])
def test_calls_beyond_the_rate_are_told_when_to_come_back(client, token, query, rate):
    assert client.get(f"/api/analytics/margins{query}", headers=token).status_code == 200
    ApiUsage.objects.filter(key__startswith=f"{rate}:").update(calls=10_000)

    refused = client.get(f"/api/analytics/margins{query}", headers=token)

    assert refused.status_code == 429
    assert 1 <= int(refused["retry-after"]) <= 60

"""The metrics that Prometheus scrapes."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from django.contrib.auth.models import User
from django.db.models.functions import Now
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.authtoken.models import Token

from providers.models import ProviderHealth
from providers.statistics.rollups import fold_attempts
from requests_app.models import Account, WorkerHeartbeat
from tests.factories import make_account, make_attempt, make_request
from tests.telegram_bot.rows import ago, make_delivery, make_update

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent.parent
SCRAPER = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def headers() -> dict[str, str]:
    user = User.objects.create_user("prometheus")
    return {"authorization": f"Token {Token.objects.create(user=user).key}", "accept": SCRAPER}


def scrape(client, headers) -> dict[tuple, float]:
    """Return the samples as {(name, label, …): value}."""
    response = client.get("/metrics", headers=headers)
    assert response.status_code == 200
    assert response["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def test_attempts_and_costs_equal_the_statistics(client, headers):
    make_attempt(cost=Decimal("0.25"))
    fold_attempts()
    make_attempt(cost=Decimal("0.5"))
    make_attempt(cost=None)
    make_attempt(state="FAILED", cost=None)

    samples = scrape(client, headers)

    assert samples["aibot_attempts_total", "TEXT", "aimlapi", "aimlapi"] == 4
    assert samples["aibot_attempt_successes_total", "TEXT", "aimlapi", "aimlapi"] == 3
    assert samples["aibot_attempt_failures", "TEXT", "aimlapi", "aimlapi"] == 1
    assert samples["aibot_cost_usd_total", "TEXT", "aimlapi", "aimlapi"] == 0.75
    assert samples["aibot_unknown_costs", "TEXT", "aimlapi", "aimlapi"] == 1
    assert samples["aibot_attempts_total", "TEXT", "piapi", "piapi"] == 0


def test_open_circuits_open_requests_and_credits(client, headers):
    Account.objects.all().delete()
    account = make_account(credits=30)
    make_request(account=account)
    make_request(account=account, status="QUARANTINED")
    make_request(account=account, status="FAILED")
    ProviderHealth.objects.create(
        category="TEXT", provider="openai", route="openai", open_until=Now() + timedelta(minutes=1)
    )
    ProviderHealth.objects.create(category="TEXT", provider="xai", route="xai", open_until=Now() - timedelta(minutes=1))

    samples = scrape(client, headers)

    assert samples["aibot_circuit_open", "TEXT", "openai", "openai"] == 1
    assert samples["aibot_circuit_open", "TEXT", "xai", "xai"] == 0
    assert samples["aibot_requests_open", "PENDING"] == 1
    assert samples["aibot_requests_open", "PROCESSING"] == 0
    assert samples["aibot_requests_open", "QUARANTINED"] == 1
    assert samples["aibot_credits_outstanding",] == 30
    assert 0 <= samples["aibot_oldest_due_seconds",] < 60


def test_a_refusal_is_json_whatever_the_scraper_accepts(client):
    response = client.get("/metrics", headers={"accept": SCRAPER})

    assert response.status_code == 401
    assert "Token" in response.json()["detail"]


def test_what_waits_for_a_worker_and_who_works(client, headers):
    make_update(received_at=ago(40), next_at=ago(-60))  # to be tried again, and its user waits all the same
    make_delivery(status="FAILED", next_at=None)
    WorkerHeartbeat.objects.create(name="a", kind="worker", queues="chat")
    WorkerHeartbeat.objects.create(name="dead", kind="worker", seen_at=ago(60))

    samples = scrape(client, headers)

    assert samples["aibot_updates_unhandled",] == samples["aibot_deliveries_unfinished",] == 1
    assert 40 <= samples["aibot_oldest_update_seconds",] < 60
    assert 60 <= samples["aibot_oldest_delivery_seconds",] < 80
    assert samples["aibot_processes", "worker"] == 1
    assert samples["aibot_processes", "sweeper"] == 0
    assert (samples["aibot_queue_workers", "chat"], samples["aibot_queue_workers", "text"]) == (1, 0)


def test_a_scrape_takes_at_most_seventeen_queries(client, headers, django_assert_max_num_queries):
    with django_assert_max_num_queries(17):
        scrape(client, headers)


@pytest.mark.parametrize("paper", ["deploy/grafana/aibot.json", "deploy/prometheus/alerts.yaml", "docs/operations.md"])
def test_the_metrics_that_alerts_and_papers_name_are_there(client, headers, paper):
    make_request()
    ProviderHealth.objects.create(category="TEXT", provider="openai")
    served = client.get("/metrics", headers=headers).content.decode()
    named = set(re.findall(r"\baibot_\w+", (ROOT / paper).read_text(encoding="utf-8")))

    assert named
    assert {name for name in named if f"\n{name}{{" not in served and f"\n{name} " not in served} == set()


def queries() -> list[str]:
    """Return every query of the alerts and of the dashboard."""
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    dashboard = json.loads((ROOT / "deploy/grafana/aibot.json").read_text(encoding="utf-8"))
    return [rule["expr"] for group in alerts["groups"] for rule in group["rules"]] + [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]


@pytest.mark.parametrize("query", queries())
def test_each_query_finds_what_it_selects(client, headers, query):
    make_request(status="QUARANTINED")
    ProviderHealth.objects.create(category="TEXT", provider="openai")
    served = client.get("/metrics", headers=headers).content.decode()
    samples = [sample for family in text_string_to_metric_families(served) for sample in family.samples]
    selectors = re.findall(r"\b(aibot_\w+)(?:\{(.*?)\})?", query)
    grouped_by = {label for labels in re.findall(r"by \((.*?)\)", query) for label in re.findall(r"\w+", labels)}

    assert selectors
    for name, matchers in selectors:
        wanted = dict(re.findall(r'(\w+)="(.*?)"', matchers)).items()
        found = [sample for sample in samples if sample.name == name and wanted <= sample.labels.items()]
        assert found, f"{name}{{{matchers}}}"
        assert grouped_by <= found[0].labels.keys()

"""The statistics over HTTP: shapes, refusals, and the documentation."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import validate
from rest_framework.authtoken.models import Token

from providers.models import ProviderConfig
from providers.shipped import shipped_routes
from providers.statistics.views import COST_EXAMPLE, RECOMMENDATION_EXAMPLE, STATS_EXAMPLE
from providers.types import Category
from tests.factories import make_attempt, make_provider, make_request

pytestmark = pytest.mark.django_db
JSON = "application/json"
FIGURES = ("/api/providers/", "/api/analytics/")  # lists of rows have tests of their own
ADDRESSES = ["stats", "stats/TEXT", "cost/TEXT", "recommended/TEXT"]


@pytest.fixture
def token() -> dict[str, str]:
    """The header of an API token whose account is not staff."""
    user = User.objects.create_user("prometheus")
    return {"authorization": f"Token {Token.objects.create(user=user).key}"}


class TestFieldsOfTheAnswers:
    def test_statistics_have_the_promised_fields(self, client, token):
        for _ in range(44):
            make_attempt(cost=Decimal("0.0015"), duration_ms=1250)
        make_attempt(state="FAILED", cost=None)

        rows = client.get("/api/providers/stats", headers=token).json()

        assert rows[0] == {
            "category": "TEXT",
            "provider": "aimlapi",
            "priority": 1,
            "enabled": True,
            "requests": 45,
            "successes": 44,
            "failures": 1,
            "successRate": 97.78,
            "totalCost": 0.066,
            "avgCost": 0.0015,
            "avgTime": 1250,
            "unknownCosts": 0,
            "expected": False,
            "listPrice": 0.0015,
            "priceUnit": "1,000 tokens",
            "since": None,
            "route": "aimlapi",
            "refusals": 0,
            "perhapsBilled": 0,
            "operation": "generate",
        }
        assert len(rows) == ProviderConfig.objects.count()  # all shipped routes, used or not, enabled or not
        assert rows[1]["expected"] is True
        assert (rows[1]["avgCost"], rows[1]["successRate"], rows[1]["avgTime"]) == (0.0012, None, None)

    def test_one_category_leaves_the_others_out(self, client, token):
        rows = client.get("/api/providers/stats/image", headers=token).json()

        assert {row["category"] for row in rows} == {"IMAGE"}
        shipped = sorted(shipped_routes(Category.IMAGE), key=lambda route: route.priority)
        assert [(row["provider"], row["enabled"]) for row in rows] == [
            (route.provider, route.enabled) for route in shipped
        ]

    def test_costs_are_listed_cheapest_first(self, client, token):
        ProviderConfig.objects.filter(category="IMAGE").delete()
        for provider, list_price in (("replicate", "0.003"), ("openai", "0.04"), ("piapi", "0.0015"), ("kie", None)):
            make_provider(provider, category="IMAGE", list_price=list_price, price_unit="image")
        make_attempt(category="IMAGE", provider="openai", cost=Decimal("0.0021"))

        rows = client.get("/api/providers/cost/IMAGE", headers=token).json()

        assert [(row["provider"], row["avgCost"], row["successRate"]) for row in rows] == [
            ("piapi", 0.0015, None),
            ("openai", 0.0021, 100),
            ("replicate", 0.003, None),
            ("kie", None, None),
        ]

    def test_the_recommendation_names_one_and_says_why(self, client, token):
        make_attempt(provider="piapi", cost=Decimal("0.0012"))

        answer = client.get("/api/providers/recommended/Text/", headers=token).json()

        assert answer["recommended"] == "piapi"
        assert answer["explanation"].startswith("It costs $0.0012 an answer")

    def test_days_narrow_the_figures_and_since_says_from_when(self, client, token):
        make_attempt(created_at=timezone.now() - timedelta(days=9))

        all_time = client.get("/api/providers/stats/TEXT", headers=token).json()[0]
        week = client.get("/api/providers/stats/TEXT?days=7", headers=token).json()[0]

        assert (all_time["requests"], all_time["since"]) == (1, None)
        assert week["requests"] == 0
        assert week["since"].endswith(":00:00Z")


class TestBadInput:
    @pytest.mark.parametrize("address", ["stats", "cost", "recommended"])
    def test_an_unknown_category_is_answered_with_the_list_of_valid_ones(self, client, token, address):
        response = client.get(f"/api/providers/{address}/SMELL", headers=token)

        assert response.status_code == 404
        assert response.json() == {
            "detail": "There is no category 'SMELL'. Use TEXT, IMAGE, VIDEO, AUDIO.",
            "categories": ["TEXT", "IMAGE", "VIDEO", "AUDIO"],
        }

    @pytest.mark.parametrize("path", ["stats", "stats/TEXT", "cost/IMAGE", "recommended/AUDIO"])
    def test_a_parameter_that_nobody_reads_is_refused(self, client, token, path):
        response = client.get(f"/api/providers/{path}?day=7&days=7", headers=token)

        assert response.status_code == 400
        assert response.json() == {"detail": "Unknown parameter 'day'. Use days."}

    @pytest.mark.parametrize("days", ["0", "3651", "-1", "1.5", "week", "", "٣", "9" * 5000])
    def test_bad_days_are_refused_in_one_clear_line(self, client, token, days):
        response = client.get("/api/providers/stats", {"days": days}, headers=token)

        assert response.status_code == 400
        assert response.json()["detail"].startswith("days must be a whole number from 1 to 3650, not '")

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_nothing_can_be_written(self, client, token, address):
        assert client.post(f"/api/providers/{address}", headers=token).status_code == 405

    def test_an_answer_is_always_json(self, client, token):
        response = client.get("/api/providers/stats?format=html", headers={**token, "accept": "text/html,*/*"})

        assert response["content-type"] == "application/json"


class TestAccess:
    @pytest.mark.parametrize("address", ADDRESSES)
    @pytest.mark.parametrize("slash", ["", "/"])
    def test_staff_and_tokens_may_read_and_others_may_not(self, client, admin_client, token, address, slash):
        path = f"/api/providers/{address}{slash}"
        user = User.objects.create_user("ada")

        assert admin_client.get(path).status_code == 200
        assert client.get(path, headers=token).status_code == 200
        anonymous = client.get(path)
        assert anonymous.status_code == 401
        assert anonymous["www-authenticate"] == "Token"
        assert "detail" in anonymous.json()
        assert client.get(path, headers={"authorization": "Token wrong"}).status_code == 401
        client.force_login(user)
        assert client.get(path).status_code == 403

    def test_a_token_of_a_disabled_account_opens_nothing(self, client, token):
        User.objects.update(is_active=False)

        assert client.get("/api/providers/stats", headers=token).status_code == 401

    @pytest.mark.parametrize("remote", ["127.0.0.1", "::1"])
    def test_with_debug_the_loopback_needs_no_login(self, client, settings, remote):
        settings.DEBUG = True

        assert client.get("/api/providers/stats", REMOTE_ADDR=remote).status_code == 200

    @pytest.mark.parametrize(
        ("debug", "extra"),
        [
            (False, {"REMOTE_ADDR": "127.0.0.1"}),
            (True, {"REMOTE_ADDR": "10.0.0.7"}),
            (True, {"REMOTE_ADDR": ""}),
            (True, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}),
            (True, {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=10.0.0.7"}),
        ],
    )
    def test_anybody_else_needs_one(self, client, settings, debug, extra):
        settings.DEBUG = debug

        assert client.get("/api/providers/stats", **extra).status_code == 401


class TestDocumentation:
    def test_the_schema_is_valid_and_describes_the_four_with_examples(self, admin_client):
        schema = admin_client.get("/api/schema/", headers={"accept": "application/json"}).json()

        validate_schema(schema)
        figures = [path for path in sorted(schema["paths"]) if path.startswith(FIGURES)]
        assert figures == [
            "/api/analytics/costs",
            "/api/analytics/fallbacks",
            "/api/analytics/margins",
            "/api/analytics/success-rates",
            "/api/providers/cost/{category}",
            "/api/providers/recommended/{category}",
            "/api/providers/stats",
            "/api/providers/stats/{category}",
        ]
        for path in figures:
            content = schema["paths"][path]["get"]["responses"]["200"]["content"][JSON]
            assert content["examples"]

    def test_answers_and_examples_match_the_schema(self, client, admin_client, token):
        make_attempt()
        make_attempt(provider="openai", cost=None)
        make_provider("xai", list_price=None)
        schema = SchemaGenerator().get_schema(request=None, public=True)

        def check(path: str, answer: object) -> None:
            described = schema["paths"][path]["get"]["responses"]["200"]["content"][JSON]["schema"]
            # OpenAPI 3.0 says nullable where JSON Schema lists the type null.
            text = json.dumps({**described, "components": schema["components"]})
            validate(answer, _with_null(json.loads(text)))

        make_request(status="COMPLETED", actual_provider="openai", output_text="Hi", completed_at=timezone.now())
        check("/api/analytics/costs", admin_client.get("/api/analytics/costs?by=user").json())
        for path in (path for path in schema["paths"] if path.startswith(FIGURES)):
            check(path, client.get(path.replace("{category}", "TEXT"), headers=token).json())
            for example in schema["paths"][path]["get"]["responses"]["200"]["content"][JSON]["examples"].values():
                check(path, example["value"])
        check("/api/providers/stats", [STATS_EXAMPLE])
        check("/api/providers/cost/{category}", [COST_EXAMPLE])
        check("/api/providers/recommended/{category}", RECOMMENDATION_EXAMPLE)

    def test_the_pages_need_no_other_host(self, admin_client):
        page = admin_client.get("/api/docs/").content.decode()

        assert "/static/drf_spectacular_sidecar/" in page
        assert "//cdn" not in page

    @pytest.mark.parametrize("path", ["/api/docs/", "/api/schema/"])
    def test_the_pages_are_for_operators_too(self, client, path):
        assert client.get(path).status_code == 401


def _with_null(node):
    if isinstance(node, dict):
        node = {name: _with_null(value) for name, value in node.items()}
        if node.pop("nullable", False):
            node = {"anyOf": [node, {"type": "null"}]}
    elif isinstance(node, list):
        node = [_with_null(value) for value in node]
    return node

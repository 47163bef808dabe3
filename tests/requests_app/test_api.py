"""Requests, attempts, routes, AI models and accounts over HTTP: pages, parameters, files, and what nobody is shown."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aibot.models import ApiUsage
from providers.models import ProviderConfig, ProviderHealth
from requests_app.models import Account, Request
from tests.factories import make_account, make_attempt, make_model, make_provider, make_request

pytestmark = pytest.mark.django_db
LISTS = ["requests", "attempts", "routes", "models", "accounts"]


def walk(client, address: str) -> list[dict]:
    """Return the rows of all pages of a list."""
    rows, pages = [], 0
    while address:
        answer = client.get(address)
        assert answer.status_code == 200, answer.content
        rows += answer.json()["results"]
        address = answer.json()["next"]
        pages += 1
        assert pages < 100
    return rows


def answered(**fields) -> Request:
    now = timezone.now()
    return make_request(
        **{"status": "COMPLETED", "actual_provider": "openai", "output_text": "Hello", "completed_at": now, **fields}
    )


class TestPages:
    def test_each_row_comes_once_newest_first_whatever_their_times(self, admin_client):
        moment = timezone.now()
        # Half of them began in the very same microsecond.
        made = [make_attempt(created_at=moment - timedelta(minutes=number * (number % 2))).pk for number in range(25)]

        rows = walk(admin_client, "/api/attempts?pageSize=4")

        assert len(rows) == 25
        assert {row["id"] for row in rows} == {str(key) for key in made}
        assert all((a["createdAt"], a["id"]) > (b["createdAt"], b["id"]) for a, b in pairwise(rows))

    def test_a_row_that_comes_meanwhile_moves_none(self, admin_client):
        for _ in range(4):
            make_request()
        first = admin_client.get("/api/requests?pageSize=2").json()
        make_request()

        second = admin_client.get(first["next"]).json()

        ids = [row["id"] for row in first["results"] + second["results"]]
        assert len(set(ids)) == 4
        assert second["next"] is None

    @pytest.mark.parametrize("name", ["accounts", "models", "routes"])
    def test_lists_without_a_time_are_in_the_order_of_their_keys(self, admin_client, name):
        for _ in range(5):
            make_account()
            make_model(category="IMAGE")

        rows = walk(admin_client, f"/api/{name}?pageSize=2")

        table = {"accounts": Account, "routes": ProviderConfig}.get(name)
        assert len(rows) >= 5
        if table:
            assert [row["id"] for row in rows] == list(table.objects.order_by("-pk").values_list("pk", flat=True))

    def test_combined_filters_read_a_bounded_number_of_rows_and_go_on(self, admin_client, monkeypatch):
        monkeypatch.setattr("providers.api.pages.MAX_ROWS_READ", 10)
        wanted = answered(actual_route="rare")
        for _ in range(30):
            answered(actual_route="usual")

        first = admin_client.get("/api/requests?route=rare").json()

        assert first["results"] == []
        assert [row["id"] for row in walk(admin_client, first["next"])] == [wanted.id]


class TestFilters:
    def test_requests(self, admin_client):
        account, model = make_account(), make_model(category="IMAGE")
        day = timezone.now() - timedelta(days=2)
        failed = make_request(status="FAILED", completed_at=day, created_at=day, account=account)
        image = answered(model=model, actual_provider="replicate", actual_route="sdxl")
        open_request = make_request()

        def ids(query: str) -> list[str]:
            return [row["id"] for row in walk(admin_client, f"/api/requests?{query}")]

        assert ids("status=FAILED") == ids(f"user={account.pk}") == ids(f"to={day.date() + timedelta(days=1)}")
        assert ids("status=FAILED") == [failed.id]
        assert ids(f"model={model.slug}") == ids("provider=replicate") == ids("category=IMAGE") == [image.id]
        assert ids("route=sdxl&status=COMPLETED&category=IMAGE&provider=replicate") == [image.id]
        assert ids("status=PENDING") == [open_request.id]
        assert ids("status=PENDING&category=TEXT&from=2020-01-01T00:00:00Z") == [open_request.id]
        assert ids("status=COMPLETED&category=TEXT") == ids("user=999999") == []

    def test_attempts(self, admin_client):
        request = make_request()
        failed = make_attempt(caller_key=request.id, state="FAILED", provider="openai", route="smart")
        tested = make_attempt(purpose="test", category="AUDIO")
        running = make_attempt(state="SENDING", finished_at=None)

        def ids(query: str) -> list[str]:
            return [row["id"] for row in walk(admin_client, f"/api/attempts?{query}")]

        assert ids(f"caller={request.id}") == ids("state=FAILED") == ids("route=smart") == [str(failed.pk)]
        assert ids("purpose=test") == ids("category=AUDIO") == [str(tested.pk)]
        assert ids("state=SENDING") == ids("state=SENDING&provider=aimlapi") == [str(running.pk)]

    def test_accounts_routes_and_models(self, admin_client):
        blocked, usual = make_account(is_blocked=True), make_account()
        ProviderConfig.objects.filter(category="VIDEO").update(enabled=False)

        def keys(address: str, field: str) -> list:
            return [row[field] for row in walk(admin_client, f"/api/{address}")]

        assert keys("accounts?blocked=true", "id") == [blocked.pk]
        assert keys("accounts?blocked=false", "id") == keys(f"accounts?key={usual.key}", "id") == [usual.pk]
        assert set(keys("routes?category=VIDEO&enabled=true", "id")) == set()
        assert set(keys("routes?provider=openai&operation=generate", "provider")) == {"openai"}
        assert set(keys("models?category=IMAGE&enabled=true", "category")) == {"IMAGE"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("requests?stauts=FAILED", "Unknown parameter 'stauts'. Use category, cursor, format, from, model,"),
            ("requests?status=failed", "status must be one of PENDING, PROCESSING,"),
            ("requests?status=FAILED&status=PENDING", "status is there more than once."),
            ("requests?user=0", "user must be a whole number from 1 to 9223372036854775807, not '0'."),
            (f"requests?user={'9' * 30}", "user must be a whole number"),
            (
                "requests?model=no-such",
                "model must be the slug of an AI model, as /api/models lists them, not 'no-such'.",
            ),
            ("requests?from=yesterday", "from must be a date or a time, such as"),
            ("requests?from=2026-02-31", "from must be a date or a time, such as"),
            ("requests?from=20261101", "from must be a date or a time, such as"),
            ("requests?from=2026-W01-1", "from must be a date or a time, such as"),
            ("requests?to=0001-01-01T00:00:00%2B14:00", "to must be a date or a time"),
            ("requests?pageSize=201", "pageSize must be a whole number from 1 to 200, not '201'."),
            ("requests?pageSize=", "pageSize must be"),
            ("requests?format=", "format must be json or csv, not ''."),
            ("requests?format=xml", "format must be json or csv, not 'xml'."),
            ("requests?cursor=abc", "cursor must be the one of the page before, with the same filters, not 'abc'."),
            ("attempts?caller=", "caller must be a text of 1 to 64 characters, not ''."),
            ("attempts?provider=%F0%9F%92%A9", "provider must be one of"),
            ("accounts?blocked=yes", "blocked must be true or false, not 'yes'."),
            ("routes?from=2026-01-01", "Unknown parameter 'from'."),
        ],
    )
    def test_a_bad_parameter_is_answered_with_what_is_allowed(self, admin_client, address, words):
        response = admin_client.get(f"/api/{address}")

        assert response.status_code == 400
        assert response.json()["detail"].startswith(words)

    def test_a_row_takes_no_parameters(self, admin_client):
        response = admin_client.get(f"/api/requests/{make_request().id}?day=1")

        assert (response.status_code, response.json()["detail"]) == (400, "Unknown parameter 'day'. Use format.")

    def test_a_cursor_is_good_for_its_own_question_alone(self, admin_client):
        for _ in range(3):
            make_request()
            make_account()
        cursor = urlsplit(admin_client.get("/api/requests?pageSize=1").json()["next"]).query

        assert admin_client.get(f"/api/requests?{cursor}").status_code == 200
        assert admin_client.get(f"/api/requests?{cursor}&status=PENDING").status_code == 400
        assert admin_client.get(f"/api/accounts?{cursor}").status_code == 400
        assert admin_client.get(f"/api/requests?{cursor[:-1]}").status_code == 400

    @pytest.mark.parametrize("name", LISTS)
    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_nothing_can_be_written(self, admin_client, name, method):
        assert getattr(admin_client, method)(f"/api/{name}").status_code == 405

    @pytest.mark.parametrize(
        "path", ["requests/req_x", "requests/%F0%9F%92%A9", "models/none", "routes/99999999999999999999"]
    )
    def test_what_is_not_there_is_not_found(self, admin_client, path):
        assert admin_client.get(f"/api/{path}").status_code == 404


class TestWhatIsShown:
    def test_a_request_with_its_content(self, admin_client):
        stored = {"name": "outputs/a.png", "content_type": "image/png", "size": 5, "kind": "image"}
        request = answered(cost=Decimal("0.0000015"), cost_source="computed", output_media=[stored], processing_ms=12)

        row = admin_client.get(f"/api/requests/{request.id}/").json()

        assert row["cost"] == 0.0000015
        assert (row["provider"], row["model"], row["user"], row["status"]) == (
            "openai",
            "text-ai",
            request.user_id,
            "COMPLETED",
        )
        assert row["content"] == {
            "inputText": "Say hello",
            "transcript": None,
            "options": {},
            "inputFiles": [],
            "outputText": "Hello",
            "outputFiles": [{"url": "/media/outputs/a.png", "contentType": "image/png", "size": 5}],
            "erasedAt": None,
        }

    def test_a_list_of_requests_reads_and_shows_no_content(self, admin_client):
        answered(input_text="canary-question", output_text="canary-answer")

        with CaptureQueriesContext(connection) as context:
            page = admin_client.get("/api/requests").content.decode()

        assert "canary" not in page
        assert not [query for query in context.captured_queries if "input_text" in query["sql"]]

    def test_an_unknown_cost_is_null_and_never_zero(self, admin_client):
        make_attempt(state="UNKNOWN", cost=None, cost_source="unknown", reserved_cost=Decimal("0.5"))

        (row,) = admin_client.get("/api/attempts").json()["results"]

        assert (row["cost"], row["reservedCost"], row["perhapsBilled"]) == (None, 0.5, True)

    def test_a_route_shows_names_but_no_values_of_what_is_merged_into_its_calls(self, admin_client):
        route = make_provider(
            "openai", extra_headers={"X-Secret": "canary-header"}, extra_body={"user": "canary-body"}, list_price=None
        )
        until = timezone.now() + timedelta(minutes=5)
        ProviderHealth.objects.create(
            category="TEXT", provider="openai", route="openai", open_until=until, reason="402 no credit"
        )

        response = admin_client.get(f"/api/routes/{route.pk}")

        row = response.json()
        assert "canary" not in response.content.decode()
        assert (row["extraHeaderNames"], row["extraBodyNames"], row["listPrice"]) == (["X-Secret"], ["user"], None)
        assert (row["circuitReason"], row["circuitOpenUntil"] is not None, row["hasKey"]) == (
            "402 no credit",
            True,
            False,
        )

    @pytest.mark.parametrize("name", LISTS)
    def test_a_page_takes_few_queries_however_many_rows_it_has(self, admin_client, name):
        for _ in range(20):
            answered(model=make_model(category="AUDIO"))
            make_attempt()

        with CaptureQueriesContext(connection) as context:
            assert admin_client.get(f"/api/{name}?pageSize=200").status_code == 200

        assert len(context) <= 8


class TestCsv:
    def rows(self, response) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))

    def test_a_file_has_the_rows_of_the_list(self, admin_client):
        make_attempt(cost=None, state="UNKNOWN", usage={"in": 1})
        make_attempt(cost=Decimal("0.0000015"))

        response = admin_client.get("/api/attempts?format=csv")

        rows, listed = self.rows(response), admin_client.get("/api/attempts").json()["results"]
        assert response["content-type"] == "text/csv; charset=utf-8"
        assert response["content-disposition"] == 'attachment; filename="attempts.csv"'
        assert [row["id"] for row in rows] == [row["id"] for row in listed]
        assert [row["cost"] for row in rows] == ["0.0000015", ""]
        assert rows[1]["usage"] == '{"in": 1}'
        assert rows[0].keys() == listed[0].keys()

    @pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1", " =1", "\u3000\uff0b1"])
    def test_no_cell_is_a_formula(self, admin_client, name):
        make_account(name=name)

        (row,) = self.rows(admin_client.get("/api/accounts?format=csv"))

        assert row["name"] == f"'{name}"

    def test_a_long_list_is_several_files(self, admin_client, monkeypatch):
        monkeypatch.setattr("providers.api.viewsets.MAX_CSV_ROWS", 4)
        monkeypatch.setattr("providers.api.pages.CHUNK", 3)
        for number in range(10):
            make_attempt(route="odd" if number % 2 else "even")

        address, keys = "/api/attempts?format=csv&route=odd", []
        while address:
            response = admin_client.get(address)
            keys += [row["id"] for row in self.rows(response)]
            address = response.get("link", "").partition(">")[0].removeprefix("<")

        assert keys == [row["id"] for row in walk(admin_client, "/api/attempts?route=odd")]
        assert len(keys) == 5

    def test_the_accept_header_asks_for_it_too(self, admin_client):
        assert admin_client.get("/api/models", headers={"accept": "text/csv"})["content-type"].startswith("text/csv")

    def test_a_refusal_is_json(self, admin_client):
        response = admin_client.get("/api/models?format=csv&a=b")

        assert (response.status_code, response.json()["detail"][:20]) == (400, "Unknown parameter 'a")


class TestRates:
    @pytest.mark.parametrize(("query", "rate"), [("", "records"), ("?format=csv", "exports")])
    def test_calls_beyond_the_rate_are_told_when_to_come_back(self, admin_client, admin_user, query, rate):
        admin_client.get(f"/api/models{query}")
        full = ApiUsage.objects.get(key=f"{rate}:user:{admin_user.pk}")
        assert full.calls == 1
        ApiUsage.objects.update(calls=10_000)

        refused = admin_client.get(f"/api/models{query}")

        assert refused.status_code == 429
        assert 1 <= int(refused["retry-after"]) <= 60
        assert "detail" in refused.json()
        assert admin_client.get("/api/providers/stats").status_code == 200  # the four have no rate

        ApiUsage.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
        assert admin_client.get(f"/api/models{query}").status_code == 200
        assert ApiUsage.objects.get().calls == 1

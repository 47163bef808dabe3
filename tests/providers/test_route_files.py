"""Routes as a file: out and in again, refused with words, all of it or nothing."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse

from providers.models import ProviderConfig, RoutingRule
from providers.routes.files import InvalidFile, StalePlan, routes_export, routes_import, routes_plan
from providers.versioning import versions_of
from tests.factories import make_attempt
from tests.html_forms import fields_of

pytestmark = pytest.mark.django_db


def exported(**options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(routes_export(**options))
    return document


def entry(document: dict[str, Any], name: str = "openai", category: str = "TEXT") -> dict[str, Any]:
    (found,) = (each for each in document["routes"] if (each["category"], each["name"]) == (category, name))
    return found


def rows() -> list[dict[str, Any]]:
    return list(ProviderConfig.objects.order_by("category", "name").values())


class TestRoundTrip:
    def test_a_file_changes_nothing_where_it_was_written(self):
        plan = routes_import(content=routes_export(), actor="test")

        assert (plan.planned, plan.unchanged) == ((), ProviderConfig.objects.count())
        assert not ProviderConfig.history.exclude(history_type="+").exists()

    def test_it_makes_the_same_routes_elsewhere(self):
        ProviderConfig.objects.filter(category="TEXT", name="xai").update(
            list_price="0.1234", tags=["fast"], max_output_tokens=99, daily_cap_usd="5.50"
        )
        RoutingRule.objects.filter(category="TEXT").update(rule="cheapest")
        content, before = routes_export(), rows()
        ProviderConfig.objects.all().delete()
        RoutingRule.objects.all().delete()

        routes_import(content=content, actor="test")

        own = {"id", "updated_at"}
        assert [{name: row[name] for name in row.keys() - own} for row in rows()] == [
            {name: row[name] for name in row.keys() - own} for row in before
        ]
        assert RoutingRule.objects.get(category="TEXT").rule == "cheapest"

    def test_what_may_be_secret_is_in_it_only_where_that_was_asked_for(self):
        ProviderConfig.objects.filter(name="openai").update(
            extra_headers={"X-Team": "canary-1"}, extra_body={"user": "canary-2"}
        )
        assert "canary" not in routes_export()
        whole = routes_export(with_values=True)
        ProviderConfig.objects.filter(category="TEXT", name="openai").update(extra_headers={}, extra_body={})

        plan = routes_import(content=whole, actor="test")

        assert "canary" not in str(plan)
        assert ProviderConfig.objects.get(category="TEXT", name="openai").extra_headers == {"X-Team": "canary-1"}

    def test_what_it_does_not_mention_stays(self):
        document = exported()
        document["routes"] = [{"category": "TEXT", "name": "openai", "priority": 77}]
        before = {row["id"]: row for row in rows()}

        routes_import(content=json.dumps(document), actor="test")

        changed = [row for row in rows() if row != before[row["id"]]]
        assert [(row["name"], row["priority"], row["model"]) for row in changed] == [("openai", 77, "gpt-6-luna")]

    def test_each_change_is_a_version(self):
        document = exported()
        entry(document)["model"] = "gpt-5-nano"

        routes_import(content=json.dumps(document), actor="admin:anna")

        newest = versions_of(ProviderConfig, ProviderConfig.objects.get(category="TEXT", name="openai").pk)[0]
        assert (newest.actor, newest.reason) == ("admin:anna", "import")
        assert [str(change) for change in newest.changes] == ["Model: gpt-6-luna → gpt-5-nano"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("", "no JSON"),
            ("[" * 100_000, "no JSON"),
            ('{"format": NaN}', "NaN is no number"),
            ("[]", "says nothing of its format"),
            ('{"format": "aibot-routes", "version": 2}', "has version 2; this release reads 1"),
            ('{"format": "aibot-routes", "version": 1, "keys": {}}', "does not know: keys"),
            ('{"format": "aibot-routes", "version": 1, "routes": {}}', 'needs a list of "routes"'),
            ('{"format": "aibot-routes", "version": 1, "routes": [{}]}', "Route 1: it needs a category and a name"),
            ('{"format": "aibot-routes", "version": 1, "routes": ["\\u0000"]}', "contains a NUL"),
            ('{"format": "aibot-routes", "version": 1, "routes": ["\\ud800"]}', "no JSON"),
            ('{"format": "aibot-routes", "version": 1, "routes": [], "rules": {"TEXT": "best"}}', "best is none of"),
        ],
    )
    def test_what_is_no_such_file(self, content, words):
        with pytest.raises(InvalidFile, match=words):
            routes_plan(content)

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("api_key", "sk-1", "unknown field api_key. Keys are not imported"),
            ("enabled", "yes", 'enabled cannot be "yes"'),
            ("priority", True, "priority cannot be true"),
            ("priority", -1, "priority: Ensure this value is greater than"),
            ("list_price", 0.1, "An amount is a text"),
            ("list_price", "NaN", "list_price"),
            ("list_price", "-1", "list_price: Ensure this value is greater"),
            ("model", None, "model cannot be null"),
            ("prices", {"per_moon": "1"}, "prices: "),
            ("capabilities", ["x"], "capabilities: "),
            ("extra_headers", {"Authorization": "x"}, "cannot be set here"),
            ("provider", "nobody", "provider: "),
            ("provider", "elevenlabs", "cannot generate TEXT here"),
            ("operation", "edit", "edit needs the category IMAGE or VIDEO"),
            ("name", "a b", "name: "),
        ],
    )
    def test_what_no_route_can_be(self, name, value, words):
        document = exported()
        entry(document, "xai")["model"] = "other"
        entry(document)[name] = value
        before = rows()

        with pytest.raises(InvalidFile, match=words):
            routes_import(content=json.dumps(document), actor="test")

        assert rows() == before  # nothing of it, though xai's change was fine

    def test_a_route_twice(self):
        document = exported()
        document["routes"].append(entry(document))

        with pytest.raises(InvalidFile, match="TEXT · openai: it is in the file twice"):
            routes_plan(json.dumps(document))

    def test_what_attempts_name_stays(self):
        document = exported()
        entry(document)["provider"] = "groq"
        make_attempt(category="TEXT", provider="openai", route="openai")

        with pytest.raises(InvalidFile, match="provider cannot change, because attempts name it"):
            routes_plan(json.dumps(document))

    def test_a_plan_that_has_become_another_is_not_carried_out(self):
        document = exported()
        entry(document)["model"] = "gpt-5-nano"
        content = json.dumps(document)
        plan = routes_plan(content)
        route = ProviderConfig.objects.get(category="TEXT", name="openai")
        route.model = "gpt-5-pro"
        route.save()

        with pytest.raises(StalePlan):
            routes_import(content=content, actor="test", fingerprint=plan.fingerprint)

        route.refresh_from_db()
        assert route.model == "gpt-5-pro"


class TestDoors:
    def test_the_admin_shows_the_difference_first(self, admin_client):
        page = reverse("admin:providers_providerconfig_import")
        download = admin_client.get(reverse("admin:providers_providerconfig_export"))
        assert download.headers["Content-Disposition"].startswith('attachment; filename="routes-')
        document = json.loads(download.content)
        entry(document)["model"] = "gpt-5-nano </textarea>"
        file = SimpleUploadedFile("routes.json", json.dumps(document).encode(), "application/json")

        shown = admin_client.post(page, {"file": file}).content.decode()

        assert "gpt-6-luna → gpt-5-nano &lt;/textarea&gt;" in shown
        assert ProviderConfig.objects.get(category="TEXT", name="openai").model == "gpt-6-luna"

        answer = admin_client.post(page, fields_of(shown), follow=True)

        assert "Imported: 1 changed or added." in answer.content.decode()
        assert ProviderConfig.objects.get(category="TEXT", name="openai").model == "gpt-5-nano </textarea>"

        again = admin_client.post(page, fields_of(shown))
        assert "Meanwhile somebody has changed the routes" in again.content.decode()

    @pytest.mark.parametrize("posted", [{}, {"content": "x"}, {"content": "x", "confirm": "1"}, {"confirm": ""}])
    def test_the_admin_answers_nonsense(self, admin_client, posted):
        answer = admin_client.post(reverse("admin:providers_providerconfig_import"), posted)

        assert "The file is no JSON" in answer.content.decode()

    def test_the_command(self, tmp_path, capsys):
        call_command("routes", "export")
        document = json.loads(capsys.readouterr().out)
        entry(document)["model"] = "gpt-5-nano"
        file = tmp_path / "routes.json"
        file.write_text(json.dumps(document))

        call_command("routes", "import", str(file), "--dry-run")
        assert "TEXT · openai: Model: gpt-6-luna → gpt-5-nano\nWould change: 1." in capsys.readouterr().out
        call_command("routes", "import", str(file))
        assert "Changed: 1." in capsys.readouterr().out

        route = ProviderConfig.objects.get(category="TEXT", name="openai")
        assert versions_of(ProviderConfig, route.pk)[0].actor == "manage.py routes"
        with pytest.raises(CommandError, match="No such file"):
            call_command("routes", "import", str(tmp_path / "none.json"))

    def test_the_command_orders_pauses_and_resumes(self, capsys):
        call_command("routes", "order", "TEXT", "openai=xai", "piapi")
        assert capsys.readouterr().out.splitlines()[:3] == ["    1  openai = xai", "    2  piapi", "    3  aimlapi"]

        call_command("routes", "pause", "TEXT", "openai", "--reason", "wrong answers")
        call_command("routes", "resume", "TEXT", "openai")
        call_command("routes", "resume", "TEXT", "openai")

        assert capsys.readouterr().out.splitlines()[-1] == "TEXT · OpenAI was not paused."
        with pytest.raises(CommandError, match="has no route nobody"):
            call_command("routes", "order", "TEXT", "nobody")

    def test_the_command_tests(self, sandboxed, capsys):
        call_command("routes", "test", "TEXT", "openai")

        assert "TEXT · OpenAI: answered by gpt-6-luna in" in capsys.readouterr().out

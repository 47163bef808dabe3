"""Versions of routes, rules and AI models: each way of changing one makes a version, and one click returns."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.urls import reverse

from providers.admin_versions import words_of
from providers.models import ProviderConfig, RoutingRule, SeededRoute
from providers.versioning import Change, Returned, VersionConflict, removed_rows, sign, version_return, versions_of
from requests_app.models import AIModel
from tests.factories import make_attempt, make_model
from tests.html_forms import fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def route() -> ProviderConfig:
    return ProviderConfig.objects.get(category="TEXT", name="openai")


def change(route: ProviderConfig, *, actor: str = "admin:anna", reason: str = "", **fields: object) -> None:
    for name, value in fields.items():
        setattr(route, name, value)
    sign(route, actor=actor, reason=reason)
    route.save()


def page_of(row: ProviderConfig | AIModel, page: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk])


class TestWhatMakesVersions:
    def test_every_shipped_row_has_its_first(self):
        for model in (ProviderConfig, RoutingRule, AIModel):
            assert {row.pk for row in model.objects.all()} == set(model.history.values_list("id", flat=True))

    def test_the_page_keeps_who_and_why(self, admin_client, route):
        fields = fields_of(admin_client.get(page_of(route)).content.decode())

        admin_client.post(page_of(route), {**fields, "model": "gpt-5-nano", "why": "half the price"})

        newest = versions_of(ProviderConfig, route.pk)[0]
        assert (newest.actor, newest.reason) == ("admin:admin", "half the price")
        assert [str(each) for each in newest.changes] == [f"Model: {route.model} → gpt-5-nano"]

    def test_a_page_that_changes_nothing_makes_none(self, admin_client, route):
        fields = fields_of(admin_client.get(page_of(route)).content.decode())

        admin_client.post(page_of(route), {**fields, "why": "just looking"})

        assert len(versions_of(ProviderConfig, route.pk)) == 1

    def test_a_version_holds_what_others_wrote_meanwhile(self, admin_client, route, monkeypatch):
        fields = fields_of(admin_client.get(page_of(route)).content.decode())

        def save_form(admin, request, form, change):
            ProviderConfig.objects.filter(pk=route.pk).update(weight=9)
            return form.save(commit=False)

        monkeypatch.setattr("providers.admin.ProviderConfigAdmin.save_form", save_form)
        admin_client.post(page_of(route), {**fields, "model": "gpt-5-nano"})

        assert ProviderConfig.history.filter(id=route.pk).latest("history_id").weight == 9

    def test_deleting_in_the_list_makes_one(self, admin_client, route):
        selected = {"action": "delete_selected", "_selected_action": route.pk, "post": "yes"}

        admin_client.post(reverse("admin:providers_providerconfig_changelist"), selected)

        ((key, name, last),) = removed_rows(ProviderConfig)
        assert (key, name, last.actor) == (route.pk, "TEXT · OpenAI", "admin:admin")

    def test_shipped_routes_say_where_they_come_from(self):
        ProviderConfig.objects.filter(category="TEXT", name="groq").delete()
        SeededRoute.objects.filter(category="TEXT", name="groq").delete()

        call_command("sync_providers", verbosity=0)

        (version,) = versions_of(ProviderConfig, ProviderConfig.objects.get(category="TEXT", name="groq").pk)
        assert (version.actor, version.reason) == ("manage.py sync_providers", "shipped since 0.1.0")

    def test_ai_models_and_rules_have_them_too(self, admin_client):
        model = make_model()
        fields = fields_of(admin_client.get(page_of(model)).content.decode())

        admin_client.post(page_of(model), {**fields, "token_cost": "7", "why": "dearer"})

        newest = versions_of(AIModel, model.pk)[0]
        assert (str(newest.changes[0]), newest.reason) == ("Token cost: 1 → 7", "dearer")


class TestReturning:
    def test_it_writes_what_differs_and_makes_a_version(self, route):
        first = versions_of(ProviderConfig, route.pk)[0]
        was = (route.model, route.list_price, route.prices)
        change(route, model="gpt-5-nano", list_price=Decimal(9), prices={"per_call": "1"})
        latest = versions_of(ProviderConfig, route.pk)[0]

        version_return(model=ProviderConfig, version_id=first.id, latest_id=latest.id, actor="admin:bea")

        route.refresh_from_db()
        assert (route.model, route.list_price, route.prices) == was
        newest, *_ = versions_of(ProviderConfig, route.pk)
        assert newest.actor == "admin:bea"
        assert newest.reason.startswith(f"returned to version {first.id} of ")
        assert {each.field for each in newest.changes} == {"Model", "List price", "Prices"}
        assert newest.is_current

    def test_what_no_version_contains_stays(self, route):
        first = versions_of(ProviderConfig, route.pk)[0]
        change(route, model="gpt-5-nano", extra_headers={"X-Team": "canary"})
        latest = versions_of(ProviderConfig, route.pk)[0]

        version_return(model=ProviderConfig, version_id=first.id, latest_id=latest.id, actor="admin:bea")

        route.refresh_from_db()
        assert route.extra_headers == {"X-Team": "canary"}

    def test_an_old_page_is_refused_with_the_difference(self, route):
        first = versions_of(ProviderConfig, route.pk)[0]
        change(route, model="gpt-5-nano")
        seen = versions_of(ProviderConfig, route.pk)[0]
        change(route, actor="admin:carl", priority=77)

        with pytest.raises(VersionConflict, match=r"admin:carl has changed it \(Priority: 4 → 77\)"):
            version_return(model=ProviderConfig, version_id=first.id, latest_id=seen.id, actor="admin:bea")

        route.refresh_from_db()
        assert (route.model, route.priority) == ("gpt-5-nano", 77)

    def test_a_name_that_attempts_mention_stays(self, route):
        change(route, name="smart")
        make_attempt(category="TEXT", provider="openai", route="smart")
        first, latest = versions_of(ProviderConfig, route.pk)[-1], versions_of(ProviderConfig, route.pk)[0]
        change(route, model="gpt-5-nano")
        latest = versions_of(ProviderConfig, route.pk)[0]

        returned = version_return(model=ProviderConfig, version_id=first.id, latest_id=latest.id, actor="admin:bea")

        route.refresh_from_db()
        assert (route.name, returned.kept) == ("smart", ("Name",))
        assert route.model != "gpt-5-nano"

    def test_what_is_not_valid_any_more_is_refused(self, route):
        change(route, name="smart")
        first, latest = versions_of(ProviderConfig, route.pk)[-1], versions_of(ProviderConfig, route.pk)[0]
        ProviderConfig.objects.create(category="TEXT", provider="openai", name="openai", model="other")

        with pytest.raises(ValidationError, match="has a route of this name"):
            version_return(model=ProviderConfig, version_id=first.id, latest_id=latest.id, actor="admin:bea")

    def test_a_removed_route_comes_back_once(self, admin_client, route):
        was = ProviderConfig.objects.filter(pk=route.pk).values().get()
        route.delete()
        versions = versions_of(ProviderConfig, was["id"])
        removed = admin_client.get(reverse("admin:providers_providerconfig_removed")).content.decode()
        history = reverse("admin:providers_providerconfig_history", args=[was["id"]])
        assert history in removed
        click = {"version": versions[0].id, "latest": versions[0].id}

        admin_client.post(history, click)
        again = admin_client.post(history, click, follow=True)

        now = ProviderConfig.objects.filter(pk=was["id"]).values().get()
        assert {name for name in was if was[name] != now[name]} == {"updated_at"}
        assert "Meanwhile admin:admin has changed it" in again.content.decode()
        assert not removed_rows(ProviderConfig)


class TestPage:
    @pytest.mark.parametrize("posted", [{}, {"version": "x", "latest": "1"}, {"version": "9" * 30, "latest": "1"}])
    def test_what_is_no_version_is_answered(self, admin_client, route, posted):
        answer = admin_client.post(page_of(route, "history"), posted, follow=True)

        assert "There is no such version." in answer.content.decode()

    @pytest.mark.parametrize("key", ["x", "0", "9" * 30, "%F0%9F%98%80"])
    def test_what_is_no_row_is_answered(self, admin_client, key):
        address = reverse("admin:providers_providerconfig_changelist") + f"{key}/history/"

        assert admin_client.get(address).status_code == 302

    def test_who_may_only_look_may_not_return(self, client, route):
        change(route, model="gpt-5-nano")
        newest, first = versions_of(ProviderConfig, route.pk)
        clerk = User.objects.create_user("clerk", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename="view_providerconfig"))
        client.force_login(clerk)

        page = client.get(page_of(route, "history"))
        refused = client.post(page_of(route, "history"), {"version": first.id, "latest": newest.id})

        assert "Return to this" not in page.content.decode()
        assert (page.status_code, refused.status_code) == (200, 403)

    def test_a_page_of_many_versions_takes_few_queries(self, admin_client, route, django_assert_max_num_queries):
        for number in range(30):
            change(route, priority=number)

        with django_assert_max_num_queries(12):
            admin_client.get(page_of(route, "history"))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (
            Returned([Change("Model", "new", "old"), Change("Weight", "2", "1")]),
            "Returned. Model: new → old; Weight: 2 → 1.",
        ),
        (Returned([]), "There was nothing to change."),
        (
            Returned([Change("Weight", "2", "1")], kept=["Name", "Provider"]),
            "Returned. Weight: 2 → 1. These stay, because attempts name them: Name, Provider.",
        ),
    ],
)
def test_what_returning_has_changed_is_said_once(returned, words):
    assert words_of(returned) == words

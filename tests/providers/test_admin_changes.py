"""Two operators at once: neither undoes the other's change unseen, and the history says who changed what."""

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from providers.models import ProviderConfig, RoutingRule
from providers.types import Access
from providers.versioning import versions_of
from requests_app.models import AIModel
from tests.factories import make_model
from tests.html_forms import fields_of

pytestmark = pytest.mark.django_db

ROUTES = reverse("admin:providers_providerconfig_changelist")


@pytest.fixture
def route() -> ProviderConfig:
    return ProviderConfig.objects.get(category="TEXT", name="openai")


def page_of(row: ProviderConfig | AIModel) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def opened(client: Client, address: str) -> dict[str, str]:
    return fields_of(client.get(address).content.decode())


def row_of(fields: dict[str, str], row: ProviderConfig) -> str:
    """The prefix of a row's fields in the list."""
    (name,) = (name for name, value in fields.items() if name.endswith("-id") and value == str(row.pk))
    return name.removesuffix("id")


class TestList:
    def test_an_old_page_changes_only_what_its_reader_changed(self, admin_client, route):
        old = opened(admin_client, ROUTES)
        ProviderConfig.objects.filter(pk=route.pk).update(priority=7, enabled=False)
        other = ProviderConfig.objects.get(category="TEXT", name="anthropic")

        admin_client.post(ROUTES, {**old, f"{row_of(old, other)}weight": "5", "_save": "Save"})

        route.refresh_from_db()
        other.refresh_from_db()
        assert (route.priority, route.enabled, other.weight) == (7, False, 5)

    def test_an_old_row_keeps_what_somebody_else_set_in_it(self, admin_client, route):
        old = opened(admin_client, ROUTES)
        ProviderConfig.objects.filter(pk=route.pk).update(priority=7)

        admin_client.post(ROUTES, {**old, f"{row_of(old, route)}weight": "5", "_save": "Save"})

        route.refresh_from_db()
        assert (route.priority, route.weight) == (7, 5)

    def test_both_changed_one_thing_is_refused_once_with_the_new_value(self, admin_client, route):
        old = opened(admin_client, ROUTES)
        ProviderConfig.objects.filter(pk=route.pk).update(priority=7)

        answer = admin_client.post(ROUTES, {**old, f"{row_of(old, route)}priority": "3", "_save": "Save"})

        assert "Meanwhile it was changed to 7. Save again to overwrite that." in answer.content.decode()
        route.refresh_from_db()
        assert route.priority == 7

        admin_client.post(ROUTES, {**fields_of(answer.content.decode()), "_save": "Save"})

        route.refresh_from_db()
        assert route.priority == 3

    def test_both_set_the_same_value_is_no_conflict(self, admin_client, route):
        old = opened(admin_client, ROUTES)
        ProviderConfig.objects.filter(pk=route.pk).update(priority=7)

        answer = admin_client.post(ROUTES, {**old, f"{row_of(old, route)}priority": "7", "_save": "Save"})

        assert answer.status_code == 302

    def test_what_is_written_between_reading_and_saving_stays(self, admin_client, route, monkeypatch):
        fields = opened(admin_client, ROUTES)

        def save_form(admin, request, form, change):
            ProviderConfig.objects.filter(pk=route.pk).update(enabled=False, daily_cap_usd=5)
            return form.save(commit=False)

        monkeypatch.setattr("providers.admin.ProviderConfigAdmin.save_form", save_form)
        admin_client.post(ROUTES, {**fields, f"{row_of(fields, route)}priority": "3", "_save": "Save"})

        route.refresh_from_db()
        assert (route.priority, route.enabled, route.daily_cap_usd) == (3, False, 5)

    @pytest.mark.parametrize("gone", ["first", "last"])
    def test_a_row_that_was_deleted_meanwhile_keeps_nobody_from_saving(self, admin_client, route, gone):
        old = opened(admin_client, ROUTES)
        rows = list(admin_client.get(ROUTES).context["cl"].result_list)
        rows[0 if gone == "first" else -1].delete()

        answer = admin_client.post(ROUTES, {**old, f"{row_of(old, route)}priority": "3", "_save": "Save"})

        assert answer.status_code == 302
        route.refresh_from_db()
        assert route.priority == 3

    def test_the_history_says_what_was_and_what_is(self, admin_client, route):
        fields = opened(admin_client, ROUTES)
        row = row_of(fields, route)
        del fields[f"{row}enabled"]

        admin_client.post(ROUTES, {**fields, f"{row}priority": "3", "_save": "Save"})

        (entry,) = LogEntry.objects.all()
        assert (entry.user.username, entry.object_id) == ("admin", str(route.pk))
        assert entry.get_change_message() == "Changed Enabled and Priority."
        newest = versions_of(ProviderConfig, route.pk)[0]
        assert newest.actor == "admin:admin"
        assert [str(change) for change in newest.changes] == ["Enabled: yes → no", f"Priority: {route.priority} → 3"]
        history = reverse("admin:providers_providerconfig_history", args=[route.pk])
        assert "<strong>Enabled</strong>: yes → no" in admin_client.get(history).content.decode()

    def test_switching_off_the_last_route_is_warned_of(self, admin_client, settings, route):
        settings.PROVIDER_ACCESS = {"openai": Access("key", "http://127.0.0.1:9")}
        warning = "Nobody answers TEXT"
        assert warning not in admin_client.get(ROUTES).content.decode()
        fields = opened(admin_client, ROUTES)
        del fields[f"{row_of(fields, route)}enabled"]

        answer = admin_client.post(ROUTES, {**fields, "_save": "Save"}, follow=True)

        assert answer.content.decode().count(warning) == 1


class TestPage:
    def test_an_unchanged_page_changes_nothing_and_says_so(self, admin_client, route):
        before = ProviderConfig.objects.filter(pk=route.pk).values().get()

        answer = admin_client.post(page_of(route), opened(admin_client, page_of(route)))

        assert answer.status_code == 302
        after = ProviderConfig.objects.filter(pk=route.pk).values().get()
        assert {name for name in before if before[name] != after[name]} <= {"updated_at"}
        assert LogEntry.objects.get().get_change_message() == "No fields changed."

    def test_json_that_two_have_changed_is_refused_with_the_new_value(self, admin_client, route):
        old = opened(admin_client, page_of(route))
        ProviderConfig.objects.filter(pk=route.pk).update(tags=["fast"], model="gpt-5-nano")

        answer = admin_client.post(page_of(route), {**old, "tags": '["slow"]'})

        assert "Meanwhile it was changed to [&quot;fast&quot;]. Save again" in answer.content.decode()

        admin_client.post(page_of(route), {**fields_of(answer.content.decode())})

        route.refresh_from_db()
        assert (route.tags, route.model) == (["slow"], "gpt-5-nano")

    def test_headers_are_not_copied_into_the_history(self, admin_client, route):
        fields = opened(admin_client, page_of(route))

        admin_client.post(page_of(route), {**fields, "extra_headers": '{"X-Team": "canary"}', "model": "gpt-5-nano"})

        assert LogEntry.objects.get().get_change_message() == "Changed Model and Extra headers: X-Team."
        assert str(versions_of(ProviderConfig, route.pk)[0].changes[0]) == f"Model: {route.model} → gpt-5-nano"
        history = reverse("admin:providers_providerconfig_history", args=[route.pk])
        assert "canary" not in admin_client.get(history).content.decode()
        assert "canary" not in str(list(ProviderConfig.history.values()))

    def test_of_long_json_the_history_has_what_differs_and_of_a_body_its_keys(self, admin_client, route):
        fields = opened(admin_client, page_of(route))
        prices = {**route.prices, "input_per_million": "0.99"}
        body = {"api_key": "canary", "temperature": 0.1}

        admin_client.post(page_of(route), {**fields, "prices": json.dumps(prices), "extra_body": json.dumps(body)})

        message = LogEntry.objects.get().get_change_message()
        assert message == "Changed Prices and Extra body: api_key, temperature."
        (change,) = versions_of(ProviderConfig, route.pk)[0].changes
        was = route.prices["input_per_million"]
        assert str(change) == f'Prices: {{"input_per_million": "{was}"}} → {{"input_per_million": "0.99"}}'
        assert "canary" not in str(list(ProviderConfig.history.values()))

    @pytest.mark.parametrize("typed", [r'{"a": "\ud800"}', r'{"a": "\u0000"}'])
    def test_json_that_postgresql_cannot_store_is_refused(self, admin_client, route, typed):
        answer = admin_client.post(page_of(route), {**opened(admin_client, page_of(route)), "extra_body": typed})

        assert "half of a character" in answer.content.decode()

    def test_ai_models_and_rules_are_kept_so_too(self, admin_client):
        model = make_model()
        old = opened(admin_client, page_of(model))
        AIModel.objects.filter(pk=model.pk).update(token_cost=9)
        rules = reverse("admin:providers_routingrule_changelist")
        old_rules = opened(admin_client, rules)
        RoutingRule.objects.filter(category="TEXT").update(rule="cheapest")

        admin_client.post(page_of(model), {**old, "description": "New"})
        admin_client.post(rules, {**old_rules, "_save": "Save"})

        model.refresh_from_db()
        assert (model.token_cost, model.description) == (9, "New")
        assert RoutingRule.objects.get(category="TEXT").rule == "cheapest"

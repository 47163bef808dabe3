"""The operator's pages of the routes, the circuit breaker and the attempts."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db.models.functions import Now
from django.urls import reverse

from providers.admin_base import CappedPaginator
from providers.models import Attempt, ProviderConfig, ProviderHealth
from providers.statistics.rollups import fold_attempts
from providers.types import Access
from tests.factories import make_attempt, make_provider

pytestmark = pytest.mark.django_db


def changelist(model: str) -> str:
    return reverse(f"admin:providers_{model}_changelist")


def form_of(route: ProviderConfig, **changes: str) -> dict[str, str]:
    """What the route's page sends when `changes` were typed into it."""
    return {
        "category": route.category,
        "operation": route.operation,
        "provider": route.provider,
        "enabled": "on",
        "priority": str(route.priority),
        "weight": "1",
        "model": route.model,
        "list_price": "0.001",
        "price_unit": "1k_tokens",
        "prices": "{}",
        "timeout_seconds": "30",
        "daily_cap_usd": "",
        "name": route.name if isinstance(route.name, str) else "",
        "tags": "[]",
        "extra_body": "{}",
        "extra_headers": "{}",
        "drop_fields": "[]",
        **changes,
    }


class TestChain:
    def test_the_list_shows_whether_a_key_is_there_and_never_the_key(self, admin_client, settings):
        settings.PROVIDER_ACCESS = {
            **settings.PROVIDER_ACCESS,
            "openai": Access("sk-canary-7f3a", "https://api.openai.com"),
        }
        row = make_provider("openai")

        pages = [changelist("providerconfig"), reverse("admin:providers_providerconfig_change", args=[row.pk])]

        for page in pages:
            content = admin_client.get(page).content.decode()
            assert "check_small" in content
            assert "canary" not in content

    def test_it_says_who_is_paused_until_when_and_why(self, admin_client):
        row = ProviderConfig.objects.get(category="TEXT", name="openai")
        ProviderHealth.objects.create(
            category="TEXT",
            provider="openai",
            route="openai",
            open_until=Now() + timedelta(minutes=5),
            reason="HTTP 429",
        )
        ProviderHealth.objects.create(
            category="TEXT",
            provider="xai",
            route="xai",
            open_until=Now() - timedelta(minutes=5),
            reason="HTTP 500",
        )

        ProviderConfig.objects.create(category="VIDEO", provider="anthropic", model="none")

        content = admin_client.get(changelist("providerconfig")).content.decode()

        assert ">paused until " in content
        assert ">half-open: probed next<" in content
        assert content.count(">closed<") == ProviderConfig.objects.count() - 3
        assert content.count(">not supported yet<") == 1
        page = admin_client.get(reverse("admin:providers_providerconfig_change", args=[row.pk]))
        assert "HTTP 429" in page.content.decode()

    def test_moments_are_in_the_operators_time_zone_and_the_page_names_it(self, admin_client, settings):
        settings.TIME_ZONE = "Pacific/Tongatapu"  # 13 hours ahead
        until = datetime(2126, 11, 28, 12, 30, tzinfo=UTC)
        ProviderHealth.objects.create(category="TEXT", provider="openai", route="openai", open_until=until)
        make_attempt(created_at=datetime(2026, 11, 28, 12, 30, tzinfo=UTC))
        fold_attempts()

        routes = admin_client.get(changelist("providerconfig")).content.decode()
        sums = admin_client.get(changelist("attemptrollup"))

        assert ">paused until 2126-11-29 01:30:00<" in routes
        assert "All times in Pacific/Tongatapu" in routes
        assert ">2026-11-29 01:00:00<" in sums.content.decode()

    def test_the_list_begins_with_text_in_the_order_of_the_chain(self, admin_client):
        rows = admin_client.get(changelist("providerconfig")).context["cl"].result_list

        assert [(row.category, row.provider) for row in rows][:3] == [
            ("TEXT", "aimlapi"),
            ("TEXT", "piapi"),
            ("TEXT", "openrouter"),
        ]
        assert rows[len(rows) - 1].category == "AUDIO"

    def test_order_and_switch_are_edited_in_the_list(self, admin_client):
        ProviderConfig.objects.exclude(category="TEXT", provider="xai").delete()
        row = ProviderConfig.objects.get()

        admin_client.post(
            changelist("providerconfig"),
            {
                "form-TOTAL_FORMS": "1",
                "form-INITIAL_FORMS": "1",
                "form-0-id": str(row.pk),
                "form-0-priority": "2",
                "form-0-weight": "5",
                "_save": "Save",
            },
        )

        row.refresh_from_db()
        assert (row.enabled, row.priority, row.weight) == (False, 2, 5)

    @pytest.mark.parametrize(
        ("prices", "message"),
        [
            ('{"input_per_million": 0.5}', "input_per_million must be a decimal number in quotes"),
            ('{"input": "0.5"}', "Unknown price &#x27;input&#x27;. Use input_per_million"),
            ("[1]", "Prices must be a JSON object."),
            ("{", "Enter a valid JSON."),
        ],
    )
    def test_invalid_prices_are_refused_with_a_hint_on_what_to_type(self, admin_client, prices, message):
        row = make_provider("openai")
        page = reverse("admin:providers_providerconfig_change", args=[row.pk])

        response = admin_client.post(page, form_of(row, prices=prices))

        assert message in response.content.decode()

    def test_a_price_is_changed_without_a_deploy(self, admin_client):
        row = make_provider("openai")
        page = reverse("admin:providers_providerconfig_change", args=[row.pk])

        response = admin_client.post(page, form_of(row, list_price="0.0042"))

        assert response.status_code == 302
        row.refresh_from_db()
        assert row.list_price == Decimal("0.0042")

    def test_a_new_route_can_be_added(self, admin_client):
        page = reverse("admin:providers_providerconfig_add")
        ProviderConfig.objects.filter(provider="xai").delete()
        row = ProviderConfig(category="TEXT", provider="xai", model="grok", priority=6)

        assert admin_client.get(page).status_code == 200
        assert admin_client.post(page, form_of(row)).status_code == 302

        assert ProviderConfig.objects.filter(provider="xai").exists()

    def test_a_second_route_of_a_provider_needs_a_name(self, admin_client):
        page = reverse("admin:providers_providerconfig_add")
        row = ProviderConfig(category="TEXT", provider="openai", model="gpt", priority=9)

        refused = admin_client.post(page, form_of(row))
        assert "Give this one a name of its own." in refused.content.decode()

        assert admin_client.post(page, form_of(row, name="smart")).status_code == 302
        assert ProviderConfig.objects.filter(provider="openai", category="TEXT", operation="generate").count() == 2

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"category": "IMAGE", "operation": "transcribe"}, "transcribe needs the category TEXT."),
            ({"operation": "edit"}, "edit needs the category IMAGE or VIDEO."),
            ({"provider": "anthropic", "operation": "transcribe"}, "Anthropic cannot transcribe TEXT here."),
            ({"provider": "kie", "category": "AUDIO"}, "Kie.ai cannot generate AUDIO here."),
            ({"provider": "kie", "category": "IMAGE", "operation": "edit"}, "Kie.ai takes no image for IMAGE here."),
            ({"provider": "groq", "web_search": "on"}, "Groq has no web search here."),
            ({"operation": "invent"}, "Select a valid choice."),
            ({"reasoning_effort": "very"}, "Select a valid choice."),
            ({"prices": '{"per_image": "1e400"}'}, 'An image: "1e400" is no price. Type US dollars such as 0.50'),
        ],
    )
    def test_a_route_that_nobody_could_serve_is_refused(self, admin_client, fields, message):
        page = reverse("admin:providers_providerconfig_add")
        row = ProviderConfig(category="TEXT", provider="openai", model="m", priority=9)

        refused = admin_client.post(page, form_of(row, name="new", **fields))

        assert message in unescape(refused.content.decode())

    def test_of_each_operation_one_is_accepted(self, admin_client):
        page = reverse("admin:providers_providerconfig_add")
        for number, fields in enumerate(
            (
                {"operation": "transcribe"},
                {"operation": "edit", "category": "IMAGE"},
                {"web_search": "on", "reasoning_effort": "high"},
            )
        ):
            row = ProviderConfig(category="TEXT", provider="openai", model="m", priority=9)
            assert admin_client.post(page, form_of(row, name=f"new-{number}", **fields)).status_code == 302

    @pytest.mark.parametrize("name", ["prices", "capabilities", "extra_body", "extra_headers"])
    def test_json_is_checked_whatever_it_holds_and_nothing_is_the_default(self, admin_client, name):
        row = make_provider("openai")
        page = reverse("admin:providers_providerconfig_change", args=[row.pk])
        default = ProviderConfig._meta.get_field(name).get_default()
        wrong = "{}" if default == [] else "[]"

        for typed in (wrong, "0", '"x"', "{"):
            assert admin_client.post(page, form_of(row, **{name: typed})).status_code == 200, typed
        for typed in ("", "null"):
            assert admin_client.post(page, form_of(row, **{name: typed})).status_code == 302, typed
            row.refresh_from_db()
            assert getattr(row, name) == default

    @pytest.mark.parametrize("is_folded", [False, True])
    def test_a_name_stays_once_a_call_was_made(self, admin_client, is_folded):
        row = make_provider("openai", name="smart")
        page = reverse("admin:providers_providerconfig_change", args=[row.pk])
        assert 'name="name"' in admin_client.get(page).content.decode()
        make_attempt(provider="openai", route="smart")
        if is_folded:
            fold_attempts()

        assert 'name="name"' not in admin_client.get(page).content.decode()
        admin_client.post(page, form_of(row, name="clever"))

        row.refresh_from_db()
        assert row.name == "smart"

    def test_a_key_that_is_not_used_any_more_pauses_nothing(self, admin_client, settings):
        settings.PROVIDER_ACCESS = {"openai": Access("key", "http://127.0.0.1:9")}
        later = Now() + timedelta(minutes=5)
        ProviderHealth.objects.create(category="", provider="openai", key_id="an-old-key", open_until=later)
        assert "paused until" not in admin_client.get(changelist("providerconfig")).content.decode()

        key_id = settings.PROVIDER_ACCESS["openai"].key_id
        ProviderHealth.objects.create(category="", provider="openai", key_id=key_id, open_until=later)
        assert f"key {key_id[:8]} paused until" in admin_client.get(changelist("providerconfig")).content.decode()

    def test_a_route_says_what_its_calls_have_brought_of_late(self, admin_client):
        route = ProviderConfig.objects.get(category="TEXT", name="openai")
        page = reverse("admin:providers_providerconfig_change", args=[route.pk])
        assert "not asked" in admin_client.get(page).content.decode()
        make_attempt(provider="openai", cost=Decimal("0.002"))
        make_attempt(provider="openai", state=Attempt.State.FAILED, cost=None, number=2)

        assert "50.00 % of 2, $0.002" in admin_client.get(page).content.decode()


class TestBreaker:
    def reset(self, client, row: ProviderHealth):
        data = {"action": "reset_now", "_selected_action": [str(row.pk)]}
        return client.post(changelist("providerhealth"), data, follow=True)

    def test_an_operator_resets_an_open_circuit(self, admin_client):
        row = ProviderHealth.objects.create(
            category="TEXT", provider="openai", failures=3, open_until=Now() + timedelta(minutes=5), reason="HTTP 500"
        )

        response = self.reset(admin_client, row)

        assert "1 of 1 resumed." in response.content.decode()
        row.refresh_from_db()
        assert (row.open_until, row.failures) == (None, 0)
        assert LogEntry.objects.get().change_message == "Resumed; it was paused because of HTTP 500"

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"failures": 2}, "closed"),
            ({"open_until": Now() + timedelta(hours=1)}, "open: paused until "),
            ({"open_until": Now() - timedelta(hours=1)}, "half-open: probed next"),
            (
                {"open_until": Now() - timedelta(hours=1), "probe_until": Now() + timedelta(hours=1)},
                "half-open: being probed",
            ),
        ],
    )
    def test_the_list_and_the_page_say_its_state_and_why(self, admin_client, fields, words):
        row = ProviderHealth.objects.create(
            category="TEXT", provider="openai", route="openai", reason="HTTP 500", **fields
        )

        for page in (changelist("providerhealth"), reverse("admin:providers_providerhealth_change", args=[row.pk])):
            shown = admin_client.get(page).content.decode()
            assert words in shown
            assert "HTTP 500" in shown
            assert "paused by" not in shown

    def test_the_list_says_that_an_operator_has_paused_the_route(self, admin_client, django_assert_max_num_queries):
        for name in ("openai", "xai"):
            ProviderHealth.objects.create(category="TEXT", provider=name, route=name, failures=1)
        ProviderHealth.objects.create(provider="openai", key_id="abcdefgh", failures=1)
        until = {"paused_by": "admin:jo", "paused_because": "odd bill"}
        ProviderConfig.objects.filter(category="TEXT", name="xai").update(
            paused_until=Now() + timedelta(hours=1), **until
        )
        ProviderConfig.objects.filter(category="TEXT", name="openai").update(
            paused_until=Now() - timedelta(hours=1), **until
        )

        with django_assert_max_num_queries(10):
            page = admin_client.get(changelist("providerhealth")).content.decode()

        assert page.count("paused by admin:jo until ") == page.count(": odd bill") == 1

    def test_staff_who_may_only_view_cannot_reset_it(self, client):
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_providerhealth"))
        client.force_login(viewer)
        row = ProviderHealth.objects.create(
            category="TEXT", provider="openai", failures=3, open_until=Now() + timedelta(minutes=5)
        )

        self.reset(client, row)

        row.refresh_from_db()
        assert row.failures == 3


class TestRecords:
    @pytest.mark.parametrize("state", Attempt.State)
    def test_each_state_is_found_finished_or_not(self, admin_client, state):
        open_states = (*Attempt.LIVE, Attempt.State.UNKNOWN)  # an unknown outcome may still be learnt
        moments = [None] if state in Attempt.LIVE else [Now(), None] if state in open_states else [Now()]
        wanted = {make_attempt(state=state, cost=None, finished_at=moment).pk for moment in moments}
        make_attempt(state="FAILED" if state != "FAILED" else "OK", cost=None)

        page = admin_client.get(changelist("attempt"), {"state__exact": state.value})

        assert {row.pk for row in page.context["cl"].result_list} == wanted

    def test_the_hourly_sums_say_what_they_do_not_contain_yet(self, admin_client):
        make_attempt(cost=Decimal("0.488"))
        fold_attempts()
        assert "Not in these sums yet" not in admin_client.get(changelist("attemptrollup")).content.decode()

        make_attempt(cost=Decimal("0.026"))
        make_attempt(state="UNKNOWN", cost=None)
        make_attempt(purpose="sandbox", cost=Decimal(7))

        content = admin_client.get(changelist("attemptrollup")).content.decode()
        assert "Not in these sums yet: 2 attempts, $0.026 known. The statistics of the API have both." in content

    def test_a_job_is_found_by_its_id(self, admin_client):
        wanted = make_attempt(provider="replicate", job_id="job-1")
        make_attempt(provider="replicate", job_id="job-2")

        page = admin_client.get(changelist("attempt"), {"q": "job-1"})

        assert [row.pk for row in page.context["cl"].result_list] == [wanted.pk]

    def test_an_unknown_cost_is_shown_as_unknown_and_a_failure_costs_nothing(self, admin_client):
        make_attempt(cost=Decimal("0.0015"), caller_key="priced")
        make_attempt(cost=None, caller_key="unpriced")
        make_attempt(cost=None, state=Attempt.State.FAILED, caller_key="failed")

        def cost(caller_key: str) -> str:
            content = admin_client.get(changelist("attempt"), {"q": caller_key}).content.decode()
            return re.split(r"field-shown_cost[^>]*>", content)[1].partition("<")[0].strip()

        assert [cost("priced"), cost("unpriced"), cost("failed")] == ["$0.0015", "unknown", "–"]

    @pytest.mark.parametrize("model", ["attempt", "attemptrollup", "providerhealth"])
    def test_not_even_a_superuser_edits_them(self, admin_client, model):
        attempt = make_attempt()
        fold_attempts()
        ProviderHealth.objects.create(category="TEXT", provider="openai")
        pk = {"attempt": attempt.pk}.get(model) or admin_client.get(changelist(model)).context["cl"].queryset.get().pk
        page = reverse(f"admin:providers_{model}_change", args=[pk])

        assert admin_client.get(page).status_code == 200
        assert "_save" not in admin_client.get(page).content.decode()
        assert admin_client.post(page, {"cost": "0"}).status_code == 403
        assert admin_client.get(reverse(f"admin:providers_{model}_delete", args=[pk])).status_code == 403
        assert admin_client.get(reverse(f"admin:providers_{model}_add")).status_code == 403

    def test_a_list_never_counts_a_large_table(self, admin_client, django_assert_max_num_queries, monkeypatch):
        monkeypatch.setattr(CappedPaginator, "MAX_COUNTED", 3)
        for _ in range(5):
            make_attempt()

        with django_assert_max_num_queries(6) as captured:
            content = admin_client.get(changelist("attempt")).content.decode()

        assert "3 or more attempts" in content
        assert "3 results" not in content
        counts = [query["sql"] for query in captured.captured_queries if "COUNT(" in query["sql"]]
        assert counts
        assert all("LIMIT 3" in sql for sql in counts)
        assert not [sql for sql in counts if "ORDER BY" in sql]

"""*Test now*: one real call on one route, on the bill and in no success rate."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.storage import default_storage
from django.db.models.functions import Now
from django.urls import reverse

from providers.chain import candidates
from providers.models import Attempt, AttemptRollup, ProviderConfig, ProviderHealth
from providers.routes.pauses import route_pause
from providers.routes.testing import RouteTest, new_test_key, route_test, sweep_route_tests
from providers.sandbox import running_sandbox
from providers.statistics.rollups import fold_attempts
from providers.statistics.selectors import provider_stats
from providers.types import Access, Category
from tests.factories import make_attempt
from tests.fakes.http_server import FakeServer, answer
from tests.html_forms import fields_of
from tests.sandboxes import SandboxClock, access_to

pytestmark = pytest.mark.django_db

ANSWER = {
    "model": "gpt-6-luna-2026",
    "choices": [{"message": {"content": "OK"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
}


@pytest.fixture
def route(server: FakeServer, settings) -> ProviderConfig:
    settings.PROVIDER_ACCESS = {"groq": Access("gsk-canary-key", server.url)}
    return ProviderConfig.objects.get(category="TEXT", name="groq")  # which is shipped switched off


def outcome_of(route: ProviderConfig, prompt: str = "") -> RouteTest:
    return route_test(route_id=route.pk, caller_key=new_test_key(), prompt=prompt)


class TestText:
    def test_it_asks_a_route_that_is_off_and_paused(self, route, server):
        server.will(answer(ANSWER))
        route_pause(route_id=route.pk, actor="admin:anna")

        test = outcome_of(route, "Say OK")

        assert (test.text, test.is_answered, test.attempt.answered_by) == ("OK", True, "gpt-6-luna-2026")
        assert test.attempt.purpose == "test"
        assert test.attempt.cost > 0
        sent = server.received[0].json
        assert sent["messages"][-1]["content"] == "Say OK"
        assert max(value for name, value in sent.items() if "max" in name and "tokens" in name) == 256

    def test_an_error_is_in_the_providers_words_without_the_key(self, route, server):
        server.will(answer({"error": {"message": "Invalid API key gsk-canary-key"}}, 401))

        test = outcome_of(route)

        assert (test.is_answered, test.attempt.http_status) == (False, 401)
        assert "Invalid API key" in test.attempt.error_text
        assert "canary" not in str(test)

    def test_it_is_on_the_bill_and_in_no_rate(self, route, server):
        server.will(answer(ANSWER))
        outcome_of(route)
        make_attempt(provider="groq", route="groq", state="FAILED", cost=None, error_class="ServerFault")

        for _ in ("as they are", "as sums"):
            (stats,) = (each for each in provider_stats(Category.TEXT) if each.route == "groq")
            assert (stats.requests, stats.successes, stats.success_ms) == (1, 0, 0)
            assert stats.total_cost > 0
            fold_attempts()
        assert AttemptRollup.objects.count() == 1

    def test_a_success_closes_its_circuit(self, route, server):
        server.will(answer(ANSWER))
        health = ProviderHealth.objects.create(
            category="TEXT", provider="groq", route="groq", failures=3, open_until=Now() + timedelta(minutes=5)
        )

        outcome_of(route)

        health.refresh_from_db()
        assert (health.open_until, health.failures) == (None, 0)

    def test_without_a_key_no_call_is_made(self, route, settings):
        settings.PROVIDER_ACCESS = {}

        test = outcome_of(route)

        assert test.attempt is None
        assert str(test).startswith("not called: its provider's key is not set")

    def test_a_daily_cap_holds(self, route, server):
        ProviderConfig.objects.filter(pk=route.pk).update(daily_cap_usd=0)

        test = outcome_of(route)

        assert "its daily cap of $0.00" in str(test)
        assert not server.received

    def test_a_second_click_makes_no_second_call(self, route, server):
        server.will(answer(ANSWER))
        key = new_test_key()

        for _ in range(2):
            assert route_test(route_id=route.pk, caller_key=key).is_answered

        assert len(server.received) == 1

    @pytest.mark.parametrize("key", ["req_1", "test:" + "x" * 70])
    def test_another_callers_key_is_refused(self, route, key):
        with pytest.raises(ValueError, match="no key of a test"):
            route_test(route_id=route.pk, caller_key=key)


class TestMedia:
    @pytest.mark.parametrize(
        ("category", "name"),
        [("IMAGE", "openai"), ("IMAGE", "replicate"), ("AUDIO", "elevenlabs"), ("TEXT", "openai-transcribe")],
    )
    def test_each_kind_answers(self, sandboxed, category, name):
        route = ProviderConfig.objects.get(category=category, name=name)

        test = outcome_of(route)

        assert test.is_answered, str(test)
        assert test.attempt.purpose == "sandbox"
        if category != "TEXT":
            assert test.media.size > 0
            assert not default_storage.exists(test.media.name)

    def test_a_long_job_is_looked_at_again(self, settings, monkeypatch):
        route, clock, key = (
            ProviderConfig.objects.get(category="VIDEO", name="replicate"),
            SandboxClock(),
            new_test_key(),
        )
        monkeypatch.setattr("providers.chain.fallback.poll_delay_seconds", lambda provider, age_seconds: 0)
        monkeypatch.setattr("providers.routes.testing.WAIT_SECONDS", -1.0)
        with running_sandbox(video_seconds=60, clock=clock) as sandbox:
            settings.SANDBOX_ACTIVE = True
            settings.PROVIDER_ACCESS = {"replicate": access_to(sandbox, "replicate")}
            looks = [route_test(route_id=route.pk, caller_key=key) for _ in range(2)]
            clock.pass_seconds(120)
            last = route_test(route_id=route.pk, caller_key=key)

        assert [look.is_running for look in looks] == [True, True]
        assert last.is_answered
        assert Attempt.objects.filter(caller_key=key).count() == 1

    def test_a_job_that_is_forgotten_is_given_up(self):
        job = {"state": "RUNNING", "finished_at": None}
        stale = make_attempt(caller_key=new_test_key(), purpose="test", job_id="job-1", **job)
        users = make_attempt(job_id="job-2", **job)
        Attempt.objects.update(created_at=Now() - timedelta(hours=2))

        assert sweep_route_tests() == 1

        states = [Attempt.objects.get(pk=row.pk).state for row in (stale, users)]
        assert states == ["ABANDONED", "RUNNING"]
        assert sweep_route_tests() == 0


class TestPage:
    def test_it_says_the_price_first_and_then_the_answer(self, admin_client, route, server):
        server.will(answer(ANSWER))
        address = reverse("admin:providers_providerconfig_test", args=[route.pk])
        page = admin_client.get(address).content.decode()
        assert "List price: $0.0003 / 1,000 tokens; this call costs at most: $" in page
        assert not server.received

        shown = admin_client.post(address, fields_of(page)).content.decode()

        assert "It answers" in shown
        assert "gpt-6-luna-2026" in shown
        assert "Tested: answered by gpt-6-luna-2026" in LogEntry.objects.get().change_message

    def test_a_foreign_key_is_refused(self, admin_client, route):
        address = reverse("admin:providers_providerconfig_test", args=[route.pk])

        assert admin_client.post(address, {"key": "req_1"}).status_code == 403

    def test_its_buttons_pause_and_resume(self, admin_client, route):
        ProviderConfig.objects.filter(pk=route.pk).update(enabled=True)
        page = reverse("admin:providers_providerconfig_change", args=[route.pk])
        posted = {"_selected_action": route.pk, "from_page": "1", "why": "wrong answers"}
        the_list = reverse("admin:providers_providerconfig_changelist")

        buttons = fields_of(admin_client.get(page).content.decode())
        assert buttons["_selected_action"] == str(route.pk)
        assert f"/{route.pk}/test/" in admin_client.get(page).content.decode()
        paused = admin_client.post(the_list, {**posted, "action": "pause_routes"})
        shown = admin_client.get(page).content.decode()
        candidates._chains.clear()
        served = candidates.can_serve(Category.TEXT)
        admin_client.post(the_list, {**posted, "action": "resume_routes"})

        assert paused.headers["Location"] == page
        assert "paused by admin:admin until" in shown
        assert "wrong answers" in shown
        assert not served
        assert candidates.can_serve(Category.TEXT)

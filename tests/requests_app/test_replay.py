"""What another order would have cost: figures that can be counted by hand, pauses that hold, little that is read."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from providers.models import AttemptRollup, ProviderConfig
from providers.statistics.rollups import fold_attempts
from providers.types import Category
from requests_app.analytics import replay as module
from requests_app.analytics.replay import Replay, replay
from requests_app.models import Request
from tests.factories import make_account, make_attempt, make_model, make_request

pytestmark = pytest.mark.django_db

PAUSED = {"route": "openai", "provider": "openai", "reason": "paused for another 30 s (HTTP 500)"}


@pytest.fixture
def routes() -> dict[str, ProviderConfig]:
    ProviderConfig.objects.filter(category="TEXT").exclude(name__in=["openai", "xai", "groq"]).delete()
    ProviderConfig.objects.filter(category="TEXT").update(enabled=True)
    return {route.name: route for route in ProviderConfig.objects.filter(category="TEXT")}


def answered(
    route: str, *, number: int = 1, cost: str | None = "0.001", seconds: int = 2, failures: int = 0, **fields: Any
) -> None:
    """Make requests that this route has answered, and attempts on it that failed."""
    model, account = make_model(), make_account()
    price = None if cost is None else Decimal(cost)
    for _ in range(number):
        request = make_request(
            model=model, account=account, status="COMPLETED", actual_provider=route, actual_route=route,
            completed_at=timezone.now(), output_text="!", cost=price, processing_ms=1_000 * seconds, **fields,
        )  # fmt: skip
        make_attempt(caller_key=request.id, provider=route, route=route, cost=price, duration_ms=1_000 * seconds)
    for _ in range(failures):
        make_attempt(provider=route, route=route, state="FAILED", cost=None, error_class="ServerFault")


def replayed(*order: ProviderConfig | list[ProviderConfig], **options: Any) -> Replay:
    draft = [[route.pk for route in (each if isinstance(each, list) else [each])] for each in order]
    return replay(category=Category.TEXT, draft=draft, days=7, seed=1, **options)


class TestFigures:
    def test_the_first_route_of_the_draft_gives_its_success_cost_and_time(self, routes):
        answered("xai", number=6, cost="0.004", seconds=1, failures=2)
        answered("openai", number=4, cost="0.001", seconds=3)

        found = replayed(routes["xai"], routes["openai"])

        assert found.requests == 10
        assert found.draft.success.value == pytest.approx(6 / 8)
        assert found.draft.cost.value == pytest.approx(0.004 * 6 / 8)
        assert found.draft.seconds.value == pytest.approx(1.0)
        assert found.present.success.value == pytest.approx(1.0)  # openai is before xai
        assert found.present.cost.value == pytest.approx(0.001)
        assert found.recorded.success == 1.0
        assert found.recorded.cost == pytest.approx((6 * 0.004 + 4 * 0.001) / 10)

    def test_what_was_paused_then_is_passed_by(self, routes):
        answered("openai", number=3, cost="0.001")
        long_ago = timezone.now() - timedelta(hours=5)
        answered("xai", number=1, cost="0.004", skipped=[PAUSED])
        Request.objects.filter(actual_route="xai").update(created_at=long_ago)

        found = replayed(routes["openai"], routes["xai"])

        assert [share.requests for share in found.draft.shares] == [0.75, 0.25]
        assert found.draft.cost.value == pytest.approx((3 * 0.001 + 0.004) / 4)

    def test_a_pause_counts_for_the_minute_in_which_nobody_looked(self, routes):
        moment = timezone.now().replace(second=10)
        answered("groq", number=1, skipped=[PAUSED])
        answered("groq", number=1)
        Request.objects.update(created_at=moment)
        assert replayed(routes["openai"], routes["groq"]).draft.shares[0].requests == 0

        Request.objects.filter(skipped=[]).update(created_at=moment - timedelta(minutes=5))

        assert replayed(routes["openai"], routes["groq"]).draft.shares[0].requests == 0.5

    def test_what_another_request_needed_blocks_nobody_else(self, routes):
        unable = {"route": "openai", "provider": "openai", "reason": "the model takes no audio"}
        answered("groq", number=1, skipped=[unable])
        answered("groq", number=1)

        assert replayed(routes["openai"], routes["groq"]).draft.shares[0].requests == 0.5

    def test_a_place_behind_another_by_a_rule_is_no_obstacle(self, routes):
        behind = {"route": "openai", "provider": "openai", "reason": "cheapest first: groq ($1) before openai ($2)"}
        answered("groq", number=1, skipped=[behind])

        assert replayed(routes["openai"], routes["groq"]).draft.shares[0].requests == 1

    def test_equal_places_share_by_weight(self, routes):
        ProviderConfig.objects.filter(name="xai").update(weight=3)
        answered("openai", number=2)
        answered("xai", number=2)

        found = replayed([routes["openai"], ProviderConfig.objects.get(pk=routes["xai"].pk)])

        assert [share.requests for share in found.draft.shares] == [0.25, 0.75]

    def test_only_routes_with_the_tag_serve_it(self, routes):
        ProviderConfig.objects.filter(name="xai").update(tags=["fast"])
        answered("xai", number=1, tag="fast")

        found = replayed(routes["openai"], routes["xai"])

        assert [share.requests for share in found.draft.shares] == [0, 1]
        assert replayed(routes["openai"]).draft.unserved == 1

    def test_a_size_has_its_own_cost(self, routes):
        answered("openai", number=20, cost="0.001")
        answered("openai", number=20, cost="0.009", input_text="x" * 5_000)
        answered("xai", number=1, cost="0.01", input_text="x" * 5_000)

        found = replayed(routes["openai"])

        assert found.draft.cost.value == pytest.approx((20 * 0.001 + 21 * 0.009) / 41)

    def test_a_size_that_a_route_has_not_met_costs_as_much_more_as_on_the_others(self, routes):
        answered("openai", number=10, cost="0.001")
        answered("openai", number=10, cost="0.003", input_text="x" * 5_000)
        answered("xai", number=10, cost="0.010")

        found = replayed(routes["xai"])

        long, short = 3 / 2, (10 * 0.5 + 10 * 1) / 20  # against the means of their routes
        assert found.draft.cost.value == pytest.approx(0.010 * (10 * long + 20 * short) / 30)

    def test_of_a_route_without_figures_nothing_is_claimed(self, routes):
        answered("openai", number=2)

        found = replayed(routes["groq"], routes["openai"])

        assert (found.draft.unmeasured, found.draft.success, found.draft.cost) == (1, None, None)
        assert found.draft.shares[0].attempts == 0

    def test_a_cost_that_nobody_knows_is_not_nothing(self, routes):
        answered("openai", number=3, cost=None)
        ProviderConfig.objects.update(list_price=None)

        assert replayed(routes["openai"]).draft.cost is None

    def test_more_requests_are_more_certain(self, routes):
        answered("openai", number=5, failures=2)
        few = replayed(routes["openai"]).draft.success
        answered("openai", number=45, failures=18)
        many = replayed(routes["openai"]).draft.success

        assert 0 < many.plus_minus < few.plus_minus / 2

    def test_without_requests_there_is_no_answer(self, routes):
        found = replayed(routes["openai"])

        assert (found.requests, found.draft.cost, found.recorded.success) == (0, None, None)


class TestSample:
    @pytest.fixture
    def much(self, routes, monkeypatch) -> datetime:
        """Say that there is more than is replayed: two hours, of which one had all the traffic but a little."""
        monkeypatch.setattr(module, "MAX_REQUESTS", 200)
        answered("openai", number=60)
        Request.objects.update(created_at=Now() - timedelta(hours=1, minutes=30))
        fold_attempts()
        return timezone.now()

    def test_it_reads_no_more_than_it_may(self, routes, much, django_assert_max_num_queries):
        hour = much.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        AttemptRollup.objects.create(hour=hour, category="TEXT", provider="xai", route="xai", requests=5_000)

        with django_assert_max_num_queries(module.STRETCHES + 5):
            found = replayed(routes["openai"])

        assert found.is_sample
        assert 0 < found.requests <= 200

    def test_the_same_seed_draws_the_same(self, routes, much):
        hour = much.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        AttemptRollup.objects.create(hour=hour, category="TEXT", provider="xai", route="xai", requests=5_000)

        assert replayed(routes["openai"]).draft == replayed(routes["openai"]).draft


class TestPage:
    ADDRESS = reverse("admin:requests_app_request_replay")

    def test_it_begins_with_the_present_order(self, admin_client, routes):
        answered("openai", number=2, cost="0.001")

        page = admin_client.get(self.ADDRESS).content.decode()

        assert f'name="place_{routes["openai"].pk}" value="4"' in page
        assert page.count("1.0000 ± ") == 2  # USD for a thousand, under the draft and the present order

    def test_a_draft_stands_beside_it(self, admin_client, routes):
        answered("openai", number=2, cost="0.001")
        answered("xai", number=2, cost="0.004")

        page = admin_client.get(self.ADDRESS, {"category": "TEXT", "days": "1", f"place_{routes['xai'].pk}": "1"})

        assert "4.0000 ± " in page.content.decode()
        assert "1.0000 ± " in page.content.decode()

    @pytest.mark.parametrize(
        "query",
        ["category=NONE", "days=x", "days=999999999", "place_x=1", "category=%F0%9F%98%80", "category=IMAGE&days=30"],
    )
    def test_nonsense_is_answered(self, admin_client, query):
        assert admin_client.get(f"{self.ADDRESS}?{query}").status_code == 200

    def test_a_place_that_is_none_is_refused(self, admin_client, routes):
        page = admin_client.get(self.ADDRESS, {f"place_{routes['xai'].pk}": "-1"}).content.decode()

        assert "greater than or equal to 0" in page

    def test_the_list_of_routes_leads_to_it(self, admin_client):
        assert self.ADDRESS in admin_client.get(reverse("admin:providers_providerconfig_changelist")).content.decode()

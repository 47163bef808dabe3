"""Which routes are asked, in which order, with which key."""

from collections.abc import Callable

import pytest

from providers.chain import candidates, circuit_breaker
from providers.chain.candidates import Asked, Candidate, Skip, candidates_for, route_candidates
from providers.errors import AccessDenied, ModelGone, RateLimited, ServerFault
from providers.models import Attempt, ProviderConfig
from providers.types import Access, Category, Operation, OutputOptions, Overrides, Prompt
from tests.factories import make_provider

pytestmark = pytest.mark.django_db

ASKED = Prompt(Category.TEXT, "Hello")


@pytest.fixture
def routes(settings) -> Callable[..., list[ProviderConfig]]:
    """Make the routes of TEXT, in this order: `routes("openai", fast="openai")`, some with names of their own."""

    def make(*slugs: str, **named: str) -> list[ProviderConfig]:
        ProviderConfig.objects.all().delete()
        settings.PROVIDER_ACCESS = {
            slug: Access(f"key-of-{slug}", "http://127.0.0.1:9") for slug in {*slugs, *named.values()}
        }
        pairs = [*((slug, slug) for slug in slugs), *named.items()]
        return [
            make_provider(slug, name=name, priority=priority) for priority, (name, slug) in enumerate(pairs, start=1)
        ]

    return make


def asked(prompt: Prompt = ASKED, earlier: list[Asked] | None = None) -> list[Candidate]:
    candidates._chains.clear()
    return list(candidates_for(prompt, earlier or [], []))


def names(prompt: Prompt = ASKED) -> list[str]:
    return [candidate.route.name for candidate in asked(prompt)]


def fail(route: ProviderConfig, error: Exception, times: int = 1) -> None:
    for _ in range(times):
        candidate = route_candidates(route, {})[0]
        circuit_breaker.record_failure(candidate.circuit_for(error), error=error)


class TestRoutes:
    def test_a_provider_may_have_several(self, routes):
        routes("openai", fast="openai", smart="openai", xai="xai")

        assert names() == ["openai", "fast", "smart", "xai"]

    def test_one_that_fails_pauses_none_of_its_providers_others(self, routes):
        fast, _ = routes(fast="openai", smart="openai")
        fail(fast, ServerFault(), times=3)

        assert names() == ["smart", "fast"]  # the paused one last

    def test_a_wrong_key_pauses_all_that_use_it(self, routes):
        fast, *_ = routes(fast="openai", smart="openai", xai="xai")
        fail(fast, AccessDenied())

        assert names() == ["xai", "fast", "smart"]

    def test_a_retired_model_is_its_routes_concern(self, routes):
        fast, _ = routes(fast="openai", smart="openai")
        fail(fast, ModelGone())

        assert names() == ["smart", "fast"]

    def test_by_tag(self, routes):
        music, speech, _ = routes(a="openai", b="xai", c="anthropic")
        ProviderConfig.objects.filter(pk=music.pk).update(tags=["music", "fast"])
        ProviderConfig.objects.filter(pk=speech.pk).update(tags=["speech"])

        assert names(Prompt(Category.TEXT, "Hello", tag="music")) == ["a"]
        assert names(Prompt(Category.TEXT, "Hello", tag="nobody")) == []
        assert names() == ["a", "b", "c"]
        assert candidates.can_serve(Category.TEXT, "music")
        assert not candidates.can_serve(Category.TEXT, "nobody")

    def test_by_operation(self, routes):
        edit, _ = routes(a="openai", b="xai")
        ProviderConfig.objects.filter(pk=edit.pk).update(operation="edit")

        assert names() == ["b"]
        assert names(Prompt(Category.TEXT, "Hello", operation=Operation.EDIT)) == ["a"]

    def test_each_asks_in_its_own_way(self, routes):
        (route,) = routes("openai")
        route.model, route.max_output_tokens, route.reasoning_effort = "gpt", 99, "high"
        route.extra_body, route.drop_fields, route.extra_headers = {"a": 1}, ["b"], {"X-C": "d"}
        route.save()

        (candidate,) = asked()
        prompt = candidate.prompt_for(ASKED)

        assert (prompt.model, prompt.max_output_tokens, prompt.reasoning_effort) == ("gpt", 99, "high")
        assert prompt.overrides == Overrides({"a": 1}, ("b",), {"X-C": "d"})


class TestKeys:
    @pytest.fixture
    def two_keys(self, routes, settings) -> ProviderConfig:
        (route,) = routes("openai")
        settings.PROVIDER_ACCESS = {"openai": Access("key-1", "http://127.0.0.1:9", ("key-2",))}
        return route

    def keys(self, earlier: list[Asked] | None = None) -> list[str]:
        return [candidate.provider.access.key for candidate in asked(earlier=earlier)]

    def test_they_take_turns(self, two_keys):
        firsts = [self.keys()[0] for _ in range(6)]

        assert firsts in (["key-1", "key-2"] * 3, ["key-2", "key-1"] * 3)

    @pytest.mark.parametrize("error", [AccessDenied(), RateLimited(retry_after=60)])
    def test_each_is_paused_by_itself(self, two_keys, error):
        fail(two_keys, error)  # with whichever comes first

        candidates._chains.clear()
        (passed,) = {self.keys()[0] for _ in range(4)}
        assert passed in ("key-1", "key-2")

    def test_another_key_may_do_what_one_may_not_and_not_what_the_provider_cannot(self, two_keys):
        first, second = asked()
        for error, expected in (
            (AccessDenied(), [second.key_id]),
            (RateLimited(), [second.key_id]),
            (ServerFault(), []),
        ):
            earlier = [Asked("openai", first.key_id, error.error_class)]

            assert [candidate.key_id for candidate in asked(earlier=earlier)] == expected

    def test_a_job_keeps_the_key_that_it_was_submitted_with(self, two_keys, settings):
        _, second = sorted(asked(), key=lambda candidate: candidate.provider.access.key)
        job = Attempt(category="TEXT", provider="openai", route="openai", key_id=second.key_id)
        for _ in range(3):
            candidate = candidates.candidate_for_attempt(job)
            assert candidate
            assert candidate.provider.access.key == "key-2"

        settings.PROVIDER_ACCESS = {"openai": Access("a-new-key", "http://127.0.0.1:9")}
        candidate = candidates.candidate_for_attempt(job)
        assert candidate
        assert candidate.provider.access.key == "a-new-key"

    def test_its_id_says_nothing_of_it(self):
        access = Access("sk-canary", "http://127.0.0.1:9")

        assert len(access.key_id) == 32
        assert "canary" not in access.key_id + repr(access)
        assert access.key_id != Access("sk-canary2", "http://127.0.0.1:9").key_id


def test_why_a_route_was_passed_by_is_told(routes):
    fast, _ = routes(fast="openai", smart="xai")
    fail(fast, AccessDenied("no money"))
    skips: list[Skip] = []
    candidates._chains.clear()

    list(candidates_for(ASKED, [], skips))

    (skip,) = skips
    assert (skip.route, skip.provider) == ("fast", "openai")
    assert skip.reason.startswith("its key ")
    assert "no money" in skip.reason


def test_where_prices_are_required_a_route_is_asked_for_what_it_can_do_first(settings):
    settings.REQUIRE_PRICES = True
    settings.PROVIDER_ACCESS = {slug: Access("key", "http://127.0.0.1:9") for slug in ("openai", "replicate", "kie")}
    ProviderConfig.objects.filter(category="IMAGE", provider="kie").update(enabled=True, prices={}, list_price=None)
    skips: list[Skip] = []
    candidates._chains.clear()

    prompt = Prompt(Category.IMAGE, "A lake", output_options=OutputOptions(aspect_ratio="16:9"))
    found = [candidate.route.name for candidate in candidates_for(prompt, [], skips)]

    assert found == ["replicate"]
    assert {skip.route: skip.reason for skip in skips if skip.route in ("openai", "kie")} == {
        "openai": "not '16:9', only aspect ratios 1:1, 3:2, 2:3",
        "kie": "nobody knows what a call may cost, and REQUIRE_PRICES is set: put in its price",
    }

"""An operator's pause holds, whatever else is left, until it is over or taken back."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from providers.chain import candidates, circuit_breaker
from providers.chain.candidates import candidates_for, route_candidates
from providers.errors import ServerFault
from providers.models import ProviderConfig, ProviderHealth
from providers.routes.pauses import route_pause, route_resume
from providers.types import Access, Category, Prompt
from providers.versioning import version_return, versions_of
from tests.factories import make_provider

pytestmark = pytest.mark.django_db

PROMPT = Prompt(Category.TEXT, "Hello")


@pytest.fixture
def routes(settings) -> list[ProviderConfig]:
    ProviderConfig.objects.all().delete()
    settings.PROVIDER_ACCESS = {slug: Access(f"key-{slug}", "http://127.0.0.1:9") for slug in ("openai", "xai")}
    return [make_provider("openai", priority=1), make_provider("xai", priority=2)]


def asked() -> tuple[list[str], list[str]]:
    """Return which routes are asked, and why others are not."""
    candidates._chains.clear()
    skips: list[candidates.Skip] = []
    names = [candidate.route.name for candidate in candidates_for(PROMPT, [], skips)]
    return names, [skip.reason for skip in skips]


def test_it_is_not_asked_even_as_the_last_one(routes):
    first, second = routes
    route_pause(route_id=first.pk, actor="admin:anna", reason="wrong answers")
    for _ in range(3):
        circuit_breaker.record_failure(route_candidates(second, {})[0].circuit_for(ServerFault()), error=ServerFault())

    names, reasons = asked()

    assert names == ["xai"]  # which the circuit breaker has paused: a guess, so it is tried
    assert reasons[0].startswith("paused by admin:anna until ")
    assert reasons[0].endswith(": wrong answers")


def test_a_category_that_is_paused_answers_nobody(routes):
    for route in routes:
        route_pause(route_id=route.pk, actor="admin:anna")

    assert asked()[0] == []
    assert not candidates.can_serve(Category.TEXT)


def test_it_ends_by_itself(routes):
    route_pause(route_id=routes[0].pk, actor="admin:anna")
    ProviderConfig.objects.filter(pk=routes[0].pk).update(paused_until=Now() - timedelta(seconds=1))

    assert asked()[0] == ["openai", "xai"]


def test_resuming_ends_it_and_closes_its_circuit(routes):
    route_pause(route_id=routes[0].pk, actor="admin:anna")
    for _ in range(3):
        error = ServerFault()
        circuit_breaker.record_failure(route_candidates(routes[0], {})[0].circuit_for(error), error=error)

    assert route_resume(route_id=routes[0].pk, actor="admin:bea")

    assert asked()[0] == ["openai", "xai"]
    assert ProviderHealth.objects.get(route="openai").open_until is None
    assert not route_resume(route_id=routes[0].pk, actor="admin:bea")


def test_both_are_versions(routes):
    route_pause(route_id=routes[0].pk, actor="admin:anna", reason="wrong answers")
    route_resume(route_id=routes[0].pk, actor="admin:bea")

    resumed, paused, first = versions_of(ProviderConfig, routes[0].pk)

    assert (paused.actor, paused.reason) == ("admin:anna", "wrong answers")
    assert {change.field for change in paused.changes} == {"Paused until", "Paused by", "Paused because"}
    assert (resumed.actor, resumed.reason) == ("admin:bea", "resumed")
    assert first.is_current


def test_returning_to_a_version_pauses_nobody(routes):
    route_pause(route_id=routes[0].pk, actor="admin:anna")
    paused = versions_of(ProviderConfig, routes[0].pk)[0]
    route_resume(route_id=routes[0].pk, actor="admin:bea")
    latest = versions_of(ProviderConfig, routes[0].pk)[0]

    version_return(model=ProviderConfig, version_id=paused.id, latest_id=latest.id, actor="admin:carl")

    assert asked()[0] == ["openai", "xai"]


def test_asking_takes_no_statement_more(routes, django_assert_num_queries):
    candidates._chains.clear()
    with django_assert_num_queries(3):  # routes, rule, circuits
        list(candidates_for(PROMPT, [], []))


def test_a_route_that_is_gone_is_no_fault():
    assert not route_pause(route_id=0, actor="admin:anna")
    assert not route_resume(route_id=0, actor="admin:anna")

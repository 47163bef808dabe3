"""Warnings of a change that does harm; none of them keeps anybody from saving."""

from datetime import date

import pytest
from django.test import Client
from django.urls import reverse

from providers.models import ProviderConfig
from providers.routes import advice
from providers.types import Access
from tests.fakes.http_server import FakeServer, answer, hang
from tests.html_forms import fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_is_known_yet(monkeypatch):
    monkeypatch.setattr(advice, "_lists", None)


@pytest.fixture
def route(server: FakeServer, settings) -> ProviderConfig:
    server.will(answer({"data": [{"id": "here", "active": True}]}))
    settings.PROVIDER_ACCESS = {"groq": Access("key", server.url)}
    ProviderConfig.objects.filter(category="TEXT", name="groq").update(enabled=True)
    return ProviderConfig.objects.get(category="TEXT", name="groq")


def saved(client: Client, route: ProviderConfig, **changes: str) -> str:
    page = reverse("admin:providers_providerconfig_change", args=[route.pk])
    fields = fields_of(client.get(page).content.decode())
    if changes.get("enabled") == "":
        changes.pop("enabled")
        del fields["enabled"]
    return client.post(page, {**fields, **changes, "_continue": "1"}, follow=True).content.decode()


def test_a_model_that_the_provider_does_not_list_is_saved_with_a_warning(admin_client, route):
    words = "the provider no longer has this model"

    assert words in saved(admin_client, route, model="no-such-model")

    route.refresh_from_db()
    assert route.model == "no-such-model"
    assert words not in saved(admin_client, route, model="here")


def test_the_list_is_asked_for_once(admin_client, route, server):
    saved(admin_client, route, model="no-such-model")
    saved(admin_client, route, model="here")
    saved(admin_client, route, priority="9")

    assert len(server.received) == 1


def test_a_provider_that_does_not_answer_delays_nobody_for_long(admin_client, route, server, monkeypatch):
    monkeypatch.setattr(advice, "MODEL_SECONDS", 0.1)
    server.will(hang)

    saved(admin_client, route, model="other")

    route.refresh_from_db()
    assert route.model == "other"


def test_switching_off_the_last_route_says_what_follows(admin_client, route):
    page = saved(admin_client, route, enabled="")

    assert "was the last enabled route with a key for TEXT: users get no answer there" in page
    route.refresh_from_db()
    assert not route.enabled


def test_one_of_two_is_no_harm(admin_client, route, settings, server):
    settings.PROVIDER_ACCESS = {**settings.PROVIDER_ACCESS, "openai": Access("key", server.url)}

    assert "was the last enabled route" not in saved(admin_client, route, enabled="")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"list_price": None, "prices": {}}, ["there is no price"]),
        ({"prices": {"per_call": "1", "as_of": "2026-01-01"}}, ["the price is of 2026-01-01, more than 90 days ago"]),
        ({"prices": {"per_call": "1", "as_of": "2026-11-01"}}, []),
        ({"prices": {}, "list_price": None, "enabled": False}, []),
    ],
)
def test_prices_that_are_missing_or_old(route, fields, words):
    for name, value in fields.items():
        setattr(route, name, value)

    found = advice.warnings_of_route(route, was_enabled=False, today=date(2026, 11, 28))

    assert len(found) == len(words)
    assert all(part in whole for part, whole in zip(words, found, strict=True))

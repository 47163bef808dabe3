"""Warnings of a change that does harm; none of them keeps anybody from saving."""

from datetime import date
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
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


GONE = "the provider no longer has this model"


def test_a_model_that_the_provider_does_not_list_is_doubted_before_it_is_saved(admin_client, route):
    before = route.model

    page = saved(admin_client, route, model="no-such-model")

    assert f"{GONE}. Save again to save it anyway." in page
    route.refresh_from_db()
    assert route.model == before

    address = reverse("admin:providers_providerconfig_change", args=[route.pk])
    again = admin_client.post(address, {**fields_of(page), "_save": "Save"}, follow=True).content.decode()

    route.refresh_from_db()
    assert route.model == "no-such-model"
    assert GONE not in again


def test_another_model_than_the_doubted_one_is_doubted_anew(admin_client, route):
    page = saved(admin_client, route, model="no-such-model")

    typed = {**fields_of(page), "model": "nor-this-one"}
    answer = admin_client.post(reverse("admin:providers_providerconfig_change", args=[route.pk]), typed)

    assert GONE in answer.content.decode()


def test_a_new_route_is_doubted_too(admin_client, route):
    add = reverse("admin:providers_providerconfig_add")
    typed = {**fields_of(admin_client.get(add).content.decode()), "category": "TEXT", "provider": "groq", "name": "n"}

    assert GONE in admin_client.post(add, {**typed, "model": "no-such-model"}).content.decode()
    assert admin_client.post(add, {**typed, "model": "here"}).status_code == 302
    assert ProviderConfig.objects.get(name="n").model == "here"


def test_nobody_is_asked_for_a_model_that_cannot_be_saved(admin_client, client, route, server):
    saved(admin_client, route, model="other", timeout_seconds="0")
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_providerconfig"))
    client.force_login(viewer)
    client.post(reverse("admin:providers_providerconfig_change", args=[route.pk]), {"model": "other"})

    assert server.received == []


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


@pytest.mark.parametrize(
    ("unit", "prices", "list_price", "by_rates"),
    [
        ("1k_tokens", {"input_per_million": "1", "output_per_million": "4"}, "0.002", None),
        ("1k_tokens", {"input_per_million": "1", "output_per_million": "4"}, "0.02", "$0.001 to $0.004"),
        ("1k_tokens", {"input_per_million": "1", "cached_input_per_million": "0.1"}, "0.0001", None),
        (
            "1k_tokens",
            {"input_per_million": "1", "tiers": [{"above_input_tokens": 9, "input_per_million": "4"}]},
            "0.005",
            "$0.001 to $0.004",
        ),
        ("image", {"per_image": "0.04"}, "0.04", None),
        ("image", {"per_image": "0.04"}, "0.03", "$0.04"),
        ("second", {"per_second": "0.1"}, "0.2", "$0.1"),
        ("1k_characters", {"per_thousand_characters": "0.1"}, "0.2", "$0.1"),
        ("image", {"per_second": "0.04"}, "0.03", None),
        ("call", {"per_image": "0.04"}, "0.03", None),
        ("image", {"per_image": "0.04"}, None, None),
    ],
)
def test_a_list_price_that_the_rates_cannot_come_to_is_named_with_what_they_do(
    route, unit, prices, list_price, by_rates
):
    route.price_unit, route.prices = unit, prices
    route.list_price = None if list_price is None else Decimal(list_price)

    found = advice.warnings_of_list_price(route)

    assert [f"contradicts the rates, by which it is {by_rates}." in words for words in found] == [True] * bool(by_rates)


def test_it_is_told_where_a_price_was_changed_and_nowhere_else(admin_client, route):
    words = "contradicts the rates"

    assert words in unescape(saved(admin_client, route, list_price="7"))
    assert words not in unescape(saved(admin_client, route, priority="8"))

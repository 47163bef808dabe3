"""Prices, rates, tags and fields to leave out as boxes of a form; what is stored is JSON as before."""

from html import unescape

import pytest
from django.urls import reverse

from providers.admin_fields import PRICES, TOKENS
from providers.models import ProviderConfig
from providers.pricing import NOTES, RATES, TOKEN_RATES
from providers.shipped import SHIPPED_ROUTES
from providers.versioning import versions_of
from requests_app.admin.ai_models import RATE_BOXES
from requests_app.credit_rates import RATES as CREDIT_RATES
from requests_app.models import AIModel
from tests.html_forms import fields_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def route() -> ProviderConfig:
    return ProviderConfig.objects.get(category="TEXT", name="openai")


def page_of(row) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def save(client, row, **typed: str):
    """Type something into a row's page and press Save."""
    fields = fields_of(client.get(page_of(row)).content.decode())
    changes = {name.replace("__", "-"): value for name, value in typed.items()}
    assert changes.keys() <= fields.keys()
    return client.post(page_of(row), {**fields, **changes})


def refused(client, row, **typed: str) -> str:
    answer = save(client, row, **typed)
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_rate_has_a_box():
    assert {box.name for box in PRICES} == {*RATES, *NOTES}
    assert {box.name for box in TOKENS} == {*TOKEN_RATES}
    assert {box.name for box in RATE_BOXES} == {*CREDIT_RATES}


@pytest.mark.parametrize("shipped", SHIPPED_ROUTES, ids=lambda each: f"{each.category}-{each.name}")
def test_the_page_of_a_shipped_route_saves_what_it_shows(admin_client, shipped):
    route = ProviderConfig.objects.get(category=shipped.category, name=shipped.name)
    before = len(versions_of(ProviderConfig, route.pk))

    assert save(admin_client, route).status_code == 302

    assert len(versions_of(ProviderConfig, route.pk)) == before


class TestPrices:
    def test_a_price_is_typed_into_its_box_and_stored_as_before(self, admin_client, route):
        was = route.prices

        assert save(admin_client, route, prices__input_per_million=" 0.75 ").status_code == 302

        route.refresh_from_db()
        assert route.prices == {**was, "input_per_million": "0.75"}

    def test_an_emptied_box_is_left_out(self, admin_client, route):
        save(admin_client, route, prices__per_thousand_searches="", prices__as_of="")

        route.refresh_from_db()
        assert route.prices.keys().isdisjoint({"per_thousand_searches", "as_of"})

    def test_a_tier_is_added_changed_and_taken_away(self, admin_client, route):
        (tier,) = route.prices["tiers"]
        rates = {"prices__tiers__1__above_input_tokens": "500,000", "prices__tiers__1__input_per_million": "9"}

        save(admin_client, route, **rates)

        route.refresh_from_db()
        assert route.prices["tiers"] == [tier, {"above_input_tokens": 500_000, "input_per_million": "9"}]

        save(admin_client, route, **{f"prices__tiers__0__{name}": "" for name in tier})

        route.refresh_from_db()
        assert route.prices["tiers"] == [{"above_input_tokens": 500_000, "input_per_million": "9"}]

    def test_what_was_written_otherwise_is_kept_by_saving_the_page(self, admin_client, route):
        tiers = [{"above_input_tokens": number, "input_per_million": "9"} for number in range(1, 26)]
        ProviderConfig.objects.filter(pk=route.pk).update(prices={"as_of": "20261123", "tiers": tiers})

        assert save(admin_client, route, prices__input_per_million="1").status_code == 302

        route.refresh_from_db()
        assert route.prices == {"input_per_million": "1", "as_of": "2026-11-23", "tiers": tiers}

    @pytest.mark.parametrize(
        ("box", "typed", "words"),
        [
            ("output_per_million", "0,50", '1M output tokens: "0,50" is no price. Type US dollars such as 0.50'),
            ("per_image", "-1", 'An image: "-1" is no price.'),
            ("per_second", "1e9", 'A second of video or audio: "1e9" is no price.'),
            ("tiers__0__input_per_million", "x", 'Longer inputs, row 1: 1M input tokens: "x" is no price.'),
            (
                "tiers__0__above_input_tokens",
                "many",
                'row 1: "Where the input is longer than" takes a number of tokens',
            ),
            ("tiers__1__output_per_million", "2", 'row 2: "Where the input is longer than" takes a number'),
            ("tiers__1__above_input_tokens", "2", "Longer inputs, row 2: Type its rates, or empty the row."),
            ("as_of", "yesterday", "as_of must be a date"),
        ],
    )
    def test_a_refusal_names_the_box_and_what_to_type_and_keeps_what_was_typed(
        self, admin_client, route, box, typed, words
    ):
        was = route.prices
        page = refused(admin_client, route, **{f"prices__{box}": typed})

        assert words in unescape(page)
        assert fields_of(page)[f"prices-{box.replace('__', '-')}"] == typed
        route.refresh_from_db()
        assert route.prices == was

    def test_of_two_who_change_them_at_once_the_second_is_told(self, admin_client, route):
        fields = fields_of(admin_client.get(page_of(route)).content.decode())
        ProviderConfig.objects.filter(pk=route.pk).update(prices={"input_per_million": "5"})

        page = admin_client.post(page_of(route), {**fields, "prices-input_per_million": "6"}).content.decode()

        assert "Meanwhile it was changed to" in page
        admin_client.post(page_of(route), fields_of(page))
        route.refresh_from_db()
        assert route.prices["input_per_million"] == "6"


class TestNames:
    @pytest.mark.parametrize(
        ("typed", "stored"),
        [("music, fast", ["music", "fast"]), ("fast fast", ["fast"]), ("", []), (" , ", []), ('["a"]', ["a"])],
    )
    def test_tags_are_typed_with_commas(self, admin_client, route, typed, stored):
        assert save(admin_client, route, tags=typed).status_code == 302

        route.refresh_from_db()
        assert route.tags == stored
        assert fields_of(admin_client.get(page_of(route)).content.decode())["tags"] == ", ".join(stored)

    @pytest.mark.parametrize("typed", ["Music!", "fast, Music!", '{"a": 1}', '["Music!"]', "[", "[1]"])
    def test_what_is_no_tag_is_refused(self, admin_client, route, typed):
        page = refused(admin_client, route, tags=typed)

        assert fields_of(page)["tags"] == typed
        route.refresh_from_db()
        assert route.tags == []

    def test_the_refusal_says_what_a_tag_is(self, admin_client, route):
        assert '"Music!" is no tag. Tags have small letters' in unescape(
            refused(admin_client, route, tags="fast, Music!")
        )

    def test_fields_to_leave_out_are_typed_so_too(self, admin_client, route):
        save(admin_client, route, drop_fields="reasoning_effort, input.seed")

        route.refresh_from_db()
        assert route.drop_fields == ["reasoning_effort", "input.seed"]
        assert '"1x" is no field of a body.' in unescape(refused(admin_client, route, drop_fields="1x"))
        assert "model cannot be left out." in refused(admin_client, route, drop_fields="model")


class TestRatesOfAnAIModel:
    def test_they_are_boxes_of_credits(self, admin_client):
        model = AIModel.objects.filter(category="TEXT").first()

        assert save(admin_client, model, rates__per_thousand_output_tokens="1.5").status_code == 302

        model.refresh_from_db()
        assert model.rates["per_thousand_output_tokens"] == "1.5"
        words = '1,000 input tokens: "1,5" is no price. Type credits such as 1.5'
        assert words in unescape(refused(admin_client, model, rates__per_thousand_input_tokens="1,5"))

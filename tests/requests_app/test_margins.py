"""What answers cost beside the price of their credits, where more than words goes in or out."""

from typing import Any

import pytest

from providers.models import ProviderConfig
from requests_app.margins import margin_of
from tests.factories import make_model

pytestmark = pytest.mark.django_db

TEXT_RATES = {"per_thousand_input_tokens": "1", "per_thousand_output_tokens": "15"}


def text_route(**fields: Any) -> ProviderConfig:
    prices = {"input_per_million": "1", "output_per_million": "10"}
    return ProviderConfig(
        **{"name": "r", "category": "TEXT", "provider": "openai", "model": "m", "prices": prices, **fields}
    )


def test_searches_that_find_nothing_cost_as_much():
    model = make_model(rates=TEXT_RATES, token_cost=1)
    prices = {"input_per_million": "1", "output_per_million": "10", "per_thousand_searches": "10"}
    searching = text_route(web_search=True, prices=prices)

    assert not margin_of(model, [text_route()]).is_loss
    assert margin_of(model, [searching]).is_loss
    model.rates = {**TEXT_RATES, "per_search": "1.5"}
    assert not margin_of(model, [searching]).is_loss


def test_searches_without_a_price_are_called_so():
    margin = margin_of(make_model(rates=TEXT_RATES), [text_route(web_search=True)])
    assert margin.unpriced == ["r"]


def test_an_image_model_is_looked_at_with_and_without_an_image():
    model = make_model(category="IMAGE", token_cost=5, rates={"per_input_image": "30"})
    route = ProviderConfig.objects.get(category="IMAGE", name="openai")

    assert not margin_of(model, [route]).is_loss
    route.capabilities = {**route.capabilities, "max_prompt_characters": 32_000}
    assert margin_of(model, [route]).is_loss  # a long prompt without an image


def test_what_a_route_would_refuse_is_no_case():
    route = ProviderConfig.objects.get(category="IMAGE", name="openai")
    margin = margin_of(make_model(category="IMAGE", options={"aspect_ratio": "9:16"}), [route])
    assert (margin.usual, margin.worst, list(margin.unpriced)) == (None, None, [])


def test_the_margin_knows_what_hearing_costs():
    transcriber = ProviderConfig.objects.get(name="openai-transcribe")
    answering = ProviderConfig.objects.get(category="TEXT", name="openai")
    per_minute = make_model(rates={"per_thousand_output_tokens": "15", "per_minute_heard": "1"}, token_cost=2)
    for_nothing = make_model(slug="for-nothing", rates={"per_thousand_output_tokens": "15"}, token_cost=2)

    assert not margin_of(per_minute, [answering, transcriber]).is_loss
    assert margin_of(for_nothing, [answering, transcriber]).is_loss

"""`manage.py prices --propose` and `--apply`: what public lists say, and what of it is taken over."""

from datetime import UTC, date, datetime, time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from providers.chain.candidates import provider_for
from providers.chain.price_proposals import proposal_apply, proposals_for
from providers.models import ProviderConfig
from providers.registry import PROVIDERS
from providers.shipped import SHIPPED_ROUTES
from providers.types import Access, Category
from tests.factories import make_provider
from tests.fakes.http_server import answer

pytestmark = pytest.mark.django_db

LUNA = {"input_per_million": "0.1", "cached_input_per_million": "0.01", "output_per_million": "0.5"}


@pytest.fixture(autouse=True)
def _only_these(settings, server):
    """Only the routes of a test are in the chain, and every provider is the loopback server."""
    ProviderConfig.objects.all().delete()
    settings.PROVIDER_ACCESS = {slug: Access("a-key", server.url) for slug in PROVIDERS}


def prices(*options: str) -> list[str]:
    output = StringIO()
    call_command("prices", *options, stdout=output)
    return output.getvalue().splitlines()


def listing(*entries: dict) -> object:
    return answer({"object": "list", "data": list(entries)})


def rates_of(name: str) -> dict:
    notes = ("as_of", "source")
    return {key: value for key, value in ProviderConfig.objects.get(name=name).prices.items() if key not in notes}


def test_the_makers_list_corrects_a_route(server):
    server.will(listing({"id": "gpt-5.2"}))
    make_provider("openai", model="gpt-5.2", prices={"input_per_million": "1", "output_per_million": "10"})

    lines = prices("--propose")

    assert "says genai-prices" in lines[0]
    assert rates_of("openai") == {"input_per_million": "1", "output_per_million": "10"}

    server.will(listing({"id": "gpt-5.2"}))
    assert prices("--apply")[0].endswith(" – applied")

    after = ProviderConfig.objects.get().prices
    assert (after["input_per_million"], after["output_per_million"]) == ("1.75", "14")
    assert after["as_of"] == str(timezone.now().date())

    server.will(listing({"id": "gpt-5.2"}))
    assert prices("--propose") == ["Proposals: none."]


def test_a_resellers_route_is_priced_as_its_maker_does(server):
    make_provider("piapi", model="gpt-5.2", prices={})

    assert "says genai-prices, of its maker openai" in prices("--apply")[0]
    assert rates_of("piapi")["output_per_million"] == "14"


def test_the_providers_own_list_comes_first(server):
    pricing = {
        "prompt": "0.000002", "completion": "0.000006", "input_cache_read": "0.0000005", "request": "0",
        "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.000004"},
                      {"utc_start": 100, "utc_end": 400, "prompt": "0.000009"}],
    }  # fmt: skip
    server.will(listing({"id": "x-ai/grok-4.7", "pricing": pricing}))
    make_provider("openrouter", model="x-ai/grok-4.7", prices={})

    assert "says openrouter's own list" in prices("--apply")[0]

    assert rates_of("openrouter") == {
        "input_per_million": "2",
        "cached_input_per_million": "0.5",
        "output_per_million": "6",
        "tiers": [{"above_input_tokens": 200000, "input_per_million": "4"}],
    }


@pytest.mark.parametrize("listed", ["-1", "many", None, {}, "1e9"])
def test_a_price_that_is_none_is_not_taken(server, listed):
    server.will(listing({"id": "an/unheard-of-model", "pricing": {"prompt": listed, "completion": listed}}))
    make_provider("openrouter", model="an/unheard-of-model", prices=LUNA)

    assert prices("--propose") == ["Proposals: none."]


@pytest.mark.parametrize("factor", ["10", "0"])
def test_a_drastic_change_is_applied_only_where_it_is_named(server, factor):
    rate = f"{float(factor) * 2 / 1e6:.7f}"
    entry = {"id": "a/model", "pricing": {"prompt": rate, "completion": rate}}
    make_provider("openrouter", model="a/model", prices={"input_per_million": "2", "output_per_million": "2"})
    server.will(listing(entry), listing(entry))

    line = prices("--apply")[0]

    assert "name the route to apply it" in line
    assert "applied" not in line
    assert rates_of("openrouter")["input_per_million"] == "2"
    assert prices("--apply", "openrouter")[0].endswith(" – applied")
    assert rates_of("openrouter")["input_per_million"] == str(2 * int(factor))


def test_a_name_without_a_proposal_is_refused(server):
    server.will(listing({"id": "gpt-6-luna"}))
    make_provider("openai", model="gpt-6-luna", prices=LUNA)

    with pytest.raises(CommandError, match="Nothing is proposed for xai"):
        prices("--apply", "openai", "xai")

    assert rates_of("openai") == LUNA


def test_prices_that_were_changed_meanwhile_stay(server):
    make_provider("piapi", model="gpt-5.2", prices={})
    route = ProviderConfig.objects.get()
    [proposal] = proposals_for([(route, provider_for(route))], now=timezone.now())
    ProviderConfig.objects.update(prices=LUNA)

    assert not proposal_apply(proposal, actor="test")
    assert rates_of("piapi") == LUNA


def test_the_shipped_text_routes_are_priced_as_the_lists_of_their_makers_are(server):
    """Only while they are fresh: the makers change their prices, and `prices --propose` is what follows them."""
    lists = {"openai", "anthropic", "xai", "groq", "mistral", "piapi"}
    for shipped in SHIPPED_ROUTES:
        if shipped.category is Category.TEXT and shipped.provider in lists:
            ProviderConfig.objects.create(**{**shipped.as_fields(), "enabled": True})
    server.will(*[listing({"id": "none"})] * len(lists))
    routes = [(route, provider_for(route)) for route in ProviderConfig.objects.all()]
    day = max(date.fromisoformat(route.prices["as_of"]) for route, _ in routes)
    noon = datetime.combine(day, time(12), tzinfo=UTC)

    proposals = list(proposals_for(routes, now=noon))

    assert [str(proposal) for proposal in proposals] == []

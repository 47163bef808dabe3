"""`manage.py prices`: which routes no longer fit what the providers offer."""

from datetime import date, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from providers.chain.model_audit import audit_routes
from providers.models import ProviderConfig
from providers.registry import PROVIDERS
from providers.shipped import SHIPPED_ROUTES
from providers.types import Access
from requests_app.models import AIModel
from tests.factories import make_provider
from tests.fakes.http_server import answer, hang, raw

pytestmark = pytest.mark.django_db

KEY = "sk-a-key-that-nobody-may-see"
FRESH = {"input_per_million": "0.10", "output_per_million": "0.50", "as_of": str(timezone.now().date())}


@pytest.fixture(autouse=True)
def _only_these(settings, server):
    """Only the routes of a test are in the chain, and every provider is the loopback server."""
    ProviderConfig.objects.all().delete()
    AIModel.objects.all().delete()
    settings.PROVIDER_ACCESS = {slug: Access(KEY, server.url) for slug in PROVIDERS}


def prices() -> tuple[int, list[str]]:
    """Run the command; return its exit code and its lines without the last, which counts."""
    output, code = StringIO(), 0
    try:
        call_command("prices", stdout=output)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, output.getvalue().splitlines()[:-1]


def listing(*entries: dict) -> object:
    return answer({"object": "list", "data": list(entries)})


def test_a_chain_without_findings_prints_nothing(server):
    server.will(listing({"id": "gpt-6-luna", "shutdown_date": None}, {"id": "gpt-6.1-terra"}))
    make_provider("openai", model="gpt-6-luna", prices=FRESH)

    assert prices() == (0, [])
    assert (server.received[0].method, server.received[0].path) == ("GET", "/models")
    assert server.received[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_model_that_is_gone_is_named(server):
    server.will(listing({"id": "gpt-6.1-terra"}))
    make_provider("openai", model="gpt-4o", prices=FRESH)

    assert prices() == (1, ["TEXT · OpenAI (gpt-4o): the provider no longer has this model"])


def test_a_model_that_will_shut_down_is_named_with_its_date(server):
    server.will(listing({"id": "gpt-6-luna", "shutdown_date": "2027-01-06"}))
    make_provider("openai", model="gpt-6-luna", prices=FRESH)

    assert prices() == (1, ["TEXT · OpenAI (gpt-6-luna): the model shuts down on 2027-01-06"])


@pytest.mark.parametrize(("days", "is_old"), [(90, False), (91, True)])
def test_a_price_is_old_after_ninety_days(server, days, is_old):
    server.will(listing({"id": "gpt-6-luna"}))
    as_of = timezone.now().date() - timedelta(days=days)
    make_provider("openai", model="gpt-6-luna", prices={**FRESH, "as_of": str(as_of)})

    code, lines = prices()

    assert code == int(is_old)
    assert lines == ([f"TEXT · OpenAI (gpt-6-luna): the price is of {as_of}, more than 90 days ago"] * is_old)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prices": {}, "list_price": None}, "there is no price"),
        ({"prices": {"as_of": "2026-11-23"}, "list_price": None}, "there is no price"),
        ({"prices": {}, "list_price": "0.1"}, "the price has no date"),
    ],
)
def test_a_route_without_a_price_or_its_date_is_named(server, fields, words):
    server.will(listing({"id": "gpt-6-luna"}))
    make_provider("openai", model="gpt-6-luna", **fields)

    code, lines = prices()

    assert code == 1
    assert [words in line for line in lines] == [True]


def test_the_shipped_prices_need_nobody_when_they_are_new():
    for shipped in SHIPPED_ROUTES:
        ProviderConfig.objects.create(**shipped.as_fields())
    dates = [shipped.prices["as_of"] for shipped in SHIPPED_ROUTES if "as_of" in shipped.prices and shipped.enabled]

    routes = [(route, Unlisted()) for route in ProviderConfig.objects.filter(enabled=True)]
    findings = list(audit_routes(routes, today=date.fromisoformat(min(dates))))

    assert [str(finding) for finding in findings if finding.is_urgent] == []
    undated = "AUDIO · Replicate (minimax/speech-2.6-turbo): the price is as shipped, which has no date; compare it"
    assert undated in map(str, findings)


class Unlisted:
    """A provider that documents no list of models."""

    def models_call(self, model: str) -> None:
        return None


@pytest.mark.parametrize(
    "step",
    [
        answer({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, status=401),
        answer("<html>bad gateway</html>", status=502, content_type="text/html"),
        answer("not JSON"),
        answer({"error": "in a 200"}),
        answer([1, None, {"id": 3}]),
        raw(b"\r\n\r\n"),
    ],
)
def test_a_provider_that_cannot_be_asked_is_one_line_for_all_its_routes(server, step):
    server.will(step)
    make_provider("openai", model="gpt-6-luna", prices=FRESH)
    make_provider("openai", category="IMAGE", model="gpt-image-2.6", prices=FRESH)

    code, lines = prices()

    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("OpenAI: could not be asked for its models: ")
    assert KEY not in lines[0]


def test_a_provider_that_hangs_does_not_stop_the_others(server, monkeypatch):
    monkeypatch.setattr("providers.chain.model_audit.LIST_SECONDS", 0.2)
    server.will(hang, listing({"id": "grok-4.7"}))
    make_provider("aimlapi", priority=1, prices=FRESH)
    make_provider("xai", priority=2, model="grok-4.7", prices=FRESH)

    code, lines = prices()

    assert (code, len(lines)) == (1, 1)
    assert lines[0].startswith("AIMLAPI: could not be asked")


def test_one_list_serves_all_routes_of_a_provider(server):
    server.will(listing({"id": "gpt-6-luna"}, {"id": "gpt-image-2.6"}))
    make_provider("openai", model="gpt-6-luna", prices=FRESH)
    make_provider("openai", category="IMAGE", model="gpt-image-2.6", prices=FRESH)

    assert prices() == (0, [])
    assert len(server.received) == 1


def test_routes_that_are_disabled_or_without_a_key_are_skipped(server, settings):
    settings.PROVIDER_ACCESS["xai"] = Access("", server.url)
    make_provider("openai", enabled=False)
    make_provider("xai")

    assert prices() == (0, [])
    assert server.received == []


def test_a_provider_without_a_list_is_mentioned_and_is_not_urgent():
    make_provider("piapi", model="gpt-5.2", prices=FRESH)

    code, lines = prices()

    assert code == 0
    assert lines == ["TEXT · PiAPI (gpt-5.2): the provider documents no list of models; look at its site"]


class TestEachProvidersList:
    def test_anthropic_asks_for_the_largest_page_and_knows_undated_names(self, server):
        server.will(listing({"id": "claude-haiku-4-5-20251001", "type": "model"}))
        make_provider("anthropic", model="claude-haiku-4-5", prices=FRESH)

        assert prices() == (0, [])
        assert server.received[0].path == "/v1/models?limit=1000"
        assert server.received[0].headers["anthropic-version"] == "2023-06-01"
        assert server.received[0].headers["x-api-key"] == KEY

    def test_aimlapi_knows_aliases(self, server):
        server.will(listing({"id": "deepseek/deepseek-v4-flash", "aliases": ["deepseek-v4-flash", 7]}))
        make_provider("aimlapi", model="deepseek-v4-flash", prices=FRESH)

        assert prices() == (0, [])
        assert server.received[0].path == "/v1/models"

    def test_openrouter_says_when_a_model_ends(self, server):
        server.will(listing({"id": "x-ai/grok-4.7", "expiration_date": "2026-12-31"}))
        make_provider("openrouter", model="x-ai/grok-4.7", prices=FRESH)

        assert prices() == (1, ["TEXT · OpenRouter (x-ai/grok-4.7): the model shuts down on 2026-12-31"])

    def test_elevenlabs_answers_with_a_bare_list(self, server):
        server.will(answer([{"model_id": "eleven_flash_v2_5", "name": "Flash"}]))
        make_provider("elevenlabs", category="AUDIO", model="eleven_flash_v2_5", prices=FRESH)

        assert prices() == (0, [])
        assert server.received[0].headers["xi-api-key"] == KEY

    @pytest.mark.parametrize("version", ["", ":b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787"])
    def test_replicate_is_asked_for_each_model(self, server, version):
        server.will(answer({"owner": "suno-ai", "name": "bark", "latest_version": None}))
        make_provider("replicate", category="AUDIO", model=f"suno-ai/bark{version}", prices=FRESH)

        assert prices() == (0, [])
        assert server.received[0].path == "/models/suno-ai/bark"

    def test_replicate_says_404_where_a_model_is_gone(self, server):
        server.will(answer({"title": "Not Found", "detail": "Not found.", "status": 404}, status=404))
        make_provider("replicate", category="VIDEO", model="luma/ray", prices=FRESH)

        assert prices() == (1, ["VIDEO · Replicate (luma/ray): the provider no longer has this model"])

    def test_a_404_of_a_whole_list_says_nothing_about_a_model(self, server):
        server.will(answer({"detail": {"status": "workspace_not_found"}}, status=404))
        make_provider("elevenlabs", category="AUDIO", model="eleven_flash_v2_5", prices=FRESH)

        _, lines = prices()

        assert len(lines) == 1
        assert lines[0].startswith("ElevenLabs: could not be asked for its models: HTTP 404, ")

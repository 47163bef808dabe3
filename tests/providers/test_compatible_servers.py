"""Servers of OPENAI_COMPATIBLE: named in the environment, asked as OpenAI is."""

from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from aibot.env import env_keys, env_servers
from providers import registry
from providers.errors import OutcomeUnknown
from providers.registry import PROVIDERS, register_compatible
from providers.transport.deadlines import Deadline
from providers.types import Access, Category, Usage
from tests.contracts.text import MESSAGES, TextProviderContract
from tests.fakes.http_server import FakeServer, answer


@pytest.fixture(autouse=True, scope="module")
def _local_llm() -> Iterator[None]:
    register_compatible("local-llm", "http://127.0.0.1:11434/v1")
    yield
    del PROVIDERS["local-llm"]


class TestCompatibleServer(TextProviderContract):
    slug = "local-llm"
    samples = "groq"
    model = "openai/gpt-oss-20b"
    path = "/v1/chat/completions"
    body = {"model": "openai/gpt-oss-20b", "messages": MESSAGES, "max_tokens": 900}
    stream_fields = {"stream": True, "stream_options": {"include_usage": True}}
    usage = Usage(input_tokens=20, cached_input_tokens=32, output_tokens=31)

    def test_it_is_named_after_its_variable(self):
        spec = PROVIDERS["local-llm"]

        assert (spec.key_variable, spec.base_url_variable) == ("LOCAL_LLM_API_KEY", "LOCAL_LLM_BASE_URL")
        assert registry.provider_class(Category.TEXT, "local-llm").slug == "local-llm"
        assert registry.provider_class(Category.IMAGE, "local-llm").slug == "local-llm"

    def test_one_that_wants_no_key_gets_none(self, server: FakeServer) -> None:
        server.will(answer(self.sample("answer")))
        provider = registry.provider_class(Category.TEXT, self.slug)(Access("none", f"{server.url}/v1"))

        provider.run(self.prompt(), timeout_seconds=20.0, deadline=Deadline.after(40))

        assert "authorization" not in {name.lower() for name in server.received[0].headers}

    def test_one_that_speaks_html_is_told_in_the_trail(self, server: FakeServer) -> None:
        server.will(answer("<html>Hello</html>", content_type="text/html"))

        with pytest.raises(OutcomeUnknown, match="not a JSON object, content type text/html"):
            self.run(server)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", {}),
        (
            "deepseek=https://api.deepseek.com/v1/  ollama=http://127.0.0.1:11434/v1",
            {"deepseek": "https://api.deepseek.com/v1", "ollama": "http://127.0.0.1:11434/v1"},
        ),
    ],
)
def test_servers_are_read_from_the_environment(monkeypatch, text, servers):
    monkeypatch.setenv("OPENAI_COMPATIBLE", text)

    assert env_servers("OPENAI_COMPATIBLE", PROVIDERS) == servers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deepseek", "must be names and addresses"),
        ("Deep Seek=https://x", "must be names and addresses"),
        ("deepseek=ftp://x", "must be names and addresses"),
        ("deepseek=https://user:secret@x", "must be names and addresses"),
        ("openai=https://x", "contains openai, which is there already"),
        ("a=https://x a=https://y", "contains a, which is there already"),
    ],
)
def test_what_is_no_server_is_refused_without_showing_it(monkeypatch, text, words):
    monkeypatch.setenv("OPENAI_COMPATIBLE", text)

    with pytest.raises(ImproperlyConfigured, match=words) as refusal:
        env_servers("OPENAI_COMPATIBLE", PROVIDERS)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("keys", ["sk-a,,sk-b", ",sk-a", "sk-a,", "sk-a,sk-a", "sk-a, sk-b"])
def test_a_list_of_keys_with_a_slip_is_refused_without_showing_it(monkeypatch, keys):
    monkeypatch.setenv("OPENAI_API_KEY", keys)

    with pytest.raises(ImproperlyConfigured, match="OPENAI_API_KEY") as refusal:
        env_keys("OPENAI_API_KEY")

    assert "sk-" not in str(refusal.value)


def test_keys_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a,sk-b")

    assert env_keys("OPENAI_API_KEY") == ["sk-a", "sk-b"]
    assert env_keys("XAI_API_KEY") == []

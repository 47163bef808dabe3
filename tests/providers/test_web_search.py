"""Web search as a switch of a route: the calls, the answers whole and streamed, what was searched, and its price."""

import json
from decimal import Decimal
from typing import Any

import pytest
import requests

from providers.backends.web_sources import with_sources
from providers.chain.candidates import route_candidates
from providers.chain.spending import reservation
from providers.errors import ContentRefused, OutcomeUnknown, ProviderError, ServerFault, Unsupported
from providers.pricing import cost_of
from providers.registry import PROVIDERS, provider_class
from providers.sandbox import running_sandbox
from providers.sandbox.formats.openai_responses import FOUND
from providers.shipped import shipped_route
from providers.transport.deadlines import Deadline
from providers.types import CUT, Access, Attachment, Category, CostSource, Prompt, TextResult, Turn, Usage
from tests.contracts.base import KEY
from tests.contracts.openapi import STREAM, contract_of, has_contract
from tests.factories import make_provider
from tests.fakes.http_server import FakeServer, answer, stream

MODELS = {
    "openai": "gpt-6-luna",
    "xai": "grok-4.7",
    "anthropic": "claude-haiku-5-5",
    "openrouter": "~anthropic/claude-haiku-latest",
}
PAGE = {"url": "https://example.org/lima", "title": "Lima [capital]\n*of* Peru"}
SOURCE = "🔗 [Lima capital of Peru](https://example.org/lima)"
TEXT = "It is Lima."

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1764000000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "model": "gpt-6-luna-2026-09-01",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "capital of Peru"},
        },
        {
            "type": "web_search_call",
            "id": "ws_2",
            "status": "completed",
            "action": {"type": "open_page", "url": PAGE["url"]},
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {
                    "type": "output_text",
                    "text": TEXT,
                    "annotations": [{"type": "url_citation", "start_index": 0, "end_index": 11, **PAGE}],
                    "logprobs": [],
                }
            ],
        },
    ],
    "parallel_tool_calls": True,
    "temperature": 1,
    "tool_choice": "auto",
    "tools": [{"type": "web_search"}],
    "top_p": 1,
    "usage": {
        "input_tokens": 8_000,
        "input_tokens_details": {"cached_tokens": 1_000, "cache_write_tokens": 0},
        "output_tokens": 60,
        "output_tokens_details": {"reasoning_tokens": 40},
        "total_tokens": 8_060,
    },
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [
        {"type": "text", "text": "It is "},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "capital of Peru"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "web_search_result", "encrypted_content": "x", "page_age": None, **PAGE}],
        },
        {
            "type": "text",
            "text": "Lima.",
            "citations": [
                {"type": "web_search_result_location", "cited_text": "Lima", "encrypted_index": "x", **PAGE},
            ],
        },
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 8_000, "output_tokens": 60, "server_tool_use": {"web_search_requests": 1}},
}
COMPLETION: dict[str, Any] = {
    "id": "gen-1",
    "object": "chat.completion",
    "model": "anthropic/claude-haiku-5.5",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "content": TEXT,
                "annotations": [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 2, **PAGE}}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 8_000,
        "completion_tokens": 60,
        "total_tokens": 8_060,
        "cost": 0.0183,
        "server_tool_use": {"web_search_requests": 1},
    },
}
WHOLE = {"openai": RESPONSE, "xai": RESPONSE, "anthropic": MESSAGE, "openrouter": COMPLETION}


def ended(kind: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 9, "response": {**RESPONSE, "status": kind, **fields}}


def delta(text: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 3, "content_index": 0,
        "delta": text, "logprobs": [], "sequence_number": 5,
    }  # fmt: skip


EVENTS: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {
            "type": "response.created",
            "sequence_number": 0,
            "response": {**RESPONSE, "status": "in_progress", "output": []},
        },
        {"type": "response.web_search_call.searching", "output_index": 1, "item_id": "ws_1", "sequence_number": 3},
        delta("It is "),
        delta("Lima."),
        ended(),
    ],
    "anthropic": [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It is "}},
        {"type": "content_block_start", "index": 1, "content_block": MESSAGE["content"][1]},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_start", "index": 2, "content_block": MESSAGE["content"][2]},
        {
            "type": "content_block_delta",
            "index": 3,
            "delta": {"type": "citations_delta", "citation": MESSAGE["content"][3]["citations"][0]},
        },
        {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "Lima."}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": MESSAGE["usage"]},
        {"type": "message_stop"},
    ],
    "openrouter": [
        {"model": "m", "choices": [{"delta": {"content": "It is "}}]},
        {"model": "m", "choices": [{"delta": {"content": "Lima."}}]},
        {"model": "m", "choices": [{"delta": {"annotations": COMPLETION["choices"][0]["message"]["annotations"]}}]},
        {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"model": "m", "choices": [], "usage": COMPLETION["usage"]},
    ],
}
EVENTS["xai"] = EVENTS["openai"]
SLUGS = tuple(MODELS)


def provider_of(slug: str, server: FakeServer | None = None) -> Any:
    url = server.url if server else "http://127.0.0.1:1"
    return provider_class(Category.TEXT, slug)(Access(KEY, f"{url}{PROVIDERS[slug].base_path}"))


def prompt_for(slug: str, **fields: Any) -> Prompt:
    return Prompt(
        **{
            "category": Category.TEXT,
            "text": "What is the capital of Peru?",
            "system": "Be brief.",
            "history": (Turn("user", "Hello"), Turn("assistant", "Good day.")),
            "model": MODELS[slug],
            "max_output_tokens": 900,
            "web_search": True,
            **fields,
        }
    )


def ask(server: FakeServer, slug: str, **options: Any) -> TextResult:
    on_text = options.pop("on_text", None)
    prompt = prompt_for(slug, **options)
    result = provider_of(slug, server).run(prompt, timeout_seconds=20.0, deadline=Deadline.after(40), on_text=on_text)
    assert isinstance(result, TextResult)
    return result


def streamed(events: list[dict[str, Any]]) -> Any:
    return stream([f"event: {event.get('type', 'x')}\ndata: {json.dumps(event)}\n\n".encode() for event in events])


class TestTheCall:
    @pytest.mark.parametrize(("slug", "effort"), [("openai", "low"), ("xai", "low")])
    def test_is_a_response_where_completions_have_no_search(self, slug: str, effort: str) -> None:
        call = provider_of(slug).build(prompt_for(slug), stream=True)

        assert call.path == "/responses"
        assert {name: value for name, value in call.json.items() if name != "max_tool_calls"} == {
            "model": MODELS[slug],
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Good day."},
                {"role": "user", "content": "What is the capital of Peru?"},
            ],
            "max_output_tokens": 900,
            "tools": [{"type": "web_search"}],
            "store": False,
            "reasoning": {"effort": effort},
            "stream": True,
        }
        assert call.json.get("max_tool_calls") == (3 if slug == "openai" else None)

    def test_keeps_its_images(self) -> None:
        prompt = prompt_for("openai", attachments=(Attachment("image/png", b"x"),), history=(), system="")
        (message,) = provider_of("openai").build(prompt, stream=False).json["input"]
        assert message["content"] == [
            {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
            {"type": "input_text", "text": "What is the capital of Peru?"},
        ]

    def test_has_a_tool_elsewhere(self) -> None:
        assert provider_of("anthropic").build(prompt_for("anthropic"), stream=False).json["tools"] == [
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
        ]
        assert provider_of("openrouter").build(prompt_for("openrouter"), stream=False).json["tools"] == [
            {"type": "openrouter:web_search", "parameters": {"max_uses": 3}}
        ]

    @pytest.mark.parametrize("slug", SLUGS)
    def test_is_the_usual_one_without_the_switch(self, slug: str) -> None:
        call = provider_of(slug).build(prompt_for(slug, web_search=False), stream=False)
        assert "tools" not in call.json
        assert call.path != "/responses"

    @pytest.mark.parametrize("slug", ["groq", "mistral", "piapi"])
    def test_is_never_made_where_there_is_none(self, slug: str) -> None:
        with pytest.raises(Unsupported, match="no web search"):
            provider_of(slug).check(Prompt(Category.TEXT, "x", model="m", web_search=True))

    @pytest.mark.parametrize(
        ("document", "slug", "path"),
        [("openai-responses", "openai", "/responses"), ("anthropic", "anthropic", "/v1/messages"),
         ("openrouter", "openrouter", "/chat/completions")],
    )  # fmt: skip
    def test_keeps_the_providers_document(self, document: str, slug: str, path: str) -> None:
        contract = contract_of(document)
        for is_streamed in (True, False):
            body = provider_of(slug).build(prompt_for(slug), stream=is_streamed).json
            assert contract.request_errors("POST", path, body) == []

    def test_and_so_do_the_samples_of_this_test(self) -> None:
        contract = contract_of("openai-responses")
        assert contract.response_errors("POST", "/responses", 200, RESPONSE) == []
        for event in EVENTS["openai"]:
            assert contract.response_errors("POST", "/responses", 200, event, STREAM) == [], event


@pytest.mark.parametrize("slug", SLUGS)
class TestTheAnswer:
    def test_whole(self, server: FakeServer, slug: str) -> None:
        server.will(answer(WHOLE[slug]))
        result = ask(server, slug)

        assert result.text == f"{TEXT}\n\n{SOURCE}"
        assert (result.usage.searches, result.usage.output_tokens) == (1, 60)
        assert result.usage.all_input_tokens == 8_000
        assert (result.model, result.finish_reason) == (WHOLE[slug]["model"], "")

    def test_streamed(self, server: FakeServer, slug: str) -> None:
        server.will(streamed(EVENTS[slug]))
        seen: list[str] = []
        result = ask(server, slug, on_text=seen.append)

        assert seen[-1] == TEXT
        assert result.text == f"{TEXT}\n\n{SOURCE}"
        assert (result.usage.searches, result.usage.output_tokens) == (1, 60)


@pytest.mark.parametrize("slug", ["openai", "xai"])
class TestAResponse:
    def test_that_failed_in_the_stream(self, server: FakeServer, slug: str) -> None:
        failed = ended("failed", error={"code": "server_error", "message": "It broke."}, output=[])
        server.will(streamed([delta("It is "), failed]))
        with pytest.raises(ProviderError) as caught:
            ask(server, slug, on_text=lambda _: None)
        assert "It broke." in caught.value.excerpt
        assert caught.value.maybe_paid

    def test_that_failed_whole(self, server: FakeServer, slug: str) -> None:
        server.will(answer({**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "It broke."}}))
        with pytest.raises(ProviderError, match="It broke"):
            ask(server, slug)

    def test_with_a_flat_error_in_its_stream(self, server: FakeServer, slug: str) -> None:
        event = {
            "type": "error",
            "code": "server_is_overloaded",
            "message": "Busy.",
            "param": None,
            "sequence_number": 2,
        }
        server.will(streamed([event]))
        with pytest.raises(ServerFault if slug == "openai" else ProviderError, match="Busy"):
            ask(server, slug, on_text=lambda _: None)

    def test_that_is_cut(self, server: FakeServer, slug: str) -> None:
        cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        server.will(answer({**RESPONSE, **cut}))
        assert ask(server, slug).finish_reason == CUT
        server.will(streamed([delta("It is"), ended("incomplete", **cut)]))
        result = ask(server, slug, on_text=lambda _: None)
        assert (result.text, result.finish_reason) == (f"It is\n\n{SOURCE}", CUT)

    def test_that_was_filtered(self, server: FakeServer, slug: str) -> None:
        server.will(answer({**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "content_filter"}}))
        with pytest.raises(ContentRefused):
            ask(server, slug)

    def test_in_which_the_model_refuses(self, server: FakeServer, slug: str) -> None:
        message = {**RESPONSE["output"][3], "content": [{"type": "refusal", "refusal": "I will not."}]}
        server.will(answer({**RESPONSE, "output": [message]}))
        with pytest.raises(ContentRefused, match="I will not"):
            ask(server, slug)

    @pytest.mark.parametrize(
        "body", [{**RESPONSE, "output": []}, {**RESPONSE, "output": "x"}, {**RESPONSE, "status": "queued"}]
    )
    def test_that_is_no_answer(self, server: FakeServer, slug: str, body: Any) -> None:
        server.will(answer(body))
        with pytest.raises(OutcomeUnknown):
            ask(server, slug)

    def test_whose_end_leaves_its_outputs_out(self, server: FakeServer, slug: str) -> None:
        """As gateways send it (github.com/QuantumNous/new-api, issue 4362)."""
        done = [
            {"type": "response.output_item.done", "output_index": number, "item": item}
            for number, item in enumerate(RESPONSE["output"])
        ]
        server.will(streamed([*EVENTS[slug][:-1], *done, ended(output=[])]))
        result = ask(server, slug, on_text=lambda _: None)
        assert (result.text, result.usage.searches) == (f"{TEXT}\n\n{SOURCE}", 1)

    @pytest.mark.parametrize("end", ["completed", "done"])
    def test_that_comes_whole_at_the_end_of_its_stream(self, server: FakeServer, slug: str, end: str) -> None:
        event = {**ended(), "type": f"response.{end}"}
        server.will(streamed([EVENTS[slug][0], {"type": "response.output_text.done", "text": TEXT}, event]))
        seen: list[str] = []
        result = ask(server, slug, on_text=seen.append)
        assert (result.text, result.usage.output_tokens, seen[-1]) == (f"{TEXT}\n\n{SOURCE}", 60, TEXT)

    def test_whose_stream_stops_before_its_end(self, server: FakeServer, slug: str) -> None:
        server.will(streamed(EVENTS[slug][:-1]))
        with pytest.raises(OutcomeUnknown):
            ask(server, slug, on_text=lambda _: None)


def test_xai_says_which_searches_it_bills_and_what_all_costs(server: FakeServer) -> None:
    usage = {
        **RESPONSE["usage"],
        "server_side_tool_usage_details": {"web_search_calls": 2},
        "cost_in_usd_ticks": 263_600_000,
    }
    server.will(answer({**RESPONSE, "usage": usage}))
    result = ask(server, "xai")
    assert (result.usage.searches, result.usage.reported_cost) == (2, Decimal("0.02636"))


class TestThePrice:
    USAGE = Usage(input_tokens=8_000, output_tokens=60, searches=2)
    RATES = {"input_per_million": "1", "output_per_million": "10"}
    LIST = {"list_price": Decimal("0.002"), "price_unit": "1k_tokens"}

    def test_is_that_of_tokens_and_searches(self) -> None:
        prices = {**self.RATES, "per_thousand_searches": "10"}
        assert cost_of(self.USAGE, prices=prices, **self.LIST) == (Decimal("0.0286"), CostSource.COMPUTED)

    def test_counts_beside_a_list_price_too(self) -> None:
        assert cost_of(self.USAGE, prices={"per_thousand_searches": "10"}, **self.LIST) == (
            Decimal("0.03612"),
            CostSource.ESTIMATED,
        )

    def test_is_unknown_where_searches_have_none(self) -> None:
        assert cost_of(self.USAGE, prices=self.RATES, **self.LIST) == (None, CostSource.UNKNOWN)

    @pytest.mark.django_db
    def test_of_as_many_as_there_may_be_is_reserved(self, settings: Any) -> None:
        settings.PROVIDER_ACCESS = {"openai": Access("key", "http://127.0.0.1:9")}
        route = make_provider("openai", prices={**self.RATES, "per_thousand_searches": "10"})
        reserved = []
        for route.web_search in (False, True):
            (candidate,) = route_candidates(route, {})
            prompt = candidate.prompt_for(Prompt(Category.TEXT, "Hi", max_output_tokens=1_000))
            reserved.append(reservation(route, candidate.provider, prompt))
        assert reserved[1] - reserved[0] == Decimal("0.06")  # three searches, and what they find


@pytest.mark.parametrize(
    ("citations", "lines"),
    [
        ([PAGE, PAGE], [SOURCE]),
        ([{"url": "https://a.org/x", "title": ""}], ["🔗 [https://a.org/x](https://a.org/x)"]),
        ([{"url": "javascript:alert(1)", "title": "x"}, {"url": "https://a.org/) x", "title": "x"}, None, "x"], []),
        ([{"url": f"https://a.org/{number}"} for number in range(9)],
         [f"🔗 [https://a.org/{number}](https://a.org/{number})" for number in range(5)]),
    ],
)  # fmt: skip
def test_sources_are_links_below_the_answer(citations: list[Any], lines: list[str]) -> None:
    assert with_sources("Lima.", citations) == "\n\n".join(["Lima.", *(["\n".join(lines)] if lines else [])])


def test_what_the_text_links_to_is_not_repeated() -> None:
    text = f"[Lima]({PAGE['url']})"
    assert with_sources(text, [PAGE]) == text


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_sandbox_answers_with_the_switch_on(slug: str, is_streamed: bool) -> None:
    with running_sandbox(pause_seconds=0) as sandbox:
        access = Access(f"sandbox-key-{slug}", f"{sandbox.url}/{slug}{PROVIDERS[slug].base_path}")
        provider: Any = provider_class(Category.TEXT, slug)(access)
        on_text = (lambda _: None) if is_streamed else None
        result = provider.run(prompt_for(slug), timeout_seconds=10, deadline=Deadline.after(10), on_text=on_text)
        (line,) = sandbox.billing.as_list()

    route = shipped_route(Category.TEXT, slug)
    assert route
    cost, _ = cost_of(result.usage, prices=route.prices, list_price=Decimal(route.list_price), price_unit="1k_tokens")
    assert cost == Decimal(line["cost"])
    assert (FOUND["url"] in result.text) == (slug in ("openai", "xai"))
    if has_contract("openai-responses") and slug == "openai" and not is_streamed:
        body = json.loads(_raw_answer_of_the_sandbox(slug))
        assert contract_of("openai-responses").response_errors("POST", "/responses", 200, body) == []


def _raw_answer_of_the_sandbox(slug: str) -> str:
    with running_sandbox() as sandbox:
        call = provider_of(slug).build(prompt_for(slug), stream=False)
        return requests.post(
            f"{sandbox.url}/{slug}{PROVIDERS[slug].base_path}{call.path}",
            json=call.json,
            headers={"Authorization": f"Bearer sandbox-key-{slug}"},
            timeout=10,
        ).text

"""The sandbox validates as the vendors do, fails on demand, records its bill, and never blocks or stays behind."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command

from providers.registry import PROVIDERS, label_of
from providers.sandbox import Sandbox, running_sandbox
from providers.types import Category
from tests.sandboxes import SHIPPED, TEXT_SLUGS

TIMEOUT_SECONDS = 5


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


def post(sandbox: Sandbox, slug: str, body: Any = None, headers: dict[str, str] | None = None) -> requests.Response:
    key = f"sandbox-key-{slug}"
    usual = {"x-api-key": key, "anthropic-version": "2023-06-01", "Authorization": f"Bearer {key}"}
    url = f"{sandbox.url}/{slug}{sandbox.vendors[slug].chat_path}"
    return requests.post(
        url, json=body or body_of(slug), headers=usual if headers is None else headers, timeout=TIMEOUT_SECONDS
    )


def body_of(slug: str, **fields: Any) -> dict[str, Any]:
    body = {"model": SHIPPED[Category.TEXT, slug], "messages": [{"role": "user", "content": "What is a fallback?"}]}
    return {**body, **({"max_tokens": 500} if slug == "anthropic" else {}), **fields}


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_the_answer_names_the_provider_and_repeats_the_prompt(sandbox, slug):
    response = post(sandbox, slug)

    assert response.ok
    assert f"sandbox, which answers here in place of {label_of(slug)}" in response.text
    assert "What is a fallback?" in response.text


def test_aimlapi_answers_201_and_reports_its_price_twice(sandbox):
    response = post(sandbox, "aimlapi")

    usage = response.json()["meta"]["usage"]
    assert response.status_code == 201
    assert Decimal(response.headers["x-aimlapi-usd-spent"]) == Decimal(str(usage["usd_spent"]))
    assert usage["credits_used"] == round(usage["usd_spent"] * 2_000_000)


def test_xai_counts_reasoning_apart_and_reports_its_price_in_ticks(sandbox):
    usage = post(sandbox, "xai").json()["usage"]

    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] + reasoning
    # grok-4.7 costs $2 and $6 a million: 20,000 and 60,000 ticks a token.
    ticks = 20_000 * usage["prompt_tokens"] + 60_000 * (usage["completion_tokens"] + reasoning)
    assert usage["cost_in_usd_ticks"] == ticks


@pytest.mark.parametrize("slug", ["openai", "xai", "groq"])
def test_a_continued_conversation_is_read_from_the_cache(sandbox, slug):
    turns = [("user", "One two"), ("assistant", "Three"), ("user", "Four")]
    messages = [{"role": role, "content": text} for role, text in turns]

    usage = post(sandbox, slug, body_of(slug, messages=messages)).json()["usage"]

    # Each word is a token, and four more for each message.
    assert usage["prompt_tokens"] == (2 + 4) + (1 + 4) + (1 + 4)
    assert usage["prompt_tokens_details"]["cached_tokens"] == (2 + 4) + (1 + 4)


def test_a_limit_cuts_the_answer_off(sandbox):
    choice = post(sandbox, "openai", body_of("openai", max_completion_tokens=3)).json()["choices"][0]

    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == "Hello from the"


@pytest.mark.parametrize(
    ("slug", "status"),
    [
        ("aimlapi", 401),
        ("piapi", 401),
        ("openrouter", 401),
        ("openai", 401),
        ("anthropic", 401),
        ("xai", 400),
        ("groq", 401),
    ],
)
def test_a_wrong_key_is_refused_as_the_vendor_does_it(sandbox, slug, status):
    headers = {"x-api-key": "wrong", "Authorization": "Bearer wrong", "anthropic-version": "2023-06-01"}

    assert post(sandbox, slug, headers=headers).status_code == status
    assert post(sandbox, slug, headers={}).status_code == 401


def test_anthropic_wants_its_version_and_a_limit(sandbox):
    without_version = post(sandbox, "anthropic", headers={"x-api-key": "sandbox-key-anthropic"})
    without_limit = post(sandbox, "anthropic", body_of("anthropic", max_tokens=None))

    assert without_version.status_code == without_limit.status_code == 400
    assert "anthropic-version" in without_version.json()["error"]["message"]
    assert "max_tokens" in without_limit.json()["error"]["message"]


@pytest.mark.parametrize(
    ("slug", "fields", "status"),
    [
        ("openai", {"max_tokens": 5}, 400),
        ("openai", {"temperature": 1}, 400),
        ("openai", {"messages": []}, 400),
        ("openai", {"messages": [{"role": "wizard", "content": "Hi"}]}, 400),
        ("openai", {"messages": [{"role": "user", "content": None}]}, 400),
        ("openai", {"stream_options": {"include_usage": True}}, 400),
        ("openai", {"model": "gpt-4"}, 404),
        ("openai", {"model": None}, 400),
        ("xai", {"messages": "Hi"}, 422),
        ("xai", {"stop": ["x"]}, 400),
        ("anthropic", {"temperature": 1}, 400),
        ("anthropic", {"max_tokens": "5"}, 400),
        ("anthropic", {"surprise": 1}, 400),
        ("anthropic", {"messages": [{"role": "system", "content": "Hi"}]}, 400),
        ("anthropic", {"messages": [{"role": "assistant", "content": "Hi"}]}, 400),
        ("anthropic", {"model": "claude-2"}, 404),
        ("aimlapi", {"max_tokens": 0}, 400),
        ("groq", {"logit_bias": {}}, 400),
        ("groq", {"model": "llama2-70b-4096"}, 404),
    ],
)
def test_a_wrong_request_is_refused_and_not_billed(sandbox, slug, fields, status):
    assert post(sandbox, slug, body_of(slug, **fields)).status_code == status
    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


def test_broken_json_and_unknown_paths_are_refused(sandbox):
    headers = {"Authorization": "Bearer sandbox-key-openai"}
    broken = requests.post(f"{sandbox.url}/openai/v1/chat/completions", data="{", headers=headers, timeout=5)
    elsewhere = requests.post(f"{sandbox.url}/openai/v1/embeddings", data="{}", headers=headers, timeout=5)
    unknown = requests.get(f"{sandbox.url}/no-such-provider", timeout=5)

    assert (broken.status_code, elsewhere.status_code, unknown.status_code) == (400, 404, 404)
    assert f"{sandbox.url}/openai/v1/chat/completions" in unknown.json()["addresses"]


@pytest.mark.parametrize(("slug", "status"), [("aimlapi", 503), ("xai", 503), ("anthropic", 529)])
def test_a_provider_that_is_down_says_so_until_it_is_healed(sandbox, slug, status):
    sandbox.break_provider(slug, "down")
    broken = post(sandbox, slug).status_code
    sandbox.heal(slug)

    assert broken == status
    assert post(sandbox, slug).ok


@pytest.mark.parametrize(
    ("slug", "seconds"),
    [("openai", "10"), ("anthropic", "10"), ("openrouter", "10"), ("groq", "10"), ("aimlapi", None), ("xai", None)],
)
def test_a_limited_rate_tells_how_long_to_wait_where_the_vendor_does(sandbox, slug, seconds):
    sandbox.break_provider(slug, "429")

    response = post(sandbox, slug)

    assert response.status_code == 429
    assert response.headers.get("Retry-After") == seconds


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_a_cut_stream_lacks_its_end_marker_and_is_billed(sandbox, slug):
    sandbox.break_provider(slug, "cut")

    content = post(sandbox, slug, body_of(slug, stream=True)).content.decode()

    assert "Hello" in content
    assert "[DONE]" not in content
    assert "message_stop" not in content
    assert [line["billed"] for line in sandbox.billing.as_list()] == [True]


def test_a_cut_answer_is_half_a_body(sandbox):
    sandbox.break_provider("openai", "cut")

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(sandbox, "openai")


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_an_empty_answer_is_a_success_without_text(sandbox, slug):
    sandbox.break_provider(slug, "empty")

    response = post(sandbox, slug)

    assert response.ok
    assert "Hello" not in response.text
    assert sandbox.billing.as_list()[0]["usage"]["output_tokens"] == 64


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_a_success_may_contain_an_error(sandbox, slug):
    sandbox.break_provider(slug, "error-200")

    whole, streamed = post(sandbox, slug), post(sandbox, slug, body_of(slug, stream=True))

    assert whole.status_code == streamed.status_code == 200
    assert "Hello from" not in whole.text
    assert "[DONE]" not in streamed.content.decode()


def test_a_hanging_provider_holds_up_nobody_else(sandbox):
    sandbox.break_provider("aimlapi", "hang")
    hanging = [threading.Thread(target=_expect_no_answer, args=(sandbox,), daemon=True) for _ in range(20)]
    for thread in hanging:
        thread.start()

    assert post(sandbox, "piapi").ok

    began = time.monotonic()
    sandbox.close()
    for thread in hanging:
        thread.join(TIMEOUT_SECONDS)
    assert not any(thread.is_alive() for thread in hanging)
    assert time.monotonic() - began < 2


def _expect_no_answer(sandbox: Sandbox) -> None:
    with pytest.raises(requests.ConnectionError):
        post(sandbox, "aimlapi")


@pytest.mark.parametrize("slug", PROVIDERS)
def test_every_provider_has_a_stand_in(sandbox, slug):
    assert slug in sandbox.vendors, (
        f"The sandbox does not know {slug}: write providers/sandbox/vendors/{slug}.py with a subclass of "
        f'SandboxVendor, such as `class {slug.title()}Vendor(OpenAICompatibleVendor): slug = "{slug}"`.'
    )


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_the_catalogue_lists_the_shipped_model(sandbox, slug):
    headers = {"x-api-key": f"sandbox-key-{slug}", "Authorization": f"Bearer sandbox-key-{slug}"}

    listed = requests.get(f"{sandbox.url}/{slug}{sandbox.vendors[slug].models_path}", headers=headers, timeout=5).json()

    assert SHIPPED[Category.TEXT, slug] in [entry["id"] for entry in listed["data"]]


def test_nothing_listens_once_the_sandbox_has_ended():
    with running_sandbox() as sandbox, requests.Session() as session:
        session.get(f"{sandbox.url}/_sandbox/faults", timeout=TIMEOUT_SECONDS)
        address = sandbox.server_address[:2]

    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass


def test_it_listens_on_this_machine_only():
    with pytest.raises(ValueError, match="this machine only"):
        Sandbox("0.0.0.0", 0)  # noqa: S104 — refused


def test_billing_follows_the_shipped_prices(sandbox):
    post(sandbox, "openai")

    (line,) = sandbox.billing.as_list()
    usage = line["usage"]
    # gpt-6-luna: $0.10 and $0.50 a million.
    millionths = usage["input_tokens"] * Decimal("0.10") + usage["output_tokens"] * Decimal("0.50")
    assert line == {**line, "provider": "openai", "model": "gpt-6-luna", "billed": True}
    assert Decimal(line["cost"]) == millionths / 1_000_000
    assert requests.get(f"{sandbox.url}/_sandbox/billing", timeout=5).json() == [line]


def test_the_line_of_a_job_keeps_its_prompt_when_the_job_is_stopped(sandbox):
    headers = {"Authorization": "Bearer sandbox-key-replicate"}
    submissions = f"{sandbox.url}/replicate/v1/models/kwaivgi/kling-v3-video/predictions"

    job = requests.post(submissions, json={"input": {"prompt": "A slow river"}}, headers=headers, timeout=5).json()
    requests.post(job["urls"]["cancel"], headers=headers, timeout=5)

    (line,) = sandbox.billing.as_list()
    assert (line["prompt"], line["job_id"], line["billed"]) == ("A slow river", job["id"], False)


def test_a_stream_grows_event_by_event():
    with running_sandbox(pause_seconds=0.02) as sandbox:
        headers = {"Authorization": "Bearer sandbox-key-xai"}
        body, url = body_of("xai", stream=True), f"{sandbox.url}/xai/v1/chat/completions"
        with requests.post(url, json=body, headers=headers, stream=True, timeout=5) as response:
            moments = [time.monotonic() for line in response.iter_lines() if line]

    assert moments[-1] - moments[0] > 0.2


def test_the_command_breaks_shows_and_heals(sandbox, settings):
    settings.SANDBOX_URL = sandbox.url
    out = io.StringIO()

    call_command("sandbox", "break", "xai", "bad key", stdout=out)
    assert "xai         bad-key\n" in out.getvalue()
    assert sandbox.faults.as_dict()["xai"] == "bad-key"

    call_command("sandbox", "heal", stdout=out)
    assert set(sandbox.faults.as_dict().values()) == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["break", "no-such-provider", "down"], "There is no provider 'no-such-provider'"),
        (["break", "xai", "tired"], "There is no fault 'tired'. Choose one of down, 429"),
        (["break", "xai"], "Say what to break and how"),
        (["heal", "no-such-provider"], "There is no provider 'no-such-provider'"),
    ],
)
def test_the_command_reports_unknown_names(sandbox, settings, arguments, message):
    settings.SANDBOX_URL = sandbox.url

    with pytest.raises(CommandError, match=message):
        call_command("sandbox", *arguments)


def test_the_command_says_when_no_sandbox_runs(settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        settings.SANDBOX_URL = f"http://127.0.0.1:{free.getsockname()[1]}"

        with pytest.raises(CommandError, match=r"No sandbox answers at .* Start it with"):
            call_command("sandbox", "status")


def test_the_command_says_when_its_port_is_taken(sandbox, settings):
    settings.SANDBOX_URL = sandbox.url

    with pytest.raises(CommandError, match=r"cannot listen .* Set SANDBOX_URL to another port"):
        call_command("sandbox")

"""Our own clients against the sandbox: every vendor answers, costs what its bill says, and fails on demand."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from providers.errors import AccessDenied, OutcomeUnknown, ProviderError, RateLimited, ServerFault
from providers.models import ProviderConfig
from providers.pricing import cost_of
from providers.registry import label_of, provider_class
from providers.sandbox import Sandbox, running_sandbox
from providers.transport.deadlines import Deadline
from providers.types import Category, Prompt, TextResult, Turn
from tests.sandboxes import SHIPPED, TEXT_SLUGS, access_to

QUESTION = "What is a fallback?"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


def ask(
    sandbox: Sandbox, slug: str, *, seen: list[str] | None = None, timeout_seconds: float = 5, **fields: Any
) -> TextResult:
    prompt = Prompt(Category.TEXT, QUESTION, model=SHIPPED[Category.TEXT, slug], **fields)
    return provider_class(Category.TEXT, slug)(access_to(sandbox, slug)).run(
        prompt,
        timeout_seconds=timeout_seconds,
        deadline=Deadline.after(timeout_seconds),
        on_text=seen.append if seen is not None else None,
    )


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_an_answer_comes_whole_and_streamed(sandbox, slug):
    seen: list[str] = []

    whole, streamed = ask(sandbox, slug), ask(sandbox, slug, seen=seen)

    assert whole.text == streamed.text == seen[-1]
    assert f"in place of {label_of(slug)}" in whole.text
    assert len(seen) > 10
    assert QUESTION in whole.text


@pytest.mark.django_db
@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_our_cost_is_what_the_sandbox_billed(sandbox, slug, is_streamed):
    history = (Turn("user", "Hello"), Turn("assistant", "Good day"))
    route = ProviderConfig.objects.get(category="TEXT", name=slug)

    result = ask(sandbox, slug, seen=[] if is_streamed else None, history=history, system="Be brief.")

    (line,) = sandbox.billing.as_list()
    usage = result.usage
    assert usage.input_tokens is not None, (
        f"{label_of(slug)}'s answer brought no usage. Where the client asks for none (stream_options = None), its "
        "vendor in providers/sandbox/vendors/ needs always_sends_usage = True"
    )
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == tuple(line["usage"].values())
    assert line["prompt"] == QUESTION
    cost, _ = cost_of(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)
    assert cost == Decimal(line["cost"])


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "errors"),
    [
        ("down", ServerFault),
        ("429", RateLimited),
        ("bad-key", AccessDenied),
        ("empty", OutcomeUnknown),
        ("cut", OutcomeUnknown),
        ("error-200", (ServerFault, OutcomeUnknown)),  # some vendors say inside that nothing was done
    ],
)
@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_a_fault_raises_its_error(sandbox, slug, fault, errors, is_streamed):
    sandbox.break_provider(slug, fault)

    with pytest.raises(errors) as caught:
        ask(sandbox, slug, seen=[] if is_streamed else None)

    assert f"sandbox-key-{slug}" not in f"{caught.value!r} {caught.value}"
    if sandbox.billing.as_list()[0]["billed"]:
        assert caught.value.maybe_paid


@pytest.mark.parametrize("slug", TEXT_SLUGS)
def test_a_hanging_provider_times_out(sandbox, slug):
    sandbox.break_provider(slug, "hang")
    began = time.monotonic()

    with pytest.raises(ProviderError) as caught:
        ask(sandbox, slug, timeout_seconds=0.3)

    assert isinstance(caught.value, OutcomeUnknown)
    assert time.monotonic() - began < 2

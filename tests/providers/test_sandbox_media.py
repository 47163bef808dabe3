"""Our own clients against every stand-in that makes images, videos or audio: results, costs, faults, jobs, files."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from providers.common.file_types import file_type_of
from providers.errors import (
    AccessDenied,
    ContentRefused,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    ServerFault,
)
from providers.models import ProviderConfig
from providers.pricing import cost_of
from providers.sandbox import Sandbox, running_sandbox
from providers.transport.redaction import Redactor
from providers.types import Category, Job, OutputOptions, Usage
from tests.sandboxes import (
    MEDIA,
    QUICK_SECONDS,
    VIDEO_SECONDS,
    SandboxClock,
    client,
    generate,
    prompt_for,
    soon,
    submit,
)

JOBS = [
    (Category.AUDIO, "piapi"),
    (Category.IMAGE, "piapi"),
    (Category.IMAGE, "runware"),
    (Category.IMAGE, "kie"),
    *(key for key in MEDIA if key[0] is Category.VIDEO),
]
# Its error inside a 200 does not say whether anything was generated.
VAGUE_ABOUT_FAILURE = [(Category.IMAGE, "xai")]

each_route = pytest.mark.parametrize(("category", "slug"), MEDIA, ids=str)
each_job = pytest.mark.parametrize(("category", "slug"), JOBS, ids=str)


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock()


@pytest.fixture
def sandbox(clock) -> Iterator[Sandbox]:
    with running_sandbox(clock=clock, video_seconds=VIDEO_SECONDS) as sandbox:
        yield sandbox


def cost_by_route(category: Category, slug: str, usage: Usage) -> Decimal | None:
    """Return what our ledger would hold."""
    route = ProviderConfig.objects.get(category=category, provider=slug)
    cost, _ = cost_of(usage, prices=route.prices, list_price=route.list_price, price_unit=route.price_unit)
    return cost


@each_route
def test_what_comes_is_a_real_file(sandbox, clock, category, slug):
    provider = client(sandbox, category, slug)

    made = generate(provider, prompt_for(category, slug), clock)

    content = made.content or provider.fetch_output(made.url, deadline=soon())
    assert file_type_of(category, content).content_type in ("image/png", "image/jpeg", "video/mp4", "audio/mpeg")


@pytest.mark.django_db
@each_route
def test_our_cost_is_what_the_sandbox_billed(sandbox, clock, category, slug):
    made = generate(client(sandbox, category, slug), prompt_for(category, slug), clock)

    (line,) = sandbox.billing.as_list()
    assert line["billed"]
    assert line["prompt"] == prompt_for(category, slug).text
    if (category, slug) == (Category.AUDIO, "openrouter"):  # neither a shipped nor a reported price
        assert cost_by_route(category, slug, made.usage) is line["cost"] is None
    else:
        assert cost_by_route(category, slug, made.usage) == Decimal(line["cost"]) > 0


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [5, 10])
@pytest.mark.parametrize("slug", ["piapi", "aimlapi", "kie"])
def test_a_longer_video_costs_more_on_both_sides(sandbox, clock, slug, seconds):
    prompt = prompt_for(Category.VIDEO, slug, output_options=OutputOptions(seconds=seconds))

    made = generate(client(sandbox, Category.VIDEO, slug), prompt, clock)

    (line,) = sandbox.billing.as_list()
    assert line["usage"] == {"seconds": str(seconds)}
    assert cost_by_route(Category.VIDEO, slug, made.usage) == Decimal(line["cost"])


@each_route
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("down", ServerFault), ("429", RateLimited), ("bad-key", AccessDenied), ("cut", OutcomeUnknown)],
)
def test_a_fault_raises_its_error(sandbox, category, slug, fault, expected):
    sandbox.break_provider(slug, fault)

    with pytest.raises(ProviderError) as caught:
        submit(client(sandbox, category, slug), prompt_for(category, slug))

    assert type(caught.value) is expected
    assert f"sandbox-key-{slug}" not in f"{caught.value!r} {caught.value}"
    assert [line["billed"] for line in sandbox.billing.as_list()] == [fault == "cut"]


@each_route
def test_a_hanging_provider_times_out(sandbox, category, slug):
    sandbox.break_provider(slug, "hang")

    with pytest.raises(OutcomeUnknown):
        submit(client(sandbox, category, slug), prompt_for(category, slug), timeout_seconds=0.3)

    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


@pytest.mark.django_db
@each_route
def test_a_success_without_an_output_may_have_been_paid(sandbox, clock, category, slug):
    sandbox.break_provider(slug, "empty")

    with pytest.raises(OutcomeUnknown) as caught:
        generate(client(sandbox, category, slug), prompt_for(category, slug), clock)

    (line,) = sandbox.billing.as_list()
    assert line["billed"]
    assert caught.value.maybe_paid
    if caught.value.usage:  # where even such an answer reports its price
        assert cost_by_route(category, slug, caught.value.usage) == Decimal(line["cost"])


@each_route
def test_a_failure_inside_a_success_is_an_error(sandbox, clock, category, slug):
    sandbox.break_provider(slug, "error-200")

    with pytest.raises(ProviderError) as caught:
        generate(client(sandbox, category, slug), prompt_for(category, slug), clock)

    assert type(caught.value) is (OutcomeUnknown if (category, slug) in VAGUE_ABOUT_FAILURE else ServerFault)
    assert caught.value.status in (200, 201)
    assert caught.value.ends_job is ((category, slug) in JOBS or slug == "replicate")
    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


@each_route
def test_an_empty_account_denies_access(sandbox, category, slug):
    with pytest.raises(ProviderError) as caught:
        submit(client(sandbox, category, slug), prompt_for(category, slug, "An insufficient-funds lake"))

    assert type(caught.value) is AccessDenied
    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


@pytest.mark.django_db
@each_route
def test_forbidden_content_is_refused(sandbox, clock, category, slug):
    with pytest.raises(ProviderError) as caught:
        generate(client(sandbox, category, slug), prompt_for(category, slug, "A forbidden lake"), clock)

    assert type(caught.value) is ContentRefused
    (line,) = sandbox.billing.as_list()
    assert line["billed"] is (slug == "xai")
    if line["billed"]:  # a blocked prompt is charged there, and says so
        assert caught.value.maybe_paid
        assert caught.value.usage is not None
        assert cost_by_route(category, slug, caught.value.usage) == Decimal(line["cost"])


@each_route
def test_a_wrong_key_is_denied_access(sandbox, category, slug):
    with pytest.raises(AccessDenied):
        submit(client(sandbox, category, slug, key="another-key"), prompt_for(category, slug))


@each_route
def test_a_model_that_is_gone_is_not_served(sandbox, category, slug):
    with pytest.raises(ProviderError) as caught:
        submit(client(sandbox, category, slug), prompt_for(category, slug, model="inworld/none"))

    # PiAPI reports invalid parameters.
    assert isinstance(caught.value, ModelGone) is (slug != "piapi")
    assert not caught.value.maybe_paid


@each_job
def test_a_job_runs_until_its_time_has_passed(clock, category, slug):
    seconds = VIDEO_SECONDS if category is Category.VIDEO else QUICK_SECONDS
    with running_sandbox(clock=clock, video_seconds=VIDEO_SECONDS, quick_seconds=QUICK_SECONDS) as sandbox:
        provider, prompt = client(sandbox, category, slug), prompt_for(category, slug)
        job = submit(provider, prompt)
        assert isinstance(job, Job)

        clock.pass_seconds(seconds - 0.01)
        assert provider.poll(prompt, job.id, deadline=soon()) == job

        clock.pass_seconds(0.01)
        assert provider.poll(prompt, job.id, deadline=soon()).url.startswith(sandbox.url)


@each_job
def test_a_failed_poll_does_not_end_the_job(sandbox, clock, category, slug):
    provider, prompt = client(sandbox, category, slug), prompt_for(category, slug)
    job = submit(provider, prompt)
    assert isinstance(job, Job)
    clock.pass_seconds(VIDEO_SECONDS)
    for fault, expected in (("down", ServerFault), ("429", RateLimited)):
        sandbox.break_provider(slug, fault)
        with pytest.raises(expected) as caught:
            provider.poll(prompt, job.id, deadline=soon())
        assert not caught.value.ends_job
    sandbox.heal()

    assert provider.poll(prompt, job.id, deadline=soon()).url


@pytest.mark.parametrize(
    ("category", "slug", "days"),
    [
        (Category.IMAGE, "aimlapi", 1),
        (Category.VIDEO, "aimlapi", 1),
        (Category.AUDIO, "aimlapi", 1),
        (Category.IMAGE, "piapi", 3),
        (Category.VIDEO, "piapi", 3),
        (Category.IMAGE, "kie", 1),
        (Category.VIDEO, "kie", 1),
    ],
)
def test_the_files_are_gone_after_their_time(sandbox, clock, category, slug, days):
    provider = client(sandbox, category, slug)
    made = generate(provider, prompt_for(category, slug), clock)
    clock.pass_seconds(days * 24 * 3600 - VIDEO_SECONDS - 1)
    assert provider.fetch_output(made.url, deadline=soon())

    clock.pass_seconds(VIDEO_SECONDS + 1)

    with pytest.raises(OutcomeUnknown):
        provider.fetch_output(made.url, deadline=soon())


@pytest.mark.parametrize("model", ["elevenlabs/eleven_multilingual_v2", "minimax/speech-2.8-turbo"])
def test_speech_of_other_makers_is_served_too(sandbox, clock, model):
    provider = client(sandbox, Category.AUDIO, "aimlapi")

    made = generate(provider, prompt_for(Category.AUDIO, "aimlapi", model=model), clock)

    assert provider.fetch_output(made.url, deadline=soon()).startswith(b"ID3")
    assert made.usage.reported_cost == Decimal(sandbox.billing.as_list()[0]["cost"])


@pytest.mark.parametrize(
    ("category", "slug", "model"),
    [
        (Category.VIDEO, "aimlapi", "luma/ray-3.2"),
        (Category.IMAGE, "aimlapi", "blackforestlabs/flux-2"),
        (Category.IMAGE, "piapi", "Qubico/flux1-dev"),
        (Category.IMAGE, "xai", "grok-imagine-image-2.0"),
    ],
)
def test_other_models_of_the_documents_are_served_too(sandbox, clock, category, slug, model):
    provider = client(sandbox, category, slug)

    made = generate(provider, prompt_for(category, slug, model=model), clock)

    assert file_type_of(category, made.content or provider.fetch_output(made.url, deadline=soon()))


@pytest.mark.parametrize(("category", "slug"), MEDIA, ids=str)
def test_the_vendors_list_has_the_routes_model(sandbox, category, slug):
    provider, model = client(sandbox, category, slug), prompt_for(category, slug).model

    call = provider.models_call(model)

    if call is None:
        assert slug in ("piapi", "runware", "kie")  # whose documents have no list
        return
    with provider.exchange(
        call, Redactor("", prompt_for(category, slug)), timeout_seconds=5, deadline=soon()
    ) as answer:
        listed = provider.parse_models(json.loads(answer.body()))
    assert model in [entry.id for entry in listed]


@pytest.mark.parametrize("model", ["elevenlabs/eleven_music", "minimax/music-2.6"])
def test_music_is_a_job_with_its_price(sandbox, clock, model):
    provider, prompt = client(sandbox, Category.AUDIO, "aimlapi"), prompt_for(Category.AUDIO, "aimlapi", model=model)

    made = generate(provider, prompt, clock)

    assert provider.fetch_output(made.url, deadline=soon()).startswith(b"ID3")
    (line,) = sandbox.billing.as_list()
    assert made.usage.reported_cost == Decimal(line["cost"]) > 0


def test_an_unknown_voice_is_not_found(sandbox):
    provider = client(sandbox, Category.AUDIO, "elevenlabs")

    with pytest.raises(ProviderError) as caught:
        submit(provider, prompt_for(Category.AUDIO, "elevenlabs", output_options=OutputOptions(voice="unknown")))

    assert caught.value.status == 404

"""Our own clients against the vendors of texts that make media too: results, costs, faults and the words they say."""

import io
import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from PIL import Image

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
from providers.registry import PROVIDERS
from providers.sandbox import Sandbox, running_sandbox
from providers.common.file_types import file_type_of
from providers.transport.redaction import Redactor
from providers.types import Category, Job, OutputOptions, Usage
from tests.providers.test_sandbox_replicate import ROWS as OTHER_ROWS
from tests.sandboxes import FILM_SECONDS, QUICK_SECONDS, SHIPPED, GuardedCall, client, make, order, soon, wish_for

SLUGS = ("aimlapi", "piapi", "openrouter", "xai", "runware", "kie")
ROWS = [
    (category, slug)
    for slug in SLUGS
    for category in PROVIDERS[slug].backends
    if category is not Category.TEXT and (category, slug) in SHIPPED
]
JOBS = [
    (Category.AUDIO, "piapi"),
    (Category.IMAGE, "piapi"),
    (Category.IMAGE, "runware"),
    (Category.IMAGE, "kie"),
    (Category.VIDEO, "piapi"),
    (Category.VIDEO, "aimlapi"),
    (Category.VIDEO, "runware"),
    (Category.VIDEO, "kie"),
]
VAGUE_ABOUT_FAILURE = [(Category.IMAGE, "xai")]  # its error has no code, so nobody knows what was done

each_row = pytest.mark.parametrize(("category", "slug"), ROWS, ids=str)
each_job = pytest.mark.parametrize(("category", "slug"), JOBS, ids=str)


@pytest.fixture
def watch() -> GuardedCall:
    return GuardedCall()


@pytest.fixture
def sandbox(watch) -> Iterator[Sandbox]:
    with running_sandbox(clock=watch, film_seconds=FILM_SECONDS, quick_seconds=QUICK_SECONDS) as running:
        yield running


def cost_by_row(category: Category, slug: str, usage: Usage) -> Decimal | None:
    """Return what our ledger would hold."""
    row = ProviderConfig.objects.get(category=category, provider=slug)
    cost, _ = cost_of(usage, prices=row.prices, list_price=row.list_price, price_unit=row.price_unit)
    return cost


def test_every_shipped_row_is_tried_here_or_beside():
    assert {row for row in SHIPPED if row[0] is not Category.TEXT} == {*ROWS, *OTHER_ROWS}


@each_row
def test_what_comes_is_a_real_file(sandbox, watch, category, slug):
    provider = client(sandbox, category, slug)

    made = make(provider, wish_for(category, slug), watch)

    content = made.content or provider.fetch_output(made.url, deadline=soon())
    assert file_type_of(category, content).content_type in ("image/png", "image/jpeg", "video/mp4", "audio/mpeg")


@pytest.mark.django_db
@each_row
def test_our_cost_is_what_the_sandbox_billed(sandbox, watch, category, slug):
    made = make(client(sandbox, category, slug), wish_for(category, slug), watch)

    (line,) = sandbox.bill.as_list()
    assert line["billed"]
    assert line["asked"] == wish_for(category, slug).text
    if (category, slug) == (Category.AUDIO, "openrouter"):  # no shipped price, and no word of the vendor
        assert cost_by_row(category, slug, made.usage) is line["cost"] is None
    else:
        assert cost_by_row(category, slug, made.usage) == Decimal(line["cost"]) > 0


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [5, 10])
@pytest.mark.parametrize("slug", ["piapi", "aimlapi", "kie"])
def test_a_longer_film_costs_more_on_both_sides(sandbox, watch, slug, seconds):
    prompt = wish_for(Category.VIDEO, slug, output_options=OutputOptions(seconds=seconds))

    made = make(client(sandbox, Category.VIDEO, slug), prompt, watch)

    (line,) = sandbox.bill.as_list()
    assert line["usage"] == {"seconds": str(seconds)}
    assert cost_by_row(Category.VIDEO, slug, made.usage) == Decimal(line["cost"])


@each_row
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("down", ServerFault), ("429", RateLimited), ("bad-key", AccessDenied), ("cut", OutcomeUnknown)],
)
def test_a_fault_is_read_for_what_it_is(sandbox, category, slug, fault, expected):
    sandbox.break_provider(slug, fault)

    with pytest.raises(ProviderError) as caught:
        order(client(sandbox, category, slug), wish_for(category, slug))

    assert type(caught.value) is expected
    assert f"sandbox-key-{slug}" not in f"{caught.value!r} {caught.value}"
    assert [line["billed"] for line in sandbox.bill.as_list()] == [fault == "cut"]


@each_row
def test_a_hanging_provider_is_left_after_its_time(sandbox, category, slug):
    sandbox.break_provider(slug, "hang")

    with pytest.raises(OutcomeUnknown):
        order(client(sandbox, category, slug), wish_for(category, slug), patience=0.3)

    assert [line["billed"] for line in sandbox.bill.as_list()] == [False]


@pytest.mark.django_db
@each_row
def test_a_success_without_an_output_may_have_been_paid(sandbox, watch, category, slug):
    sandbox.break_provider(slug, "empty")

    with pytest.raises(OutcomeUnknown) as caught:
        make(client(sandbox, category, slug), wish_for(category, slug), watch)

    (line,) = sandbox.bill.as_list()
    assert line["billed"]
    assert caught.value.maybe_paid
    if caught.value.usage:  # where even such an answer names its price
        assert cost_by_row(category, slug, caught.value.usage) == Decimal(line["cost"])


@each_row
def test_a_failure_inside_a_success_is_none(sandbox, watch, category, slug):
    sandbox.break_provider(slug, "error-200")

    with pytest.raises(ProviderError) as caught:
        make(client(sandbox, category, slug), wish_for(category, slug), watch)

    assert type(caught.value) is (OutcomeUnknown if (category, slug) in VAGUE_ABOUT_FAILURE else ServerFault)
    assert caught.value.status in (200, 201)
    assert caught.value.ends_job is ((category, slug) in JOBS)
    assert [line["billed"] for line in sandbox.bill.as_list()] == [False]


@each_row
def test_an_empty_account_denies_access(sandbox, category, slug):
    with pytest.raises(ProviderError) as caught:
        order(client(sandbox, category, slug), wish_for(category, slug, "A penniless lake"))

    assert type(caught.value) is AccessDenied
    assert [line["billed"] for line in sandbox.bill.as_list()] == [False]


@pytest.mark.django_db
@each_row
def test_forbidden_content_is_refused(sandbox, watch, category, slug):
    with pytest.raises(ProviderError) as caught:
        make(client(sandbox, category, slug), wish_for(category, slug, "A forbidden lake"), watch)

    assert type(caught.value) is ContentRefused
    (line,) = sandbox.bill.as_list()
    assert line["billed"] is (slug == "xai")
    if line["billed"]:  # a blocked prompt is charged there, and we know it
        assert caught.value.maybe_paid
        assert caught.value.usage is not None
        assert cost_by_row(category, slug, caught.value.usage) == Decimal(line["cost"])


@each_row
def test_a_wrong_key_opens_nothing(sandbox, category, slug):
    with pytest.raises(AccessDenied):
        order(client(sandbox, category, slug, key="another-key"), wish_for(category, slug))


@each_row
def test_a_model_that_is_gone_is_not_served(sandbox, category, slug):
    with pytest.raises(ProviderError) as caught:
        order(client(sandbox, category, slug), wish_for(category, slug, model="inworld/none"))

    # PiAPI speaks of wrong parameters.
    assert isinstance(caught.value, ModelGone) is (slug != "piapi")
    assert not caught.value.maybe_paid


@each_job
def test_a_job_goes_on_until_the_clock_ends_it(sandbox, watch, category, slug):
    provider, prompt = client(sandbox, category, slug), wish_for(category, slug)
    seconds = FILM_SECONDS if category is Category.VIDEO else QUICK_SECONDS
    job = order(provider, prompt)
    assert isinstance(job, Job)

    watch.pass_seconds(seconds - 0.01)
    assert provider.poll(prompt, job.id, deadline=soon()) == job

    watch.pass_seconds(0.01)
    assert provider.poll(prompt, job.id, deadline=soon()).url.startswith(sandbox.url)


@each_job
def test_a_question_that_fails_does_not_end_the_job(sandbox, watch, category, slug):
    provider, prompt = client(sandbox, category, slug), wish_for(category, slug)
    job = order(provider, prompt)
    assert isinstance(job, Job)
    watch.pass_seconds(FILM_SECONDS)
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
def test_the_files_are_gone_after_their_time(sandbox, watch, category, slug, days):
    provider = client(sandbox, category, slug)
    made = make(provider, wish_for(category, slug), watch)
    watch.pass_seconds(days * 24 * 3600 - FILM_SECONDS - 1)
    assert provider.fetch_output(made.url, deadline=soon())

    watch.pass_seconds(FILM_SECONDS + 1)

    with pytest.raises(OutcomeUnknown):
        provider.fetch_output(made.url, deadline=soon())


@pytest.mark.parametrize(
    ("slug", "sides"),
    [(slug, (1024, 576)) for slug in ("aimlapi", "piapi", "openrouter", "xai", "kie")],
)
def test_wishes_shape_the_picture(sandbox, watch, slug, sides):
    provider = client(sandbox, Category.IMAGE, slug)
    prompt = wish_for(Category.IMAGE, slug, output_options=OutputOptions(aspect_ratio="16:9"))

    made = make(provider, prompt, watch)

    with Image.open(io.BytesIO(made.content or provider.fetch_output(made.url, deadline=soon()))) as picture:
        assert picture.size == sides


@pytest.mark.parametrize("model", ["elevenlabs/eleven_multilingual_v2", "minimax/speech-2.8-turbo"])
def test_other_makers_voices_speak_too(sandbox, watch, model):
    provider = client(sandbox, Category.AUDIO, "aimlapi")

    made = make(provider, wish_for(Category.AUDIO, "aimlapi", model=model), watch)

    assert provider.fetch_output(made.url, deadline=soon()).startswith(b"ID3")
    assert made.usage.reported_cost == Decimal(sandbox.bill.as_list()[0]["cost"])


@pytest.mark.parametrize(
    ("category", "slug", "model"),
    [
        (Category.VIDEO, "aimlapi", "luma/ray-3.2"),
        (Category.IMAGE, "aimlapi", "blackforestlabs/flux-2"),
        (Category.IMAGE, "piapi", "Qubico/flux1-dev"),
        (Category.IMAGE, "xai", "grok-imagine-image-2.0"),
    ],
)
def test_other_models_of_the_documents_are_served_too(sandbox, watch, category, slug, model):
    provider = client(sandbox, category, slug)

    made = make(provider, wish_for(category, slug, model=model), watch)

    assert file_type_of(category, made.content or provider.fetch_output(made.url, deadline=soon()))


@pytest.mark.parametrize(("category", "slug"), [*ROWS, *OTHER_ROWS], ids=str)
def test_the_vendors_list_knows_the_rows_model(sandbox, category, slug):
    provider, model = client(sandbox, category, slug), wish_for(category, slug).model

    call = provider.models_call(model)

    if call is None:
        assert slug in ("piapi", "runware", "kie")  # which document no list
        return
    with provider.exchange(call, Redactor("", wish_for(category, slug)), timeout_seconds=5, deadline=soon()) as answer:
        listed = provider.parse_models(json.loads(answer.body()))
    assert model in [entry.id for entry in listed]


@pytest.mark.parametrize("model", ["elevenlabs/eleven_music", "minimax/music-2.6"])
def test_music_is_a_job_with_its_price(sandbox, watch, model):
    provider, prompt = client(sandbox, Category.AUDIO, "aimlapi"), wish_for(Category.AUDIO, "aimlapi", model=model)

    made = make(provider, prompt, watch)

    assert provider.fetch_output(made.url, deadline=soon()).startswith(b"ID3")
    (line,) = sandbox.bill.as_list()
    assert made.usage.reported_cost == Decimal(line["cost"]) > 0

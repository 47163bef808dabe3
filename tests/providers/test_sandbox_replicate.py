"""Our own clients against the sandbox's pictures, films and sounds: results, faults, states, files and the bill."""

import base64
import hmac
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from providers.backends.replicate import Replicate
from providers.errors import AccessDenied, ContentRefused, OutcomeUnknown, ProviderError, RateLimited, ServerFault
from providers.models import ProviderConfig
from providers.pricing import cost_of
from providers.sandbox import Sandbox, running_sandbox
from providers.common.file_types import file_type_of
from providers.transport.webhook_signatures import is_genuine
from providers.types import Category, Job, OutputOptions
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, Received, answer
from tests.flows.processes import wait_until
from tests.sandboxes import FILM_SECONDS, SHIPPED, WISH, GuardedCall, client, make, order, soon, wish_for

SECRET = f"whsec_{base64.b64encode(b'a-signing-key-of-some-bytes').decode()}"
PATIENCE_SECONDS = 10
ROWS = [
    (Category.IMAGE, "replicate"),
    (Category.IMAGE, "openai"),
    (Category.VIDEO, "replicate"),
    (Category.AUDIO, "elevenlabs"),
    (Category.AUDIO, "replicate"),
]
each_row = pytest.mark.parametrize(("category", "slug"), ROWS, ids=lambda value: str(value).lower())


@pytest.fixture
def watch() -> GuardedCall:
    return GuardedCall()


@pytest.fixture
def sandbox(watch) -> Iterator[Sandbox]:
    with running_sandbox(clock=watch, film_seconds=FILM_SECONDS, quick_seconds=0, webhook_secret=SECRET) as running:
        yield running


def films(sandbox: Sandbox) -> Replicate:
    provider = client(sandbox, Category.VIDEO, "replicate")
    assert isinstance(provider, Replicate)
    return provider


FILM = wish_for(Category.VIDEO, "replicate")


@each_row
def test_what_comes_is_a_real_file(sandbox, watch, category, slug):
    provider = client(sandbox, category, slug)

    made = make(provider, wish_for(category, slug), watch)

    content = made.content or provider.fetch_output(made.url, deadline=soon())
    assert file_type_of(category, content).content_type in ("image/png", "video/mp4", "audio/mpeg")


@pytest.mark.django_db
@each_row
def test_our_cost_is_what_the_sandbox_billed(sandbox, watch, category, slug):
    row = ProviderConfig.objects.get(category=category, provider=slug)
    assert row.model == SHIPPED[category, slug]

    made = make(client(sandbox, category, slug), wish_for(category, slug), watch)

    (line,) = sandbox.bill.as_list()
    cost, _ = cost_of(made.usage, prices=row.prices, list_price=row.list_price, price_unit=row.price_unit)
    assert cost == Decimal(line["cost"]) > 0
    assert line["billed"]


@each_row
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("down", ServerFault), ("429", RateLimited), ("bad-key", AccessDenied), ("cut", OutcomeUnknown)],
)
def test_a_fault_is_read_for_what_it_is(sandbox, category, slug, fault, expected):
    sandbox.break_provider(slug, fault)

    with pytest.raises(expected) as caught:
        order(client(sandbox, category, slug), wish_for(category, slug))

    assert f"sandbox-key-{slug}" not in f"{caught.value!r} {caught.value}"


@each_row
def test_a_hanging_provider_is_left_after_its_time(sandbox, category, slug):
    sandbox.break_provider(slug, "hang")

    with pytest.raises(OutcomeUnknown):
        order(client(sandbox, category, slug), wish_for(category, slug), patience=0.3)


@each_row
@pytest.mark.parametrize("fault", ["empty", "error-200"])
def test_a_success_without_an_output_is_none(sandbox, watch, category, slug, fault):
    sandbox.break_provider(slug, fault)

    with pytest.raises((OutcomeUnknown, ServerFault)) as caught:
        make(client(sandbox, category, slug), wish_for(category, slug), watch)

    if sandbox.bill.as_list()[0]["billed"]:
        assert caught.value.maybe_paid


@each_row
@pytest.mark.parametrize(("word", "expected"), [("forbidden", ContentRefused), ("penniless", AccessDenied)])
def test_a_word_of_the_prompt_brings_about_a_refusal(sandbox, watch, category, slug, word, expected):
    with pytest.raises(expected):
        make(client(sandbox, category, slug), wish_for(category, slug, f"A {word} lake"), watch)

    assert not sandbox.bill.as_list()[0]["billed"]


# --- Replicate's jobs ---


def status_of(sandbox: Sandbox, job_id: str) -> str:
    return str(ask(sandbox, f"/v1/predictions/{job_id}").json()["status"])


def ask(sandbox: Sandbox, path: str, method: str = "GET", **options: Any) -> requests.Response:
    headers = {"Authorization": "Bearer sandbox-key-replicate", **options.pop("headers", {})}
    return requests.request(method, f"{sandbox.url}/replicate{path}", headers=headers, timeout=5, **options)


def test_a_job_goes_from_starting_to_processing_to_its_end(sandbox, watch):
    job = order(films(sandbox), FILM)
    assert isinstance(job, Job)
    seen = []
    for _ in range(3):
        seen.append(status_of(sandbox, job.id))
        watch.pass_seconds(FILM_SECONDS / 2)

    assert seen == ["starting", "processing", "succeeded"]


def test_an_order_may_be_held_until_the_picture_is_there(sandbox):
    path, wish = "/v1/models/black-forest-labs/flux-schnell/predictions", {"input": {"prompt": WISH}}

    held = ask(sandbox, path, "POST", json=wish, headers={"Prefer": "wait=5"})

    assert (held.status_code, held.json()["status"]) == (201, "succeeded")


def test_a_cancelled_job_is_not_billed(sandbox):
    provider = films(sandbox)
    job = order(provider, FILM)
    assert isinstance(job, Job)

    provider.cancel(job.id, deadline=soon())

    with pytest.raises(ProviderError) as caught:
        provider.poll(FILM, job.id, deadline=soon())
    assert caught.value.ends_job
    assert [line["billed"] for line in sandbox.bill.as_list()] == [False]


def test_the_vendor_stops_a_job_that_takes_longer_than_allowed(watch):
    with running_sandbox(clock=watch, film_seconds=60 * 60) as slow:
        job = order(films(slow), FILM)
        assert isinstance(job, Job)
        watch.pass_seconds(20 * 60)

        assert status_of(slow, job.id) == "canceled"


def test_the_files_are_gone_after_an_hour(sandbox, watch):
    provider = films(sandbox)
    made = make(provider, FILM, watch)

    watch.pass_seconds(3601)

    with pytest.raises(ProviderError):
        provider.fetch_output(made.url, deadline=soon())


def test_an_order_whose_answer_was_lost_is_found_in_the_list(sandbox, watch):
    provider, began = films(sandbox), watch.moment
    sandbox.break_provider("replicate", "cut")
    with pytest.raises(OutcomeUnknown):
        order(provider, FILM)
    sandbox.heal()

    found = provider.find_jobs(FILM, since=began, deadline=soon())

    assert [line["job_id"] for line in sandbox.bill.as_list()] == [job.id for job in found]


def test_the_list_comes_newest_first_and_in_pages(sandbox):
    path, wish = "/v1/models/kwaivgi/kling-v3-video/predictions", {"input": {"prompt": WISH}}
    ordered = [ask(sandbox, path, "POST", json=wish).json()["id"] for _ in range(102)]

    first = ask(sandbox, "/v1/predictions").json()
    second = ask(sandbox, first["next"].partition("/replicate")[2]).json()

    listed = [prediction["id"] for prediction in first["results"] + second["results"]]
    assert listed == ordered[::-1]
    assert second["next"] is None


def test_a_wrong_type_is_refused_in_the_vendors_words(sandbox):
    wish = {"input": {"prompt": WISH, "duration": "5"}}

    refused = ask(sandbox, "/v1/models/kwaivgi/kling-v3-video/predictions", "POST", json=wish)

    assert refused.status_code == 422
    assert "input.duration: Invalid type. Expected: integer, given: string" in refused.json()["detail"]


def test_a_community_model_is_ordered_by_its_version(sandbox, watch):
    bark = "suno-ai/bark:b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787"
    provider = client(sandbox, Category.AUDIO, "replicate")
    prompt = wish_for(Category.AUDIO, "replicate", model=bark)

    made = make(provider, prompt, watch)

    assert provider.fetch_output(made.url, deadline=soon()).startswith(b"ID3")


def heard(server: FakeServer) -> Received:
    """Return the only call, once everybody who wanted to call has done so."""
    wait_until(lambda: server.received, "the call about the job")
    for thread in threading.enumerate():
        if thread.name == "callback":
            thread.join(PATIENCE_SECONDS)
    (call,) = server.received
    return call


def test_the_end_of_a_job_is_called_out_once_and_signed(server: FakeServer):
    server.will(answer({}), answer({}))
    with running_sandbox(film_seconds=0.05, webhook_secret=SECRET) as sandbox:
        job = order(films(sandbox), wish_for(Category.VIDEO, "replicate", callback_url=f"{server.url}/hook?attempt=1"))
        assert isinstance(job, Job)
        heard(server)
        films(sandbox).cancel(job.id, deadline=soon())  # too late: no second call follows
        call = heard(server)

    assert call.path == "/hook?attempt=1"
    assert call.json["id"] == job.id
    assert call.json["status"] == "succeeded"
    assert is_genuine(call.headers, call.body, secret=SECRET, now=time.time())


def test_a_cancelled_job_is_called_out_at_once(server: FakeServer):
    server.will(answer({}))
    with running_sandbox(film_seconds=3600, webhook_secret=SECRET) as sandbox:
        provider = films(sandbox)
        job = order(provider, wish_for(Category.VIDEO, "replicate", callback_url=f"{server.url}/hook"))
        assert isinstance(job, Job)
        provider.cancel(job.id, deadline=soon())
        wait_until(lambda: server.received, "the call about the cancelled job")

    assert server.received[0].json["status"] in ("canceled", "aborted")


def test_nobody_beyond_this_machine_is_called(sandbox, monkeypatch):
    called: list[str] = []
    monkeypatch.setattr(
        "providers.sandbox.outgoing_callbacks.Callbacks._run", lambda self, seconds, url, body: called.append(url)
    )

    order(films(sandbox), wish_for(Category.VIDEO, "replicate", callback_url="https://bot.example.com/hook"))

    assert called == []


def test_the_secret_of_the_calls_is_told_to_whoever_has_the_key(sandbox):
    assert ask(sandbox, "/v1/webhooks/default/secret").json() == {"key": SECRET}


# --- The vendors' contracts ---


@pytest.mark.parametrize("seconds", [0, FILM_SECONDS, 3700])
def test_a_prediction_keeps_the_vendors_contract(sandbox, watch, seconds):
    path, wish = "/models/kwaivgi/kling-v3-video/predictions", {"input": {"prompt": WISH}}
    contract = contract_of("replicate")
    ordered = ask(sandbox, f"/v1{path}", "POST", json=wish)
    watch.pass_seconds(seconds)
    shown = ask(sandbox, f"/v1/predictions/{ordered.json()['id']}")
    listed = ask(sandbox, "/v1/predictions")

    template = "/models/{model_owner}/{model_name}/predictions"
    assert contract.response_errors("POST", template, 201, ordered.json()) == []
    assert contract.response_errors("GET", "/predictions/{prediction_id}", 200, shown.json()) == []
    for prediction in listed.json()["results"]:  # the document does not describe the list itself
        assert contract.response_errors("GET", "/predictions/{prediction_id}", 200, prediction) == []


def test_replicates_models_and_account_keep_the_vendors_contract(sandbox):
    contract = contract_of("replicate")

    model, account = ask(sandbox, "/v1/models/luma/ray-3.2").json(), ask(sandbox, "/v1/account").json()

    assert contract.response_errors("GET", "/models/{model_owner}/{model_name}", 200, model) == []
    assert contract.response_errors("GET", "/account", 200, account) == []


def test_a_painted_picture_keeps_the_vendors_contract(sandbox):
    painted = requests.post(
        f"{sandbox.url}/openai/v1/images/generations",
        json={"model": "gpt-image-2.6-flare", "prompt": WISH, "size": "1536x1024", "quality": "low"},
        headers={"Authorization": "Bearer sandbox-key-openai"},
        timeout=5,
    )

    assert contract_of("openai").response_errors("POST", "/images/generations", 200, painted.json()) == []


@pytest.mark.parametrize(("path", "template"), [("/v1/models", "/v1/models"), ("/v2/voices", "/v2/voices")])
def test_elevenlabs_lists_keep_the_vendors_contract(sandbox, path, template):
    listed = requests.get(
        f"{sandbox.url}/elevenlabs{path}", headers={"xi-api-key": "sandbox-key-elevenlabs"}, timeout=5
    )

    assert contract_of("elevenlabs").response_errors("GET", template, 200, listed.json()) == []


def test_wishes_shape_the_picture(sandbox, watch):
    provider = client(sandbox, Category.IMAGE, "replicate")
    prompt = wish_for(Category.IMAGE, "replicate", output_options=OutputOptions(aspect_ratio="16:9"))

    content = provider.fetch_output(make(provider, prompt, watch).url, deadline=soon())

    width, height = (int.from_bytes(content[start : start + 4]) for start in (16, 20))  # of a PNG's first chunk
    assert (width, height) == (1024, 576)


def test_a_sound_may_not_be_had_from_a_voice_that_is_none(sandbox):
    provider = client(sandbox, Category.AUDIO, "elevenlabs")

    with pytest.raises(ProviderError) as caught:
        order(provider, wish_for(Category.AUDIO, "elevenlabs", output_options=OutputOptions(voice="nobody")))

    assert caught.value.status == 404


def test_the_signature_covers_id_time_and_body(server: FakeServer):
    server.will(answer({}))
    with running_sandbox(film_seconds=0.05, webhook_secret=SECRET) as sandbox:
        order(films(sandbox), wish_for(Category.VIDEO, "replicate", callback_url=f"{server.url}/hook"))
        call = heard(server)

    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, "sha256")
    assert call.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"

"""Our own client against the sandbox's Replicate: states, waiting, cancelling, the list, callbacks, the contract."""

import base64
import hmac
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from providers.backends.media_generation import JobProvider
from providers.errors import OutcomeUnknown, ProviderError
from providers.sandbox import Sandbox, running_sandbox
from providers.transport.webhook_signatures import is_genuine
from providers.types import Category, Job
from tests.contracts.openapi import contract_of
from tests.fakes.http_server import FakeServer, Received, answer
from tests.flows.processes import wait_until
from tests.sandboxes import PROMPT, VIDEO_SECONDS, SandboxClock, client, generate, prompt_for, soon, submit

SECRET = f"whsec_{base64.b64encode(b'a-signing-key-of-some-bytes').decode()}"
TIMEOUT_SECONDS = 10
VIDEO = prompt_for(Category.VIDEO, "replicate")


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock()


@pytest.fixture
def sandbox(clock) -> Iterator[Sandbox]:
    with running_sandbox(clock=clock, video_seconds=VIDEO_SECONDS, webhook_secret=SECRET) as sandbox:
        yield sandbox


def videos(sandbox: Sandbox) -> JobProvider:
    provider = client(sandbox, Category.VIDEO, "replicate")
    assert isinstance(provider, JobProvider)
    return provider


def status_of(sandbox: Sandbox, job_id: str) -> str:
    return str(ask(sandbox, f"/v1/predictions/{job_id}").json()["status"])


def ask(sandbox: Sandbox, path: str, method: str = "GET", **options: Any) -> requests.Response:
    headers = {"Authorization": "Bearer sandbox-key-replicate", **options.pop("headers", {})}
    return requests.request(method, f"{sandbox.url}/replicate{path}", headers=headers, timeout=5, **options)


def test_a_job_goes_from_starting_to_processing_to_its_end(sandbox, clock):
    job = submit(videos(sandbox), VIDEO)
    assert isinstance(job, Job)
    seen = []
    for _ in range(3):
        seen.append(status_of(sandbox, job.id))
        clock.pass_seconds(VIDEO_SECONDS / 2)

    assert seen == ["starting", "processing", "succeeded"]


def test_a_submission_may_be_held_until_the_image_is_there(sandbox):
    path, body = "/v1/models/black-forest-labs/flux-schnell/predictions", {"input": {"prompt": PROMPT}}

    held = ask(sandbox, path, "POST", json=body, headers={"Prefer": "wait=5"})

    assert (held.status_code, held.json()["status"]) == (201, "succeeded")


def test_a_cancelled_job_is_not_billed(sandbox):
    provider = videos(sandbox)
    job = submit(provider, VIDEO)
    assert isinstance(job, Job)

    provider.cancel(job.id, deadline=soon())

    with pytest.raises(ProviderError) as caught:
        provider.poll(VIDEO, job.id, deadline=soon())
    assert caught.value.ends_job
    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


def test_the_vendor_stops_a_job_that_takes_longer_than_allowed(clock):
    with running_sandbox(clock=clock, video_seconds=60 * 60) as slow:
        job = submit(videos(slow), VIDEO)
        assert isinstance(job, Job)
        clock.pass_seconds(20 * 60)

        assert status_of(slow, job.id) == "canceled"


def test_the_files_are_gone_after_an_hour(sandbox, clock):
    provider = videos(sandbox)
    made = generate(provider, VIDEO, clock)

    clock.pass_seconds(3601)

    with pytest.raises(ProviderError):
        provider.fetch_output(made.url, deadline=soon())


def test_a_submission_whose_answer_was_lost_is_found_in_the_list(sandbox, clock):
    provider, began = videos(sandbox), clock.moment
    sandbox.break_provider("replicate", "cut")
    with pytest.raises(OutcomeUnknown):
        submit(provider, VIDEO)
    sandbox.heal()

    found = provider.find_jobs(VIDEO, since=began, deadline=soon())

    assert [line["job_id"] for line in sandbox.billing.as_list()] == [job.id for job in found]


def test_the_list_comes_newest_first_and_in_pages(sandbox):
    path, body = "/v1/models/kwaivgi/kling-v3-video/predictions", {"input": {"prompt": PROMPT}}
    submitted = [ask(sandbox, path, "POST", json=body).json()["id"] for _ in range(102)]

    first = ask(sandbox, "/v1/predictions").json()
    second = ask(sandbox, first["next"].partition("/replicate")[2]).json()

    listed = [prediction["id"] for prediction in first["results"] + second["results"]]
    assert listed == submitted[::-1]
    assert second["next"] is None


def test_a_wrong_type_is_refused_in_the_vendors_words(sandbox):
    body = {"input": {"prompt": PROMPT, "duration": "5"}}

    refused = ask(sandbox, "/v1/models/kwaivgi/kling-v3-video/predictions", "POST", json=body)

    assert refused.status_code == 422
    assert "input.duration: Invalid type. Expected: integer, given: string" in refused.json()["detail"]


def test_a_community_model_is_named_by_its_version(sandbox, clock):
    bark = "suno-ai/bark:b76242b40d67c76ab6742e987628a2a9ac019e11d56ab96c4e91ce03b79b2787"
    provider = client(sandbox, Category.AUDIO, "replicate")
    prompt = prompt_for(Category.AUDIO, "replicate", model=bark)

    made = generate(provider, prompt, clock)

    assert provider.fetch_output(made.url, deadline=soon()).startswith(b"ID3")


def only_call(server: FakeServer) -> Received:
    """Return the only call, once everybody who wanted to call has done so."""
    wait_until(lambda: server.received, "the call about the job")
    for thread in threading.enumerate():
        if thread.name == "callback":
            thread.join(TIMEOUT_SECONDS)
    (call,) = server.received
    return call


def test_a_job_calls_back_once_and_signs_it(server: FakeServer):
    server.will(answer({}), answer({}))
    with running_sandbox(video_seconds=0.05, webhook_secret=SECRET) as sandbox:
        job = submit(
            videos(sandbox), prompt_for(Category.VIDEO, "replicate", callback_url=f"{server.url}/hook?attempt=1")
        )
        assert isinstance(job, Job)
        only_call(server)
        videos(sandbox).cancel(job.id, deadline=soon())  # too late: no second call follows
        call = only_call(server)

    assert call.path == "/hook?attempt=1"
    assert call.json["id"] == job.id
    assert call.json["status"] == "succeeded"
    assert is_genuine(call.headers, call.body, secret=SECRET, now=time.time())


def test_a_cancelled_job_calls_back_at_once(server: FakeServer):
    server.will(answer({}))
    with running_sandbox(video_seconds=3600, webhook_secret=SECRET) as sandbox:
        provider = videos(sandbox)
        job = submit(provider, prompt_for(Category.VIDEO, "replicate", callback_url=f"{server.url}/hook"))
        assert isinstance(job, Job)
        provider.cancel(job.id, deadline=soon())
        wait_until(lambda: server.received, "the call about the cancelled job")

    assert server.received[0].json["status"] in ("canceled", "aborted")


def test_no_other_machine_is_called_back(sandbox):
    before = set(threading.enumerate())

    submit(videos(sandbox), prompt_for(Category.VIDEO, "replicate", callback_url="https://bot.example.com/hook"))

    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "callback"] == []


def test_the_secret_of_callbacks_is_shown_to_whoever_has_the_key(sandbox):
    assert ask(sandbox, "/v1/webhooks/default/secret").json() == {"key": SECRET}


@pytest.mark.parametrize("seconds", [0, VIDEO_SECONDS, 3700])
def test_a_prediction_keeps_the_vendors_contract(sandbox, clock, seconds):
    path, body = "/models/kwaivgi/kling-v3-video/predictions", {"input": {"prompt": PROMPT}}
    contract = contract_of("replicate")
    submitted = ask(sandbox, f"/v1{path}", "POST", json=body)
    clock.pass_seconds(seconds)
    shown = ask(sandbox, f"/v1/predictions/{submitted.json()['id']}")
    listed = ask(sandbox, "/v1/predictions")

    template = "/models/{model_owner}/{model_name}/predictions"
    assert contract.response_errors("POST", template, 201, submitted.json()) == []
    assert contract.response_errors("GET", "/predictions/{prediction_id}", 200, shown.json()) == []
    for prediction in listed.json()["results"]:  # the document does not describe the list itself
        assert contract.response_errors("GET", "/predictions/{prediction_id}", 200, prediction) == []


def test_replicates_models_and_account_keep_the_vendors_contract(sandbox):
    contract = contract_of("replicate")

    model, account = ask(sandbox, "/v1/models/luma/ray-3.2").json(), ask(sandbox, "/v1/account").json()

    assert contract.response_errors("GET", "/models/{model_owner}/{model_name}", 200, model) == []
    assert contract.response_errors("GET", "/account", 200, account) == []


def test_the_signature_covers_id_time_and_body(server: FakeServer):
    server.will(answer({}))
    with running_sandbox(video_seconds=0.05, webhook_secret=SECRET) as sandbox:
        submit(videos(sandbox), prompt_for(Category.VIDEO, "replicate", callback_url=f"{server.url}/hook"))
        call = only_call(server)

    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, "sha256")
    assert call.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"

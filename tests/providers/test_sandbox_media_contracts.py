"""The sandbox's makers of media keep the form of the vendors' contracts, and refuse what these would refuse."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from providers.sandbox import Sandbox, running_sandbox
from providers.sandbox.vendors.aimlapi_models import FILMS as AIMLAPI_FILMS
from providers.sandbox.vendors.aimlapi_models import PICTURES as AIMLAPI_PICTURES
from providers.sandbox.vendors.aimlapi_models import SPEECH as AIMLAPI_SPEECH
from tests.contracts.openapi import contract_of
from tests.sandboxes import FILM_SECONDS, QUICK_SECONDS, WISH, GuardedCall

TASKS, PICTURES, FILMS, SPEECH = "/api/v1/task", "/v1/images/generations", "/v2/video/generations", "/v1/tts"
KLING = "klingai/video-v3-standard-turbo-text-to-video"
FLUX_TASK = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": WISH}}
KLING_TASK = {"model": "kling", "task_type": "video_generation", "input": {"prompt": WISH}}
# A good order at each path.
ORDERS: dict[tuple[str, str], dict[str, Any]] = {
    ("aimlapi", PICTURES): {"model": "flux/schnell", "prompt": WISH},
    ("aimlapi", FILMS): {"model": KLING, "prompt": WISH},
    ("aimlapi", SPEECH): {"model": "inworld/tts-1-5-mini", "text": WISH},
    ("piapi", TASKS): FLUX_TASK,
    ("xai", PICTURES): {"model": "grok-imagine-image", "prompt": WISH},
    ("openrouter", "/api/v1/images"): {"model": "bytedance-seed/seedream-4.5", "prompt": WISH},
    ("openrouter", "/api/v1/audio/speech"): {"model": "mistralai/voxtral-mini-tts-2603", "input": WISH},
}
each_path = pytest.mark.parametrize(("slug", "path"), ORDERS)


@pytest.fixture
def watch() -> GuardedCall:
    return GuardedCall()


@pytest.fixture
def sandbox(watch) -> Iterator[Sandbox]:
    with running_sandbox(clock=watch, film_seconds=FILM_SECONDS, quick_seconds=QUICK_SECONDS) as running:
        yield running


def ask(
    sandbox: Sandbox, slug: str, path: str, body: Any = None, *, method: str = "", key: str | None = None
) -> requests.Response:
    key = f"sandbox-key-{slug}" if key is None else key
    headers = {"Authorization": f"Bearer {key}", "X-API-Key": key} if key else {}
    method = method or ("POST" if body else "GET")
    return requests.request(method, f"{sandbox.url}/{slug}{path}", json=body, headers=headers, timeout=5)


def faults_of(slug: str, path: str, response: requests.Response, method: str = "POST") -> list[str]:
    """Return what is wrong with the form of an answer; a status that the document forgets counts as another error."""
    contract = contract_of(slug)
    is_listed = contract.has_response(method, path, response.status_code)
    return contract.response_errors(method, path, response.status_code if is_listed else 429, response.json())


# --- Answers ---


@each_path
def test_an_order_is_taken_in_the_form_of_the_contract(sandbox, slug, path):
    response = ask(sandbox, slug, path, ORDERS[slug, path])

    assert response.status_code == (201 if slug == "aimlapi" else 200)
    if slug != "openrouter":  # its document at hand describes neither path
        assert contract_of(slug).response_errors("POST", path, response.status_code, response.json()) == []


@pytest.mark.parametrize("words", ["A lake", "A forbidden lake"])
@pytest.mark.parametrize("task", [FLUX_TASK, KLING_TASK], ids=lambda task: task["model"])
def test_piapis_tasks_keep_the_contract_in_every_state(sandbox, watch, task, words):
    task_id = ask(sandbox, "piapi", TASKS, {**task, "input": {"prompt": words}}).json()["data"]["task_id"]
    seconds = QUICK_SECONDS if task is FLUX_TASK else FILM_SECONDS
    seen = []
    for _ in range(6):
        response = ask(sandbox, "piapi", f"{TASKS}/{task_id}")
        assert contract_of("piapi").response_errors("GET", f"{TASKS}/{{task_id}}", 200, response.json()) == []
        seen.append(response.json()["data"]["status"])
        watch.pass_seconds(seconds / 5)

    assert list(dict.fromkeys(seen)) == [
        "Pending",
        "Staged",
        "Processing",
        "Completed" if words == "A lake" else "Failed",
    ]


@pytest.mark.parametrize(("words", "end"), [("A lake", "completed"), ("A forbidden lake", "error")])
def test_aimlapis_films_keep_the_contract_in_every_state(sandbox, watch, words, end):
    job_id = ask(sandbox, "aimlapi", FILMS, {"model": KLING, "prompt": words}).json()["id"]
    seen = []
    for _ in range(3):
        response = ask(sandbox, "aimlapi", f"{FILMS}?generation_id={job_id}")
        assert contract_of("aimlapi").response_errors("GET", FILMS, 200, response.json()) == []
        seen.append(response.json()["status"])
        watch.pass_seconds(FILM_SECONDS / 2)

    assert seen == ["queued", "generating", end]


@pytest.mark.parametrize("words", [WISH, "A forbidden lake"])
@pytest.mark.parametrize("form", ["url", "b64_json"])
def test_xais_pictures_keep_the_contract(sandbox, words, form):
    body = {"model": "grok-imagine-image", "prompt": words, "n": 2, "response_format": form}

    painted = ask(sandbox, "xai", PICTURES, body)

    assert contract_of("xai").response_errors("POST", PICTURES, 200, painted.json()) == []
    assert len(painted.json()["data"]) == (2 if words == WISH else 0)
    assert painted.json()["usage"]["cost_in_usd_ticks"] == 2 * 200_000_000


@pytest.mark.parametrize("slug", ["aimlapi", "xai"])
def test_the_catalogue_lists_the_media_too(sandbox, slug):
    listed = ask(sandbox, slug, "/v1/models").json()

    assert contract_of(slug).response_errors("GET", "/v1/models", 200, listed) == []
    names = {entry["id"] for entry in listed["data"]}
    assert {body["model"] for (vendor, _), body in ORDERS.items() if vendor == slug} <= names


@pytest.mark.parametrize("model", [*AIMLAPI_PICTURES, *AIMLAPI_FILMS, *AIMLAPI_SPEECH])
def test_aimlapis_models_take_what_its_document_tells(model):
    schemas = contract_of("aimlapi").document["components"]["schemas"].values()
    (documented,) = [
        schema["properties"]
        for schema in schemas
        if schema.get("properties", {}).get("model", {}).get("enum") == [model]
    ]

    fields = {**AIMLAPI_PICTURES, **AIMLAPI_FILMS, **AIMLAPI_SPEECH}[model].fields
    assert fields.keys() == documented.keys()
    for name, field in fields.items():
        # Formats and voices are fewer here.
        assert set(field.allowed) <= set(documented[name].get("enum") or field.allowed), name
        assert field.longest == documented[name].get("maxLength", 0), name


# --- Errors ---


@each_path
@pytest.mark.parametrize("fault", ["down", "429", "bad-key"])
def test_a_fault_is_told_in_the_form_of_the_contract(sandbox, slug, path, fault):
    sandbox.break_provider(slug, fault)

    response = ask(sandbox, slug, path, ORDERS[slug, path])

    assert response.status_code == {"down": 503, "429": 429, "bad-key": 400 if slug == "xai" else 401}[fault]
    if slug == "openrouter":
        path = "/api/v1/chat/completions"  # all its errors have one form
    assert faults_of(slug, path.removeprefix("/api/v1") if slug == "openrouter" else path, response) == []


@each_path
def test_nothing_is_made_without_a_key(sandbox, slug, path):
    assert ask(sandbox, slug, path, ORDERS[slug, path], key="").status_code == 401
    assert [line["billed"] for line in sandbox.bill.as_list()] == [False]


@each_path
@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({"surprise": 1}, {"xai": 400, "openrouter": 200}),
        ({"model": "nobody/nothing"}, {"aimlapi": 404, "openrouter": 404, "xai": 404}),
        ({"model": 7}, {"xai": 422}),
        ({"prompt": ["a"], "text": 5, "input": True}, {"xai": 422}),
    ],
    ids=["unknown field", "unknown model", "model of a wrong type", "words of a wrong type"],
)
def test_what_is_wrong_is_refused_as_the_vendor_does_it(sandbox, slug, path, fields, statuses):
    good = ORDERS[slug, path]
    wrong = {name: value for name, value in fields.items() if name in good or name == "surprise"}

    response = ask(sandbox, slug, path, {**good, **wrong})

    assert response.status_code == statuses.get(slug, 400)
    assert [line["billed"] for line in sandbox.bill.as_list()] == [response.ok]
    if slug != "openrouter":
        assert faults_of(slug, path, response) == []


@each_path
def test_a_field_that_is_missing_is_named(sandbox, slug, path):
    for missing in ORDERS[slug, path]:
        body = {name: value for name, value in ORDERS[slug, path].items() if name != missing}

        response = ask(sandbox, slug, path, body)

        assert response.status_code == (422 if slug == "xai" else 400)
        assert missing in response.text


@pytest.mark.parametrize(
    ("slug", "path", "fields"),
    [
        ("aimlapi", PICTURES, {"image_size": "huge"}),
        ("aimlapi", PICTURES, {"image_size": {"width": 8, "height": 8}}),
        ("aimlapi", PICTURES, {"image_size": {"width": "512"}}),
        ("aimlapi", PICTURES, {"num_images": 5}),
        ("aimlapi", PICTURES, {"prompt": "x" * 4001}),
        ("aimlapi", FILMS, {"duration": "5"}),
        ("aimlapi", FILMS, {"duration": 2}),
        ("aimlapi", FILMS, {"resolution": "540p"}),  # Luma's
        ("aimlapi", FILMS, {"aspect_ratio": "21:9"}),
        ("aimlapi", SPEECH, {"voice": "Nobody"}),
        ("aimlapi", SPEECH, {"format": "ogg"}),
        ("aimlapi", SPEECH, {"text": ""}),
        ("piapi", TASKS, {"task_type": "video_generation"}),
        ("piapi", TASKS, {"input": {"prompt": WISH, "width": 2048}}),
        ("piapi", TASKS, {"input": {"prompt": WISH, "width": "1024"}}),
        ("piapi", TASKS, {"input": {"prompt": WISH, "batch_size": 5}}),
        ("piapi", TASKS, {"input": {"prompt": WISH, "batch_size": True}}),
        ("piapi", TASKS, {"input": {"prompt": WISH, "duration": 5}}),  # Kling's
        ("piapi", TASKS, {"input": {}}),
        ("piapi", TASKS, {"config": {"service_mode": "free"}}),
        ("openrouter", "/api/v1/images", {"aspect_ratio": "5:1"}),
        ("openrouter", "/api/v1/images", {"n": 0}),
        ("openrouter", "/api/v1/audio/speech", {"voice": "nobody"}),
        ("openrouter", "/api/v1/audio/speech", {"response_format": "opus"}),
        ("xai", PICTURES, {"size": "1024x1024"}),
        ("xai", PICTURES, {"style": "vivid"}),
        ("xai", PICTURES, {"quality": "low"}),  # of another model
    ],
)
def test_a_value_that_the_model_does_not_take_is_refused(sandbox, slug, path, fields):
    response = ask(sandbox, slug, path, {**ORDERS[slug, path], **fields})

    assert response.status_code == 400
    assert [line["billed"] for line in sandbox.bill.as_list()] == [False]


@pytest.mark.parametrize("fields", [{"n": 11}, {"n": "1"}, {"aspect_ratio": "5:1"}, {"response_format": "png"}])
def test_xai_cannot_read_some_values(sandbox, fields):
    assert ask(sandbox, "xai", PICTURES, {**ORDERS["xai", PICTURES], **fields}).status_code == 422


# --- Each vendor's own ways ---


def test_piapi_says_inside_a_success_that_the_account_is_empty(sandbox):
    response = ask(sandbox, "piapi", TASKS, {**FLUX_TASK, "input": {"prompt": "A penniless lake"}})

    assert response.status_code == 200
    assert response.json() == {"code": 402, "message": "insufficient credits, please top up your account", "data": {}}


def test_piapi_has_no_envelope_for_a_path_that_is_none(sandbox):
    response = ask(sandbox, "piapi", "/api/v1/tasks", FLUX_TASK)

    assert (response.status_code, response.text) == (404, "404 page not found")


def test_piapi_has_another_key_header_for_tasks(sandbox):
    bearer = {"Authorization": "Bearer sandbox-key-piapi"}

    response = requests.post(f"{sandbox.url}/piapi{TASKS}", json=FLUX_TASK, headers=bearer, timeout=5)

    assert response.status_code == response.json()["code"] == 401


def test_a_pending_film_of_piapi_can_be_cancelled_and_is_not_billed(sandbox):
    task_id = ask(sandbox, "piapi", TASKS, KLING_TASK).json()["data"]["task_id"]

    cancelled = ask(sandbox, "piapi", f"{TASKS}/{task_id}", method="DELETE").json()

    assert contract_of("piapi").response_errors("DELETE", f"{TASKS}/{{task_id}}", 200, cancelled) == []
    assert cancelled["data"]["status"] == "Failed"
    assert cancelled["data"]["meta"]["usage"] == {"type": "point", "frozen": 0, "consume": 0}
    assert [(line["job_id"], line["billed"]) for line in sandbox.bill.as_list()] == [(task_id, False)]


def test_a_film_that_is_being_made_cannot_be_cancelled(sandbox, watch):
    film = ask(sandbox, "piapi", TASKS, KLING_TASK).json()["data"]["task_id"]
    picture = ask(sandbox, "piapi", TASKS, FLUX_TASK).json()["data"]["task_id"]
    refused = ask(sandbox, "piapi", f"{TASKS}/{picture}", method="DELETE")
    watch.pass_seconds(FILM_SECONDS / 2)

    assert ask(sandbox, "piapi", f"{TASKS}/{film}", method="DELETE").status_code == refused.status_code == 400
    assert [line["billed"] for line in sandbox.bill.as_list()] == [True, True]


def test_several_pictures_of_piapi_have_another_place_than_one(sandbox, watch):
    task = {**FLUX_TASK, "input": {"prompt": WISH, "batch_size": 2}}
    task_id = ask(sandbox, "piapi", TASKS, task).json()["data"]["task_id"]
    watch.pass_seconds(QUICK_SECONDS)

    output = ask(sandbox, "piapi", f"{TASKS}/{task_id}").json()["data"]["output"]

    assert output["image_url"] == ""
    assert len({requests.get(url, timeout=5).content for url in output["image_urls"]}) == 2
    assert sandbox.bill.as_list()[0]["usage"] == {"images": 2}


def test_aimlapis_addresses_are_signed(sandbox):
    url = ask(sandbox, "aimlapi", PICTURES, ORDERS["aimlapi", PICTURES]).json()["data"][0]["url"]
    expires = int(parse_qs(urlsplit(url).query)["Expires"][0])

    assert requests.get(url, timeout=5).headers["Content-Type"] == "image/png"
    assert requests.get(url.partition("?")[0], timeout=5).status_code == 403
    assert requests.get(url.replace(str(expires), str(expires + 1)), timeout=5).status_code == 403


@pytest.mark.parametrize(
    ("fields", "content_type"), [({}, "audio/wav"), ({"format": "wav"}, "audio/wav"), ({"format": "mp3"}, "audio/mpeg")]
)
def test_aimlapis_speech_is_a_wave_file_unless_asked_otherwise(sandbox, fields, content_type):
    said = ask(sandbox, "aimlapi", SPEECH, {**ORDERS["aimlapi", SPEECH], **fields})

    assert requests.get(said.json()["audio"], timeout=5).headers["Content-Type"] == content_type
    usage = said.json()["meta"]["usage"]
    assert usage == {"credits_used": 13 * len(WISH), "usd_spent": 13 * len(WISH) / 2_000_000}
    assert said.headers["x-aimlapi-credits-used"] == str(usage["credits_used"])


def test_some_of_aimlapis_makers_answer_with_the_sound_itself(sandbox):
    said = ask(sandbox, "aimlapi", SPEECH, {"model": "elevenlabs/eleven_multilingual_v2", "text": WISH})

    assert (said.status_code, said.headers["Content-Type"]) == (201, "audio/mpeg")
    assert float(said.headers["x-aimlapi-usd-spent"]) == float(sandbox.bill.as_list()[0]["cost"])


def test_openrouters_speech_is_bare_samples_unless_asked_otherwise(sandbox):
    path = "/api/v1/audio/speech"

    said = ask(sandbox, "openrouter", path, ORDERS["openrouter", path])

    assert said.headers["Content-Type"] == "audio/pcm;rate=24000;channels=1"
    assert said.headers["X-Generation-Id"].startswith("gen-tts-")
    assert sandbox.bill.as_list()[0]["cost"] is None


def test_openrouter_tells_a_moderation_by_its_reasons(sandbox):
    path = "/api/v1/images"

    refused = ask(sandbox, "openrouter", path, {**ORDERS["openrouter", path], "prompt": "A forbidden lake"})

    assert refused.status_code == 403
    assert refused.json()["error"]["metadata"]["reasons"]
    assert faults_of("openrouter", "/chat/completions", refused) == []


def test_xais_addresses_lead_to_jpegs_for_a_while(sandbox, watch):
    (picture,) = ask(sandbox, "xai", PICTURES, ORDERS["xai", PICTURES]).json()["data"]
    fresh = requests.get(picture["url"], timeout=5)
    watch.pass_seconds(3600)

    assert fresh.headers["Content-Type"] == picture["mime_type"] == "image/jpeg"
    assert requests.get(picture["url"], timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("slug", "path"), [("piapi", f"{TASKS}/nothing"), ("aimlapi", f"{FILMS}?generation_id=x"), ("aimlapi", FILMS)]
)
def test_nobody_knows_a_job_that_was_never_ordered(sandbox, slug, path):
    assert ask(sandbox, slug, path).status_code == 404


def test_what_is_made_at_once_has_a_line_without_a_job(sandbox):
    for (slug, path), body in ORDERS.items():
        ask(sandbox, slug, path, body)

    lines = [("job_id" in line, line["asked"]) for line in sandbox.bill.as_list()]
    assert lines == [(path in (FILMS, TASKS), WISH) for _, path in ORDERS]

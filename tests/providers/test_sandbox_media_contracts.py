"""The sandbox's images, videos and audio keep the vendors' contracts, and it refuses what these would refuse."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from providers.sandbox import Sandbox, running_sandbox
from providers.sandbox.vendors.aimlapi import MODELS as AIMLAPI_MODELS
from tests.contracts.openapi import contract_of
from tests.sandboxes import PROMPT, QUICK_SECONDS, VIDEO_SECONDS, SandboxClock

TASKS, IMAGES, VIDEOS, SPEECH = "/api/v1/task", "/v1/images/generations", "/v2/video/generations", "/v1/tts"
KLING = "klingai/video-v3-standard-turbo-text-to-video"
FLUX_TASK = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": PROMPT}}
KLING_TASK = {"model": "kling", "task_type": "video_generation", "input": {"prompt": PROMPT}}
# A valid submission to each path.
SUBMISSIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("aimlapi", IMAGES): {"model": "flux/schnell", "prompt": PROMPT},
    ("aimlapi", VIDEOS): {"model": KLING, "prompt": PROMPT},
    ("aimlapi", SPEECH): {"model": "inworld/tts-1-5-mini", "text": PROMPT},
    ("piapi", TASKS): FLUX_TASK,
    ("xai", IMAGES): {"model": "grok-imagine-image", "prompt": PROMPT},
    ("openrouter", "/api/v1/images"): {"model": "bytedance-seed/seedream-4.5", "prompt": PROMPT},
    ("openrouter", "/api/v1/audio/speech"): {"model": "mistralai/voxtral-mini-tts-2603", "input": PROMPT},
}
each_path = pytest.mark.parametrize(("slug", "path"), SUBMISSIONS)


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock()


@pytest.fixture
def sandbox(clock) -> Iterator[Sandbox]:
    with running_sandbox(clock=clock, video_seconds=VIDEO_SECONDS, quick_seconds=QUICK_SECONDS) as sandbox:
        yield sandbox


def ask(
    sandbox: Sandbox, slug: str, path: str, body: Any = None, *, method: str = "", key: str | None = None
) -> requests.Response:
    key = f"sandbox-key-{slug}" if key is None else key
    headers = {"Authorization": f"Bearer {key}", "X-API-Key": key} if key else {}
    method = method or ("POST" if body else "GET")
    return requests.request(method, f"{sandbox.url}/{slug}{path}", json=body, headers=headers, timeout=5)


def errors_of(slug: str, path: str, response: requests.Response, method: str = "POST") -> list[str]:
    """Return what is invalid in an answer; a status that the document omits is checked as another error."""
    contract = contract_of(slug)
    is_listed = contract.has_response(method, path, response.status_code)
    return contract.response_errors(method, path, response.status_code if is_listed else 429, response.json())


# --- Answers ---


@each_path
def test_a_submission_is_accepted_as_in_the_contract(sandbox, slug, path):
    response = ask(sandbox, slug, path, SUBMISSIONS[slug, path])

    assert response.status_code == (201 if slug == "aimlapi" else 200)
    if slug != "openrouter":  # its document at hand describes neither path
        assert contract_of(slug).response_errors("POST", path, response.status_code, response.json()) == []


@pytest.mark.parametrize("text", ["A lake", "A forbidden lake"])
@pytest.mark.parametrize("task", [FLUX_TASK, KLING_TASK], ids=lambda task: task["model"])
def test_piapis_tasks_keep_the_contract_in_every_state(sandbox, clock, task, text):
    task_id = ask(sandbox, "piapi", TASKS, {**task, "input": {"prompt": text}}).json()["data"]["task_id"]
    seconds = QUICK_SECONDS if task is FLUX_TASK else VIDEO_SECONDS
    seen = []
    for _ in range(6):
        response = ask(sandbox, "piapi", f"{TASKS}/{task_id}")
        assert contract_of("piapi").response_errors("GET", f"{TASKS}/{{task_id}}", 200, response.json()) == []
        seen.append(response.json()["data"]["status"])
        clock.pass_seconds(seconds / 5)

    assert list(dict.fromkeys(seen)) == [
        "Pending",
        "Staged",
        "Processing",
        "Completed" if text == "A lake" else "Failed",
    ]


@pytest.mark.parametrize(("text", "end"), [("A lake", "completed"), ("A forbidden lake", "error")])
def test_aimlapis_videos_keep_the_contract_in_every_state(sandbox, clock, text, end):
    job_id = ask(sandbox, "aimlapi", VIDEOS, {"model": KLING, "prompt": text}).json()["id"]
    seen = []
    for _ in range(3):
        response = ask(sandbox, "aimlapi", f"{VIDEOS}?generation_id={job_id}")
        assert contract_of("aimlapi").response_errors("GET", VIDEOS, 200, response.json()) == []
        seen.append(response.json()["status"])
        clock.pass_seconds(VIDEO_SECONDS / 2)

    assert seen == ["queued", "generating", end]


@pytest.mark.parametrize("text", [PROMPT, "A forbidden lake"])
@pytest.mark.parametrize("form", ["url", "b64_json"])
def test_xais_images_keep_the_contract(sandbox, text, form):
    body = {"model": "grok-imagine-image", "prompt": text, "n": 2, "response_format": form}

    generated = ask(sandbox, "xai", IMAGES, body)

    assert contract_of("xai").response_errors("POST", IMAGES, 200, generated.json()) == []
    assert len(generated.json()["data"]) == (2 if text == PROMPT else 0)
    assert generated.json()["usage"]["cost_in_usd_ticks"] == 2 * 200_000_000


def test_openais_images_keep_the_contract(sandbox):
    generated = requests.post(
        f"{sandbox.url}/openai/v1/images/generations",
        json={"model": "gpt-image-2.6-flare", "prompt": PROMPT, "size": "1536x1024", "quality": "low"},
        headers={"Authorization": "Bearer sandbox-key-openai"},
        timeout=5,
    )

    assert contract_of("openai").response_errors("POST", "/images/generations", 200, generated.json()) == []


@pytest.mark.parametrize(("path", "template"), [("/v1/models", "/v1/models"), ("/v2/voices", "/v2/voices")])
def test_elevenlabs_lists_keep_the_contract(sandbox, path, template):
    listed = requests.get(
        f"{sandbox.url}/elevenlabs{path}", headers={"xi-api-key": "sandbox-key-elevenlabs"}, timeout=5
    )

    assert contract_of("elevenlabs").response_errors("GET", template, 200, listed.json()) == []


@pytest.mark.parametrize("slug", ["aimlapi", "xai"])
def test_the_catalogue_lists_the_media_too(sandbox, slug):
    listed = ask(sandbox, slug, "/v1/models").json()

    assert contract_of(slug).response_errors("GET", "/v1/models", 200, listed) == []
    names = {entry["id"] for entry in listed["data"]}
    assert {body["model"] for (vendor, _), body in SUBMISSIONS.items() if vendor == slug} <= names


@pytest.mark.parametrize("model", [name for name, model in AIMLAPI_MODELS.items() if model.kind != "audio"])
def test_aimlapis_models_take_what_its_document_tells(model):
    schemas = contract_of("aimlapi").document["components"]["schemas"].values()
    (documented,) = [
        schema["properties"]
        for schema in schemas
        if schema.get("properties", {}).get("model", {}).get("enum") == [model]
    ]

    fields = AIMLAPI_MODELS[model].fields
    assert fields.keys() == documented.keys()
    for name, rule in fields.items():
        # Formats and voices are fewer here.
        assert set(rule.allowed) <= set(documented[name].get("enum") or rule.allowed), name
        assert rule.max_length == documented[name].get("maxLength", 0), name


# --- Errors ---


@each_path
@pytest.mark.parametrize("fault", ["down", "429", "bad-key"])
def test_a_fault_is_reported_as_in_the_contract(sandbox, slug, path, fault):
    sandbox.break_provider(slug, fault)

    response = ask(sandbox, slug, path, SUBMISSIONS[slug, path])

    assert response.status_code == {"down": 503, "429": 429, "bad-key": 400 if slug == "xai" else 401}[fault]
    if slug == "openrouter":
        path = "/api/v1/chat/completions"  # all its errors have one form
    assert errors_of(slug, path.removeprefix("/api/v1") if slug == "openrouter" else path, response) == []


@each_path
def test_nothing_is_generated_without_a_key(sandbox, slug, path):
    assert ask(sandbox, slug, path, SUBMISSIONS[slug, path], key="").status_code == 401
    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


@each_path
@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({"surprise": 1}, {"xai": 400, "openrouter": 200}),
        ({"model": "unknown/model"}, {"aimlapi": 404, "openrouter": 404, "xai": 404}),
        ({"model": 7}, {"xai": 422}),
        ({"prompt": ["a"], "text": 5, "input": True}, {"xai": 422}),
    ],
    ids=["unknown field", "unknown model", "model of a wrong type", "prompt of a wrong type"],
)
def test_an_invalid_submission_is_refused_as_the_vendor_does_it(sandbox, slug, path, fields, statuses):
    good = SUBMISSIONS[slug, path]
    wrong = {name: value for name, value in fields.items() if name in good or name == "surprise"}

    response = ask(sandbox, slug, path, {**good, **wrong})

    assert response.status_code == statuses.get(slug, 400)
    assert [line["billed"] for line in sandbox.billing.as_list()] == [response.ok]
    if slug != "openrouter":
        assert errors_of(slug, path, response) == []


@each_path
def test_a_field_that_is_missing_is_named(sandbox, slug, path):
    for missing in SUBMISSIONS[slug, path]:
        body = {name: value for name, value in SUBMISSIONS[slug, path].items() if name != missing}

        response = ask(sandbox, slug, path, body)

        assert response.status_code == (422 if slug == "xai" else 400)
        assert missing in response.text


@pytest.mark.parametrize(
    ("slug", "path", "fields"),
    [
        ("aimlapi", IMAGES, {"image_size": "huge"}),
        ("aimlapi", IMAGES, {"image_size": {"width": 8, "height": 8}}),
        ("aimlapi", IMAGES, {"image_size": {"width": "512"}}),
        ("aimlapi", IMAGES, {"num_images": 5}),
        ("aimlapi", IMAGES, {"prompt": "x" * 4001}),
        ("aimlapi", VIDEOS, {"duration": "5"}),
        ("aimlapi", VIDEOS, {"duration": 2}),
        ("aimlapi", VIDEOS, {"resolution": "540p"}),  # Luma's
        ("aimlapi", VIDEOS, {"aspect_ratio": "21:9"}),
        ("aimlapi", SPEECH, {"voice": "Nobody"}),
        ("aimlapi", SPEECH, {"format": "ogg"}),
        ("aimlapi", SPEECH, {"text": ""}),
        ("piapi", TASKS, {"task_type": "video_generation"}),
        ("piapi", TASKS, {"input": {"prompt": PROMPT, "width": 2048}}),
        ("piapi", TASKS, {"input": {"prompt": PROMPT, "width": "1024"}}),
        ("piapi", TASKS, {"input": {"prompt": PROMPT, "batch_size": 5}}),
        ("piapi", TASKS, {"input": {"prompt": PROMPT, "batch_size": True}}),
        ("piapi", TASKS, {"input": {"prompt": PROMPT, "duration": 5}}),  # Kling's
        ("piapi", TASKS, {"input": {}}),
        ("piapi", TASKS, {"config": {"service_mode": "free"}}),
        ("openrouter", "/api/v1/images", {"aspect_ratio": "5:1"}),
        ("openrouter", "/api/v1/images", {"n": 0}),
        ("openrouter", "/api/v1/audio/speech", {"voice": "unknown"}),
        ("openrouter", "/api/v1/audio/speech", {"response_format": "opus"}),
        ("xai", IMAGES, {"size": "1024x1024"}),
        ("xai", IMAGES, {"style": "vivid"}),
        ("xai", IMAGES, {"quality": "low"}),  # of another model
    ],
)
def test_a_value_that_the_model_does_not_take_is_refused(sandbox, slug, path, fields):
    response = ask(sandbox, slug, path, {**SUBMISSIONS[slug, path], **fields})

    assert response.status_code == 400
    assert [line["billed"] for line in sandbox.billing.as_list()] == [False]


@pytest.mark.parametrize("fields", [{"n": 11}, {"n": "1"}, {"aspect_ratio": "5:1"}, {"response_format": "png"}])
def test_xai_cannot_read_some_values(sandbox, fields):
    assert ask(sandbox, "xai", IMAGES, {**SUBMISSIONS["xai", IMAGES], **fields}).status_code == 422


# --- Each vendor's own ways ---


def test_piapi_reports_an_empty_account_inside_a_success(sandbox):
    response = ask(sandbox, "piapi", TASKS, {**FLUX_TASK, "input": {"prompt": "An insufficient-funds lake"}})

    assert response.status_code == 200
    assert response.json() == {"code": 402, "message": "insufficient credits, please top up your account", "data": {}}


def test_piapi_has_no_envelope_for_an_unknown_path(sandbox):
    response = ask(sandbox, "piapi", "/api/v1/tasks", FLUX_TASK)

    assert (response.status_code, response.text) == (404, "404 page not found")


def test_piapi_has_another_key_header_for_tasks(sandbox):
    bearer = {"Authorization": "Bearer sandbox-key-piapi"}

    response = requests.post(f"{sandbox.url}/piapi{TASKS}", json=FLUX_TASK, headers=bearer, timeout=5)

    assert response.status_code == response.json()["code"] == 401


def test_a_pending_video_of_piapi_can_be_cancelled_and_is_not_billed(sandbox):
    task_id = ask(sandbox, "piapi", TASKS, KLING_TASK).json()["data"]["task_id"]

    cancelled = ask(sandbox, "piapi", f"{TASKS}/{task_id}", method="DELETE").json()

    assert contract_of("piapi").response_errors("DELETE", f"{TASKS}/{{task_id}}", 200, cancelled) == []
    assert cancelled["data"]["status"] == "Failed"
    assert cancelled["data"]["meta"]["usage"] == {"type": "point", "frozen": 0, "consume": 0}
    assert [(line["job_id"], line["billed"]) for line in sandbox.billing.as_list()] == [(task_id, False)]


def test_a_video_that_is_being_generated_cannot_be_cancelled(sandbox, clock):
    video = ask(sandbox, "piapi", TASKS, KLING_TASK).json()["data"]["task_id"]
    image = ask(sandbox, "piapi", TASKS, FLUX_TASK).json()["data"]["task_id"]
    refused = ask(sandbox, "piapi", f"{TASKS}/{image}", method="DELETE")
    clock.pass_seconds(VIDEO_SECONDS / 2)

    assert ask(sandbox, "piapi", f"{TASKS}/{video}", method="DELETE").status_code == refused.status_code == 400
    assert [line["billed"] for line in sandbox.billing.as_list()] == [True, True]


def test_several_images_of_piapi_have_another_place_than_one(sandbox, clock):
    task = {**FLUX_TASK, "input": {"prompt": PROMPT, "batch_size": 2}}
    task_id = ask(sandbox, "piapi", TASKS, task).json()["data"]["task_id"]
    clock.pass_seconds(QUICK_SECONDS)

    output = ask(sandbox, "piapi", f"{TASKS}/{task_id}").json()["data"]["output"]

    assert output["image_url"] == ""
    assert [requests.get(url, timeout=5).headers["Content-Type"] for url in output["image_urls"]] == ["image/png"] * 2
    assert len(set(output["image_urls"])) == 2
    assert sandbox.billing.as_list()[0]["usage"] == {"images": 2}


def test_aimlapis_addresses_are_signed(sandbox):
    url = ask(sandbox, "aimlapi", IMAGES, SUBMISSIONS["aimlapi", IMAGES]).json()["data"][0]["url"]
    expires = int(parse_qs(urlsplit(url).query)["Expires"][0])

    assert requests.get(url, timeout=5).headers["Content-Type"] == "image/png"
    assert requests.get(url.partition("?")[0], timeout=5).status_code == 403
    assert requests.get(url.replace(str(expires), str(expires + 1)), timeout=5).status_code == 403


@pytest.mark.parametrize(
    ("fields", "content_type"), [({}, "audio/wav"), ({"format": "wav"}, "audio/wav"), ({"format": "mp3"}, "audio/mpeg")]
)
def test_aimlapis_speech_is_a_wave_file_unless_asked_otherwise(sandbox, fields, content_type):
    speech = ask(sandbox, "aimlapi", SPEECH, {**SUBMISSIONS["aimlapi", SPEECH], **fields})

    assert requests.get(speech.json()["audio"], timeout=5).headers["Content-Type"] == content_type
    usage = speech.json()["meta"]["usage"]
    assert usage == {"credits_used": 13 * len(PROMPT), "usd_spent": 13 * len(PROMPT) / 2_000_000}
    assert speech.headers["x-aimlapi-credits-used"] == str(usage["credits_used"])


def test_some_of_aimlapis_makers_answer_with_the_audio_itself(sandbox):
    speech = ask(sandbox, "aimlapi", SPEECH, {"model": "elevenlabs/eleven_multilingual_v2", "text": PROMPT})

    assert (speech.status_code, speech.headers["Content-Type"]) == (201, "audio/mpeg")
    assert float(speech.headers["x-aimlapi-usd-spent"]) == float(sandbox.billing.as_list()[0]["cost"])


def test_openrouters_speech_is_bare_samples_unless_asked_otherwise(sandbox):
    path = "/api/v1/audio/speech"

    speech = ask(sandbox, "openrouter", path, SUBMISSIONS["openrouter", path])

    assert speech.headers["Content-Type"] == "audio/pcm;rate=24000;channels=1"
    assert speech.headers["X-Generation-Id"].startswith("gen-tts-")
    assert sandbox.billing.as_list()[0]["cost"] is None


def test_openrouter_gives_the_reasons_of_a_moderation(sandbox):
    path = "/api/v1/images"

    refused = ask(sandbox, "openrouter", path, {**SUBMISSIONS["openrouter", path], "prompt": "A forbidden lake"})

    assert refused.status_code == 403
    assert refused.json()["error"]["metadata"]["reasons"]
    assert errors_of("openrouter", "/chat/completions", refused) == []


def test_xais_addresses_lead_to_jpegs_for_a_while(sandbox, clock):
    (image,) = ask(sandbox, "xai", IMAGES, SUBMISSIONS["xai", IMAGES]).json()["data"]
    fresh = requests.get(image["url"], timeout=5)
    clock.pass_seconds(3600)

    assert fresh.headers["Content-Type"] == image["mime_type"] == "image/jpeg"
    assert requests.get(image["url"], timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("slug", "path"), [("piapi", f"{TASKS}/nothing"), ("aimlapi", f"{VIDEOS}?generation_id=x"), ("aimlapi", VIDEOS)]
)
def test_an_unknown_job_is_not_found(sandbox, slug, path):
    assert ask(sandbox, slug, path).status_code == 404


def test_what_is_generated_at_once_has_a_billing_line_without_a_job(sandbox):
    for (slug, path), body in SUBMISSIONS.items():
        ask(sandbox, slug, path, body)

    lines = [("job_id" in line, line["prompt"]) for line in sandbox.billing.as_list()]
    assert lines == [(path in (VIDEOS, TASKS), PROMPT) for _, path in SUBMISSIONS]

"""Replicate's callbacks: only signed ones count, and even those only make the request due for a poll."""

import base64
import hmac
import json
import logging
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.signing import Signer
from django.db import OperationalError
from django.utils import timezone

from providers.backends.replicate import ReplicateVideo
from providers.chain.provider_callbacks import callback_url
from providers.checks import check_callbacks
from providers.errors import OutcomeUnknown
from providers.models import Attempt, ProviderConfig
from providers.types import Access, Category, Job, MediaResult, Prompt, Usage
from requests_app.models import Request
from requests_app.services.execution import request_advance
from requests_app.services.intake import request_accept
from tests.factories import make_account, make_attempt, make_model, make_provider, make_request
from tests.fakes.chain import JobScript

pytestmark = pytest.mark.django_db

KEY = b"a-signing-key-of-some-bytes"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
OTHER_KEY = b"another-signing-key-of-some-bytes"
VIDEO_FILE = b"\x00\x00\x00\x18ftypisom" + bytes(100)


@pytest.fixture(autouse=True)
def _configured(settings, memory_backend):
    settings.PROVIDER_CALLBACK_SECRETS = {"replicate": SECRET}
    settings.PUBLIC_URL = "https://bot.example.com"


@pytest.fixture
def waiting() -> Request:
    """A request that is due for a poll in ten minutes."""
    return make_request(
        model=make_model(category="VIDEO"), status="PROCESSING", next_at=timezone.now() + timedelta(minutes=10)
    )


def attempt_of(request: Request, **fields: Any) -> Attempt:
    """The attempt of a request, with a running job unless the fields say otherwise."""
    running = {"state": "RUNNING", "job_id": "job1", "finished_at": None, "cost": None, "cost_source": ""}
    return make_attempt(**{"caller_key": request.id, "category": "VIDEO", "provider": "replicate", **running, **fields})


def lost_attempt_of(request: Request, **fields: Any) -> Attempt:
    """The attempt of a request whose submission got no response."""
    return attempt_of(request, **{"state": "UNKNOWN", "job_id": "", "error_class": "OutcomeUnknown", **fields})


def signature(body: bytes, *, key: bytes = KEY, call_id: str = "msg_1", at: str) -> str:
    signed = f"{call_id}.{at}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def signed(attempt: Any) -> str:
    return Signer(sep=".", salt="provider-callback").sign(str(attempt))


def call(client: Any, body: Any, *, attempt: Any = "", headers: dict[str, str] | None = None, **signing: Any) -> int:
    """Call as Replicate does; `headers` replace the genuine ones, None leaves one out. Returns the status."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = str(signing.pop("at", int(time.time())))
    genuine = {
        "webhook-id": "msg_1",
        "webhook-timestamp": at,
        "webhook-signature": signature(content, at=at, **signing),
    }
    sent = {name: value for name, value in {**genuine, **(headers or {})}.items() if value is not None}
    url = f"/hooks/replicate/?attempt={signed(attempt) if isinstance(attempt, UUID) else attempt}"
    return client.post(url, content, content_type="application/json", headers=sent).status_code


def is_due(request: Request) -> bool:
    request.refresh_from_db()
    return request.next_at <= timezone.now()


@pytest.fixture
def enqueued_by(enqueued, django_capture_on_commit_callbacks):
    """The wake-ups that a call has enqueued: `enqueued_by(lambda: call(…))`."""

    def enqueued_during(action) -> list[tuple[str, str | int]]:
        with django_capture_on_commit_callbacks(execute=True):
            assert action() == 200
        return list(enqueued)

    return enqueued_during


def test_a_call_wakes_the_request_whose_job_it_names(client, waiting, enqueued_by):
    attempt = attempt_of(waiting)

    messages = enqueued_by(lambda: call(client, {"id": "job1", "status": "succeeded"}, attempt=attempt.id))

    assert is_due(waiting)
    assert messages == [("requests_app.tasks.advance", waiting.id)]


def test_the_body_is_not_trusted(client, waiting, enqueued_by):
    attempt_of(waiting)

    enqueued_by(lambda: call(client, {"id": "job1", "status": "failed", "output": "https://evil.example/video.mp4"}))

    waiting.refresh_from_db()
    attempt = Attempt.objects.get(caller_key=waiting.id)
    assert (waiting.status, waiting.output_url) == ("PROCESSING", "")
    assert (attempt.state, attempt.finished_at) == ("RUNNING", None)


class TestAdoption:
    def test_a_submission_whose_response_was_lost_adopts_the_job(self, client, waiting, enqueued_by):
        attempt = lost_attempt_of(waiting)

        messages = enqueued_by(lambda: call(client, {"id": "job7"}, attempt=attempt.id))

        attempt.refresh_from_db()
        assert (attempt.state, attempt.job_id, attempt.error_class) == ("RUNNING", "job7", "")
        assert is_due(waiting)
        assert len(messages) == 1

    def test_a_repeated_call_changes_nothing_more(self, client, waiting):
        attempt = lost_attempt_of(waiting)

        assert [call(client, {"id": "job7"}, attempt=attempt.id) for _ in range(3)] == [200] * 3

        assert Attempt.objects.filter(job_id="job7", state="RUNNING").count() == 1

    def test_the_job_of_another_attempt_is_never_taken(self, client, waiting):
        attempt = lost_attempt_of(waiting)
        other = attempt_of(make_request(status="PROCESSING"), job_id="job7")

        assert call(client, {"id": "job7"}, attempt=attempt.id) == 200

        attempt.refresh_from_db()
        other.refresh_from_db()
        assert (attempt.state, attempt.job_id, other.job_id) == ("UNKNOWN", "", "job7")
        assert not is_due(waiting)

    @pytest.mark.parametrize(
        "fields",
        [
            {"state": "SENDING"},  # its worker may still record the response itself
            {"state": "RUNNING", "job_id": "job1"},
            {"state": "UNKNOWN", "finished_at": timezone.now()},
            {"state": "OK", "finished_at": timezone.now(), "job_id": "job1"},
            {"provider": "piapi"},
        ],
    )
    def test_only_an_attempt_that_searches_its_job_adopts(self, client, waiting, fields):
        attempt = lost_attempt_of(waiting, **fields)

        assert call(client, {"id": "job7"}, attempt=attempt.id) == 200

        assert not Attempt.objects.filter(job_id="job7").exists()
        assert not is_due(waiting)

    def test_a_captured_call_that_is_repeated_for_another_attempt_gives_it_nothing(self, client, waiting):
        attempt = lost_attempt_of(waiting)
        address = f"/hooks/replicate/?attempt={signed(UUID(int=7)).replace(str(UUID(int=7)), str(attempt.id))}"
        body, at = b'{"id": "job7"}', str(int(time.time()))
        headers = {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": signature(body, at=at)}

        assert client.post(address, body, content_type="application/json", headers=headers).status_code == 200

        attempt.refresh_from_db()
        assert (attempt.state, attempt.job_id) == ("UNKNOWN", "")

    @pytest.mark.parametrize(
        "body",
        [b"", b"not JSON", b"\xff", [], {}, {"id": ""}, {"id": 7}, {"id": "../account"}, {"id": "x" * 201}],
    )
    def test_a_body_without_a_usable_id_is_ignored(self, client, waiting, body):
        attempt = lost_attempt_of(waiting)

        assert call(client, body, attempt=attempt.id) == 200

        attempt.refresh_from_db()
        assert (attempt.state, attempt.job_id) == ("UNKNOWN", "")


@pytest.mark.parametrize("attempt", ["", "no-id", "0192d3c4-0000-7000-8000-000000000000"])
def test_an_unknown_job_is_ignored(client, waiting, attempt):
    attempt_of(waiting)

    assert call(client, {"id": "job9"}, attempt=attempt) == 200
    assert not is_due(waiting)


def test_a_request_that_has_ended_is_not_woken(client, enqueued):
    request = make_request(status="CANCELLED")
    attempt_of(request)

    assert call(client, {"id": "job1"}) == 200

    request.refresh_from_db()
    assert request.next_at is None
    assert enqueued == []


class TestRefusedCallbacks:
    @pytest.fixture(autouse=True)
    def _nothing_happens(self, waiting):
        attempt_of(waiting)
        yield
        assert not is_due(waiting)

    @pytest.mark.parametrize("seconds", [-400, 400])
    def test_a_call_with_an_old_or_future_timestamp(self, client, seconds):
        assert call(client, {"id": "job1"}, at=int(time.time()) + seconds) == 403

    def test_a_changed_body(self, client):
        at = str(int(time.time()))
        headers = {"webhook-signature": signature(b'{"id": "job2"}', at=at)}
        assert call(client, b'{"id": "job1"}', at=at, headers=headers) == 403

    def test_a_changed_id_of_the_call(self, client):
        assert call(client, {"id": "job1"}, headers={"webhook-id": "msg_2"}) == 403

    def test_another_secret(self, client):
        assert call(client, {"id": "job1"}, key=OTHER_KEY) == 403

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    @pytest.mark.parametrize("value", [None, "", "v1,", "v1,é", "²", "9" * 5000])
    def test_a_missing_or_odd_header(self, client, name, value):
        assert call(client, {"id": "job1"}, headers={name: value}) == 403

    def test_a_signature_of_another_version(self, client):
        body, at = b'{"id": "job1"}', str(int(time.time()))
        headers = {"webhook-signature": signature(body, at=at).replace("v1,", "v2,")}
        assert call(client, body, at=at, headers=headers) == 403

    @pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", base64.b64encode(KEY).decode()])
    def test_any_call_while_no_secret_is_configured(self, client, settings, caplog, secret):
        settings.PROVIDER_CALLBACK_SECRETS = {"replicate": secret}

        with caplog.at_level(logging.ERROR, "requests_app.webhooks"):
            assert call(client, {"id": "job1"}) == 403

        assert len(caplog.records) == 1
        assert not secret or secret not in caplog.text

    def test_a_body_of_more_than_a_megabyte(self, client):
        assert call(client, b'{"id": "job1", "logs": "' + b"x" * 1024 * 1024 + b'"}') == 413

    def test_a_get_is_not_allowed(self, client):
        assert client.get("/hooks/replicate/").status_code == 405


def test_one_valid_signature_among_several_is_enough(client, waiting):
    attempt_of(waiting)
    body, at = b'{"id": "job1"}', str(int(time.time()))
    entries = " ".join((signature(body, at=at, key=OTHER_KEY), signature(body, at=at)))

    assert call(client, body, at=at, headers={"webhook-signature": entries}) == 200
    assert is_due(waiting)


def test_a_database_error_is_a_503_so_that_the_call_is_repeated(client, monkeypatch):
    def fail(**_: Any) -> None:
        raise OperationalError

    monkeypatch.setattr("requests_app.webhooks.match_callback", fail)

    assert call(client, {"id": "job1"}) == 503


class TestSubmissions:
    @pytest.mark.parametrize("model", ["kwaivgi/kling-v3-video", "suno-ai/bark:b76242b4"])
    def test_a_submission_contains_the_callback_url(self, model):
        url = "https://bot.example.com/hooks/replicate/?attempt=1"
        prompt = Prompt(Category.VIDEO, "A cat", model=model, callback_url=url)

        body = ReplicateVideo(Access("key", "https://api.replicate.com/v1")).build(prompt).json

        assert (body["webhook"], body["webhook_events_filter"]) == (url, ["completed"])

    def test_without_a_callback_url_it_contains_none(self):
        prompt = Prompt(Category.VIDEO, "A cat", model="luma/ray-3.2")

        body = ReplicateVideo(Access("key", "https://api.replicate.com/v1")).build(prompt).json

        assert set(body) == {"input"}

    def test_the_callback_url_is_ours_and_names_the_attempt(self):
        attempt = make_attempt(category="VIDEO", provider="replicate")
        provider = ReplicateVideo(Access("key", "https://api.replicate.com/v1"))

        assert (
            callback_url(provider, attempt.id)
            == f"https://bot.example.com/hooks/replicate/?attempt={signed(attempt.id)}"
        )

    @pytest.fixture
    def submitted(self, settings, monkeypatch, enqueued) -> list[Prompt]:
        """The prompts that were submitted to a provider that calls back; the responses are lost."""
        prompts: list[Prompt] = []
        script = JobScript(submissions=[], polls=[MediaResult(url="https://replicate.delivery/f.mp4", usage=Usage())])
        script.file = VIDEO_FILE

        def submit(self, prompt: Prompt, **_: Any) -> Job:
            prompts.append(prompt)
            raise OutcomeUnknown("cut")

        def provider_class(category: Any, slug: str, operation: Any) -> type:
            return type("CallingJob", (script.provider_class(category, slug),), {"run": submit})

        ProviderConfig.objects.filter(category="VIDEO").delete()
        make_provider("replicate", category="VIDEO", timeout_seconds=900)
        settings.PROVIDER_ACCESS = {"replicate": Access("key", "http://127.0.0.1:9")}
        monkeypatch.setattr("providers.access.provider_class", provider_class)
        return prompts

    def accepted(self) -> Request:
        model = make_model(category="VIDEO", token_cost=5)
        request = request_accept(intake_key="k", account=make_account(credits=10), model=model, text="A cat")
        request_advance(request_id=request.id)
        return request

    def test_a_lost_job_is_finished_after_the_callback_and_never_submitted_again(self, client, submitted):
        request = self.accepted()

        url = submitted[0].callback_url
        assert url.startswith("https://bot.example.com/hooks/replicate/?attempt=")
        assert call(client, {"id": "job7"}, attempt=url.partition("=")[2]) == 200
        request_advance(request_id=request.id)

        request.refresh_from_db()
        assert (request.status, len(submitted)) == ("COMPLETED", 1)

    @pytest.mark.parametrize(
        "changed",
        [{"PUBLIC_URL": ""}, {"PUBLIC_URL": "http://bot.example.com"}, {"PROVIDER_CALLBACK_SECRETS": {}}],
    )
    def test_without_https_url_and_secret_no_callback_is_requested(self, settings, submitted, changed):
        for name, value in changed.items():
            setattr(settings, name, value)

        self.accepted()

        assert submitted[0].callback_url == ""


@pytest.mark.parametrize(
    ("secret", "url", "expected"),
    [
        ("", "", []),
        (SECRET, "https://bot.example.com", []),
        (SECRET, "", ["providers.W003"]),
        ("", "https://bot.example.com", ["providers.W003"]),
        (SECRET, "http://bot.example.com", ["providers.W004"]),
        ("r8_a-key", "https://bot.example.com", ["providers.E002"]),
    ],
)
def test_the_start_says_what_is_missing(settings, secret, url, expected):
    settings.PROVIDER_CALLBACK_SECRETS, settings.PUBLIC_URL = {"replicate": secret}, url

    messages = check_callbacks()

    assert [message.id for message in messages] == expected
    assert all(not secret or secret not in f"{message.msg}{message.hint}" for message in messages)

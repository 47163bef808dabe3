"""The Playground: a prompt of an operator's down the chain or on one route, with its trail."""

import base64
import json
import threading

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.storage import default_storage
from django.db import connection
from django.urls import reverse

from providers.chain import candidates
from providers.models import Attempt, ProviderConfig
from providers.routes.playground import playground_prompt, playground_run
from providers.routes.testing import new_test_key, route_test
from providers.sandbox import running_sandbox
from providers.statistics.selectors import provider_stats
from providers.types import Access, Category
from requests_app.models import Request
from tests.factories import make_provider
from tests.fakes.http_server import FakeServer, ServerConnection, answer, head
from tests.html_forms import fields_of
from tests.sandboxes import SandboxClock, access_to

STREAM = {"Accept": "application/x-ndjson"}
SECRET_PROMPT = "canary prompt \U0001f9ea"
ANSWER = {
    "model": "gpt-6-luna-2026",
    "choices": [{"message": {"content": "<b>OK</b>"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
}
DOWN = answer({"error": {"message": "Upstream is down, gsk-canary-key"}}, 503)


@pytest.fixture(autouse=True)
def _no_chain():
    candidates._chains.clear()
    yield
    candidates._chains.clear()


@pytest.fixture
def chain(server: FakeServer, settings) -> list[ProviderConfig]:
    """Two routes of text in a row, both at the fake server."""
    settings.PROVIDER_ACCESS = {slug: Access("gsk-canary-key", server.url) for slug in ("groq", "mistral")}
    ProviderConfig.objects.filter(category="TEXT").update(enabled=False)
    prices = {"input_per_million": "0.1", "output_per_million": "0.5"}
    return [
        make_provider(slug, enabled=True, priority=number, prices=prices)
        for number, slug in enumerate(("groq", "mistral"), 1)
    ]


def trial_of(text: str = "Say OK", **options):
    return playground_run(caller_key=new_test_key(), prompt=playground_prompt(Category.TEXT, text), **options)


def address_of(category: str = "TEXT") -> str:
    return reverse("admin:providers_providerconfig_playground", args=[category])


def form_of(client, category: str = "TEXT", **typed: str) -> dict[str, str]:
    return {**fields_of(client.get(address_of(category)).content.decode()), **typed}


def piece(text: str) -> bytes:
    body = b"data: " + json.dumps({"model": "m", "choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(body), body)


@pytest.mark.django_db
class TestChain:
    def test_the_trail_shows_who_failed_and_who_answered(self, chain, server, caplog):
        server.will(DOWN, answer(ANSWER))

        trial = trial_of(SECRET_PROMPT)

        first, second = trial.attempts
        assert (first.route, first.http_status) == ("groq", 503)
        assert "Upstream is down" in first.error_text
        assert (second.route, second.state, trial.text) == (chain[1].name, "OK", "<b>OK</b>")
        assert {attempt.purpose for attempt in trial.attempts} == {"test"}
        assert trial.answering == second
        assert "canary" not in caplog.text + first.error_text + str(trial)
        assert not Request.objects.exists()

    def test_it_is_on_the_bill_and_in_no_rate(self, chain, server):
        server.will(answer(ANSWER))
        trial = trial_of()

        (stats,) = (each for each in provider_stats(Category.TEXT) if each.route == "groq")

        assert (stats.requests, stats.successes) == (0, 0)
        assert stats.total_cost == trial.cost > 0

    def test_one_that_may_be_billed_makes_the_total_unknown(self, chain, server):
        server.will(lambda connection: connection.reset(), answer(ANSWER))

        trial = trial_of()

        assert [attempt.state for attempt in trial.attempts] == ["UNKNOWN", "OK"]
        assert trial.cost is None
        assert trial.cost_at_most > trial.attempts[1].cost

    def test_what_is_passed_by_is_named(self, chain, server):
        server.will(answer(ANSWER))
        ProviderConfig.objects.filter(pk=chain[0].pk).update(daily_cap_usd=0)

        trial = trial_of()

        assert [attempt.route for attempt in trial.attempts] == [chain[1].name]
        assert any(skip.route == "groq" and "its daily cap of $0.00" in skip.reason for skip in trial.skips)

    def test_one_route_is_asked_alone_also_where_it_is_off(self, chain, server):
        server.will(DOWN)
        ProviderConfig.objects.filter(pk=chain[0].pk).update(enabled=False)

        trial = trial_of(route=chain[0])

        assert [attempt.route for attempt in trial.attempts] == ["groq"]
        assert trial.words == "every route that was asked has failed"

    def test_without_any_route_nothing_is_called(self, chain, settings):
        settings.PROVIDER_ACCESS = {}

        trial = trial_of()

        assert (trial.attempts, trial.words) == ([], "there is no route to ask")
        assert {skip.reason for skip in trial.skips} == {"no key"}

    def test_a_key_makes_its_calls_once(self, chain, server):
        server.will(answer(ANSWER))
        key, prompt = new_test_key(), playground_prompt(Category.TEXT, "Say OK")

        first, second = (playground_run(caller_key=key, prompt=prompt) for _ in range(2))

        assert (first.text, second.text, second.is_repeated) == ("<b>OK</b>", "", True)
        assert second.attempts == first.attempts
        assert len(server.received) == 1

    @pytest.mark.parametrize("key", ["req_1", "test:" + "x" * 70])
    def test_another_callers_key_is_refused(self, key):
        with pytest.raises(ValueError, match="no key of a test"):
            playground_run(caller_key=key, prompt=playground_prompt(Category.TEXT, "Hello"))


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    @pytest.mark.parametrize("way", ["chain", "route", "test"])
    def test_who_comes_second_neither_calls_nor_writes_the_first_one_off(self, chain, server, way):
        key, prompt = new_test_key(), playground_prompt(Category.TEXT, "Say OK")
        is_asked, may_answer = threading.Event(), threading.Event()

        def step(asked: ServerConnection) -> None:
            is_asked.set()
            may_answer.wait(10)
            answer(ANSWER)(asked)

        def press():
            if way == "test":
                return route_test(route_id=chain[0].pk, caller_key=key)
            return playground_run(caller_key=key, prompt=prompt, route=chain[0] if way == "route" else None)

        def press_first() -> None:
            ends.append(press())
            connection.close()

        ends: list = []
        server.will(step)
        first = threading.Thread(target=press_first, daemon=True)
        first.start()
        assert is_asked.wait(10)

        second = press()
        may_answer.set()
        first.join(15)

        assert second.is_running
        assert len(server.received) == 1
        attempt = Attempt.objects.get(caller_key=key)
        assert (attempt.state, attempt.error_class) == ("OK", "")
        assert ends[0].text == "<b>OK</b>"


@pytest.mark.django_db(transaction=True)
class TestStream:
    def test_it_arrives_in_pieces(self, admin_client, chain, server):
        may_go_on = threading.Event()

        def step(connection: ServerConnection) -> None:
            connection.send(head(Content_Type="text/event-stream", Transfer_Encoding="chunked"))
            connection.send(piece("One <i>"))
            may_go_on.wait(10)
            connection.send(piece(" two"))
            done = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
            connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))

        server.will(step)
        response = admin_client.post(address_of(), form_of(admin_client, prompt="Count"), headers=STREAM)
        lines = iter(response)
        first = json.loads(next(lines))
        assert first == {"more": "One <i>"}  # while the provider still writes
        may_go_on.set()
        rest = [json.loads(line) for line in lines if line.strip()]

        assert response.headers["X-Accel-Buffering"] == "no"
        assert "".join(each.get("more", "") for each in rest) == " two"
        assert "One &lt;i&gt; two" in rest[-1]["html"]
        assert rest[-1]["key"].startswith("test:")
        assert Attempt.objects.get().state == "OK"

    def test_a_fallback_starts_afresh(self, admin_client, chain, server):
        def broken(connection: ServerConnection) -> None:
            connection.send(head(Content_Type="text/event-stream", Transfer_Encoding="chunked"))
            connection.send(piece("Half an answer that is long"))
            connection.reset()

        server.will(broken, answer(ANSWER))
        response = admin_client.post(address_of(), form_of(admin_client), headers=STREAM)
        lines = [json.loads(line) for line in response if line.strip()]

        assert "Answered by" in lines[-1]["html"]
        assert "outcome unknown, may be billed" in lines[-1]["html"]
        assert "unknown, at most $" in lines[-1]["html"]

    def test_who_goes_away_aborts_the_call(self, admin_client, chain, server):
        def endless(connection: ServerConnection) -> None:
            connection.send(head(Content_Type="text/event-stream", Transfer_Encoding="chunked"))
            connection.send(piece("One"))
            connection.wait()

        server.will(endless)
        response = admin_client.post(address_of(), form_of(admin_client), headers=STREAM)
        next(iter(response))
        response.close()

        attempt = Attempt.objects.get()  # and no second one
        assert attempt.state == "UNKNOWN"
        assert attempt.finished_at

    def test_what_is_wrong_is_said_without_a_call(self, admin_client, chain, server):
        form = form_of(admin_client, prompt="x" * 20_001)

        response = admin_client.post(address_of(), form, headers=STREAM)

        assert response.status_code == 400
        assert "at most 20000 characters" in response.json()["error"]
        assert not server.received

    def test_a_fault_of_ours_ends_the_stream_in_words(self, admin_client, chain, server, monkeypatch, caplog):
        def fail(**_):
            raise RuntimeError("canary")

        monkeypatch.setattr("providers.admin_playground.playground_run", fail)

        response = admin_client.post(address_of(), form_of(admin_client), headers=STREAM)

        assert "It broke off" in b"".join(response).decode()
        assert "canary" not in caplog.text


@pytest.mark.django_db
class TestPage:
    def test_without_javascript_it_shows_the_same(self, admin_client, chain, server):
        server.will(DOWN, answer(ANSWER))
        page = admin_client.get(address_of()).content.decode()
        assert "A call, at most" in page
        assert not server.received
        form = form_of(admin_client, prompt=SECRET_PROMPT, system="Be brief")

        shown = admin_client.post(address_of(), form).content.decode()

        assert "&lt;b&gt;OK&lt;/b&gt;" in shown
        assert "<b>OK</b>" not in shown
        assert "Upstream is down" in shown
        assert "gsk-canary-key" not in shown
        assert "Total cost" in shown
        assert server.received[-1].json["messages"][0] == {"role": "system", "content": "Be brief"}
        assert fields_of(shown)["key"] != form["key"]
        words = LogEntry.objects.get().change_message
        assert words == f"Playground: answered by {chain[1].name}, asked: groq, {chain[1].name}"
        assert "Sent before" in admin_client.post(address_of(), form).content.decode()
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize(
        ("typed", "status"),
        [
            ({"prompt": ""}, 200),
            ({"prompt": "x" * 20_001}, 200),
            ({"route": "999999"}, 200),
            ({"route": "x"}, 200),
            ({"key": "req_1"}, 403),
            ({"key": ""}, 403),
        ],
    )
    def test_what_is_wrong_makes_no_call(self, admin_client, chain, server, typed, status):
        response = admin_client.post(address_of(), form_of(admin_client, **typed))

        assert response.status_code == status
        assert not server.received

    def test_nul_is_refused(self, admin_client, chain, server):
        response = admin_client.post(address_of(), form_of(admin_client, prompt="a\0b"))

        assert response.status_code in (200, 400)
        assert not server.received

    def test_no_such_category(self, admin_client):
        assert admin_client.get(address_of("SMELL")).status_code == 404

    def test_who_may_only_view_routes_may_not_spend(self, client, chain, server):
        user = User.objects.create_user("ada", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_providerconfig"))
        client.force_login(user)

        assert client.get(address_of()).status_code == 403
        assert client.post(address_of(), {"key": new_test_key(), "prompt": "Hello"}).status_code == 403
        assert "Playground" not in client.get(reverse("admin:index")).content.decode()
        assert not server.received

    def test_an_image_is_shown_and_not_kept(self, admin_client, sandboxed):
        route = ProviderConfig.objects.get(category="IMAGE", name="openai")

        shown = admin_client.post(address_of("IMAGE"), form_of(admin_client, "IMAGE", route=str(route.pk))).content

        source = shown.decode().partition('src="data:image/')[2].partition('"')[0]
        assert base64.b64decode(source.partition("base64,")[2])
        (attempt,) = Attempt.objects.all()
        assert not default_storage.exists(f"results/{str(attempt.pk)[-2:]}/{attempt.pk}.png")
        assert Attempt.objects.get().state == "OK"

    def test_a_long_job_is_looked_at_again(self, admin_client, settings, monkeypatch):
        route, clock = ProviderConfig.objects.get(category="VIDEO", name="replicate"), SandboxClock()
        monkeypatch.setattr("providers.chain.fallback.poll_delay_seconds", lambda provider, age_seconds: 0)
        monkeypatch.setattr("providers.routes.playground.WAIT_SECONDS", -1.0)
        with running_sandbox(video_seconds=60, clock=clock) as sandbox:
            settings.SANDBOX_ACTIVE = True
            settings.PROVIDER_ACCESS = {"replicate": access_to(sandbox, "replicate")}
            form = form_of(admin_client, "VIDEO", route=str(route.pk), prompt="A calm\nsea")
            waiting = admin_client.post(address_of("VIDEO"), form).content.decode()
            again = fields_of(waiting)
            clock.pass_seconds(120)
            shown = admin_client.post(address_of("VIDEO"), again).content.decode()

        assert "Look again" in waiting
        assert again["key"] == form["key"]
        assert again["prompt"] == "A calm\nsea"
        assert "<video" in shown
        assert Attempt.objects.count() == 1

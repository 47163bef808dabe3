"""Alerts: the operator is told once when something begins, and once when it is over."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from aibot.alerts import money, notifications
from aibot.alerts import watch as watching
from aibot.alerts.money import Kept
from aibot.alerts.notifications import _Sender, notifications_write
from aibot.alerts.watch import alert_sources, sweep_alerts, watch
from aibot.models import Alert, Notification
from providers.chain import circuit_breaker
from providers.chain.candidates import route_candidates
from providers.chain.price_proposals import Proposal
from providers.errors import AccessDenied, ModelGone, RequestRejected, ServerFault
from providers.models import Attempt, ProviderAccount, ProviderCharge, ProviderConfig, ProviderHealth
from providers.types import Access
from requests_app.models import AIModel, LedgerEntry, Request, WorkerHeartbeat
from requests_app.services.cancellation import request_cancel
from telegram_bot.bots import current_bot_id
from telegram_bot.models import TelegramBot
from tests.factories import make_alert, make_attempt, make_chat, make_model, make_provider, make_request
from tests.fakes.mail import running_mail_server
from tests.fakes.telegram import Chat, no_answer, refuse
from tests.flows.processes import wait_until
from tests.row_locks import needs_row_locks, row_locked_by_another
from tests.telegram_bot.conftest import fake

__all__ = ["fake"]

pytestmark = pytest.mark.django_db

OPERATOR = 77


@pytest.fixture
def chat(fake) -> Chat:
    """The operator's chat, which is claimed, on a Bot API server."""
    TelegramBot.objects.filter(pk=current_bot_id()).update(operator_chat=make_chat(OPERATOR))
    return fake.chat(OPERATOR)


@pytest.fixture(autouse=True)
def _at_work(monkeypatch) -> None:
    """Workers and a sweeper are at work, and no route is configured."""
    monkeypatch.setattr(watching, "_next_watch", 0.0)
    monkeypatch.setattr(money, "_next_price_check", float("inf"))
    monkeypatch.setattr(money, "KEPT", [Kept(kept.ask, 0.0) for kept in money.KEPT])
    WorkerHeartbeat.objects.create(name="worker", kind="worker", queues="chat,text,media")
    WorkerHeartbeat.objects.create(name="sweeper", kind="sweeper")
    ProviderConfig.objects.all().delete()


@pytest.fixture(autouse=True)
def _in_the_tests_own_transaction(request, monkeypatch) -> None:
    """Send in the test's own thread, where it has a transaction that no other one sees into."""
    if not request.node.get_closest_marker("django_db").kwargs.get("transaction"):
        monkeypatch.setattr(_Sender, "start", _Sender.run)
        monkeypatch.setattr(_Sender, "join", lambda *_: None)


def later(seconds: float) -> None:
    """Let every alert be older by this, as if the clock had moved."""
    shift = timedelta(seconds=seconds)
    for row in [*Alert.objects.all(), *Notification.objects.all()]:
        for name in ("began_at", "tell_at", "seen_at", "ended_at", "next_at", "sent_at"):
            moment = getattr(row, name, None)
            if moment is not None:
                setattr(row, name, moment - shift)
        row.save()


def routes(settings, *slugs: str) -> None:
    make_model()
    for slug in slugs:
        make_provider(slug)
    settings.PROVIDER_ACCESS = {slug: Access(f"key-{slug}", "http://127.0.0.1:9") for slug in slugs}


def fail(slug: str, error: Exception, times: int = 1) -> None:
    for _ in range(times):
        (candidate,) = route_candidates(ProviderConfig.objects.get(provider=slug), {})
        circuit_breaker.record_failure(candidate.circuit_for(error), error=error)


def titles() -> list[str]:
    return [alert.title for alert in Alert.objects.order_by("began_at")]


def test_all_is_well(chat):
    assert watch() == 0
    assert not Alert.objects.exists()


def test_it_is_told_once_and_its_end_once(chat):
    WorkerHeartbeat.objects.filter(kind="worker").delete()
    assert watch() == 0  # a deploy takes a moment
    later(61)
    assert (watch(), watch()) == (2, 0)  # to the log, too

    WorkerHeartbeat.objects.create(name="worker", kind="worker", queues="chat,text,media")
    assert watch() == 0  # it may go again at once
    later(121)
    assert (watch(), watch()) == (2, 0)

    began, ended = chat.texts
    assert began.startswith("🔴 Nobody works: no worker is running\n\nUpdates are stored and wait. Start a worker.\n")
    assert ended.startswith("🟢 Over: Nobody works: no worker is running")
    assert "for about 1 min" in ended


def test_what_is_over_soon_is_told_to_nobody(chat):
    WorkerHeartbeat.objects.filter(kind="worker").update(queues="chat,media")
    watch()
    assert titles() == ["Nobody works for the queue text"]
    WorkerHeartbeat.objects.filter(kind="worker").update(queues="chat,text,media")
    later(61)
    assert watch() == 0
    later(60)

    assert watch() == 0
    assert not Alert.objects.exists()


def test_what_comes_and_goes_is_one_event(chat, settings):
    routes(settings, "openai", "xai")
    for _ in range(3):
        fail("openai", AccessDenied("no money"))
        watch()
        ProviderHealth.objects.all().delete()
        watch()
        later(30)

    assert len(chat.texts) == 1


@pytest.mark.parametrize(
    ("error", "words", "button"),
    [
        (AccessDenied("insufficient balance"), "OpenAI refuses the key or the account", "▶️ Resume OpenAI in TEXT"),
        (
            ModelGone("no such model"),
            "OpenAI in TEXT does not serve the model openai-model",
            "⏸ Pause OpenAI in TEXT for an hour",
        ),
    ],
)
def test_what_only_the_operator_can_mend_is_told_at_once_with_a_button(chat, settings, error, words, button):
    routes(settings, "openai", "xai")
    fail("openai", error)

    watch()

    (message,) = chat.messages
    assert message.text.startswith(f"🔴 {words}")
    assert [each["text"] for each in message.buttons] == [button]


def test_a_route_that_rejects_every_request_alike(chat, settings):
    routes(settings, "openai", "xai")
    fail("openai", RequestRejected("unknown field x", status=400), times=3)

    watch()

    (text,) = chat.texts
    assert text.startswith("🔴 OpenAI in TEXT rejects every request alike")
    assert "unknown field x" in text


def test_a_route_that_is_switched_off_is_over(chat, settings):
    routes(settings, "openai", "xai")
    fail("openai", AccessDenied())
    watch()
    ProviderConfig.objects.filter(provider="openai").update(enabled=False)
    later(121)

    watch()

    assert chat.texts[-1].startswith("🟢 Over: OpenAI")


def test_a_category_without_a_route_that_works(chat, settings):
    routes(settings, "openai", "xai")
    make_provider("aimlapi")  # without a key, so nobody would ask it
    fail("openai", ServerFault(), times=3)
    watch()
    assert titles() == []
    fail("xai", ServerFault(), times=3)
    watch()

    assert titles() == ["Every route of TEXT is paused"]


def test_a_category_that_no_model_offers_is_nobodys_concern(chat, settings):
    routes(settings, "openai")
    make_model().delete()
    fail("openai", ServerFault(), times=3)

    watch()

    assert titles() == []


def test_a_request_that_waits_for_a_decision(chat):
    request = make_request(status=Request.Status.QUARANTINED)
    watch()
    assert chat.texts[0].startswith("🔴 1 request waits for your decision")

    request_cancel(request_id=request.id, actor="test")
    later(121)
    watch()

    assert chat.texts[1].startswith("🟢")


def ended(slug: str) -> bool:
    """Return whether the alert of this key is over by the next watch."""
    later(121)
    watch()
    return not Alert.objects.filter(key=slug, ended_at=None).exists()


class TestMoney:
    @pytest.fixture(autouse=True)
    def _routes(self, settings) -> None:
        routes(settings, "openai", "xai")
        ProviderConfig.objects.update(list_price=Decimal("0.001"), price_unit="1k_tokens", max_output_tokens=100)

    @pytest.mark.parametrize(
        ("cap", "who"),
        [("service", "the service"), ("provider", "OpenAI"), ("route", "OpenAI in TEXT")],
    )
    def test_a_cap_at_80_and_at_100_per_cent(self, chat, settings, cap, who):
        if cap == "service":
            settings.DAILY_SPEND_CAP_USD = Decimal(10)
        elif cap == "provider":
            settings.PROVIDER_DAILY_CAPS_USD = {"openai": Decimal(10)}
        else:
            ProviderConfig.objects.filter(name="openai").update(daily_cap_usd=10)
        make_attempt(provider="openai", route="openai", cost=Decimal("7.9"))
        watch()
        assert titles() == []

        make_attempt(provider="openai", route="openai", cost=Decimal("0.1"))
        watch()
        watch()
        assert [title.replace("10.00", "10") for title in titles()] == [f"Most of today's $10 of {who} is spent"]

        make_attempt(provider="openai", route="openai", cost=Decimal("1.9999"))
        watch()  # a call reserves more than what is left
        later(61)
        watch()
        assert [text.partition("\n")[0].replace("10.00", "10") for text in chat.texts] == [
            f"🔴 Most of today's $10 of {who} is spent",
            f"🔴 Today's $10 of {who} is spent",
        ]

    def test_what_other_providers_cost_is_not_theirs(self, settings):
        settings.PROVIDER_DAILY_CAPS_USD = {"openai": Decimal(10)}
        make_attempt(provider="xai", cost=Decimal(99))

        watch()

        assert titles() == []

    def test_a_share_around_the_limit_does_not_flap(self, settings):
        settings.DAILY_SPEND_CAP_USD = Decimal(10)
        attempt = make_attempt(cost=Decimal(8))
        watch()
        for cost, is_over in (("7.8", False), ("7.5", False), ("7.4", True), ("7.9", True)):
            Attempt.objects.filter(pk=attempt.pk).update(cost=Decimal(cost))
            assert ended("cap-80") is is_over, cost
        assert len(titles()) == 1

    def test_calls_whose_outcome_nobody_knows(self):
        for _ in range(20):
            make_attempt(provider="openai")
        lost = [make_attempt(provider="openai", state="UNKNOWN", cost=None) for _ in range(4)]
        watch()
        assert titles() == []  # few say nothing

        lost += [make_attempt(provider="openai", state="UNKNOWN", cost=None) for _ in range(2)]
        make_attempt(provider="xai", state="UNKNOWN", cost=None)
        watch()
        assert titles() == ["23% of the calls to OpenAI have an unknown outcome"]

        for _ in range(60):
            make_attempt(provider="openai")
        assert ended("unknown:openai")

    def test_an_ai_model_that_costs_more_than_its_credits_bring(self, settings):
        settings.CREDIT_PRICE_USD = Decimal("0.01")
        self.answered(make_model(), 25, cost="0.02")
        self.answered(make_model(name="Fine AI"), 25, cost="0.005")
        self.answered(make_model(name="Seldom AI"), 5, cost="9")

        watch()

        assert titles() == ["Text AI costs more than its credits bring"]
        assert "cost $0.5000 and brought $0.2500" in Alert.objects.get().advice

    def test_requests_that_failed_cost_and_bring_nothing(self, settings):
        settings.CREDIT_PRICE_USD = Decimal("0.01")
        self.answered(make_model(), 25, cost="0.006")
        self.answered(make_model(), 25, cost="0.006", charged=0)

        watch()

        assert titles() == ["Text AI costs more than its credits bring"]

    def answered(self, model: AIModel, number: int, *, cost: str, charged: int = 1) -> None:
        for _ in range(number):
            request = make_request(model=model, status=Request.Status.FAILED, completed_at=timezone.now())
            LedgerEntry.objects.create(account=request.user, request=request, kind="HOLD", amount=-1, actor="test")
            kind = "CAPTURE" if charged else "RELEASE"
            LedgerEntry.objects.create(
                account=request.user, request=request, kind=kind, amount=1 - charged, actor="test"
            )
            make_attempt(caller_key=request.id, cost=Decimal(cost))

    def test_a_balance_near_its_end(self, chat, settings):
        settings.PROVIDER_ACCESS = {"aimlapi": Access("key", "http://127.0.0.1:9")}
        row = ProviderAccount.objects.create(
            provider="aimlapi",
            key_id=settings.PROVIDER_ACCESS["aimlapi"].key_id,
            balance=8,
            unit="USD",
            told_at=timezone.now(),
        )
        make_attempt(provider="aimlapi", cost=Decimal(2))
        watch()
        assert titles() == []  # four days

        ProviderAccount.objects.update(balance=Decimal("5.9"), told_at=Now())
        watch()
        assert titles() == ["The balance at AIMLAPI is near its end"]
        assert "$5.90 were left; empty on " in chat.texts[0]
        key = f"balance:aimlapi:{row.key_id[:8]}"
        ProviderAccount.objects.update(balance=Decimal("6.1"), told_at=Now())
        assert not ended(key)
        ProviderAccount.objects.update(balance=Decimal(20), told_at=Now())
        assert ended(key)

    def test_a_plan_that_is_filled_up_first_is_not_near_its_end(self, settings):
        settings.PROVIDER_ACCESS = {"elevenlabs": Access("key", "http://127.0.0.1:9")}
        now = timezone.now()
        ProviderAccount.objects.create(
            provider="elevenlabs",
            key_id=settings.PROVIDER_ACCESS["elevenlabs"].key_id,
            balance=200,
            unit="credits",
            told_at=now,
            refills_at=now + timedelta(days=1),
        )
        yesterday = (now - timedelta(days=1)).astimezone(UTC).date()
        ProviderCharge.objects.create(provider="elevenlabs", day=yesterday, amount=100, unit="credits")

        watch()
        assert titles() == []
        ProviderAccount.objects.update(refills_at=now + timedelta(days=9))
        watch()

        assert titles() == ["The balance at ElevenLabs is near its end"]

    def test_a_price_that_rose_until_the_route_is_changed(self, monkeypatch):
        route = ProviderConfig.objects.get(name="openai")
        route.prices = {"input_per_million": "1", "output_per_million": "2"}
        route.save()
        dearer, cheaper = (
            Proposal(route, {"input_per_million": "1", "output_per_million": rate}, "a list") for rate in ("3", "1")
        )
        assert (money.is_dearer(dearer), money.is_dearer(cheaper)) == (True, False)
        monkeypatch.setattr(money, "_risen", [dearer])

        watch()
        assert titles() == ["OpenAI in TEXT has become dearer"]
        assert "output_per_million 2 → output_per_million 3, says a list" in Alert.objects.get().advice

        ProviderConfig.objects.filter(pk=route.pk).update(prices=dict(dearer.prices))
        assert ended("price:openai:TEXT")

    def test_prices_are_compared_once_a_day_beside_the_watch(self, monkeypatch):
        route = ProviderConfig.objects.get(name="openai")
        route.prices = {"input_per_million": "1"}
        route.save()
        asked: list[int] = []

        def proposals(routes, *, now):
            asked.append(len(routes))
            yield Proposal(route, {"input_per_million": "2"}, "a list")

        monkeypatch.setattr(money, "proposals_for", proposals)
        monkeypatch.setattr(money, "_next_price_check", 0.0)
        monkeypatch.setattr(money, "_risen", ())
        monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)  # inside of the test's transaction
        monkeypatch.setattr(_Sender, "start", _Sender.run)

        watch()
        watch()

        assert asked == [2]
        assert titles() == ["OpenAI in TEXT has become dearer"]


class TestTelegram:
    def test_a_webhook_that_nobody_knows(self, chat, settings):
        settings.TELEGRAM_WEBHOOK_URL = "https://bot.example.com"
        watch()
        later(121)
        watch()

        assert "Telegram knows no webhook" in chat.texts[0]

    def test_while_telegram_does_not_say_it_is_neither_begun_nor_over(self, fake, chat, settings):
        settings.TELEGRAM_WEBHOOK_URL = "https://bot.example.com"
        watch()
        later(121)
        fake.will("getMe", no_answer)

        watch()

        assert Alert.objects.get().ended_at is None

    def test_a_refused_token_goes_by_mail(self, fake, chat, settings, mailoutbox):
        settings.ALERT_EMAIL = ["me@example.com"]
        fake.will("getMe", *[refuse(401, "Unauthorized")] * 2)
        fake.will("sendMessage", refuse(401, "Unauthorized"))

        watch()

        assert mailoutbox[0].subject == "[testserver] 🔴 Telegram refuses the bot's token"


class TestChannels:
    def test_by_mail(self, settings):
        WorkerHeartbeat.objects.filter(kind="sweeper").delete()
        with running_mail_server() as server:
            settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
            settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
            settings.ALERT_EMAIL, settings.DEFAULT_FROM_EMAIL = ["me@example.com"], "bot@example.com"
            watch()
            later(61)
            watch()

        (message,) = server.messages
        assert (message["From"], message["To"]) == ("bot@example.com", "me@example.com")
        assert message["Subject"] == "[testserver] 🔴 No sweeper is running"
        assert "Start one." in message.get_payload(decode=True).decode()

    def test_what_a_channel_does_not_take_is_sent_there_again_and_nowhere_else(self, fake, chat, settings, mailoutbox):
        make_request(status=Request.Status.QUARANTINED)
        settings.ALERT_EMAIL = ["me@example.com"]
        fake.will("sendMessage", *[refuse(500, "Internal Server Error")] * 2)
        watch()
        watch()  # not at once
        assert len(fake.called("sendMessage")) == 1
        later(61)
        watch()
        later(61)  # after the second failure the pause is longer
        watch()
        assert (len(fake.called("sendMessage")), chat.texts) == (2, [])
        later(60)
        watch()

        assert len(chat.texts) == len(mailoutbox) == 1

    def test_a_chat_that_is_claimed_later_is_told_what_is_still_the_case(self, fake):
        request = make_request(status=Request.Status.QUARANTINED)
        watch()
        later(600)
        fake.chat(OPERATOR)
        TelegramBot.objects.filter(pk=current_bot_id()).update(operator_chat=make_chat(OPERATOR))
        watch()
        request_cancel(request_id=request.id, actor="test")
        later(121)
        watch()

        assert [text[0] for text in fake.chat(OPERATOR).texts] == ["🔴", "🟢"]

    def test_a_channel_that_heard_of_no_begin_hears_of_no_end(self, fake, chat):
        request = make_request(status=Request.Status.QUARANTINED)
        fake.will("sendMessage", refuse(500, "Internal Server Error"))
        watch()
        request_cancel(request_id=request.id, actor="test")
        later(121)
        watch()

        assert chat.texts == []
        assert Alert.objects.get().ended_at is not None

    def test_settings_with_which_no_mail_can_be_made_silence_no_other_channel(self, chat, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.ALERT_EMAIL = ["a;b@exämple.com"]
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = "ü"
        make_request(status=Request.Status.QUARANTINED)
        with running_mail_server() as server:
            settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port

            watch()

        assert len(chat.texts) == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_mail_server_that_hangs_holds_up_neither_the_chat_nor_the_watch(self, chat, settings, monkeypatch):
        monkeypatch.setattr(notifications, "WAIT_SECONDS", 0.2)
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.ALERT_EMAIL = ["me@example.com"]
        settings.EMAIL_TIMEOUT = 60
        make_request(status=Request.Status.QUARANTINED)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
            for _ in range(3):
                watch()
                Notification.objects.update(next_at=Now())
            wait_until(lambda: chat.texts, "the message in the chat")
            (by_mail,) = [thread for thread in threading.enumerate() if thread.name == "alerts by mail"]

            assert len(chat.texts) == 1
        by_mail.join()

    def test_while_a_channel_fails_one_message_a_round_is_tried(self, fake, chat, settings):
        routes(settings, "openai", "xai")
        for slug in ("openai", "xai"):
            fail(slug, AccessDenied())
        make_request(status=Request.Status.QUARANTINED)
        fake.will("sendMessage", *[no_answer] * 3)

        watch()

        assert len(fake.called("sendMessage")) == 1

    def test_without_any_channel_it_is_in_the_log_and_the_admin(self, caplog, admin_client):
        make_request(status=Request.Status.QUARANTINED)

        watch()

        assert "1 request waits for your decision" in caplog.text
        assert "1 request waits for your decision" in admin_client.get("/admin/aibot/alert/").content.decode()

    def test_no_secret_is_told(self, chat, settings):
        settings.SECRETS = ["sk-very-secret"]
        routes(settings, "openai", "xai")
        fail("openai", AccessDenied("the key sk-very-secret is wrong"))

        watch()

        assert "[hidden]" in chat.texts[0]


@pytest.mark.django_db(transaction=True)
def test_of_many_that_send_at_once_one_tells(chat):
    make_alert(tell_at=timezone.now() - timedelta(minutes=1))

    def one(_: int) -> int:
        notifications_write()
        sender = _Sender("chat")
        sender.run()
        return sender.sent

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 1
    assert len(chat.texts) == 1


class TestWhoWatches:
    def test_a_sweeper_every_fifteen_seconds(self, chat, monkeypatch):
        make_request(status=Request.Status.QUARANTINED)

        assert (sweep_alerts(), sweep_alerts()) == (2, 0)

    def test_a_worker_where_no_sweeper_does(self, monkeypatch):
        (source,) = alert_sources()
        assert source.find(10, timedelta(0)) == []

        WorkerHeartbeat.objects.filter(kind="sweeper").delete()
        monkeypatch.setattr(watching, "_next_watch", 0.0)

        assert source.find(10, timedelta(0)) == ["now"]
        assert source.find(10, timedelta(0)) == []  # it has been handed out


def test_old_alerts_are_deleted():
    old = timezone.now() - timedelta(days=91)
    Alert.objects.create(key="old", title="old", tell_at=old, ended_at=old)

    watch()

    assert not Alert.objects.exists()


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_an_alert_that_somebody_has_locked_holds_up_no_other(chat, settings):
    WorkerHeartbeat.objects.all().delete()
    watch()
    routes(settings, "openai", "xai")
    fail("openai", AccessDenied())
    with row_locked_by_another(Alert.objects.get(key="no-worker")):
        watch()

    assert chat.texts[0].startswith("🔴 OpenAI refuses")

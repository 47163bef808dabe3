"""Liveness and readiness: what load balancers and process managers read."""

import socket
import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from aibot import health
from requests_app.models import WorkerHeartbeat
from telegram_bot.api.client import close_client
from telegram_bot.models import Delivery, TelegramUpdate
from tests.factories import make_request
from tests.fakes.telegram import TOKEN, FakeTelegram, Hold, not_reached
from tests.telegram_bot.rows import ago, make_delivery, make_update


class TestLiveness:
    @pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
    def test_it_queries_neither_database_nor_broker(self, client, path):
        # Without the database mark any query would fail the test.
        response = client.get(path)

        assert (response.status_code, response.json()) == (200, {"alive": True})
        assert "no-store" in response["cache-control"]

    @pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/readyz", "/readyz/"])
    @pytest.mark.django_db
    def test_who_asks_by_address_and_without_https_is_answered(self, client, settings, path):
        settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = True, ["bot.example.com"]

        response = client.get(path, headers={"host": "10.1.2.3:8000"})

        assert response["content-type"] == "application/json"
        assert client.get("/admin/", headers={"host": "10.1.2.3:8000"}).status_code == 400


def make_worker(queues: str = "chat,media,text") -> None:
    WorkerHeartbeat.objects.create(name=f"worker {queues}", kind="worker", queues=queues)


@pytest.mark.django_db
class TestReadiness:
    @pytest.mark.parametrize("path", ["/readyz", "/readyz/"])
    def test_a_migrated_database_and_a_worker_are_enough(self, client, path):
        make_worker()

        response = client.get(path)

        assert response.status_code == 200
        report = response.json()
        assert "wake-up messages" in report.pop("note")
        assert report.pop("broker") in (True, False)
        assert report == {
            "ready": True,
            "database": True,
            "migrated": True,
            "maintenance": False,
            "workers": 1,
            "queues_without_worker": [],
            "sweepers": 0,
            "on_time": True,
            "oldest_update_seconds": 0.0,
            "oldest_due_seconds": 0.0,
            "oldest_delivery_seconds": 0.0,
        }

    def test_where_nobody_works_it_is_unready(self, client):
        WorkerHeartbeat.objects.create(name="dead", kind="worker", seen_at=ago(60))
        WorkerHeartbeat.objects.create(name="a", kind="sweeper")

        response = client.get("/readyz")

        assert response.status_code == 503
        assert (response.json()["ready"], response.json()["workers"], response.json()["sweepers"]) == (False, 0, 1)

    def test_a_queue_without_a_worker_makes_it_unready(self, client):
        make_worker("chat")

        response = client.get("/readyz")

        assert (response.status_code, response.json()["queues_without_worker"]) == (503, ["text", "media"])

        make_worker("media,text")
        assert client.get("/readyz").status_code == 200

    def test_a_worker_whose_rounds_are_rare_is_at_work(self, client, settings):
        settings.LOOK_SECONDS = 60
        make_worker()
        WorkerHeartbeat.objects.update(seen_at=ago(100))

        assert client.get("/readyz").status_code == 200

    def test_an_update_that_nobody_handles_and_an_answer_that_nobody_shows_are_not_on_time(self, client):
        assert client.get("/readyz").json()["on_time"] is True

        make_update(received_at=ago(47))
        report = client.get("/readyz").json()
        assert (report["on_time"], report["oldest_delivery_seconds"]) == (False, 0)
        assert 47 <= report["oldest_update_seconds"] < 67

        TelegramUpdate.objects.all().delete()
        delivery = make_delivery(next_at=ago(-300))  # Telegram cannot be reached
        report = client.get("/readyz").json()
        assert (report["on_time"], report["oldest_update_seconds"]) == (False, 0)
        assert 60 <= report["oldest_delivery_seconds"] < 80

        Delivery.objects.filter(pk=delivery.pk).update(delivered_at=ago(1))  # shown, and to be edited once more
        assert client.get("/readyz").json()["on_time"] is True

    def test_a_missing_migration_makes_it_unready(self, client):
        ((app, name),) = MigrationLoader(connection).graph.leaf_nodes("providers")
        MigrationRecorder.Migration.objects.filter(app=app, name=name).delete()

        response = client.get("/readyz")

        assert response.status_code == 503
        assert (response.json()["database"], response.json()["migrated"]) == (True, False)

    def test_an_unreachable_database_makes_it_unready_and_reveals_no_address(self, client, monkeypatch):
        def fail(self):
            raise OperationalError("connection to server at 10.0.0.5 failed: password of user aibot")

        monkeypatch.setattr(MigrationRecorder, "applied_migrations", fail)

        response = client.get("/readyz")

        assert response.status_code == 503
        assert (response.json()["ready"], response.json()["database"]) == (False, False)
        assert "10.0.0.5" not in response.content.decode()

    def test_overdue_work_is_reported_but_leaves_it_ready(self, client):
        now = timezone.now()
        make_worker()
        make_request(created_at=now - timedelta(seconds=120))
        make_request(created_at=now - timedelta(seconds=999), lease_until=now + timedelta(seconds=10))  # claimed
        make_request(created_at=now - timedelta(seconds=999), next_at=now + timedelta(seconds=10))  # not due yet
        make_request(created_at=now - timedelta(seconds=999), status="FAILED")

        response = client.get("/readyz")

        assert response.status_code == 200
        assert response.json()["on_time"] is False
        assert 119 <= response.json()["oldest_due_seconds"] <= 130

    def test_a_crashed_workers_request_counts_from_the_end_of_its_lease(self, client):
        now = timezone.now()
        make_request(created_at=now - timedelta(seconds=999), lease_until=now - timedelta(seconds=10))

        assert 9 <= client.get("/readyz").json()["oldest_due_seconds"] <= 20


@pytest.mark.django_db
class TestTheVerboseReport:
    @pytest.fixture(autouse=True)
    def _asks_anew(self, monkeypatch):
        monkeypatch.setattr(health, "telegram_report", health.TelegramReport())

    @pytest.fixture
    def telegram(self, settings):
        server = FakeTelegram()
        settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL = TOKEN, server.url
        settings.TELEGRAM_WEBHOOK_URL = "https://bot.example/a-secret-path"
        yield server
        close_client()
        server.close()

    def test_it_says_what_telegram_sees_and_no_address(self, client, telegram):
        telegram.webhook = {"url": "https://bot.example/a-secret-path"}
        telegram.webhook_faults = {
            "pending_update_count": 7,
            "last_error_date": int(time.time()) - 5,
            "last_error_message": "Wrong response from the webhook: 301 Moved Permanently",
        }

        response = client.get("/readyz?verbose")

        report = response.json()["telegram"]
        assert (report["bot"], report["has_webhook"], report["as_set"]) == ("@test_bot", True, True)
        assert report["pending_updates"] == 7
        assert report["last_error"].endswith("301 Moved Permanently")
        assert "7 updates wait there" in report["problems"][0]
        assert "a-secret-path" not in response.content.decode()

    def test_telegram_is_asked_once_for_many(self, client, telegram, monkeypatch):
        monkeypatch.setattr(health, "TELEGRAM_CACHE_SECONDS", 10**9)
        for _ in range(5):
            client.get("/readyz?verbose")

        assert len(telegram.called("getWebhookInfo")) == 1

    def test_whoever_asks_while_telegram_is_asked_waits_for_nobody(self, client, telegram):
        hold = Hold()
        telegram.will("getMe", hold)
        first = threading.Thread(target=health.telegram_report.read)
        first.start()
        assert hold.arrived.wait(10)

        response = client.get("/readyz?verbose")

        assert "being asked" in response.json()["telegram"]["problems"][0]
        hold.go()
        first.join()
        assert client.get("/readyz?verbose").json()["telegram"]["bot"] == "@test_bot"
        assert len(telegram.called("getMe")) == 1

    def test_a_silent_telegram_is_a_problem_and_changes_nothing_else(self, client, telegram, monkeypatch):
        monkeypatch.setattr(health, "TELEGRAM_SECONDS", 0.2)
        telegram.will("getMe", not_reached)
        make_worker()

        response = client.get("/readyz?verbose")

        assert response.status_code == 200
        assert response.json()["telegram"]["problems"][0].startswith("Telegram did not say")

    def test_without_a_bot_there_is_none(self, client, settings):
        settings.TELEGRAM_BOT_TOKEN = ""

        assert client.get("/readyz?verbose").json()["telegram"] == {"bot": None}


class TestBroker:
    def test_the_embedded_broker_is_a_folder(self, settings, tmp_path):
        settings.REDIS_URL, settings.QUEUE_DIR = "", tmp_path

        assert health.broker_answers()

        settings.QUEUE_DIR = tmp_path / "gone"
        assert not health.broker_answers()

    @pytest.mark.django_db
    def test_an_unreachable_broker_is_reported_but_leaves_it_ready(self, client, settings):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        settings.REDIS_URL = f"redis://:secret-password@127.0.0.1:{port}/0"  # nobody listens there any more

        make_worker()

        response = client.get("/readyz")

        assert (response.status_code, response.json()["broker"]) == (200, False)
        assert "secret-password" not in response.content.decode()

    def test_a_hanging_broker_costs_less_than_a_second(self, settings):
        with socket.create_server(("127.0.0.1", 0)) as server:
            settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
            began = time.monotonic()

            assert not health.broker_answers()

            assert time.monotonic() - began < 1

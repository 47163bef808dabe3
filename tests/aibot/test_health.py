"""Liveness and readiness: what load balancers and process managers read."""

import socket
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from aibot import health
from tests.factories import make_request


class TestLiveness:
    @pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
    def test_it_queries_neither_database_nor_broker(self, client, path):
        # Without the database mark any query would fail the test.
        response = client.get(path)

        assert (response.status_code, response.json()) == (200, {"alive": True})
        assert "no-store" in response["cache-control"]

    def test_it_is_not_redirected_to_https(self, client, settings):
        settings.SECURE_SSL_REDIRECT = True

        for path in ("/healthz", "/healthz/"):
            assert client.get(path).status_code == 200


@pytest.mark.django_db
class TestReadiness:
    @pytest.mark.parametrize("path", ["/readyz", "/readyz/"])
    def test_a_migrated_database_is_enough(self, client, path):
        response = client.get(path)

        assert response.status_code == 200
        report = response.json()
        assert "wake-up messages" in report.pop("note")
        assert report.pop("broker") in (True, False)
        assert report == {
            "ready": True,
            "database": True,
            "migrated": True,
            "on_time": True,
            "oldest_due_seconds": 0.0,
        }

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

        response = client.get("/readyz")

        assert (response.status_code, response.json()["broker"]) == (200, False)
        assert "secret-password" not in response.content.decode()

    def test_a_hanging_broker_costs_less_than_a_second(self, settings):
        with socket.create_server(("127.0.0.1", 0)) as server:
            settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
            began = time.monotonic()

            assert not health.broker_answers()

            assert time.monotonic() - began < 1

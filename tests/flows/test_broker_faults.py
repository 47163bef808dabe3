"""The broker is latency: whatever becomes of Redis, requests are answered seconds late, and no worker ends."""

from collections.abc import Iterator

import pytest
import redis
from django.db import connection
from kombu import Connection

from aibot.celery import app
from providers.sandbox import Sandbox, running_sandbox
from requests_app.dispatch import TEXT
from requests_app.models import Request
from requests_app.services.intake import ADVANCE_TASK, request_accept
from tests.factories import make_account, make_model, make_provider
from tests.flows.processes import wait_until, worker
from tests.servers import Server, free_port, servers_folder, valkey

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="each has a Redis of its own; the run on PostgreSQL does"),
]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    with running_sandbox() as server:
        yield server


@pytest.fixture
def broker() -> Iterator[Server]:
    with servers_folder() as folder, valkey(folder) as server:
        yield server


def ask(key: str) -> Request:
    """Accept a request whose wake-up goes nowhere."""
    model, account = make_model(), make_account(credits=5)
    return request_accept(intake_key=key, account=account, model=model, text="Hello", wakes_worker=False)


def is_answered(request: Request) -> bool:
    return Request.objects.filter(id=request.id, status="COMPLETED").exists()


def wake_up(server: Server) -> None:
    """Leave messages for requests that do not exist."""
    with Connection(server.url) as to_broker:
        for _ in range(20):
            app.send_task(ADVANCE_TASK, ("req_unknown",), queue=TEXT, connection=to_broker)


def fill(server: Server) -> redis.Redis:
    """Leave Redis no memory for anything more."""
    client = redis.Redis.from_url(server.url)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError):
        client.set("any", "thing")
    return client


def test_without_redis_from_the_start_a_request_is_answered_and_sigterm_ends_the_worker(sandbox):
    request = ask("k")
    url = f"redis://127.0.0.1:{free_port()}/0"
    with worker(SANDBOX_URL=sandbox.url, REDIS_URL=url) as process:
        wait_until(lambda: is_answered(request), "the answer")
        process.terminate()

        assert process.wait(20) == 0


def test_when_redis_goes_and_comes_back_the_worker_goes_on(sandbox, broker):
    with worker(SANDBOX_URL=sandbox.url, REDIS_URL=broker.url) as process:
        wait_until(lambda: is_consuming(broker), "the worker consumes")
        broker.crash()
        during = ask("during")
        wait_until(lambda: is_answered(during), "the answer without Redis")
        broker.start()
        wait_until(lambda: is_consuming(broker), "the worker consumes again")
        redis.Redis.from_url(broker.url).flushall()
        after = ask("after")
        wait_until(lambda: is_answered(after), "the answer after Redis was emptied")

        assert process.poll() is None


@pytest.mark.parametrize("is_full_from_the_start", [True, False])
def test_a_full_redis_ends_no_worker(sandbox, broker, is_full_from_the_start):
    wake_up(broker)
    if is_full_from_the_start:
        fill(broker)
    with worker(SANDBOX_URL=sandbox.url, REDIS_URL=broker.url) as process:
        if not is_full_from_the_start:
            wait_until(lambda: is_consuming(broker), "the worker consumes")
            wake_up(broker)
            fill(broker)
        request = ask("k")
        wait_until(lambda: is_answered(request), "the answer")
        redis.Redis.from_url(broker.url).config_set("maxmemory", 0)
        wait_until(lambda: is_consuming(broker), "the worker consumes again")

        assert process.poll() is None


def is_consuming(server: Server) -> bool:
    clients = redis.Redis.from_url(server.url).client_list()
    return any(client["cmd"] == "brpop" for client in clients)


def test_messages_that_cannot_be_read_end_no_worker(sandbox, broker, tmp_path):
    client = redis.Redis.from_url(broker.url)
    client.lpush(TEXT, "no JSON", '{"body": 1}', "[]")
    log = tmp_path / "worker.log"
    with log.open("wb") as stderr, worker(stderr=stderr, SANDBOX_URL=sandbox.url, REDIS_URL=broker.url) as process:
        wait_until(lambda: not client.llen(TEXT), "the messages are taken")
        wait_until(lambda: is_consuming(broker), "the worker consumes")
        wake_up(broker)
        wait_until(lambda: not client.llen(TEXT), "the messages that follow are taken")

        assert process.poll() is None

"""A deploy: SIGTERM to every process while calls are under way. Nothing is bought twice, nobody waits for a lease."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.db import connection

from providers.models import Attempt
from providers.sandbox import running_sandbox
from requests_app.models import Request, WorkerHeartbeat
from telegram_bot.models import Delivery
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_model, make_provider
from tests.fakes.telegram import TOKEN
from tests.flows.processes import running, sweeper, wait_until, worker
from tests.servers import free_port
from tests.telegram_bot.updates import USER, message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="it is about production, which has PostgreSQL"),
]

CHATS = range(101, 111)
PAUSE_SECONDS = 0.3  # between the chunks of a stream, so that all calls overlap on a busy machine, too
CHAT_WORKER = ("-m", "celery", "-A", "aibot", "--quiet", "worker", "-Q", "chat", "-n", "chat@%h", "--loglevel=WARNING")


@contextmanager
def deployment(variables: dict[str, str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run every kind of process that production has."""
    with ExitStack() as stack:
        web = running("-m", "gunicorn", "aibot.wsgi", "--bind", f"127.0.0.1:{free_port()}", **variables)
        kinds = [web, worker(**variables), running(*CHAT_WORKER, **variables), sweeper(**variables)]
        yield [stack.enter_context(kind) for kind in kinds]


def test_sigterm_of_every_process_with_ten_calls_under_way_is_ten_answers_and_ten_payments(telegram):
    make_model()
    make_provider("aimlapi", priority=1, model="deepseek/deepseek-v4-flash")
    make_provider("piapi", priority=2, model="gpt-5.2")
    for chat_id in CHATS:
        telegram.chat(chat_id)
    with running_sandbox(pause_seconds=PAUSE_SECONDS) as sandbox:
        variables = {
            "SANDBOX_URL": sandbox.url,
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_BASE_URL": telegram.url,
            "WORKER_CONCURRENCY": "16",
        }
        with deployment(variables) as processes:
            wait_until(lambda: WorkerHeartbeat.objects.filter(kind="worker").count() == 2, "both workers")
            for chat_id in CHATS:
                prompt = message("Say hello", chat_id=chat_id)
                prompt["message"]["from"] = {**USER, "id": chat_id}
                update_ingest(prompt)
            wait_until(lambda: Attempt.objects.filter(state="SENDING").count() == len(CHATS), "ten calls under way")
            for process in processes:
                process.send_signal(signal.SIGTERM)
            assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
        assert not WorkerHeartbeat.objects.exists()
        assert set(Request.objects.values_list("status", flat=True)) == {"COMPLETED"}

        with deployment(variables):
            wait_until(lambda: not Delivery.objects.exclude(state="DELIVERED").exists(), "every answer is shown")
        billed = [line for line in sandbox.billing.as_list() if line["billed"]]

    assert len(billed) == Attempt.objects.count() == Request.objects.count() == len(CHATS)
    for chat_id in CHATS:
        (text,) = telegram.chat(chat_id).texts
        assert "You wrote: “Say hello”" in text

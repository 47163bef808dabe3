"""kill -9 at every commit and every outside call: the next worker finishes each request once and charges it once.

First all workers crash, each at its own point and for a chat of its own. Then time passes, one worker and a sweeper
start and finish everything, and the checker looks at the result.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from providers.chain.attempts import JOB_CANCELLED
from providers.models import Attempt
from providers.sandbox import Sandbox, running_sandbox
from requests_app.models import AIModel, Request
from telegram_bot import texts
from telegram_bot.models import Delivery, DeliveryState, TelegramUpdate
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_chat, make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.flows.processes import ROOT, environment, sweeper, wait_until, worker
from tests.proof.checker import check
from tests.proof.crash_clock import attempts_of, pass_time, requests_of
from tests.proof.crash_points import ALL, AUDIO, IMAGE, POINTS, TEXT, VIDEO, CrashPoint, Loss
from tests.proof.loading import load_facts
from tests.sandboxes import SHIPPED
from tests.telegram_bot.updates import USER, message

pytestmark = pytest.mark.django_db(transaction=True)

# In each category the first provider and, where there is one, the second.
CHAINS = {
    TEXT: ["aimlapi", "piapi"],
    IMAGE: ["replicate", "openai"],
    VIDEO: ["replicate"],
    AUDIO: ["elevenlabs", "replicate"],
}
TIMEOUT_SECONDS = {TEXT: 30, IMAGE: 180, VIDEO: 900, AUDIO: 60}
LEASES_EXPIRED_SECONDS = 61  # the longest lease is over
# A submission of unknown outcome is searched for as long as an image may take, and five minutes for a video.
SEARCH_SECONDS = {IMAGE: TIMEOUT_SECONDS[IMAGE] + 10, VIDEO: 310}


@dataclass(frozen=True)
class CrashCase:
    """One worker's crash."""

    point: CrashPoint
    category: str
    chat_id: int

    @property
    def name(self) -> str:
        return f"{self.category}: {self.point.name}"

    @property
    def prompt(self) -> str:
        """The prompt, different for each case, so that no job is taken for another one's."""
        return f"{self.point.name}, chat {self.chat_id}"

    @property
    def status(self) -> str:
        return "CANCELLED" if self.point.is_cancelled else "COMPLETED"

    @property
    def providers(self) -> list[str]:
        return CHAINS[self.category]

    @property
    def expected_attempts(self) -> list[tuple[str, str]]:
        """The attempts that the promise allows: a further one only beside one whose outcome is unknown."""
        first, second = self.providers[0], self.providers[-1]
        if self.point.is_down:
            return [(first, "FAILED"), (second, "OK")]
        if self.point.is_cancelled:
            return [(first, "ABANDONED")]
        is_found = self.point.loss is Loss.ANSWER and self.category not in (TEXT, AUDIO)  # again, at the provider
        if is_found or self.point.loss is Loss.NOTHING:
            return [(first, "OK")]
        lost = {IMAGE: "EXPIRED", VIDEO: "ABANDONED"}.get(self.category, "UNKNOWN")
        return [(first, lost), (second, "OK")]

    @property
    def billed(self) -> list[str]:
        """The providers that send a bill. A call that was never made is not billed, whatever its row says."""
        if self.point.is_cancelled:
            return []  # the job is cancelled there
        is_first_unused = self.point.is_down or self.point.loss is Loss.SUBMISSION
        return [provider for provider, _ in self.expected_attempts[is_first_unused:]]


class JobClock:
    """The sandbox's clock. While it is stopped, no job ever finishes."""

    def __init__(self) -> None:
        self._stopped_at: datetime | None = None

    @property
    def is_stopped(self) -> bool:
        return self._stopped_at is not None

    def stop(self) -> None:
        self._stopped_at = datetime.now(UTC)

    def resume(self) -> None:
        self._stopped_at = None

    def __call__(self) -> datetime:
        return self._stopped_at or datetime.now(UTC)


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    server = FakeTelegram()
    yield server
    server.close()


@pytest.fixture
def clock() -> JobClock:
    return JobClock()


@pytest.fixture
def sandbox(clock: JobClock) -> Iterator[Sandbox]:
    with running_sandbox(video_seconds=0.02, clock=clock) as server:
        yield server


@pytest.fixture
def cases() -> list[CrashCase]:
    """Every point in every category where it exists; on SQLite, where only the locking differs, text alone."""
    categories = ALL if connection.vendor == "postgresql" else (TEXT,)
    pairs = [(point, category) for point in POINTS for category in point.categories if category in categories]
    return [CrashCase(point, category, chat_id) for chat_id, (point, category) in enumerate(pairs, start=100)]


@pytest.fixture
def variables(telegram: FakeTelegram, sandbox: Sandbox, settings: Any) -> dict[str, str]:
    """The environment of the processes, which share the test's files."""
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}
    return {
        "SANDBOX_URL": sandbox.url,
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": telegram.url,
        "WELCOME_CREDITS": "100",
    }


def test_the_next_worker_finishes_each_request_once_and_charges_it_once(
    cases: list[CrashCase],
    variables: dict[str, str],
    telegram: FakeTelegram,
    sandbox: Sandbox,
    clock: JobClock,
    subtests: pytest.Subtests,
):
    exit_codes = crash_all(cases, variables, telegram, sandbox, clock)
    finish(cases, variables, clock)

    for case in cases:
        with subtests.test(case.name):
            attempts = attempts_of(case.chat_id).order_by("number")
            assert exit_codes[case.chat_id] == -9, "the worker did not reach its crash point"
            assert list(attempts.values_list("provider", "state")) == case.expected_attempts
            assert [request.status for request in requests_of(case.chat_id)] == [case.status]
            strays = telegram.chat(case.chat_id).texts.count(texts.PLACEHOLDER)
            assert strays == case.point.strays
    bill = sandbox.billing.as_list()
    billed = [line["provider"] for line in bill if line["billed"]]
    assert Counter(billed) == Counter(provider for case in cases for provider in case.billed)
    facts = load_facts(
        bill=bill,
        telegram=telegram,
        excused_placeholders=sum(case.point.strays for case in cases),
        excused_uploads=len(cases),  # each has had one worker killed, perhaps before it learned of its upload
    )
    assert not check(facts)


def crash_all(
    cases: list[CrashCase], variables: Mapping[str, str], telegram: FakeTelegram, sandbox: Sandbox, clock: JobClock
) -> dict[int, int]:
    """Crash one worker per case, and return their exit codes by chat. Afterwards their leases have expired."""
    models = make_chains()
    exit_codes = {}
    with crashing_workers(variables) as process:
        # The cancelled ones come last: from then on no job may finish.
        for case in sorted(cases, key=lambda case: case.point.is_cancelled):
            if case.point.is_cancelled and not clock.is_stopped:
                clock.stop()
            telegram.chat(case.chat_id)
            make_chat(case.chat_id, type="private", model=models[case.category])
            updates = updates_of(case)
            if case.point.is_down:
                sandbox.break_provider(case.providers[0], "down")
            exit_codes[case.chat_id] = run_until_crash(process, case.point, updates)
            sandbox.heal()
            search_seconds = SEARCH_SECONDS.get(case.category, 0) if case.point.loss is Loss.SUBMISSION else 0
            pass_time(case.chat_id, seconds=max(search_seconds, LEASES_EXPIRED_SECONDS))
            if not case.point.is_acknowledged:
                update_ingest(updates[0])
    return exit_codes


def finish(cases: list[CrashCase], variables: Mapping[str, str], clock: JobClock) -> None:
    """Run one worker and a sweeper until nothing is left to do."""
    cancelled = [case.chat_id for case in cases if case.point.is_cancelled]
    with worker(**variables), sweeper(**variables):
        wait_until(lambda: not unfinished(cancelled), "the end of the cancelled requests")
        to_cancel = Attempt.objects.filter(state="ABANDONED").exclude(job_id="").exclude(error_class=JOB_CANCELLED)
        wait_until(lambda: not to_cancel.exists(), "the cancellation of every abandoned job")
        clock.resume()
        wait_until(lambda: not unfinished([case.chat_id for case in cases]), "the end of all requests")


def make_chains() -> dict[str, AIModel]:
    """Make every chain and return an AI model for each: an earlier test may have emptied the tables."""
    for category, chain in CHAINS.items():
        for priority, provider in enumerate(chain, start=1):
            make_provider(
                provider,
                category=category,
                priority=priority,
                model=SHIPPED[category, provider],
                timeout_seconds=TIMEOUT_SECONDS[category],
            )
    return {category: make_model(category=category, token_cost=5) for category in CHAINS}


@contextmanager
def crashing_workers(variables: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.proof.crashing"],
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def run_until_crash(process: "subprocess.Popen[str]", point: CrashPoint, updates: list[dict[str, Any]]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"point": point.name, "updates": updates}) + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def updates_of(case: CrashCase) -> list[dict[str, Any]]:
    """Return the prompt's update and, where the point says so, that of /cancel."""
    sender = {**USER, "id": case.chat_id}
    texts_sent = [case.prompt] + ["/cancel"] * case.point.is_cancelled
    return [message(text, chat_id=case.chat_id, **{"from": sender}) for text in texts_sent]


def unfinished(chat_ids: list[int]) -> int:
    """Count what is still to be done in these chats, and make it due.

    So nobody waits for the pauses between two polls, nor until the edits of crashed workers cannot arrive any more.
    """
    requests = Request.objects.filter(user__telegram_user__telegram_id__in=chat_ids, status__in=Request.OPEN)
    requests.filter(lease_until=None).update(next_at=None)
    updates = TelegramUpdate.objects.filter(chat__telegram_id__in=chat_ids, handled_at=None)
    deliveries = Delivery.objects.filter(chat__telegram_id__in=chat_ids, state__in=Delivery.UNFINISHED)
    deliveries.filter(state=DeliveryState.PENDING, next_at__isnull=False).update(next_at=Now())
    return requests.count() + updates.count() + deliveries.count()

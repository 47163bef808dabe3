"""kill -9 at every commit and every outside call: whoever comes next finishes the job, once, and charges it once.

All workers die first, each at its own point and for a chat of its own. Then time passes, one sound worker and a
sweeper start, and what they leave behind is judged.
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
from telegram_bot.models import Delivery, TelegramChat, TelegramUpdate
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.flows.processes import ROOT, environment, sweeper, wait_until, worker
from tests.proof.checker import check
from tests.proof.crash_clock import attempts_of, pass_time, requests_of
from tests.proof.crash_points import ALL, AUDIO, IMAGE, POINTS, TEXT, VIDEO, Loss, Point
from tests.proof.loading import load_facts
from tests.telegram_bot.updates import USER, message

pytestmark = pytest.mark.django_db(transaction=True)

# In each category the first vendor and, where there is one, the second, with their models.
CHAINS = {
    TEXT: [("aimlapi", "deepseek/deepseek-v4-flash"), ("piapi", "gpt-5.2")],
    IMAGE: [("replicate", "black-forest-labs/flux-schnell"), ("openai", "gpt-image-2.6-flare")],
    VIDEO: [("replicate", "kwaivgi/kling-v3-video")],
    AUDIO: [("elevenlabs", "eleven_v4_turbo"), ("replicate", "minimax/speech-2.6-turbo")],
}
TIMEOUT_SECONDS = {TEXT: 30, IMAGE: 90, VIDEO: 900, AUDIO: 60}
DEAD_SECONDS = 61  # until every lease has run out
# An order that was perhaps never made is looked for as long as a picture may take, and for a film five minutes.
SEARCHED_SECONDS = {IMAGE: TIMEOUT_SECONDS[IMAGE] + 10, VIDEO: 310}


@dataclass(frozen=True)
class Case:
    """One worker's death."""

    point: Point
    category: str
    chat_id: int

    @property
    def name(self) -> str:
        return f"{self.category}: {self.point.name}"

    @property
    def words(self) -> str:
        """The prompt. No two are alike, so that nobody takes one film for another."""
        return f"{self.point.name}, chat {self.chat_id}"

    @property
    def status(self) -> str:
        return "CANCELLED" if self.point.is_cancelled else "COMPLETED"

    @property
    def vendors(self) -> list[str]:
        return [provider for provider, _ in CHAINS[self.category]]

    @property
    def trail(self) -> list[tuple[str, str]]:
        """The attempts that the promise allows: a further one only beside one whose outcome is unknown."""
        first, second = self.vendors[0], self.vendors[-1]
        if self.point.is_down:
            return [(first, "FAILED"), (second, "OK")]
        if self.point.is_cancelled:
            return [(first, "ABANDONED")]
        is_lost = self.point.loss is Loss.ORDER or (self.point.loss is Loss.ANSWER and self.category in (TEXT, AUDIO))
        if not is_lost:  # or it was found again at the vendor
            return [(first, "OK")]
        return [(first, "EXPIRED" if self.category == IMAGE else "UNKNOWN"), (second, "OK")]

    @property
    def billed(self) -> list[str]:
        """The vendors that have worked. An order that was never made is not billed, whatever its row says."""
        if self.point.is_cancelled:
            return []  # for it was told to stop
        is_first_idle = self.point.is_down or self.point.loss is Loss.ORDER
        return [provider for provider, _ in self.trail[is_first_idle:]]


class FilmClock:
    """The vendors' clock. While it stands still, no film is ever done."""

    def __init__(self) -> None:
        self._stopped_at: datetime | None = None

    @property
    def is_stopped(self) -> bool:
        return self._stopped_at is not None

    def stop(self) -> None:
        self._stopped_at = datetime.now(UTC)

    def go_on(self) -> None:
        self._stopped_at = None

    def __call__(self) -> datetime:
        return self._stopped_at or datetime.now(UTC)


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    server = FakeTelegram()
    yield server
    server.close()


@pytest.fixture
def clock() -> FilmClock:
    return FilmClock()


@pytest.fixture
def sandbox(clock: FilmClock) -> Iterator[Sandbox]:
    with running_sandbox(film_seconds=0.02, clock=clock) as server:
        yield server


@pytest.fixture
def cases() -> list[Case]:
    """Every point in every category where it exists; on SQLite, where nothing of this differs, the texts alone."""
    categories = ALL if connection.vendor == "postgresql" else (TEXT,)
    pairs = [(point, category) for point in POINTS for category in point.categories if category in categories]
    return [Case(point, category, chat_id) for chat_id, (point, category) in enumerate(pairs, start=100)]


@pytest.fixture
def variables(telegram: FakeTelegram, sandbox: Sandbox, settings: Any) -> dict[str, str]:
    """What the processes need. Their files are the test's too."""
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}
    return {
        "SANDBOX_URL": sandbox.url,
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": telegram.url,
        "WELCOME_CREDITS": "100",
    }


def test_whoever_comes_next_finishes_the_job_once_and_charges_it_once(
    cases: list[Case],
    variables: dict[str, str],
    telegram: FakeTelegram,
    sandbox: Sandbox,
    clock: FilmClock,
    subtests: pytest.Subtests,
):
    deaths = crash(cases, variables, telegram, sandbox, clock)
    heal(cases, variables, clock)

    for case in cases:
        with subtests.test(case.name):
            attempts = attempts_of(case.chat_id).order_by("number")
            assert deaths[case.chat_id] == -9, "the worker did not reach its point"
            assert list(attempts.values_list("provider", "state")) == case.trail
            assert [request.status for request in requests_of(case.chat_id)] == [case.status]
            strays = telegram.chat(case.chat_id).texts.count(texts.PLACEHOLDER)
            assert strays == case.point.strays
    bill = sandbox.bill.as_list()
    billed = [line["provider"] for line in bill if line["billed"]]
    assert Counter(billed) == Counter(provider for case in cases for provider in case.billed)
    assert not check(
        load_facts(bill=bill, telegram=telegram, excused_placeholders=sum(case.point.strays for case in cases))
    )


def crash(
    cases: list[Case], variables: Mapping[str, str], telegram: FakeTelegram, sandbox: Sandbox, clock: FilmClock
) -> dict[int, int]:
    """Let a worker die for each case; return, by chat, how it ended. Afterwards its leases have run out."""
    labels = make_chains()
    deaths = {}
    with dying_workers(variables) as victims:
        # What is to be cancelled comes last, and must not be done before.
        for case in sorted(cases, key=lambda case: case.point.is_cancelled):
            if case.point.is_cancelled and not clock.is_stopped:
                clock.stop()
            telegram.chat(case.chat_id)
            TelegramChat.objects.create(chat_id=case.chat_id, type="private", model=labels[case.category])
            updates = updates_of(case)
            if case.point.is_down:
                sandbox.break_provider(case.vendors[0], "down")
            deaths[case.chat_id] = die(victims, case.point, updates)
            sandbox.heal()
            searched = SEARCHED_SECONDS.get(case.category, 0) if case.point.loss is Loss.ORDER else 0
            pass_time(case.chat_id, seconds=max(searched, DEAD_SECONDS))
            if not case.point.is_acknowledged:
                update_ingest(updates[0])
    return deaths


def heal(cases: list[Case], variables: Mapping[str, str], clock: FilmClock) -> None:
    """Let one sound worker and a sweeper work until nothing is left to do."""
    cancelled = [case.chat_id for case in cases if case.point.is_cancelled]
    with worker(**variables), sweeper(**variables):
        wait_until(lambda: not unfinished(cancelled), "the end of what was cancelled")
        abandoned = Attempt.objects.filter(state="ABANDONED").exclude(error_class=JOB_CANCELLED)
        wait_until(lambda: not abandoned.exists(), "the vendor to know")
        clock.go_on()
        wait_until(lambda: not unfinished([case.chat_id for case in cases]), "the end of everything")


def make_chains() -> dict[str, AIModel]:
    """Make every chain and return a label for each: an earlier test may have emptied the tables."""
    for category, chain in CHAINS.items():
        for priority, (provider, model) in enumerate(chain, start=1):
            make_provider(
                provider,
                category=category,
                priority=priority,
                model=model,
                timeout_seconds=TIMEOUT_SECONDS[category],
            )
    return {category: make_model(category=category, token_cost=5) for category in CHAINS}


@contextmanager
def dying_workers(variables: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
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


def die(victims: "subprocess.Popen[str]", point: Point, updates: list[dict[str, Any]]) -> int:
    assert victims.stdin is not None
    assert victims.stdout is not None
    victims.stdin.write(json.dumps({"point": point.name, "updates": updates}) + "\n")
    victims.stdin.flush()
    return int(victims.stdout.readline())


def updates_of(case: Case) -> list[dict[str, Any]]:
    """The prompt and, where it is to be cancelled, the command for that."""
    sender = {**USER, "id": case.chat_id}
    words = [case.words] + ["/cancel"] * case.point.is_cancelled
    return [message(text, chat_id=case.chat_id, **{"from": sender}) for text in words]


def unfinished(chat_ids: list[int]) -> int:
    """Count what is still to be done in these chats.

    Nobody waits for the pauses between two looks at a job, nor until the frames of the dead count as settled.
    """
    requests = Request.objects.filter(user__telegram_user__user_id__in=chat_ids, status__in=Request.OPEN)
    requests.filter(lease_until=None).update(next_at=None)
    updates = TelegramUpdate.objects.filter(chat_id__in=chat_ids, handled_at=None)
    deliveries = Delivery.objects.filter(chat_id__in=chat_ids, state__in=Delivery.UNFINISHED)
    deliveries.filter(state=Delivery.State.PENDING, next_at__isnull=False).update(next_at=Now())
    return requests.count() + updates.count() + deliveries.count()

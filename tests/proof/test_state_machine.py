"""Whatever happens in whatever order: Hypothesis plays users, workers, vendors, Telegram, the operator and time.

The rules start the product's own tasks and decide about their outside calls, see crash_world.py; no rule writes a row
that the product would write. PROOF_EXAMPLES=1000 plays that many games, each of them new.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

import pytest
from django.conf import settings as project
from django.db import connection
from django.db.models import F
from django.utils.module_loading import import_string
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from aibot.celery import app
from providers.models import Attempt, AttemptRollup, ProviderHealth
from providers.types import Access
from requests_app.delivery_backend import get_delivery_backend
from requests_app.models import Account, AIModel, LedgerEntry, Request, RequestEvent
from requests_app.services.accounts import account_top_up
from requests_app.services.cancellation import request_cancel, request_resume
from requests_app.services.leases import LeaseKeeper, keeper
from telegram_bot.api import client as client_module
from telegram_bot.models import Delivery, TelegramChat, TelegramThread, TelegramUpdate, TelegramUser
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.proof.checker import (
    Case,
    balances_add_up,
    captures_have_results,
    check,
    moves_are_allowed,
    requests_are_settled_once,
    second_payments_are_explained,
)
from tests.proof.crash_clock import pass_time
from tests.proof.crash_world import COMMIT, Client, Fate, Worker, World
from tests.proof.facts import Facts
from tests.proof.loading import load_facts
from tests.telegram_bot.updates import USER, message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite", reason="a worker that stops holding SQLite's only lock stops all"
    ),
]

CHAINS = {"TEXT": ["aimlapi", "piapi"], "IMAGE": ["openai", "xai"], "VIDEO": ["replicate"]}
CHATS = dict(zip(CHAINS, (42, 43, 44), strict=True))
ROWS = (  # of one game, in the order in which they can be deleted
    Delivery, TelegramThread, TelegramChat, TelegramUser, TelegramUpdate,
    LedgerEntry, RequestEvent, Request, Account, Attempt, AttemptRollup, ProviderHealth,
)  # fmt: skip
MAX_WORKERS = 4
MAX_DEAD = 8  # in one game; each may hold a connection to the end of it
MAX_ROUNDS = 60  # of the end of a game, before it counts as one that never comes to rest

# What the promise says of every moment, and not only of the end.
AT_ANY_MOMENT = (
    balances_add_up,
    requests_are_settled_once,
    captures_have_results,
    second_payments_are_explained,
    moves_are_allowed,
)
EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "0"))
PROFILE = settings(
    max_examples=EXAMPLES or 50,
    stateful_step_count=20,
    derandomize=not EXAMPLES,  # the usual run plays the same games each time
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking takes minutes, which the usual run does not have.
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    report_multiple_bugs=False,
    print_blob=False,
)

some = st.integers(0, 50)  # which one of however many there are
fates = st.sampled_from([*[Fate.DONE] * 4, *Fate])
prompts = st.tuples(st.sampled_from(list(CHAINS)), st.integers(1, 2))  # some ask in the same words


class Deed(StrEnum):
    """What a worker or a bell may do."""

    GOES_ON = "goes on, or hears a bell"
    DIES = "dies"
    BELL_LOST = "bell is lost"
    BELL_DOUBLED = "bell enqueued_now twice"


class Move(NamedTuple):
    """One deed."""

    deed: Deed
    which: int
    fate: Fate  # of the outside call at which the worker has stopped
    is_short: bool  # the worker stops at the next commit, and not only at the next outside call


deeds = st.sampled_from([*[Deed.GOES_ON] * 6, Deed.DIES, *Deed])
moves = st.builds(Move, deeds, some, fates, st.sampled_from([False, False, True]))


class Game(RuleBasedStateMachine):
    """One game. The rules are what may happen at any moment."""

    telegram: ClassVar[FakeTelegram]
    enqueued_now: ClassVar[list[tuple[str, str | int]]]

    def __init__(self) -> None:
        super().__init__()
        for rows in ROWS:
            rows.objects.all()._raw_delete("default")
        self.enqueued_now.clear()
        self.telegram._chats.clear()
        self.world = World(self.telegram)
        self.world_takes_its_place()
        self.workers: list[Worker] = []
        self.dead: list[Worker] = []
        self.updates: list[dict[str, Any]] = []
        for category, chat_id in CHATS.items():
            self.telegram.chat(chat_id)
            label = AIModel.objects.get(slug=f"proof-{category.lower()}")
            TelegramChat.objects.create(chat_id=chat_id, type="private", model=label)

    def world_takes_its_place(self) -> None:
        """Let the product meet this game's world and no other."""
        key = (os.getpid(), project.TELEGRAM_BOT_TOKEN, project.TELEGRAM_API_BASE_URL)
        client_module._client = key, Client(self.world)  # type: ignore[assignment]
        Game.provider_class = self.world.provider_class  # type: ignore[method-assign, assignment]

    provider_class: ClassVar[Any] = None

    # --- Users and the operator ---

    @initialize(prompts=st.lists(prompts, min_size=2, max_size=5))
    def people_ask(self, prompts: list[tuple[str, int]]) -> None:
        for category, number in prompts:
            self.write(category, f"Show me cat {number}")

    @rule(prompt=prompts, is_cancelled=st.booleans())
    def somebody_writes(self, prompt: tuple[str, int], is_cancelled: bool) -> None:
        self.write(prompt[0], "/cancel" if is_cancelled else f"Show me cat {prompt[1]}")

    @rule(which=some, payment=st.integers(1, 2))
    def telegram_repeats_an_update_and_a_payment(self, which: int, payment: int) -> None:
        update_ingest(self.updates[which % len(self.updates)])
        for account in Account.objects.all():
            account_top_up(account_id=account.pk, amount=7, actor="shop", external_ref=f"{account.pk}-{payment}")

    @rule(which=some, is_resumed=st.booleans())
    def operator_decides(self, which: int, is_resumed: bool) -> None:
        ids = list(Request.objects.order_by("id").values_list("id", flat=True))
        for request_id in ids[which % len(ids) :][:1] if ids else ():
            (request_resume if is_resumed else request_cancel)(request_id=request_id, actor="operator")

    def write(self, category: str, text: str) -> None:
        chat_id = CHATS[category]
        update = message(text, chat_id=chat_id, **{"from": {**USER, "id": chat_id}})
        update_ingest(update)
        self.updates.append(update)

    # --- Workers and what they meet outside ---

    @rule(moves=st.lists(moves, min_size=8, max_size=40))
    def work_goes_on(self, moves: list[Move]) -> None:
        for move in moves:
            self.make(move)

    def make(self, move: Move) -> None:
        if move.deed is Deed.GOES_ON:
            self.step(move)
        elif move.deed is Deed.DIES:
            if self.workers and len(self.dead) < MAX_DEAD:
                self.die(self.workers.pop(move.which % len(self.workers)), is_carried_out=move.fate.is_carried_out)
        elif self.enqueued_now:
            enqueue = self.enqueued_now.pop(move.which % len(self.enqueued_now))
            self.enqueued_now += [enqueue] * 2 * (move.deed is Deed.BELL_DOUBLED)

    def step(self, move: Move) -> None:
        """Let a worker hear a bell, or one that has stopped go on."""
        bells = self.enqueued_now if len(self.workers) < MAX_WORKERS else []
        if not bells and not self.workers:
            return
        index = move.which % (len(bells) + len(self.workers))
        if index < len(bells):
            worker = Worker(*bells.pop(index))
        else:
            worker = self.workers.pop(index - len(bells))
            worker.resume(Fate.DONE if worker.call is COMMIT else move.fate)
        while worker.call is COMMIT and not move.is_short:
            worker.resume(Fate.DONE)
        if worker.call:
            self.workers.append(worker)
        assert worker.error is None, f"{worker.name} raised {worker.error!r}"

    def die(self, worker: Worker, *, is_carried_out: bool) -> None:
        assert worker.call
        self.dead.append(worker)
        if is_carried_out:
            worker.call.carry_out()
        self.world.strays += worker.call.leaves_stray(is_carried_out)

    # --- Time, the sweeper and the vendors ---

    @rule(seconds=st.sampled_from([0, 0, 3, 6, 16, 61, 310]), is_swept=st.booleans(), is_renewed=st.booleans())
    def time_goes_on(self, seconds: int, is_swept: bool, is_renewed: bool) -> None:
        """Calls that take so long lose their lease, and their workers do not know it."""
        for chat_id in CHATS.values():
            pass_time(chat_id, seconds=seconds)
        Request.objects.update(deadline_at=F("deadline_at") - timedelta(seconds=seconds))
        if is_renewed:
            keeper.renew()
        if is_swept:
            for path in project.SWEEPS:
                import_string(path)()
        self.judge_this_moment()

    @rule(which=some, state=st.sampled_from(["done", "done", "failed"]))
    def job_ends(self, which: int, state: str) -> None:
        running = [job_id for job_id, job in self.world.jobs.items() if job["state"] == "running"]
        for job_id in running[which % len(running) :][:1] if running else ():
            self.world.end_job(job_id, state)

    # --- What must be so at any moment ---

    def judge_this_moment(self) -> None:
        case = Case(self.facts())
        assert not [violation for look in AT_ANY_MOMENT for violation in look(case)]

    def facts(self) -> Facts:
        return load_facts(
            bill=self.world.bill,
            telegram=self.telegram,
            acknowledged={update["update_id"] for update in self.updates},
            excused_placeholders=self.world.strays,
        )

    # --- The end ---

    def teardown(self) -> None:
        """Let everything come to rest, with whoever is still alive and no more faults; then judge."""
        try:
            for _ in range(MAX_ROUNDS):
                self.work_it_off()
                if not self.unfinished():
                    break
                self.time_goes_on(seconds=17, is_swept=True, is_renewed=False)
            assert not self.unfinished(), "it never comes to rest"
            assert not check(self.facts())
        finally:
            for worker in (*self.workers, *self.dead):
                worker.resume(None)

    def work_it_off(self) -> None:
        for job_id in self.world.jobs:
            self.world.end_job(job_id, "done")
        for request_id in Request.objects.filter(status="QUARANTINED").values_list("id", flat=True):
            request_cancel(request_id=request_id, actor="operator")
        while self.workers or self.enqueued_now:
            self.step(Move(Deed.GOES_ON, which=-1, fate=Fate.DONE, is_short=False))

    def unfinished(self) -> list[str]:
        rows = (
            Request.objects.filter(status__in=(*Request.OPEN, "QUARANTINED")),
            Attempt.objects.filter(finished_at=None),
            TelegramUpdate.objects.filter(handled_at=None),
            Delivery.objects.filter(state__in=Delivery.UNFINISHED),
        )
        return [str(row) for found in rows for row in found]


@pytest.fixture
def _table(settings: Any, monkeypatch: pytest.MonkeyPatch, enqueued: list[tuple[str, str | int]]) -> Iterator[None]:
    """What all games have in common."""
    telegram = FakeTelegram()
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL = TOKEN, telegram.url
    settings.PROVIDER_ACCESS = {slug: Access("key", "") for chain in CHAINS.values() for slug in chain}
    settings.WELCOME_CREDITS, settings.LEASE_SECONDS = 12, 15
    monkeypatch.setattr("providers.chain.candidates.provider_class", lambda *names: Game.provider_class(*names))
    monkeypatch.setattr(LeaseKeeper, "_run", lambda self: None)  # renewed by a rule instead
    get_delivery_backend.cache_clear()
    app.loader.import_default_modules()
    for category, chain in CHAINS.items():
        for priority, provider in enumerate(chain, start=1):
            make_provider(provider, category=category, priority=priority, timeout_seconds=900)
        make_model(name=f"Proof {category}", slug=f"proof-{category.lower()}", category=category, token_cost=5)
    Game.telegram, Game.enqueued_now = telegram, enqueued
    yield
    client_module._client = None
    telegram.close()


@pytest.mark.usefixtures("_table")
def test_no_order_of_events_breaks_the_promise():
    run_state_machine_as_test(Game, settings=PROFILE)  # type: ignore[no-untyped-call]

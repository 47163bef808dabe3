"""Whatever happens in whatever order: Hypothesis drives users, workers, providers, Telegram, the operator and time.

The rules start the product's own tasks and decide the outcomes of their outside calls, see crash_world.py; no rule
writes a row that the product would write. PROOF_EXAMPLES=1000 runs that many examples, each of them new.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, cast

import pytest
from django.conf import settings as project
from django.db import connection
from django.db.models import F
from django.utils.module_loading import import_string
from django.utils.text import slugify
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from aibot.celery import app
from providers.models import Attempt, AttemptDayRollup, AttemptHistogram, AttemptRollup, ProviderHealth
from providers.types import Access
from requests_app.delivery_backend import get_delivery_backend
from requests_app.due_work import NO_GRACE, due_work
from requests_app.models import (
    Account,
    AccountMonthRollup,
    AccountRollup,
    AIModel,
    LedgerEntry,
    Request,
    RequestEvent,
    RequestHistogram,
    RequestRollup,
)
from requests_app.services.accounts import account_top_up
from requests_app.services.cancellation import request_cancel, request_resume
from requests_app.services.leases import LeaseKeeper, keeper
from telegram_bot.api.client import TelegramClient, close_client, set_client
from telegram_bot.models import Delivery, TelegramChat, TelegramThread, TelegramUpdate, TelegramUser
from telegram_bot.updates.ingest import update_ingest
from tests.factories import make_chat, make_model, make_provider
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.proof.checker import (
    Evidence,
    balances_add_up,
    captures_have_results,
    check,
    requests_are_settled_once,
    second_payments_are_explained,
    transitions_are_allowed,
)
from tests.proof.crash_clock import pass_time
from tests.proof.crash_world import COMMIT, CallOutcome, FakeTelegramClient, Worker, World
from tests.proof.facts import Facts
from tests.proof.loading import load_facts
from tests.telegram_bot.updates import USER, message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite", reason="a worker that stops while it holds SQLite's only lock stops all"
    ),
]

CHAINS = {"TEXT": ["aimlapi", "piapi"], "IMAGE": ["openai", "xai"], "VIDEO": ["replicate"]}
CHATS = dict(zip(CHAINS, (42, 43, 44), strict=True))
TABLES = (  # of one example, in the order in which their rows can be deleted
    Delivery, TelegramUpdate, TelegramThread, TelegramChat, TelegramUser,
    AccountMonthRollup, AccountRollup, RequestRollup, RequestHistogram, LedgerEntry, RequestEvent, Request, Account,
    Attempt, AttemptRollup, AttemptDayRollup, AttemptHistogram, ProviderHealth,
)  # fmt: skip
MAX_WORKERS = 4
MAX_CRASHED = 8  # workers in one example; each may hold a connection until its end
MAX_ROUNDS = 60  # at the end of an example, before its work counts as never finished

# The rules of the promise that hold at every moment, and not only at the end.
ALWAYS = (
    balances_add_up,
    requests_are_settled_once,
    captures_have_results,
    second_payments_are_explained,
    transitions_are_allowed,
)
EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "0"))
PROFILE = settings(
    max_examples=EXAMPLES or 50,
    stateful_step_count=20,
    derandomize=not EXAMPLES,  # the usual run repeats the same examples each time
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking takes minutes, which the usual run does not have.
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    report_multiple_bugs=False,
    print_blob=False,
)

index = st.integers(0, 50)  # of one among however many there are
outcomes = st.sampled_from([*[CallOutcome.DONE] * 4, *CallOutcome])
prompts = st.tuples(st.sampled_from(list(CHAINS)), st.integers(1, 2))  # some share their text


class Action(StrEnum):
    """What may happen to a worker or to a wake-up message."""

    ADVANCE = "a stopped worker continues, or a wake-up message starts one"
    CRASH = "a worker crashes"
    LOSE_WAKE_UP = "a wake-up message is lost"
    DOUBLE_WAKE_UP = "a wake-up message is delivered twice"


class ActionPlan(NamedTuple):
    """One action and what it needs to know."""

    action: Action
    which: int
    outcome: CallOutcome  # of the outside call at which the worker has stopped
    is_short: bool  # the worker stops at the next commit, and not only at the next outside call


actions = st.sampled_from([*[Action.ADVANCE] * 6, Action.CRASH, *Action])
plans = st.builds(ActionPlan, actions, index, outcomes, st.sampled_from([False, False, True]))


class PromiseMachine(RuleBasedStateMachine):
    """One example. The rules are what may happen at any moment."""

    telegram: ClassVar[FakeTelegram]
    enqueued: ClassVar[list[tuple[str, str | int]]]  # wake-up messages on their way
    world_now: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        delete_all_rows()
        self.enqueued.clear()
        self.telegram.forget_chats()
        self.world = PromiseMachine.world_now = World(self.telegram)
        set_client(cast(TelegramClient, FakeTelegramClient(self.world)))
        self.workers: list[Worker] = []
        self.crashed: list[Worker] = []
        self.updates: list[dict[str, Any]] = []
        for category, chat_id in CHATS.items():
            self.telegram.chat(chat_id)
            model = AIModel.objects.get(slug=f"proof-{category.lower()}")
            make_chat(chat_id, type="private", model=model)

    # --- Users and the operator ---

    @initialize(prompts=st.lists(prompts, min_size=2, max_size=5))
    def users_send_prompts(self, prompts: list[tuple[str, int]]) -> None:
        for category, number in prompts:
            self.send(category, f"Show me cat {number}")

    @rule(prompt=prompts, is_cancelled=st.booleans())
    def a_user_writes(self, prompt: tuple[str, int], is_cancelled: bool) -> None:
        self.send(prompt[0], "/cancel" if is_cancelled else f"Show me cat {prompt[1]}")

    @rule(which=index, payment=st.integers(1, 2))
    def telegram_repeats_an_update_and_a_payment(self, which: int, payment: int) -> None:
        update_ingest(self.updates[which % len(self.updates)])
        for account in Account.objects.all():
            account_top_up(account_id=account.pk, amount=7, actor="shop", external_ref=f"{account.pk}-{payment}")

    @rule(which=index, is_resumed=st.booleans())
    def the_operator_decides(self, which: int, is_resumed: bool) -> None:
        ids = list(Request.objects.order_by("id").values_list("id", flat=True))
        for request_id in ids[which % len(ids) :][:1] if ids else ():
            (request_resume if is_resumed else request_cancel)(request_id=request_id, actor="operator")

    def send(self, category: str, text: str) -> None:
        chat_id = CHATS[category]
        update = message(text, chat_id=chat_id, **{"from": {**USER, "id": chat_id}})
        update_ingest(update)
        self.updates.append(update)

    # --- Workers and their outside calls ---

    @rule(plans=st.lists(plans, min_size=8, max_size=40))
    def workers_act(self, plans: list[ActionPlan]) -> None:
        for plan in plans:
            self.act(plan)

    def act(self, plan: ActionPlan) -> None:
        if plan.action is Action.ADVANCE:
            self.advance(plan)
        elif plan.action is Action.CRASH:
            if self.workers and len(self.crashed) < MAX_CRASHED:
                worker = self.workers.pop(plan.which % len(self.workers))
                self.crash(worker, is_executed=plan.outcome.is_executed)
        elif self.enqueued:
            wake_up = self.enqueued.pop(plan.which % len(self.enqueued))
            self.enqueued += [wake_up] * 2 * (plan.action is Action.DOUBLE_WAKE_UP)

    def advance(self, plan: ActionPlan) -> None:
        """Start a worker for a wake-up message, or continue one that has stopped."""
        wake_ups = self.enqueued if len(self.workers) < MAX_WORKERS else []
        if not wake_ups and not self.workers:
            return
        position = plan.which % (len(wake_ups) + len(self.workers))
        if position < len(wake_ups):
            worker = Worker(*wake_ups.pop(position))
        else:
            worker = self.workers.pop(position - len(wake_ups))
            worker.resume(CallOutcome.DONE if worker.call is COMMIT else plan.outcome)
        while worker.call is COMMIT and not plan.is_short:
            worker.resume(CallOutcome.DONE)
        if worker.call:
            self.workers.append(worker)
        assert worker.error is None, f"{worker.name} raised {worker.error!r}"

    def crash(self, worker: Worker, *, is_executed: bool) -> None:
        assert worker.call
        self.crashed.append(worker)
        if is_executed:
            worker.call.execute()
        self.world.stray_placeholders += worker.call.leaves_stray(is_executed)

    # --- Time, the sweeper and the providers ---

    @rule(seconds=st.sampled_from([0, 0, 3, 6, 16, 61, 310]), is_swept=st.booleans(), is_renewed=st.booleans())
    def time_passes(self, seconds: int, is_swept: bool, is_renewed: bool) -> None:
        """Calls that take so long lose their lease, and their workers do not know it."""
        for chat_id in CHATS.values():
            pass_time(chat_id, seconds=seconds)
        Request.objects.update(deadline_at=F("deadline_at") - timedelta(seconds=seconds))
        if is_renewed:
            keeper.renew()
        if is_swept:
            for path in project.SWEEPS:
                import_string(path)()
            self.enqueued += due_work(100, grace=NO_GRACE)  # a worker has looked, too
        evidence = Evidence(self.facts())
        assert not [violation for holds in ALWAYS for violation in holds(evidence)]

    @rule(which=index, state=st.sampled_from(["done", "done", "failed"]))
    def a_job_ends(self, which: int, state: str) -> None:
        running = [job_id for job_id, job in self.world.jobs.items() if job["state"] == "running"]
        for job_id in running[which % len(running) :][:1] if running else ():
            self.world.end_job(job_id, state)

    def facts(self) -> Facts:
        return load_facts(
            bill=self.world.bill,
            telegram=self.telegram,
            acknowledged={update["update_id"] for update in self.updates},
            excused_placeholders=self.world.stray_placeholders,
            excused_uploads=len(self.crashed),
        )

    # --- The end ---

    def teardown(self) -> None:
        """Finish all work with the workers that are left and without further faults; then run the checker."""
        try:
            for _ in range(MAX_ROUNDS):
                self.finish_due_work()
                if not self.unfinished():
                    break
                self.time_passes(seconds=17, is_swept=True, is_renewed=False)
            assert not self.unfinished(), "the work is never finished"
            assert not check(self.facts())
        finally:
            for worker in (*self.workers, *self.crashed):
                worker.resume(None)

    def finish_due_work(self) -> None:
        for job_id in self.world.jobs:
            self.world.end_job(job_id, "done")
        for request_id in Request.objects.filter(status="QUARANTINED").values_list("id", flat=True):
            request_cancel(request_id=request_id, actor="operator")
        while self.workers or self.enqueued:
            self.advance(ActionPlan(Action.ADVANCE, which=-1, outcome=CallOutcome.DONE, is_short=False))

    def unfinished(self) -> list[str]:
        rows = (
            Request.objects.filter(status__in=(*Request.OPEN, "QUARANTINED")),
            Attempt.objects.filter(finished_at=None),
            TelegramUpdate.objects.filter(handled_at=None),
            Delivery.objects.filter(state__in=Delivery.UNFINISHED),
        )
        return [str(row) for found in rows for row in found]


def delete_all_rows() -> None:
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table._meta.db_table)}")  # noqa: S608 — our own name


@pytest.fixture
def _machine(settings: Any, monkeypatch: pytest.MonkeyPatch, enqueued: list[tuple[str, str | int]]) -> Iterator[None]:
    """What all examples share."""
    telegram = FakeTelegram()
    settings.TELEGRAM_BOT_TOKEN, settings.TELEGRAM_API_BASE_URL = TOKEN, telegram.url
    settings.PROVIDER_ACCESS = {slug: Access("key", "") for chain in CHAINS.values() for slug in chain}
    settings.WELCOME_CREDITS, settings.LEASE_SECONDS = 12, 15
    monkeypatch.setattr(
        "providers.access.provider_class", lambda *names: PromiseMachine.world_now.provider_class(*names)
    )
    monkeypatch.setattr(LeaseKeeper, "renew_forever", lambda self: None)  # renewed by a rule instead
    get_delivery_backend.cache_clear()
    app.loader.import_default_modules()
    for category, chain in CHAINS.items():
        for priority, provider in enumerate(chain, start=1):
            make_provider(provider, category=category, priority=priority, timeout_seconds=900)
        rates = {"per_thousand_output_tokens": "1.5"} if category == "TEXT" else {}  # 7 are held, 5 charged
        name = f"Proof {category}"
        make_model(name=name, slug=slugify(name), category=category, token_cost=5, rates=rates)
    PromiseMachine.telegram, PromiseMachine.enqueued = telegram, enqueued
    yield
    close_client()
    telegram.close()


@pytest.mark.usefixtures("_machine")
def test_no_order_of_events_breaks_the_promise():
    run_state_machine_as_test(PromiseMachine, settings=PROFILE)  # type: ignore[no-untyped-call]

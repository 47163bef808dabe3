"""Measure a chat answer from the webhook to the last edit: streamed, with everything on the disk.

Run by `make bench`, or as `POSTGRES_FSYNC=on python -m tests.servers python -m tests.bench.chat [seconds]` with so many
seconds a step. One web process and one worker process answer users who write at a steady rate; the provider, the Bot
API and the users share a third process. The rate grows until the whole answer is later than the provider's own time by
more than MAX_OVERHEAD_SECONDS, in two rounds of three: the highest rate before that is the knee. Prints figures without
limits: they mean something on an idle machine only.
"""

import asyncio
import json
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg

from tests.bench.environment import cpu_seconds, parent_of, quiet_processes, set_up_django
from tests.bench.loopback import HttpConnection, Reply, serve_http
from tests.bench.requests import percentile
from tests.proof.process_pool import command_of

PROVIDER_PORT, BOT_API_PORT, WEB_PORT = 18111, 18112, 18113
WORDS = 13
WORD_SECONDS = 0.1  # a text of 1.3 seconds
PROVIDER_SECONDS = WORDS * WORD_SECONDS
LAST_WORD = "finis"
MAX_OVERHEAD_SECONDS = 0.2
RATES = (1, 2, 4, 6, 8, 11, 15, 20, 25, 30, 40, 50, 65, 80)  # chat answers a second
CHATS = 4000  # so many that at three times the knee nobody has more open requests than a user may have
FIRST_CHAT = 10_000
WAIT_SECONDS = 90  # for what is under way when a step ends: then it counts as lost
SECRET = "bench-secret"


@dataclass
class Exchange:
    """What one user sees, on time.monotonic()."""

    sent_at: float
    placeholder_at: float = 0.0
    answered_at: float = 0.0
    placeholders: int = 0  # new messages before the answer; afterwards one may say that a late answer is there
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Outside:
    """Everything that is not ours: the users, their chats at the Bot API, and the provider."""

    def __init__(self) -> None:
        self.prompts: dict[int, Exchange] = {}  # the one under way, by chat
        self.bot_api_calls = 0
        self._ids = 0
        self._prompts = 0
        self._connections = [HttpConnection("127.0.0.1", WEB_PORT) for _ in range(16)]

    async def provider(self, path: str, body: Mapping[str, object]) -> AsyncIterator[bytes]:
        yield b""  # the headers
        for number in range(WORDS):
            await asyncio.sleep(WORD_SECONDS)
            word = LAST_WORD if number == WORDS - 1 else f"word {number} "
            yield _event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
        yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield _event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 26, "total_tokens": 35}})
        yield b"data: [DONE]\n\n"

    async def bot_api(self, path: str, body: Mapping[str, object]) -> Reply:
        self.bot_api_calls += 1
        method, now = path.rsplit("/", 1)[1], time.monotonic()
        if method not in ("sendMessage", "editMessageText"):
            return {"ok": True, "result": True}
        chat_id = int(str(body["chat_id"]))
        prompt = self.prompts.get(chat_id)
        if prompt and method == "sendMessage" and not prompt.answered_at:
            prompt.placeholders += 1
            prompt.placeholder_at = prompt.placeholder_at or now
        if prompt and LAST_WORD in str(body["text"]) and not prompt.answered_at:
            prompt.answered_at = now
            prompt.done.set()
        self._ids += 1
        message_id = int(str(body.get("message_id", self._ids)))
        chat = {"id": chat_id, "type": "private"}
        return {"ok": True, "result": {"message_id": message_id, "date": 1, "chat": chat, "text": "shown"}}

    async def say(self, chat_id: int, text: str) -> None:
        """Have one user write to the bot, as Telegram's webhook call."""
        self._ids += 1
        user = {"id": chat_id, "is_bot": False, "first_name": "Bench", "language_code": "en"}
        message = {"message_id": self._ids, "date": int(time.time()), "from": user, "text": text}
        update = {"update_id": self._ids, "message": message | {"chat": {"id": chat_id, "type": "private"}}}
        connection = self._connections[self._ids % len(self._connections)]
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET, "X-Forwarded-Proto": "https"}
        status = await connection.post("/telegram/webhook/", update, headers)
        assert status == 200, status

    async def run(self, rate: float, seconds: float) -> list[Exchange]:
        """Have the users write at a steady rate, whether or not they are answered; wait for what is under way."""
        sent, tasks, began = [], [], time.monotonic()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(began + number / rate - time.monotonic())
            chat_id = FIRST_CHAT + self._prompts % CHATS
            self._prompts += 1
            prompt = self.prompts[chat_id] = Exchange(time.monotonic())
            sent.append(prompt)
            tasks.append(asyncio.create_task(self.say(chat_id, f"Say something, number {number}")))
        await asyncio.gather(*tasks)
        waits = [asyncio.create_task(prompt.done.wait()) for prompt in sent]
        await asyncio.wait(waits, timeout=WAIT_SECONDS)
        for wait in waits:
            wait.cancel()
        return sent


@dataclass
class Measurement:
    """What one rate has shown. CPU in milliseconds an answer, by process."""

    rate: float
    prompts: list[Exchange]
    cpu: dict[str, float]
    transactions: float  # that wrote something, an answer; some commit without waiting for the disk
    seconds: float

    @property
    def answered(self) -> list[float]:
        return [prompt.answered_at - prompt.sent_at for prompt in self.prompts if prompt.answered_at]

    @property
    def overhead_p95(self) -> float:
        return percentile(self.answered, 0.95) - PROVIDER_SECONDS if self.answered else float("inf")

    @property
    def is_below_the_knee(self) -> bool:
        return len(self.answered) == len(self.prompts) and self.overhead_p95 <= MAX_OVERHEAD_SECONDS

    def __str__(self) -> str:
        over = [(seconds - PROVIDER_SECONDS) * 1000 for seconds in self.answered] or [float("inf")]
        shown = [(prompt.placeholder_at - prompt.sent_at) * 1000 for prompt in self.prompts if prompt.placeholder_at]
        return "  ".join(
            [
                f"{self.rate:>5.1f}/s:",
                f"{len(self.answered)} of {len(self.prompts)} answered, {len(self.answered) / self.seconds:.1f}/s;",
                f"placeholder p95 {percentile(shown or [0], 0.95):.0f} ms;",
                f"over the provider's {PROVIDER_SECONDS} s p50 {percentile(over, 0.5):.0f} ms,",
                f"p95 {percentile(over, 0.95):.0f} ms;",
                "CPU ms: " + ", ".join(f"{name} {value:.1f}" for name, value in self.cpu.items()) + ";",
                f"{self.transactions:.1f} writing transactions;",
                f"{sum(prompt.placeholders > 1 for prompt in self.prompts)} with a second placeholder",
            ]
        )


class OurProcesses:
    """Our processes, and what they and the servers have used."""

    def __init__(self, stack: ExitStack, database: str) -> None:
        self._database = psycopg.connect(database, autocommit=True)
        stack.callback(self._database.close)
        web = ["-m", "gunicorn", "aibot.wsgi", "-b", f"127.0.0.1:{WEB_PORT}", "--threads", "8"]
        worker = ["-m", *shlex.split(command_of("worker"))]
        pids = stack.enter_context(quiet_processes(web, worker))
        self.roots = dict(zip(("web", "worker"), pids, strict=True))
        self.roots["postgres"] = parent_of(self._database.info.backend_pid)

    def usage(self) -> tuple[dict[str, float], int]:
        """Return the CPU seconds of each process with its children, and the transactions that wrote something."""
        (transactions,) = self._database.execute(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        ).fetchone()
        return {name: cpu_seconds(pid) for name, pid in self.roots.items()}, transactions


async def measure(outside: Outside, fleet: OurProcesses, rate: float, seconds: float) -> Measurement:
    before, transactions = fleet.usage()
    began = time.monotonic()
    prompts = await outside.run(rate, seconds)
    last = max((prompt.answered_at for prompt in prompts), default=0.0)
    after, transactions_after = fleet.usage()
    count = max(1, len(prompts))
    cpu = {name: (after[name] - before[name]) / count * 1000 for name in after}
    step = Measurement(rate, prompts, cpu, (transactions_after - transactions) / count, max(0.001, last - began))
    print(step, flush=True)
    return step


async def is_sustained(outside: Outside, fleet: OurProcesses, rate: float, seconds: float) -> bool:
    """Return whether a rate is below the knee: two of up to three rounds decide, since other work disturbs some."""
    votes: Counter[bool] = Counter()
    while max(votes.values(), default=0) < 2:
        step = await measure(outside, fleet, rate, seconds)
        votes[step.is_below_the_knee] += 1
    return votes[True] == 2


async def bench(seconds: float, database: str) -> None:
    outside = Outside()
    await serve_http(PROVIDER_PORT, outside.provider)
    await serve_http(BOT_API_PORT, outside.bot_api)
    with ExitStack() as stack:
        fleet = OurProcesses(stack, database)
        await _until_answered(outside)
        print("warming up")
        await outside.run(4, 5)
        knee = 0.0
        for rate in RATES:
            if not await is_sustained(outside, fleet, rate, seconds):
                break
            knee = rate
        print(f"knee: {knee:.0f} chat answers/s by one worker process")
        for share in (0.5, 0.9):
            print(f"at {share:.0%} of the knee: ", end="")
            await measure(outside, fleet, max(0.5, knee * share), seconds)
        print("at 3x the knee: ", end="")
        await measure(outside, fleet, max(1, knee * 3), 3 * seconds)
        (fresh,) = await outside.run(1, 1)
        print(f"a fresh message after that: answered in {fresh.answered_at - fresh.sent_at:.1f} s")


async def _until_answered(outside: Outside) -> None:
    for _ in range(60):
        try:
            (prompt,) = await outside.run(1, 1)
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.5)
            continue
        if prompt.answered_at:
            return
    raise SystemExit("Nothing was answered; start the processes by hand and look at their logs.")


def _make_users() -> None:
    """Write the users and their chats, as after a first prompt of each."""
    from requests_app.models import Account
    from telegram_bot.bots import current_bot_id
    from telegram_bot.models import TelegramChat, TelegramThread, TelegramUser

    bot_id, numbers = current_bot_id(), range(FIRST_CHAT, FIRST_CHAT + CHATS)
    accounts = Account.objects.bulk_create(Account(key=f"bench:{number}", balance=10**6) for number in numbers)
    TelegramUser.objects.bulk_create(
        TelegramUser(bot_id=bot_id, telegram_id=number, account=account, name="Bench", language="en")
        for number, account in zip(numbers, accounts, strict=True)
    )
    chats = TelegramChat.objects.bulk_create(
        TelegramChat(bot_id=bot_id, telegram_id=number, type="private") for number in numbers
    )
    TelegramThread.objects.bulk_create(TelegramThread(chat=chat) for chat in chats)


def _event(chunk: Mapping[str, object]) -> bytes:
    head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "bench"}
    return f"data: {json.dumps({**head, **chunk})}\n\n".encode()


def main(seconds: float) -> None:
    set_up_django(
        OPENAI_API_KEY="bench-openai-key",
        OPENAI_BASE_URL=f"http://127.0.0.1:{PROVIDER_PORT}",
        TELEGRAM_API_BASE_URL=f"http://127.0.0.1:{BOT_API_PORT}",
        TELEGRAM_BOT_TOKEN="4242:bench",
        TELEGRAM_WEBHOOK_SECRET=SECRET,
        WELCOME_CREDITS="1000000",
        ALLOWED_HOSTS="127.0.0.1",
    )
    from django.core.management import call_command

    from providers.models import ProviderConfig

    call_command("migrate", verbosity=0)
    ProviderConfig.objects.filter(category="TEXT").exclude(provider="openai").update(enabled=False)
    ProviderConfig.objects.filter(category="TEXT", provider="openai").update(enabled=True)
    _make_users()
    asyncio.run(bench(seconds, os.environ["DATABASE_URL"]))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)

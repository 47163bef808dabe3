"""A world in one process that moves only when it is told to: workers that stop at every commit and outside call.

A worker is a thread that runs one of the product's tasks. At each call to a vendor or to Telegram it stops, and the
test decides when the call is carried out and what its caller learns of it; after each commit it stops too. A worker
that is never resumed is dead; one that is resumed after its lease has run out is the late writer. Only one thread runs
at a time, so every run of the same steps is the same.
"""

import asyncio
import io
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from typing import Any, ClassVar

from django.db import connection, connections
from PIL import Image

from aibot.celery import app
from providers.backends.media_generation import JobProvider
from providers.errors import OutcomeUnknown, ProviderError, ServerFault
from providers.transport.deadlines import Deadline
from providers.types import Access, Call, Job, MediaResult, OnText, Prompt, TextResult, UnknownPolicy, Usage
from telegram_bot import texts
from telegram_bot.api.errors import CallRefused, MessageGone, OutcomeUnsure, SlowDown
from telegram_bot.content.files import StoredFile
from telegram_bot.content.rendering import MessagePart
from tests.fakes.telegram import ApiError, FakeTelegram

PATIENCE_SECONDS = 30  # for a thread to reach its next call; then the product has hung
FILM = b"\x00\x00\x00\x18ftypisom" + bytes(100)


class Fate(StrEnum):
    """What becomes of an outside call, and what its caller learns."""

    DONE = "carried out and answered"
    LOST_AFTER = "carried out, the answer is lost"
    LOST_BEFORE = "lost on the way there"
    REFUSED = "refused"

    @property
    def is_carried_out(self) -> bool:
        return self in (Fate.DONE, Fate.LOST_AFTER)


class Released(BaseException):
    """The example is over, and with it the thread of a dead worker."""


@dataclass
class OutsideCall:
    """One call on which a worker waits."""

    name: str
    carry_out: Callable[[], Any] = field(repr=False)
    unsure: Callable[[], Exception] = field(repr=False)
    refused: Callable[[], Exception] = field(repr=False)
    leaves_stray: Callable[[bool], bool] = field(default=lambda is_carried_out: False, repr=False)


# Not a call at all: something was committed, and nothing has followed from it yet.
COMMIT = OutsideCall("commit", lambda: None, RuntimeError, RuntimeError)


class Worker:
    """One task in a thread that runs while the test waits, and stops at its commits and outside calls."""

    _here: ClassVar[threading.local] = threading.local()

    def __init__(self, task: str, key: str | int) -> None:
        self.name = f"{task.rpartition('.')[2]} {key}"
        self.call: OutsideCall | None = None
        self.error: BaseException | None = None
        self._fate: Fate | None = None
        self._is_over = False
        self._turn, self._stop = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, args=(task, key), daemon=True).start()
        self._wait()

    @classmethod
    def of_this_thread(cls) -> "Worker | None":
        return getattr(cls._here, "worker", None)

    def resume(self, fate: Fate | None) -> None:
        """Let its call have this fate and run it up to the next one. Without a fate the thread just ends."""
        self._fate, self.call = fate, None
        self._turn.release()
        self._wait()

    def stop_at(self, call: OutsideCall) -> Fate:
        """Called in the worker's thread: wait for the test to decide."""
        if not self._is_over:
            self.call = call
            self._stop.release()
            self._turn.acquire()
        if self._fate is None:
            self._is_over = True  # whatever it still does on its way out
            raise Released
        return self._fate

    @contextmanager
    def _stopping_at_commits(self) -> Iterator[None]:
        """Stop after each statement that commits by itself, and after each transaction, before its wake-ups."""
        database = connections["default"]
        commit = database.commit

        def commit_and_stop() -> None:
            commit()
            self.stop_at(COMMIT)

        def execute_and_stop(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if not database.in_atomic_block and sql.startswith(("INSERT", "UPDATE", "DELETE")):
                self.stop_at(COMMIT)
            return result

        database.commit = commit_and_stop  # type: ignore[method-assign]
        try:
            with database.execute_wrapper(execute_and_stop):
                yield
        finally:
            database.commit = commit  # type: ignore[method-assign]

    def _wait(self) -> None:
        assert self._stop.acquire(timeout=PATIENCE_SECONDS), f"{self.name} hangs"

    def _run(self, task: str, key: str | int) -> None:
        Worker._here.worker = self
        try:
            with self._stopping_at_commits():
                app.tasks[task](key)
        except Released:
            pass
        except BaseException as error:  # noqa: BLE001 — the test tells what a task must never raise
            self.error = error
        finally:
            connections.close_all()
            self._stop.release()


class World:
    """The vendors with their bill, and Telegram with its chats."""

    def __init__(self, telegram: FakeTelegram) -> None:
        self.telegram = telegram
        self.bill: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}  # by id: the bill's line, and what became of the job
        self.strays = 0  # placeholders that nobody could know of
        self._numbers = count(1)

    def call(self, call: OutsideCall) -> Any:
        """Make a call from whichever worker this thread is."""
        assert not connection.in_atomic_block, f"{call.name} within a transaction"
        worker = Worker.of_this_thread()
        fate = worker.stop_at(call) if worker else Fate.DONE
        return self.have(call, fate)

    def have(self, call: OutsideCall, fate: Fate) -> Any:
        """Let a call have its fate; a REFUSED one does nothing and says so."""
        result = call.carry_out() if fate.is_carried_out else None
        self.strays += call.leaves_stray(fate.is_carried_out) and fate is not Fate.DONE
        if fate is Fate.DONE:
            return result
        raise call.refused() if fate is Fate.REFUSED else call.unsure()

    def note(self, provider: str, words: str, *, is_billed: bool, job_id: str = "") -> dict[str, Any]:
        line = {"provider": provider, "asked": words, "billed": is_billed, "job_id": job_id}
        self.bill.append(line)
        return line

    def order_job(self, provider: str, words: str) -> Job:
        job_id = f"job-{next(self._numbers)}"
        self.jobs[job_id] = {"line": self.note(provider, words, is_billed=False, job_id=job_id), "state": "running"}
        return Job(job_id)

    def end_job(self, job_id: str, state: str) -> None:
        """Let a running job be "done", "failed" or "cancelled"; only a film is paid for."""
        job = self.jobs[job_id]
        if job["state"] == "running":
            job["state"], job["line"]["billed"] = state, state == "done"

    def provider_class(self, category: str, slug: str) -> type:
        """Stand in for registry.provider_class()."""
        bases: dict[str, tuple[type, UnknownPolicy]] = {
            "TEXT": (AtOnce, UnknownPolicy.RESPEND),
            "IMAGE": (AtOnce, UnknownPolicy.STOP),
            "VIDEO": (InItsTime, UnknownPolicy.ADOPT),
        }
        base, policy = bases[category]
        return type(base.__name__, (base,), {"slug": slug, "world": self, "unknown_policy": policy})


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


class AtOnce:
    """A vendor that answers at once, and bills whatever it has heard."""

    slug: ClassVar[str]
    world: ClassVar[World]

    def __init__(self, access: Access) -> None:
        """Need no key."""

    def check(self, prompt: Prompt) -> None:
        """Refuse nothing."""

    def run(self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None) -> Any:
        def answer() -> Any:
            self.world.note(self.slug, prompt.text, is_billed=True)
            if prompt.category == "TEXT":
                return TextResult(f"{prompt.text}: {self.slug} has the answer, which is long enough to be known again.")
            return MediaResult(content=_picture(), usage=Usage(images=1))

        return self.world.call(OutsideCall(f"{self.slug} is asked", answer, OutcomeUnknown, ServerFault))


class InItsTime(JobProvider):
    """A vendor that takes orders, and whose jobs can be asked for, found and stopped."""

    world: ClassVar[World]

    def __init__(self, access: Access) -> None:
        """Need no key."""

    def check(self, prompt: Prompt) -> None:
        """Refuse nothing."""

    def run(self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None) -> Any:
        return self._ask("gets an order", lambda: self.world.order_job(self.slug, prompt.text))

    def poll(self, prompt: Prompt, job_id: str, *, deadline: Deadline) -> Any:
        def look() -> Any:
            state = self.world.jobs[job_id]["state"]
            if state == "running":
                return Job(job_id)
            if state == "done":
                return MediaResult(url=job_id, usage=Usage(images=1))
            error = ServerFault(state)
            error.ends_job = True
            return error

        outcome = self._ask(f"is asked for {job_id}", look)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    def find(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        def search() -> list[Job]:
            return [Job(job_id) for job_id, job in self.world.jobs.items() if job["line"]["asked"] == prompt.text][::-1]

        return self._ask("is searched", search)

    def fetch(self, url: str, *, deadline: Deadline) -> bytes:
        return self._ask(f"is asked for the film of {url}", lambda: FILM)

    def cancel(self, job_id: str, *, deadline: Deadline) -> None:
        self._ask(f"is to stop {job_id}", lambda: self.world.end_job(job_id, "cancelled"))

    def _ask(self, what: str, carry_out: Callable[[], Any]) -> Any:
        return self.world.call(OutsideCall(f"{self.slug} {what}", carry_out, OutcomeUnknown, ServerFault))

    def build(self, prompt: Prompt) -> Call:
        raise AssertionError("no call leaves here")

    def poll_call(self, job_id: str) -> Call:
        raise AssertionError("no call leaves here")

    def parse_job(self, prompt: Prompt, body: Any) -> MediaResult | Job:
        raise AssertionError("no answer comes here")


class Client:
    """Stands in for TelegramClient; the fake Bot API behind it is the one that other tests reach over HTTP."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 0) -> Any:
        return asyncio.run(work)

    def send(self, chat_id: int, piece: MessagePart, **_: Any) -> int:
        is_placeholder = piece.text == texts.PLACEHOLDER
        return self._call(
            "sendMessage",
            leaves_stray=lambda is_carried_out: is_placeholder and is_carried_out,
            chat_id=chat_id,
            text=piece.text,
        )["message_id"]

    def edit(self, chat_id: int, message_id: int, piece: MessagePart) -> None:
        self._call("editMessageText", chat_id=chat_id, message_id=message_id, text=piece.text)

    def edit_media(self, chat_id: int, message_id: int, file: StoredFile) -> None:
        media = {"type": file.kind, "media": "attach://file"}
        files = {"file": file.read()}
        self._call("editMessageMedia", chat_id=chat_id, message_id=message_id, media=media, files=files)

    def send_media(self, chat_id: int, file: StoredFile, **_: Any) -> int:
        files = {file.kind: file.read()}
        return self._call(f"send{file.kind.capitalize()}", chat_id=chat_id, files=files)["message_id"]

    def delete(self, chat_id: int, message_id: int) -> None:
        self._call(
            "deleteMessage",
            leaves_stray=lambda is_carried_out: not is_carried_out,
            chat_id=chat_id,
            message_id=message_id,
        )

    def _call(
        self, method: str, *, leaves_stray: Callable[[bool], bool] = lambda is_carried_out: False, **parameters: Any
    ) -> Any:
        def carry_out() -> Any:
            try:
                return self._world.telegram.carry_out(method, parameters)
            except ApiError as error:
                return error

        outcome = self._world.call(
            OutsideCall(f"Telegram's {method}", carry_out, OutcomeUnsure, lambda: SlowDown(5), leaves_stray)
        )
        if isinstance(outcome, ApiError) and "not modified" not in str(outcome):
            raise MessageGone if "not found" in str(outcome) else CallRefused(str(outcome))
        return outcome

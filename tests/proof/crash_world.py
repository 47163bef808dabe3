"""Deterministic workers, providers and Telegram in one process: each worker stops at every commit and outside call.

A worker is a thread that runs one of the product's tasks. At each call to a provider or to Telegram it stops, and the
test decides when the call is executed and what its caller learns of it; after each commit it stops too. A worker that
is never resumed has crashed; one that is resumed after its lease has expired is a late writer. Only one thread runs at
a time, so the same steps always give the same run.
"""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from typing import Any, ClassVar

from django.db import connection, connections
from PIL import Image

from aibot.celery import app
from providers.backends.media_generation import JobProvider, MediaProvider
from providers.errors import OutcomeUnknown, ProviderError, ServerFault
from providers.transport.deadlines import Deadline
from providers.types import Access, Call, Job, MediaResult, OnText, Prompt, TextResult, UnknownPolicy, Usage
from telegram_bot import texts
from telegram_bot.api.client import SentFile
from telegram_bot.api.errors import CallRefused, MessageGone, OutcomeUnsure, SlowDown
from telegram_bot.content.files import StoredFile
from telegram_bot.content.rendering import MessagePart
from tests.fakes.telegram import ApiError, FakeTelegram

MAX_WAIT_SECONDS = 30  # for a thread to reach its next call; then the product has hung
VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(100)


class CallOutcome(StrEnum):
    """What becomes of an outside call, and what its caller learns."""

    DONE = "executed and answered"
    LOST_AFTER = "executed, the answer is lost"
    LOST_BEFORE = "lost on the way there"
    REFUSED = "refused"

    @property
    def is_executed(self) -> bool:
        return self in (CallOutcome.DONE, CallOutcome.LOST_AFTER)


class ExampleOver(BaseException):
    """The example is over; ends the threads of crashed workers."""


@dataclass
class OutsideCall:
    """One call at which a worker has stopped."""

    name: str
    execute: Callable[[], Any] = field(repr=False)
    unsure: Callable[[], Exception] = field(repr=False)
    refused: Callable[[], Exception] = field(repr=False)
    leaves_stray: Callable[[bool], bool] = field(default=lambda is_executed: False, repr=False)


# Not a call: something was committed, and nothing has followed from it yet.
COMMIT = OutsideCall("commit", lambda: None, RuntimeError, RuntimeError)


class Worker:
    """One task in a thread that runs while the test waits and stops at its commits and outside calls."""

    _here: ClassVar[threading.local] = threading.local()

    def __init__(self, task: str, key: str | int) -> None:
        self.name = f"{task.rpartition('.')[2]} {key}"
        self.call: OutsideCall | None = None
        self.error: BaseException | None = None
        self._outcome: CallOutcome | None = None
        self._is_over = False
        self._turn, self._stop = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._run, args=(task, key), daemon=True).start()
        self._wait()

    @classmethod
    def of_this_thread(cls) -> "Worker | None":
        return getattr(cls._here, "worker", None)

    def resume(self, outcome: CallOutcome | None) -> None:
        """Give its call this outcome and run it up to the next one; without an outcome the thread just ends."""
        self._outcome, self.call = outcome, None
        self._turn.release()
        self._wait()

    def stop_at(self, call: OutsideCall) -> CallOutcome:
        """Wait for the test to decide. Called in the worker's thread."""
        if not self._is_over:
            self.call = call
            self._stop.release()
            self._turn.acquire()
        if self._outcome is None:
            self._is_over = True  # whatever cleanup still calls
            raise ExampleOver
        return self._outcome

    @contextmanager
    def _stopping_at_commits(self) -> Iterator[None]:
        """Stop after each statement in autocommit, and after each transaction, before its on_commit callbacks."""
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
        assert self._stop.acquire(timeout=MAX_WAIT_SECONDS), f"{self.name} hangs"

    def _run(self, task: str, key: str | int) -> None:
        Worker._here.worker = self
        try:
            with self._stopping_at_commits():
                app.tasks[task](key)
        except ExampleOver:
            pass
        except BaseException as error:  # noqa: BLE001 — the test tells what a task must never raise
            self.error = error
        finally:
            connections.close_all()
            self._stop.release()


class World:
    """The providers with their bill and jobs, and Telegram with its chats."""

    def __init__(self, telegram: FakeTelegram) -> None:
        self.telegram = telegram
        self.bill: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}  # by id: the bill's line, and the job's state
        self.stray_placeholders = 0  # that their senders could not know of
        self._numbers = count(1)

    def call(self, call: OutsideCall) -> Any:
        """Make a call from the worker of this thread; outside of workers it just succeeds."""
        assert not connection.in_atomic_block, f"{call.name} within a transaction"
        worker = Worker.of_this_thread()
        outcome = worker.stop_at(call) if worker else CallOutcome.DONE
        return self.finish(call, outcome)

    def finish(self, call: OutsideCall, outcome: CallOutcome) -> Any:
        """Execute a call as its outcome says, and return or raise what its caller learns."""
        result = call.execute() if outcome.is_executed else None
        self.stray_placeholders += call.leaves_stray(outcome.is_executed) and outcome is not CallOutcome.DONE
        if outcome is CallOutcome.DONE:
            return result
        raise call.refused() if outcome is CallOutcome.REFUSED else call.unsure()

    def add_to_bill(self, provider: str, prompt_text: str, *, is_billed: bool, job_id: str = "") -> dict[str, Any]:
        line = {"provider": provider, "prompt": prompt_text, "billed": is_billed, "job_id": job_id}
        self.bill.append(line)
        return line

    def submit_job(self, provider: str, prompt_text: str) -> Job:
        job_id = f"job-{next(self._numbers)}"
        self.jobs[job_id] = {
            "line": self.add_to_bill(provider, prompt_text, is_billed=False, job_id=job_id),
            "state": "running",
        }
        return Job(job_id)

    def end_job(self, job_id: str, state: str) -> None:
        """End a running job as "done", "failed" or "cancelled"; only a finished video is billed."""
        job = self.jobs[job_id]
        if job["state"] == "running":
            job["state"], job["line"]["billed"] = state, state == "done"

    def provider_class(self, category: str, slug: str, operation: str = "generate") -> type:
        """Stand in for registry.provider_class()."""
        bases: dict[str, tuple[type, UnknownPolicy]] = {
            "TEXT": (ImmediateProvider, UnknownPolicy.RESPEND),
            "IMAGE": (ImmediateMediaProvider, UnknownPolicy.STOP),
            "VIDEO": (LongJobProvider, UnknownPolicy.ADOPT),
        }
        base, policy = bases[category]
        return type(base.__name__, (base,), {"slug": slug, "world": self, "unknown_policy": policy})


def _image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


class ImmediateProvider:
    """A provider that answers at once, and bills every call that reaches it."""

    slug: ClassVar[str]
    world: ClassVar[World]

    def __init__(self, access: Access) -> None:
        """Keep the key, and look at nothing of it."""
        self.access = access

    def check(self, prompt: Prompt) -> None:
        """Accept everything."""

    def used_at_most(self, prompt: Prompt) -> Usage:
        """Return the usage of an image, whatever is asked: no price is known here."""
        return Usage(images=1)

    def run(self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None) -> Any:
        def answer() -> Any:
            self.world.add_to_bill(self.slug, prompt.text, is_billed=True)
            if prompt.category == "TEXT":
                return TextResult(f"{prompt.text}: {self.slug} has the answer, which is long enough to be recognised.")
            return MediaResult(content=_image(), usage=Usage(images=1))

        return self.world.call(OutsideCall(f"call of {self.slug}", answer, OutcomeUnknown, ServerFault))


class ImmediateMediaProvider(ImmediateProvider, MediaProvider):
    """The same for media."""


class LongJobProvider(JobProvider):
    """A provider of long jobs, which can be polled, searched and cancelled."""

    world: ClassVar[World]

    def __init__(self, access: Access) -> None:
        """Keep the key, and look at nothing of it."""
        self.access = access

    def check(self, prompt: Prompt) -> None:
        """Accept everything."""

    def run(self, prompt: Prompt, *, timeout_seconds: float, deadline: Deadline, on_text: OnText | None = None) -> Any:
        return self._call("job submitted to", lambda: self.world.submit_job(self.slug, prompt.text))

    def poll(self, prompt: Prompt, job_id: str, *, deadline: Deadline) -> Any:
        def poll_state() -> Any:
            state = self.world.jobs[job_id]["state"]
            if state == "running":
                return Job(job_id)
            if state == "done":
                return MediaResult(url=job_id, usage=Usage(images=1))
            return ServerFault(state, ends_job=True)

        outcome = self._call(f"poll of {job_id} at", poll_state)
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    def find_jobs(self, prompt: Prompt, *, since: datetime, deadline: Deadline) -> list[Job]:
        def search() -> list[Job]:
            jobs = reversed(self.world.jobs.items())
            return [Job(job_id) for job_id, job in jobs if job["line"]["prompt"] == prompt.text]

        return self._call("search at", search)

    def fetch_output(self, url: str, *, deadline: Deadline) -> bytes:
        return self._call(f"download of {url} from", lambda: VIDEO)

    def cancel(self, job_id: str, *, deadline: Deadline) -> None:
        self._call(f"cancellation of {job_id} at", lambda: self.world.end_job(job_id, "cancelled"))

    def _call(self, what: str, execute: Callable[[], Any]) -> Any:
        return self.world.call(OutsideCall(f"{what} {self.slug}", execute, OutcomeUnknown, ServerFault))

    def build(self, prompt: Prompt) -> Call:
        raise AssertionError("no call leaves here")

    def poll_call(self, job_id: str) -> Call:
        raise AssertionError("no call leaves here")

    def parse_job(self, prompt: Prompt, body: Any) -> MediaResult | Job:
        raise AssertionError("no answer comes here")


class FakeTelegramClient:
    """Stands in for TelegramClient, on the fake Bot API that other tests reach over HTTP."""

    def __init__(self, world: World) -> None:
        self._world = world

    def close(self) -> None:
        """Close nothing: there are no connections."""

    def send(self, chat_id: int, part: MessagePart, **_: Any) -> int:
        is_placeholder = part.text == texts.PLACEHOLDER
        return self._call(
            "sendMessage",
            leaves_stray=lambda is_executed: is_placeholder and is_executed,
            chat_id=chat_id,
            text=part.text,
        )["message_id"]

    def edit(self, chat_id: int, message_id: int, part: MessagePart) -> None:
        self._call("editMessageText", chat_id=chat_id, message_id=message_id, text=part.text)

    def edit_media(self, chat_id: int, message_id: int, file: StoredFile) -> str:
        media = {"type": file.kind, "media": file.file_id or "attach://file"}
        files = {"file": file.read()}
        self._call("editMessageMedia", chat_id=chat_id, message_id=message_id, media=media, files=files)
        return ""

    def send_media(self, chat_id: int, file: StoredFile, **_: Any) -> SentFile:
        files = {file.kind: file.read()}
        message = self._call(f"send{file.kind.capitalize()}", chat_id=chat_id, files=files)
        return SentFile(message["message_id"], "")

    def delete(self, chat_id: int, message_id: int) -> None:
        self._call(
            "deleteMessage",
            leaves_stray=lambda is_executed: not is_executed,
            chat_id=chat_id,
            message_id=message_id,
        )

    def _call(
        self, method: str, *, leaves_stray: Callable[[bool], bool] = lambda is_executed: False, **parameters: Any
    ) -> Any:
        def execute() -> Any:
            try:
                return self._world.telegram.execute(method, parameters)
            except ApiError as error:
                return error

        outcome = self._world.call(
            OutsideCall(f"Telegram's {method}", execute, OutcomeUnsure, lambda: SlowDown(5), leaves_stray)
        )
        if isinstance(outcome, ApiError) and "not modified" not in str(outcome):
            raise MessageGone if "not found" in str(outcome) else CallRefused(str(outcome))
        return outcome

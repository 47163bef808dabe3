"""*Test now*: one real, cheap call on one route through the chain's own code, also where it is off or paused.

The attempt has the purpose `test`: it is on the bill and under the daily caps, and in no success rate. What it says of
the route's health counts: a success closes the route's circuit, a failure is one more. Answers are shown, not kept.
"""

import io
import struct
import time
import wave
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from django.core.files.storage import default_storage
from django.db.models.functions import Now

from providers.capabilities import unsupported_reason
from providers.chain.attempts import Answer, AttemptRefused, attempts_close
from providers.chain.candidates import Candidate, Skip, route_candidates, skip_route
from providers.chain.circuit_breaker import read_health
from providers.chain.fallback import ChainRun, Pending
from providers.chain.spending import reservation
from providers.errors import (
    AllProvidersFailed,
    ChainError,
    NoProviderAvailable,
    OutOfTime,
    PaymentUncertain,
    RefusedByProviders,
    StorageFailed,
    Unsupported,
)
from providers.models import Attempt, ProviderConfig
from providers.storage import StoredMedia
from providers.transport.deadlines import Deadline, is_cancelled
from providers.types import Attachment, Category, Operation, OutputOptions, Prompt, Purpose, TextResult

TEST_SECONDS = 60.0  # after which the operator is told that there is no answer
WAIT_SECONDS = 20.0  # for a job, before the operator is told that it runs
MAX_TEXT_TOKENS = 256  # of an answer, reasoning included
MAX_PROMPT_CHARACTERS = 1_000
GIVEN_UP_AFTER = timedelta(hours=1)  # a job of which nobody asks any more
MAX_PER_SWEEP = 100
CALLER = "test:"  # how the keys of these callers begin
PROMPTS = {
    Category.TEXT: "Reply with the word OK.",
    Category.IMAGE: "A red apple on a white table",
    Category.VIDEO: "A calm sea at dusk",
    Category.AUDIO: "This is a test.",
}
WORDS_OF_ENDS: dict[type[ChainError], str] = {
    AllProvidersFailed: "every route that was asked has failed",
    NoProviderAvailable: "there is no route to ask",
    RefusedByProviders: "the providers refuse the content",
    OutOfTime: "the time is over",
    PaymentUncertain: "an expensive call broke off and may be billed, so nothing else was bought",
    StorageFailed: "an output came that could not be stored, so nothing else was bought",
}


@dataclass(frozen=True, slots=True)
class RouteTest:
    """What came of a test so far."""

    caller_key: str
    attempt: Attempt | None  # None: no call was made
    reason: str = ""  # why none was made
    text: str = ""  # of a text answer
    media: StoredMedia | None = None  # what came; it is deleted by now

    @property
    def is_running(self) -> bool:
        """A job is under way: ask again later."""
        return self.attempt is not None and self.attempt.finished_at is None

    @property
    def is_answered(self) -> bool:
        return self.attempt is not None and self.attempt.state == Attempt.State.OK

    def __str__(self) -> str:
        if self.attempt is None:
            return f"not called: {self.reason}"
        if self.is_running:
            return "a job runs at the provider"
        if not self.is_answered:
            return f"failed: {self.attempt.error_class} {self.attempt.error_text}".strip()
        return f"answered by {self.attempt.answered_by or self.attempt.model} in {self.attempt.duration_ms} ms"


def new_test_key() -> str:
    """Return the key of a new test, which makes it once however often the button is pressed."""
    return f"{CALLER}{uuid4()}"


def prompt_of_test(route: ProviderConfig, text: str = "") -> Prompt:
    """Return the cheapest prompt that this route takes, with this text or a usual one."""
    category, operation = Category(route.category), Operation(route.operation)
    seconds = [length for length in route.capabilities.get("seconds", ()) if isinstance(length, int)]
    qualities = route.capabilities.get("qualities", ())
    attachments: tuple[Attachment, ...] = ()
    if operation == Operation.EDIT:
        attachments = (Attachment("image/png", _plain_image()),)
    elif operation == Operation.TRANSCRIBE:
        attachments, text = (Attachment("audio/wav", _silence()),), ""
    return Prompt(
        category,
        text[:MAX_PROMPT_CHARACTERS] if text or operation == Operation.TRANSCRIBE else PROMPTS[category],
        output_limit=MAX_TEXT_TOKENS,
        output_options=OutputOptions(
            seconds=min(seconds) if category == Category.VIDEO and seconds else None,
            quality="low" if "low" in qualities else "",
        ),
        attachments=attachments,
        operation=operation,
    )


def cost_of_test_at_most(route: ProviderConfig, text: str = "") -> Decimal | None:
    """Return the most that a test of this route may cost in USD, None where nobody knows."""
    candidate = next(iter(route_candidates(route, {})), None)
    prompt = prompt_of_test(route, text)
    return reservation(route, candidate.provider, candidate.prompt_for(prompt)) if candidate else None


def route_test(*, route_id: int, caller_key: str, prompt: str = "") -> RouteTest:
    """Make one real call on a route, or look what became of the job of an earlier one with this key.

    Blocks for at most TEST_SECONDS, and for a job for WAIT_SECONDS; call it again with the same key while it
    `is_running`. A key makes one call, however often and from wherever this is called. Call it outside of
    transactions. Raises ProviderConfig.DoesNotExist, and ValueError for what is no key of a test.
    """
    if not caller_key.startswith(CALLER) or len(caller_key) > 64:
        raise ValueError("This is no key of a test.")
    route = ProviderConfig.objects.get(pk=route_id)
    asked = prompt_of_test(route, prompt)
    kept: list[Answer] = []
    deadline = Deadline.after(TEST_SECONDS)
    end = run_and_wait(
        lambda: RouteRun(route, asked, caller_key=caller_key, deadline=deadline, store=kept.append),
        seconds=WAIT_SECONDS,
    )
    attempt = Attempt.objects.filter(caller_key=caller_key).order_by("number").last()
    result, media = (kept[0].result, kept[0].media) if kept else (None, None)
    if media:
        default_storage.delete(media.name)
    text = result.text if isinstance(result, TextResult) else ""
    reason = end.skips[-1].reason if end.skips and not end.is_taken else end.words
    return RouteTest(caller_key, attempt, reason, text, media)


class OperatorRun(ChainRun):
    """A run down the chain for an operator: on the bill, and with calls that nobody else makes at the same time.

    Users' calls have a worker that owns them; here the button may be pressed twice. Whoever comes second raises
    AttemptRefused while a call is under way, and asks nobody once there is an answer.
    """

    purpose = Purpose.TEST

    def _resume(self, row: Attempt) -> Answer | Pending | None:
        if row.state == Attempt.State.SENDING:
            raise AttemptRefused
        return super()._resume(row)

    def _candidates(self) -> Iterator[Candidate]:
        if any(attempt.state == Attempt.State.OK for attempt in self._attempts):
            return
        for candidate in self._each_candidate():
            if is_cancelled():  # the operator has gone
                return
            yield candidate

    def _each_candidate(self) -> Iterable[Candidate]:
        return super()._candidates()


class RouteRun(OperatorRun):
    """A run down a chain of one route, also where it is off or paused, with one of its keys, once."""

    def __init__(self, route: ProviderConfig, prompt: Prompt, **options: object) -> None:
        super().__init__(prompt, **options)  # type: ignore[arg-type]  # as they come
        self.route = route

    def _each_candidate(self) -> Iterable[Candidate]:
        if self._attempts:
            return []
        candidates = route_candidates(self.route, read_health(self.route.category))[:1]
        reason = _reason_not_to_call(candidates, self.prompt)
        if reason:
            skip_route(self.skips, self.route, reason)
        return [] if reason else candidates


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Where a run stands when nobody waits for it any longer."""

    skips: list[Skip]  # what it has passed by
    words: str = ""  # why there is no answer; "" where there is one, or a job runs
    is_taken: bool = False  # somebody else makes these calls


def run_and_wait(new_run: Callable[[], OperatorRun], *, seconds: float) -> RunEnd:
    """Run down the chain, and wait for a job that a provider takes for at most so many seconds.

    `new_run` returns a run of the same caller each time. Raises no ChainError: its words are in what is returned.
    """
    wait_until = time.monotonic() + seconds
    skips: list[Skip] = []
    while True:
        run = new_run()
        try:
            outcome = run.answer()
        except AttemptRefused:
            return RunEnd(skips, "this test is being made already", is_taken=True)
        except ChainError as error:
            return RunEnd([*skips, *run.skips], WORDS_OF_ENDS[type(error)])
        skips += run.skips
        if not isinstance(outcome, Pending) or time.monotonic() + outcome.seconds > wait_until:
            return RunEnd(skips)
        time.sleep(outcome.seconds)


def _reason_not_to_call(candidates: list[Candidate], prompt: Prompt) -> str:
    if not candidates:
        return "its provider's key is not set, or nothing here implements it"
    candidate = candidates[0]
    try:
        candidate.provider.check(candidate.prompt_for(prompt))
    except Unsupported as error:
        return str(error)
    return unsupported_reason(candidate.route.capabilities, prompt)


def sweep_route_tests() -> int:
    """Give up the jobs of tests of which nobody asks any more; workers cancel them. Returns how many. Idempotent."""
    stale = Attempt.objects.filter(
        finished_at__isnull=True, created_at__lt=Now() - GIVEN_UP_AFTER, caller_key__startswith=CALLER
    )
    callers = set(stale.order_by("created_at").values_list("caller_key", flat=True)[:MAX_PER_SWEEP])
    for caller_key in callers:
        attempts_close(caller_key=caller_key)
    return len(callers)


def _plain_image(side: int = 512) -> bytes:
    """Return a white PNG that is large enough for every model."""
    rows = (b"\0" + b"\xff" * 3 * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _silence() -> bytes:
    """Return a second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000))
    return file.getvalue()

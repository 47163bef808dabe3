"""The Playground: a prompt of an operator's down the chain, or on one route, with the trail of what was asked.

It runs through the chain's own code with the purpose `test`: on the bill and under the daily caps, in no success rate,
without a request and without credits. Neither prompts nor answers are kept.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from django.core.files.storage import default_storage
from django.db import connection

from providers.chain.attempts import Answer
from providers.chain.candidates import Skip, route_candidates
from providers.chain.spending import reservation
from providers.db import give_back_connection
from providers.models import Attempt, ProviderConfig
from providers.routes.testing import CALLER, TEST_SECONDS, WAIT_SECONDS, OperatorRun, RouteRun, run_and_wait
from providers.storage import StoredMedia
from providers.transport.deadlines import CancelToken, Deadline
from providers.types import Category, OnText, Operation, Prompt, TextResult

MAX_TEXT_TOKENS = 2_048  # of an answer, reasoning included
MAX_PROMPT_CHARACTERS = 20_000
MAX_SHOWN_BYTES = 24_000_000  # of an output that is shown on the page
KEEP_ALIVE_SECONDS = 5.0  # without a word, after which it is looked whether anybody still reads
SENT_BEFORE = "this prompt was sent before; its answer was shown then, and is not kept"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a prompt so far."""

    caller_key: str
    attempts: list[Attempt]  # the calls, in their order
    skips: list[Skip]  # the routes that this look has passed by
    words: str = ""  # why there is no answer
    text: str = ""  # of a text answer
    media: StoredMedia | None = None  # what came; it is deleted by now
    content: bytes = b""  # of the media, where it is small enough to be shown
    is_repeated: bool = False  # nothing was done: it had ended before

    @property
    def is_running(self) -> bool:
        """A call or a job is under way: look again later."""
        return any(attempt.finished_at is None for attempt in self.attempts)

    @property
    def answering(self) -> Attempt | None:
        """The attempt that has brought the answer."""
        return next((attempt for attempt in self.attempts if attempt.state == Attempt.State.OK), None)

    @property
    def cost(self) -> Decimal | None:
        """USD of all calls; None where the cost of one is not known, or not yet."""
        return _sum(_known_cost(attempt) for attempt in self.attempts)

    @property
    def cost_at_most(self) -> Decimal | None:
        """USD that all calls may cost at most; None where nobody knows."""
        costs = ((attempt, _known_cost(attempt)) for attempt in self.attempts)
        return _sum(attempt.reserved_cost if cost is None else cost for attempt, cost in costs)

    def __str__(self) -> str:
        if not self.attempts:
            return f"not called: {self.words}"
        if self.is_running:
            return "a call is under way"
        answering = self.answering
        asked = ", ".join(attempt.route or attempt.provider for attempt in self.attempts)
        return f"answered by {answering.route}, asked: {asked}" if answering else f"no answer, asked: {asked}"


def playground_prompt(category: Category, text: str, *, system: str = "") -> Prompt:
    """Return the prompt as a user's would be, with a limit on the length of a text answer."""
    is_text = category == Category.TEXT
    limit = MAX_TEXT_TOKENS if is_text else None
    return Prompt(category, text, system=system if is_text else "", output_limit=limit)


def playground_routes(category: Category) -> list[ProviderConfig]:
    """Return the routes that can be asked alone, in the operator's order, those included that are off."""
    routes = ProviderConfig.objects.filter(category=category.value, operation=Operation.GENERATE.value)
    return list(routes.order_by("priority", "name"))


def prompt_costs_at_most(route: ProviderConfig, prompt: Prompt) -> Decimal | None:
    """Return the most that this prompt may cost on a route in USD, None where nobody knows, or its key is not set."""
    candidate = next(iter(route_candidates(route, {})), None)
    return reservation(route, candidate.provider, candidate.prompt_for(prompt)) if candidate else None


def playground_run(
    *, caller_key: str, prompt: Prompt, route: ProviderConfig | None = None, on_text: OnText | None = None
) -> Trial:
    """Send a prompt down the chain, or to one route, or look what became of an earlier run with this key.

    Blocks for at most TEST_SECONDS, and for a job for WAIT_SECONDS; call it again with the same key while the trial
    `is_running`. A key makes its calls once, however often and from wherever this is called: whoever comes second is
    told what is on record. Call it outside of transactions. Raises ValueError for what is no key of a test.
    """
    if not caller_key.startswith(CALLER) or len(caller_key) > 64:
        raise ValueError("This is no key of a test.")
    attempts = _attempts_of(caller_key)
    if attempts and attempts[-1].finished_at:
        return Trial(caller_key, attempts, [], SENT_BEFORE, is_repeated=True)
    kept: list[Answer] = []
    new_run: Callable[..., OperatorRun] = partial(RouteRun, route) if route else OperatorRun
    deadline = Deadline.after(TEST_SECONDS)
    end = run_and_wait(
        lambda: new_run(prompt, caller_key=caller_key, deadline=deadline, store=kept.append, on_text=on_text),
        seconds=WAIT_SECONDS,
    )
    result, media = (kept[-1].result, kept[-1].media) if kept else (None, None)
    text = result.text if isinstance(result, TextResult) else ""
    content = _take_out(media) if media else b""
    return Trial(caller_key, _attempts_of(caller_key), end.skips, end.words, text, media, content)


def playground_stream(run: Callable[[OnText], Trial]) -> Iterator[str | Trial]:
    """Yield the whole text so far whenever there is more of it, and at last the trial.

    `run` is called with what it tells its text to, in a thread of its own. While nothing is new the same text comes
    again, so that whoever reads can be found to have gone; closing the iterator then aborts the call. Holds no database
    connection while it waits. Raises what `run` raises.
    """
    news: queue.SimpleQueue[str | Trial | Exception] = queue.SimpleQueue()
    token = CancelToken()

    def work() -> None:
        try:
            with token.active():
                news.put(run(news.put))
        except Exception as error:  # noqa: BLE001 — raised again by whoever reads
            news.put(error)
        finally:
            connection.close()

    give_back_connection()
    thread = threading.Thread(target=work, name="playground")
    thread.start()
    text = ""
    try:
        while True:
            said = _last_of(news, text)
            if isinstance(said, Exception):
                raise said
            yield said
            if isinstance(said, Trial):
                return
            text = said
    finally:
        token.cancel()
        thread.join()


def _last_of(news: "queue.SimpleQueue[str | Trial | Exception]", text: str) -> str | Trial | Exception:
    """Return the newest of what was told, the text that is known where nothing was."""
    try:
        said = news.get(timeout=KEEP_ALIVE_SECONDS)
        while isinstance(said, str) and not news.empty():
            said = news.get()
    except queue.Empty:
        return text
    return said


def _attempts_of(caller_key: str) -> list[Attempt]:
    return list(Attempt.objects.filter(caller_key=caller_key).order_by("number"))


def _take_out(media: StoredMedia) -> bytes:
    """Remove an output from the storage, and return it where it is small enough to be shown."""
    content = b""
    if media.size <= MAX_SHOWN_BYTES:
        with default_storage.open(media.name) as file:
            content = file.read()
    default_storage.delete(media.name)
    return content


def _known_cost(attempt: Attempt) -> Decimal | None:
    """USD; nothing where the provider certainly did nothing and named no cost."""
    return Decimal(0) if attempt.cost is None and attempt.state == Attempt.State.FAILED else attempt.cost


def _sum(costs: Iterator[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total

"""What an invented history tells: who asked when, which routes were asked, what it cost, what the chat saw.

Nothing is read or written here. The same seed and the same end make the same rows.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

from aibot.history.tables import ATTEMPTS, DELIVERIES, ENTRIES, EVENTS, REQUESTS, UPDATES, Row, Table
from providers.models import ProviderConfig
from providers.types import Category, Purpose
from requests_app.models import AIModel

DAY = 86_400  # seconds
# What is asked for, out of a hundred requests.
SHARES = {Category.TEXT: 80, Category.IMAGE: 12, Category.VIDEO: 3, Category.AUDIO: 5}
ACTIVITY = 0.9  # the n-th busiest user asks n ** -0.9 as much as the busiest
RUSH = 0.1  # of a day, by which the night's requests move into the day: at noon four times those of midnight
LEFT_OPEN = 10  # of the newest requests, in each status that has not ended
SETTLED_SECONDS = 300  # what is older is in the hourly sums
UPDATES_KEPT_DAYS = 6
TOP_UP = 500
PASSED_BY = 0.05  # of the routes before the one that answers, because they are paused
TESTS = 0.002  # of an operator's own, beside each request
JOB_PROVIDERS = frozenset({"replicate", "piapi", "kie", "runware"})  # which answer with a job, where it is media

SPANS = {
    Category.TEXT: (0.4, 6.0),
    Category.IMAGE: (2.0, 20.0),
    Category.VIDEO: (40.0, 200.0),
    Category.AUDIO: (0.8, 8.0),
}  # seconds of an answer
SIZES = {
    ProviderConfig.PriceUnit.SECOND.value: Decimal(5),
    ProviderConfig.PriceUnit.THOUSAND_CHARACTERS.value: Decimal("0.3"),
}  # of an answer, in the unit of its list price; else one
QUESTIONS = [
    "Write a short letter that moves an appointment to next week.",
    "Explain compound interest to a child of ten, with an example.",
    "Переведи на английский: «Поезд опаздывает на двадцать минут».",
    "A lighthouse in a storm, oil painting, warm light",
    "Why does my bread not rise? I used dry yeast and cold milk.",
    "Give me ten names for a small bakery 🥐",
    "Summarise the plot of Hamlet in five sentences.",
    "Plan a weekend in Lisbon with two children.",
]
ANSWERS = [
    "Here is a first version; tell me what to change. " * 4,
    "There are three points to consider, in this order. " * 6,
    "Конечно. Вот перевод и пояснение к нему. " * 5,
    "Yes: in short, warm the milk first. " * 8,
]


class Failure(NamedTuple):
    """How a call goes wrong."""

    weight: int  # out of a hundred
    state: str
    error_class: str
    http_status: int | None
    error_text: str
    seconds: float


TIMED_OUT = Failure(6, "UNKNOWN", "OutcomeUnknown", None, "No answer within the time that was left.", 30.0)
FAILURES = [
    Failure(34, "FAILED", "ServerFault", 503, "503: the service is overloaded", 0.9),
    Failure(28, "FAILED", "RateLimited", 429, "429: too many requests", 0.3),
    Failure(10, "FAILED", "NotSent", None, "The connection was refused.", 0.2),
    Failure(8, "FAILED", "AccessDenied", 402, "402: the account has no credit left", 0.3),
    Failure(6, "FAILED", "RequestRejected", 400, "400: unknown field", 0.3),
    Failure(4, "FAILED", "ContentRefused", 400, "400: the content was refused", 0.7),
    Failure(1, "FAILED", "ModelGone", 404, "404: no such model", 0.2),
    TIMED_OUT,
    Failure(2, "EXPIRED", "OutcomeUnknown", None, "The job is not known any more.", 60.0),
    Failure(1, "ABANDONED", "OutcomeUnknown", None, "Given up at the deadline.", 60.0),
]
# What becomes of a request, out of ten thousand.
ENDS = {"COMPLETED": 9_340, "FAILED": 330, "CANCELLED": 260, "REJECTED": 70}
DELIVERED = ["DELIVERED"] * 198 + ["UNDELIVERABLE", "UNCERTAIN"]  # what becomes of messages


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is invented."""

    requests: int
    attempts_per_request: float  # 1 or more; the routes of a category limit it
    days: int
    until: datetime  # when the last request came
    seed: int

    @property
    def began(self) -> float:
        """When the first request came, in seconds since 1970."""
        return self.until.timestamp() - self.days * DAY

    def moment(self, number: int) -> float:
        """Return when the request of this number came: later than the one before, and more of them by day."""
        days = number / self.requests * self.days
        return self.began + DAY * (days + RUSH * math.sin(2 * math.pi * days) * (1 if days < self.days - 1 else 0))


@dataclass(frozen=True, slots=True)
class Person:
    """A user, as rows refer to one."""

    account_id: int
    telegram_id: int
    chat_id: int
    conversation: str


@dataclass(frozen=True, slots=True)
class Cast:
    """What a history needs to be there."""

    bot_id: int
    people: Sequence[Person]  # the busiest first
    models: Mapping[str, Sequence[AIModel]]  # by category
    routes: Mapping[str, Sequence[ProviderConfig]]  # by category, in the order in which they are asked
    purpose: str  # of requests, credits and calls: the sandbox's, where that answers


@dataclass(slots=True)
class _Chain:
    """The calls of one request."""

    began: float  # seconds since 1970
    ended: float
    label: str = ""  # of the AI model
    number: int = 0  # of calls
    skipped: list[str] = field(default_factory=list)  # the routes that were passed by, as JSON


class Storyteller:
    """Invents one request after the other. Each leaves its rows in `rows`, until whoever writes them takes them."""

    def __init__(self, plan: Plan, cast: Cast) -> None:
        self.balances = [0] * len(cast.people)  # which the ledger's entries add up to
        self.rows: dict[Table, list[Row]] = {}
        self._plan, self._cast = plan, cast
        self._random = random.Random(plan.seed)  # noqa: S311 — no secret
        self._busy = list(accumulate((rank + 1) ** -ACTIVITY for rank in range(len(cast.people))))
        categories = [category for category in SHARES if category in cast.models and category in cast.routes]
        self._categories = [category for category in categories for _ in range(SHARES[category])]
        self._failures = [failure for failure in FAILURES for _ in range(failure.weight)]
        self._ends = [status for status, weight in ENDS.items() for _ in range(weight)]
        self._again = 1 - 1 / plan.attempts_per_request  # how likely a call fails

    def take(self) -> dict[Table, list[Row]]:
        """Return the rows since the last time."""
        rows, self.rows = self.rows, {}
        return rows

    def tell(self, number: int) -> None:
        """Invent the request of this number, from 0 on."""
        chosen, at = self._random, self._plan.moment(number)
        place = chosen.choices(range(len(self._busy)), cum_weights=self._busy)[0]
        model = chosen.choice(self._cast.models[chosen.choice(self._categories)])
        request_id = f"req_{self._id(at)}"
        status = self._status(number)
        held = model.token_cost * (chosen.randint(1, 3) if model.rates else 1)
        chain = _Chain(at, at, label=str(model.pk))
        values: dict[str, str | int | None] = {"status": status, "credits": held}
        if status != "REJECTED":
            self._hold(place, request_id, held, at)
            values |= self._calls(chain, request_id, model.category, status)
        if status in ("COMPLETED", "FAILED", "CANCELLED"):
            charged = self._settle(place, request_id, held, chain, status, model=model)
            values["credits"] = held if charged is None else charged
        self._events(request_id, chain, status)
        self._request(number, request_id, self._cast.people[place], model, chain, values)
        self._chat(number, request_id, self._cast.people[place], chain, status)
        if chosen.random() < TESTS:
            self._test(model.category, at)

    def _status(self, number: int) -> str:
        left = self._plan.requests - 1 - number
        if self._plan.requests > 100 * LEFT_OPEN and left < 3 * LEFT_OPEN:
            return ("PENDING", "PROCESSING", "QUARANTINED")[left // LEFT_OPEN]
        return self._random.choice(self._ends)

    # --- Calls ---

    def _calls(self, chain: _Chain, request_id: str, category: str, status: str) -> dict[str, str | int | None]:
        """Ask the routes; return what the request's row says of it."""
        if status == "PENDING":
            return {}
        routes = self._cast.routes[category]
        failures = 0
        while failures < len(routes) - 1 and self._random.random() < self._again:
            failures += 1
        for route in routes[:failures]:
            if self._random.random() < PASSED_BY:
                chain.skipped.append(f'{{"route": "{route.name}", "provider": "{route.provider}", "reason": "paused"}}')
            else:
                self._call(chain, request_id, route, failure=self._random.choice(self._failures))
        route = routes[failures]
        if status == "COMPLETED":
            return self._answer(chain, request_id, route)
        if status == "FAILED":
            self._call(chain, request_id, route, failure=self._random.choice(self._failures))
            return {"error_code": "ALL_PROVIDERS_FAILED"}
        if status == "PROCESSING":
            self._call(chain, request_id, route, state="SENDING")
            return {}
        self._call(chain, request_id, route, failure=TIMED_OUT)
        return {"error_code": "CANCELLED"} if status == "CANCELLED" else {}

    def _answer(self, chain: _Chain, request_id: str, route: ProviderConfig) -> dict[str, str | int | None]:
        cost, source = self._call(chain, request_id, route)
        output: dict[str, str | int | None]
        if route.category == Category.TEXT:
            output = {"output_text": self._random.choice(ANSWERS), "finish_reason": "stop"}
        else:
            kind = {"IMAGE": ("png", "image/png"), "VIDEO": ("mp4", "video/mp4"), "AUDIO": ("mp3", "audio/mpeg")}
            ending, content_type = kind[route.category]
            name = f"outputs/{request_id}.{ending}"
            media = f'[{{"name": "{name}", "content_type": "{content_type}", "size": 48000}}]'
            output = {"output_media": media, "output_url": f"/media/{name}"}
        return {
            **output,
            "actual_provider": route.provider,
            "actual_route": route.name,
            "cost": cost,
            "cost_source": source,
            "processing_ms": round((chain.ended - chain.began) * 1000),
        }

    def _call(
        self,
        chain: _Chain,
        caller_key: str,
        route: ProviderConfig,
        *,
        failure: Failure | None = None,
        state: str = "OK",
        purpose: str = "",
    ) -> tuple[str | None, str]:
        """Make one call, after those before it; return its cost and where that comes from."""
        purpose = purpose or self._cast.purpose
        chosen, began = self._random, chain.ended + 0.01
        shortest, longest = SPANS[Category(route.category)]
        seconds = failure.seconds if failure else shortest + (longest - shortest) * chosen.random() ** 2
        chain.number += 1
        chain.ended = began + seconds
        state = failure.state if failure else state
        cost, source = self._price(route, state)
        is_live, is_ok = state == "SENDING", state == "OK"
        is_job = route.category != Category.TEXT and route.provider in JOB_PROVIDERS
        usage = '{"input_tokens": 120, "output_tokens": 310}' if is_ok and route.category == Category.TEXT else "{}"
        milliseconds = round(seconds * 1000)
        self._add(
            ATTEMPTS,
            *(self._id(began), caller_key, chain.number, chain.label, route.category, route.operation),
            purpose,
            *(route.provider, route.name, route.model, route.model if is_ok else "", state),
            self._id(began) if is_job and state not in ("FAILED", "SENDING") else "",
            *((failure.error_class, failure.error_text) if failure else ("", "")),
            200 if is_ok else failure.http_status if failure else None,
            *(usage, cost, source, self._reserved(route), None if is_live else milliseconds),
            min(milliseconds, 350) if is_ok and route.category == Category.TEXT else None,
            *(_text(began), None if is_live else _text(chain.ended)),
            # Of the sandbox's calls no sums are kept.
            not is_live and purpose != Purpose.SANDBOX and self._is_settled(chain),
        )
        return cost, source

    def _price(self, route: ProviderConfig, state: str) -> tuple[str | None, str]:
        if state in ("FAILED", "SENDING"):
            return None, ""
        if state != "OK" or route.list_price is None or self._random.random() < 0.01:
            return None, "unknown"
        size = SIZES.get(route.price_unit, Decimal(1))
        cost = route.list_price * size * self._random.randint(20, 180) / 100
        return f"{cost:.10f}", "computed"

    def _reserved(self, route: ProviderConfig) -> str | None:
        return None if route.list_price is None else f"{route.list_price * 4:.10f}"

    def _test(self, category: str, at: float) -> None:
        self._call(
            _Chain(at, at), f"test:{self._id(at)}", self._random.choice(self._cast.routes[category]), purpose="test"
        )

    # --- Credits ---

    def _hold(self, place: int, request_id: str, credits: int, at: float) -> None:
        """Hold the credits, after as many have been bought as are missing."""
        while self.balances[place] < credits:
            self._enter(place, "TOPUP", TOP_UP, at - 60, actor="admin:operator", reference=f"payment:{self._id(at)}")
            self._rare_entry(place, at - 30)
        self._enter(place, "HOLD", -credits, at, request_id=request_id)

    def _rare_entry(self, place: int, at: float) -> None:
        chance = self._random.random()
        if chance < 0.02:
            self._enter(place, "ADJUST", -10, at, actor="admin:operator", reason="Added by mistake")
        elif chance < 0.03:
            self._enter(place, "PAYMENT_REFUND", -20, at, actor="admin:operator", reason="Paid back")
        elif chance < 0.05:
            self._enter(place, "GIFT", 25, at, actor="admin:operator", reason="A gift")
        elif chance < 0.06:
            self._enter(place, "EXPIRE", -5, at)

    def _settle(
        self, place: int, request_id: str, held: int, chain: _Chain, status: str, *, model: AIModel
    ) -> int | None:
        """Keep what was used and give the rest back; return what was charged, None where nothing was shown."""
        is_shown = status == "COMPLETED" or (status == "CANCELLED" and self._random.random() < 0.3)
        if not is_shown:
            self._enter(place, "RELEASE", held, chain.ended, request_id=request_id)
            return None
        charged = self._random.randint(1, held) if model.rates else held
        self._enter(place, "CAPTURE", held - charged, chain.ended, request_id=request_id)
        if self._random.random() < 0.004:
            words = {"actor": "admin:operator", "reason": "The answer was of no use"}
            ended = chain.ended + 600
            self._enter(place, "REFUND", charged, ended, request_id=request_id, model_id=model.pk, **words)
        return charged

    def _enter(
        self,
        place: int,
        kind: str,
        amount: int,
        at: float,
        *,
        request_id: str | None = None,
        model_id: int | None = None,
        actor: str = "system",
        reason: str = "",
        reference: str = "",
    ) -> None:
        self.balances[place] += amount
        account_id = self._cast.people[place].account_id
        words = (actor, reason, reference, self._cast.purpose)
        self._add(ENTRIES, account_id, request_id, kind, amount, kind == "TOPUP", *words, model_id, _text(at))

    # --- The request, and what its chat sees ---

    def _events(self, request_id: str, chain: _Chain, status: str) -> None:
        if status == "REJECTED":
            self._add(EVENTS, request_id, "", status, "system", "not enough credits", _text(chain.began))
            return
        self._add(EVENTS, request_id, "", "PENDING", "user", "", _text(chain.began))
        if status != "PENDING":
            self._add(EVENTS, request_id, "PENDING", "PROCESSING", "worker", "", _text(chain.began))
        if status not in ("PENDING", "PROCESSING"):
            self._add(EVENTS, request_id, "PROCESSING", status, "worker", "", _text(chain.ended))

    def _request(
        self,
        number: int,
        request_id: str,
        person: Person,
        model: AIModel,
        chain: _Chain,
        values: Mapping[str, str | int | None],
    ) -> None:
        status, later = values["status"], _text(self._plan.until.timestamp() + DAY)
        has_ended = status not in ("PENDING", "PROCESSING", "QUARANTINED")
        question = f"{self._random.choice(QUESTIONS)} ({number})"
        self._add(
            REQUESTS,
            *(request_id, person.account_id, model.pk, model.category, self._cast.purpose, person.conversation),
            *(question, "[]", "{}"),
            *(values.get("output_text", ""), values.get("output_media", "[]"), values.get("output_url", ""), status),
            *(values.get("actual_provider"), values.get("actual_route", ""), values.get("finish_reason", "")),
            *(f"[{', '.join(chain.skipped)}]", chain.number, len(chain.skipped)),
            *(values.get("cost"), values.get("cost_source", "")),
            *(values.get("processing_ms"), values["credits"]),
            "NO_CREDITS" if status == "REJECTED" else values.get("error_code", ""),
            *(f"history:{number}", 0 if status in ("PENDING", "REJECTED") else 1),
            later if status == "PROCESSING" else None,
            later if status == "PENDING" else None,
            *(0, _text(chain.began + 90) if has_ended else later, _text(chain.began)),
            None if status in ("PENDING", "REJECTED") else _text(chain.began + 0.01),
            _text(chain.ended) if has_ended else None,
            has_ended and self._is_settled(chain),
        )

    def _is_settled(self, chain: _Chain) -> bool:
        """Return whether the sums have counted it by the end of the history."""
        return chain.ended < self._plan.until.timestamp() - SETTLED_SECONDS

    def _chat(self, number: int, request_id: str, person: Person, chain: _Chain, status: str) -> None:
        if chain.began > self._plan.until.timestamp() - UPDATES_KEPT_DAYS * DAY:
            message = f'{{"update_id": {number}, "message": {{"chat": {{"id": {person.telegram_id}}}, "text": "…"}}}}'
            self._add(
                UPDATES,
                *(self._cast.bot_id, number, person.chat_id, person.telegram_id, "message", message),
                *(_text(chain.began), _text(chain.began + 0.02), f"accepted as {request_id}", 1),
            )
        if status not in ("COMPLETED", "FAILED", "CANCELLED"):
            return
        for part in range(2 if self._random.random() < 0.05 else 1):
            state = self._random.choice(DELIVERED)
            is_shown = state == "DELIVERED"
            self._add(
                DELIVERIES,
                *(request_id, part, "RESULT", state, person.chat_id, 2 * number + part if is_shown else None, 2, 1),
                "" if is_shown else "403: Forbidden: bot was blocked by the user",
                *(_text(chain.began), _text(chain.ended) if is_shown else None),
            )

    def _add(self, table: Table, *row: str | int | bool | None) -> None:
        self.rows.setdefault(table, []).append(row)

    def _id(self, at: float) -> str:
        """Return an id of version 7 as of this moment, see time_ordered_uuid()."""
        digits = f"{int(at * 1000):012x}{self._random.getrandbits(80):020x}"
        return f"{digits[:12]}7{digits[13:16]}8{digits[17:]}"


def _text(at: float) -> str:
    """Return a moment as both databases take it."""
    return str(datetime.fromtimestamp(at, UTC))[: -len("+00:00")]

"""The template of every account: ask for the balance, ask for the days' charges. No provider is named here."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from providers.backends.base import Provider
from providers.errors import OutcomeUnknown, ProviderError
from providers.pricing import COST_QUANTUM
from providers.transport.deadlines import Deadline
from providers.transport.json_fields import get_path
from providers.transport.redaction import Redactor
from providers.types import Call, Category, Prompt

CALL_SECONDS = 10.0  # of one question
MAX_AMOUNT = Decimal(10**9)
MILLISECONDS_FROM = 10**11  # a moment that is larger counts milliseconds since 1970, a smaller one seconds
NO_PROMPT = Prompt(Category.TEXT, "")

Answer = TypeVar("Answer")


class Unit(StrEnum):
    """In what an amount is counted."""

    USD = "USD"
    CREDITS = "credits"  # the provider's own, of which nobody says what one is worth


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left of an account."""

    amount: Decimal  # below 0 is a debt
    unit: Unit = Unit.USD
    refills_at: datetime | None = None  # when a plan fills it up again


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider charged for one day."""

    day: date  # of UTC
    amount: Decimal
    unit: Unit = Unit.USD
    opening: Decimal | None = None  # what it had charged in all when the day began, where it counts so


@dataclass(frozen=True, slots=True)
class Statement:
    """What a provider has told, and in words what it has not."""

    balance: Balance | None
    charges: Sequence[Charge]
    problems: Sequence[str]


class AccountApi(Provider):
    """How one provider is asked for its account. Cheap to make, keeps nothing between calls.

    A subclass states the facts of its API as class attributes and writes one or both of the questions. What it cannot
    read it does not tell: an amount that is missing is unknown, and never 0.
    """

    is_of_whole_account: ClassVar[bool] = True  # whichever key asks; False: what it tells is of the key alone

    def statement(self, first: date, last: date, *, with_charges: bool, deadline: Deadline) -> Statement:
        """Ask for the balance and for the charges of these days (UTC), both included. Raises nothing of a provider's.

        One question that fails does not keep the other from being asked.
        """
        problems: list[str] = []
        balance = _answer_or_none(lambda: self.balance(deadline), problems)
        charges = _answer_or_none(lambda: self.charges(first, last, deadline), problems) if with_charges else None
        return Statement(balance, [each for each in charges or () if first <= each.day <= last], problems)

    def balance(self, deadline: Deadline) -> Balance | None:
        """Return what is left, None where the API does not tell. Raises a ProviderError."""
        return None

    def charges(self, first: date, last: date, deadline: Deadline) -> Sequence[Charge]:
        """Return what these days were charged, as far as the API tells. Raises a ProviderError."""
        return ()

    def ask(self, call: Call, deadline: Deadline) -> dict[str, Any]:
        """Return the JSON object that answers a call. Raises a ProviderError, which contains no key."""
        redactor = Redactor(self.access.key, NO_PROMPT)
        with self.exchange(call, redactor, timeout_seconds=CALL_SECONDS, deadline=deadline) as response:
            return self.checked_object(response, redactor)


def _answer_or_none(ask: Callable[[], Answer], problems: list[str]) -> Answer | None:
    try:
        return ask()
    except ProviderError as error:
        problems.append(facts_of(error))
    return None


def facts_of(error: ProviderError) -> str:
    """Return the facts of an error alone: its own summary is about prompts and bills."""
    facts = [f"HTTP {error.status}" if error.status else "", error.excerpt]
    return ", ".join(fact for fact in facts if fact) or error.error_class


def untold(what: str) -> OutcomeUnknown:
    """Return the error of an answer that does not hold what it was asked for."""
    return OutcomeUnknown(f"the answer does not tell {what}")


def amount_at(value: Any, *path: str | int, unit: Decimal = Decimal(1)) -> Decimal | None:
    """Return the plausible amount at this path, which may be below 0, else None."""
    found = get_path(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | str | Decimal):
        return None
    try:
        amount = Decimal(found) * unit
        return amount.quantize(COST_QUANTUM) if amount.is_finite() and abs(amount) <= MAX_AMOUNT else None
    except ArithmeticError:
        return None


def moment_at(value: Any, *path: str | int) -> datetime | None:
    """Return the moment at this path, written in ISO 8601 or in (milli)seconds since 1970, else None."""
    found = get_path(value, *path)
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(found, str) and not found.isdecimal():
            moment = datetime.fromisoformat(found)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(found, int | str | Decimal) and not isinstance(found, bool):
            seconds = float(found)
            return datetime.fromtimestamp(seconds / 1000 if seconds >= MILLISECONDS_FROM else seconds, UTC)
    return None


def day_at(value: Any, *path: str | int) -> date | None:
    """Return the day of UTC in which the moment at this path lies, else None."""
    moment = moment_at(value, *path)
    return moment.date() if moment else None


def charges_of(amounts: Iterable[tuple[date | None, Decimal | None]], unit: Unit = Unit.USD) -> list[Charge]:
    """Return the sums by day. A day of which one amount cannot be read is not told: less than all of it is wrong."""
    sums: dict[date, Decimal | None] = {}
    for day, amount in amounts:
        if day is None:
            return []
        known = sums.get(day, Decimal(0))
        sums[day] = None if known is None or amount is None else known + amount
    return [Charge(day, amount, unit) for day, amount in sums.items() if amount is not None]


def is_usd(currency: str) -> bool:
    """Return whether this is the dollar; where none is named it is meant."""
    return currency.upper() in ("", "USD")

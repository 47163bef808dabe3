"""The figures of a period, as values. Money is in USD; a figure that nobody knows is None, never 0."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.conf import settings

from providers.statistics.sums import AttemptSums
from requests_app.analytics.periods import Period
from requests_app.models import Account, AIModel


def per_cent(part: int, whole: int) -> Decimal | None:
    """Return a share in per cent, with two decimals; None of nothing."""
    return round(Decimal(100 * part) / whole, 2) if whole else None


class Sales:
    """What credits bring beside what calls cost. Mixed into dataclasses that have these three."""

    credits_charged: int
    credits_refunded: int
    cost: Decimal

    @property
    def credits_used(self) -> int:
        """Credits that were charged and not given back."""
        return self.credits_charged - self.credits_refunded

    @property
    def income(self) -> Decimal | None:
        """USD, the price of the credits that were used, given or bought; None where credits have no price."""
        return self.credits_used * settings.CREDIT_PRICE_USD if settings.CREDIT_PRICE_USD else None

    @property
    def profit(self) -> Decimal | None:
        """USD, the income less the known costs."""
        return None if self.income is None else self.income - self.cost

    @property
    def margin(self) -> Decimal | None:
        """The share of the income that is left, below 0 a loss; None without an income."""
        return round(1 - self.cost / self.income, 4) if self.income and self.income > 0 else None


@dataclass(frozen=True, kw_only=True)
class Requests:
    """What became of requests that have ended, and who answered them."""

    requests: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0
    by_first: int = 0  # answered by the first route that was asked
    by_second: int = 0
    by_later: int = 0  # by the third or a later one

    @property
    def success_rate(self) -> Decimal | None:
        """Per cent of those that were answered or failed, two decimals."""
        return per_cent(self.completed, self.completed + self.failed)

    @property
    def fallback_rate(self) -> Decimal | None:
        """Per cent of the answered ones that the first route has not answered."""
        return per_cent(self.by_second + self.by_later, self.completed)


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long answers took, in milliseconds, within 10 %; None without any."""

    p50_ms: int | None = None  # from the first claim of a request to its whole answer
    p95_ms: int | None = None
    first_words_p50_ms: int | None = None  # from a call to the first words of its text
    first_words_p95_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Totals(Requests, Times, Sales):
    """All figures of a period."""

    period: Period
    cost: Decimal  # USD, known costs of all calls
    test_cost: Decimal  # those of the operator's tests among them
    unknown_costs: int  # calls that may be billed at an unknown cost
    perhaps_billed: Decimal  # USD that these may have cost at most
    credits_sold: int  # less those whose payment was given back
    credits_given: int  # as a welcome, by the operator, as gifts; less what the operator has taken back
    credits_expired: int
    credits_charged: int
    credits_refunded: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A period beside the one before it, of equal length."""

    period: Totals
    before: Totals


@dataclass(frozen=True, kw_only=True)
class Point(Requests, Times):
    """One day, week or month of a series."""

    day: date  # its first
    cost: Decimal = Decimal(0)  # USD, known
    unknown_costs: int = 0


@dataclass(frozen=True, slots=True)
class RouteSeries:
    """How many requests a route has answered."""

    category: str
    provider: str
    route: str
    label: str  # as people read it
    requests: tuple[int, ...]  # by the points of the period

    @property
    def total(self) -> int:
        return sum(self.requests)


@dataclass(frozen=True, kw_only=True)
class RouteFigures(AttemptSums, Times):
    """What the calls of one route have brought and cost."""

    category: str
    provider: str
    route: str

    @property
    def avg_cost(self) -> Decimal | None:
        """USD an answer: failures that were billed make the answers dearer."""
        return self.measured_cost


@dataclass(frozen=True, kw_only=True)
class Fallback(Requests):
    """How often a provider has answered for an AI model."""

    model: AIModel
    answered_by: str  # slug

    @property
    def suggested(self) -> str:
        """The provider that the AI model's name suggests; "" for none."""
        return self.model.provider

    @property
    def is_fallback(self) -> bool:
        """Somebody else has answered than the name suggests."""
        return bool(self.suggested) and self.answered_by != self.suggested


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMargin(Sales):
    """What an AI model has brought and cost."""

    model: AIModel | None  # None: calls for none, such as tests, or whose model is not on record
    requests: int
    completed: int
    credits_charged: int
    credits_refunded: int
    cost: Decimal  # USD, known costs of all calls
    unknown_costs: int
    perhaps_billed: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the calls of one route for one AI model have cost in one step of the period."""

    day: date
    category: str
    provider: str
    route: str
    model: AIModel | None  # as above
    attempts: int  # finished, without the operator's tests
    cost: Decimal
    unknown_costs: int
    perhaps_billed: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFigures(Sales):
    """What one user has asked, paid and cost."""

    account: Account
    requests: int
    completed: int
    credits_charged: int
    credits_refunded: int
    cost: Decimal  # USD, known costs of all calls for their requests
    unknown_costs: int

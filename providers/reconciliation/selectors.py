"""Our sums beside those of the providers, by provider and day of UTC; what is left there, and for how long."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Min, QuerySet, Sum
from django.db.models.functions import TruncDay
from django.utils import timezone

from providers.access import access_to, accounts_of, admin_access_to, current_purpose
from providers.accounts.base import Unit
from providers.db import found_by
from providers.models import Attempt, AttemptRollup, ProviderAccount, ProviderCharge
from providers.registry import PROVIDERS, label_of
from providers.statistics.rollups import IS_UNKNOWN, NOT_FOLDED
from providers.statistics.sum_tables import in_dollars, sum_in_ticks
from providers.types import Purpose

SMALLEST_DIFFERENCE = Decimal("0.01")  # USD, and
SMALLEST_SHARE = Decimal("0.01")  # of what the provider says: less is rounding, or a call at midnight
SPENDING_DAYS = 7  # by which the time is reckoned for which a balance lasts
NOT_ASKED = "It was not asked yet"
LONG_DAYS = 3650  # beyond which nobody reckons


@dataclass(frozen=True, slots=True)
class Sums:
    """What our attempts have cost."""

    known: Decimal = Decimal(0)  # USD
    unknown: int = 0  # attempts that may be billed at an unknown cost
    unknown_at_most: Decimal = Decimal(0)  # USD, for which these were reserved


@dataclass(frozen=True, slots=True)
class Line:
    """One provider's day, or its whole period, on both sides."""

    day: date | None  # of UTC; None: the whole period
    provider: str
    ours: Sums
    told: Decimal | None  # what the provider says, None where it does not
    unit: Unit  # of that
    told_days: int  # on how many days it has said it
    is_over: bool  # False: the day goes on, and both sides count on

    @property
    def label(self) -> str:
        return label_of(self.provider)

    @property
    def difference(self) -> Decimal | None:
        """By how much the provider says more than we know, in USD; None where the two do not compare."""
        return None if self.told is None or self.unit != Unit.USD else self.told - self.ours.known

    @property
    def explained(self) -> Decimal:
        """How much of the difference may be attempts of unknown cost."""
        return min(max(self.difference or Decimal(0), Decimal(0)), self.ours.unknown_at_most)

    @property
    def unexplained(self) -> Decimal | None:
        """What then remains of the difference; below 0 we have counted more than the provider."""
        return None if self.difference is None else self.difference - self.explained

    @property
    def is_equal(self) -> bool:
        """What remains is nothing worth a look."""
        left = abs(self.unexplained or Decimal(0))
        return self.unexplained is not None and (
            left < SMALLEST_DIFFERENCE or left <= SMALLEST_SHARE * abs(self.told or Decimal(0))
        )

    @property
    def words(self) -> str:
        """What to make of it."""
        if self.told is None:
            return "not told"
        if self.difference is None:
            return f"told in {self.unit}, which nobody prices"
        going_on = "" if self.is_over else "; the day goes on"
        if not self.is_equal:
            is_more = (self.unexplained or 0) > 0
            return f"{'it charges more than we know of' if is_more else 'we count more than it charges'}{going_on}"
        if self.explained >= SMALLEST_DIFFERENCE:
            return f"the difference may be attempts of unknown cost{going_on}"
        return f"agrees{going_on}"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All providers in a period."""

    first: date
    last: date
    totals: Sequence[Line]  # of each provider, over the days that it has told; over all days where it told none
    lines: Sequence[Line]  # of each day, the newest first


@dataclass(frozen=True, slots=True)
class AccountState:
    """What is left at a provider for one key."""

    provider: str
    problem: str  # why there is nothing, or nothing newer
    key_id: str = ""  # "" where no key is told anything
    is_admin_key: bool = False
    balance: Decimal | None = None  # None where it was never told
    unit: Unit = Unit.USD
    told_at: datetime | None = None
    refills_at: datetime | None = None
    per_day: Decimal | None = None  # what a day costs lately, in the same unit; None where nobody knows

    @property
    def label(self) -> str:
        return label_of(self.provider)

    @property
    def days_left(self) -> Decimal | None:
        """For how many days the balance lasts at what a day costs lately, from when it was told; None: unknown."""
        if self.balance is None or not self.per_day:
            return None
        return max(Decimal(0), self.balance) / self.per_day

    @property
    def empty_at(self) -> datetime | None:
        """When it will be empty, None where nobody knows, or not within ten years."""
        days = self.days_left
        if days is None or self.told_at is None or days > LONG_DAYS:
            return None
        return self.told_at + timedelta(days=float(days))

    @property
    def lasts_until_refill(self) -> bool:
        """The plan fills it up before it is empty."""
        return bool(
            self.refills_at and self.empty_at and self.told_at and self.told_at < self.refills_at < self.empty_at
        )


def utc_day(moment: datetime | None = None) -> date:
    """Return the day of UTC of a moment, by default of now."""
    return (moment or timezone.now()).astimezone(UTC).date()


def reconciliation(first: date, last: date) -> Reconciliation:
    """Return what these days (UTC, both included) have cost by our attempts and by the providers.

    While the sandbox answers it is the sandbox's account, and that of real calls otherwise.
    """
    ours, today = _sums_by_day(first, last), utc_day()
    told = {(row.day, row.provider): row for row in _charges(first, last)}
    lines = []
    for day, provider in sorted(ours.keys() | told.keys(), key=_newest_first):
        charge = told.get((day, provider))
        lines.append(
            Line(
                day,
                provider,
                ours.get((day, provider), Sums()),
                charge.amount if charge else None,
                charge.unit if charge else Unit.USD,
                int(charge is not None),
                is_over=day < today,
            )
        )
    return Reconciliation(first, last, _totals(lines), lines)


def account_states() -> list[AccountState]:
    """Return what is left at each provider that has a key, in the registry's order."""
    rows = {(row.provider, row.key_id): row for row in ProviderAccount.objects.all()}
    spent, states = spending_per_day(), []
    for slug, spec in PROVIDERS.items():
        apis, is_admin = accounts_of(slug), bool(spec.account.admin_path and admin_access_to(slug))
        for api in apis:
            row, key_id = rows.get((slug, api.access.key_id)), api.access.key_id
            unasked = AccountState(slug, NOT_ASKED, key_id, is_admin)
            states.append(_state(row, spent, is_admin_key=is_admin) if row else unasked)
        if not apis and access_to(slug):
            states.append(AccountState(slug, _why_untold(spec.account.admin_variable)))
    return states


def spending_per_day() -> dict[tuple[str, Unit], Decimal]:
    """Return what a day costs lately, by provider and unit.

    In USD it is what our attempts have cost within the last seven days, by the days since the first of them; in a
    provider's own credits what it has charged for the last seven days that are over.
    """
    now = timezone.now()
    since = now - timedelta(days=SPENDING_DAYS)
    per_day = {}
    for provider, (ticks, began) in _spent_since(since).items():
        days = Decimal((now - began) / timedelta(days=1))
        per_day[provider, Unit.USD] = in_dollars(ticks) / max(Decimal(1), days)
    charged: dict[tuple[str, Unit], list[Decimal]] = defaultdict(list)
    for charge in _charges(utc_day(since), utc_day(now) - timedelta(days=1)):
        if charge.unit != Unit.USD:
            charged[charge.provider, charge.unit].append(charge.amount)
    return per_day | {key: sum(amounts, Decimal(0)) / len(amounts) for key, amounts in charged.items()}


@dataclass(frozen=True, slots=True)
class _Told:
    """What a provider says of a day, of all its keys together."""

    day: date
    provider: str
    amount: Decimal
    unit: Unit


def _charges(first: date, last: date) -> list[_Told]:
    rows: dict[tuple[date, str], list[ProviderCharge]] = defaultdict(list)
    for row in ProviderCharge.objects.filter(purpose=current_purpose(), day__range=(first, last)):
        rows[row.day, row.provider].append(row)
    told = []
    for (day, provider), of_day in rows.items():
        # What is told of the whole account contains what was told of its keys.
        counted = [row for row in of_day if not row.key_id] or of_day
        told.append(_Told(day, provider, sum((row.amount for row in counted), Decimal(0)), Unit(counted[0].unit)))
    return told


def _why_untold(admin_variable: str) -> str:
    if admin_variable:
        return f"It is told to an admin key alone: set {admin_variable}"
    return "Its API tells neither charges nor a balance"


def _state(row: ProviderAccount, spent: dict[tuple[str, Unit], Decimal], *, is_admin_key: bool) -> AccountState:
    unit = Unit(row.unit or Unit.USD)
    problem = row.problem
    if not problem and row.balance is None:
        problem = "It does not tell a balance" if row.asked_at else NOT_ASKED
    return AccountState(
        provider=row.provider,
        problem=problem,
        key_id=row.key_id,
        is_admin_key=is_admin_key,
        balance=row.balance,
        unit=unit,
        told_at=row.told_at,
        refills_at=row.refills_at,
        per_day=spent.get((row.provider, unit)),
    )


def _totals(lines: Iterable[Line]) -> list[Line]:
    """Return each provider's whole period. Where it has told some days, the others are left out of both sides."""
    by_provider: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_provider[line.provider].append(line)
    totals = []
    for provider, days in by_provider.items():
        told = [line for line in days if line.told is not None]
        counted = told or days
        amounts = [line.told for line in told if line.told is not None]
        ours = Sums(
            sum((line.ours.known for line in counted), Decimal(0)),
            sum(line.ours.unknown for line in counted),
            sum((line.ours.unknown_at_most for line in counted), Decimal(0)),
        )
        unit = told[0].unit if told else Unit.USD
        is_over = all(line.is_over for line in counted)
        totals.append(
            Line(None, provider, ours, sum(amounts, Decimal(0)) if amounts else None, unit, len(told), is_over=is_over)
        )
    return sorted(totals, key=lambda line: _place_of(line.provider))


def _sums_by_day(first: date, last: date) -> dict[tuple[date, str], Sums]:
    begin, end = _midnight(first), _midnight(last + timedelta(days=1))
    counters: dict[tuple[date, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in _folded_and_not(begin, end):
        counter = counters[row["day"].astimezone(UTC).date(), row["provider"]]
        for place, name in enumerate(("known", "unknown", "reserved")):
            counter[place] += int(row[name])  # PostgreSQL returns the sum of whole numbers as a decimal
    return {
        key: Sums(in_dollars(known), unknown, in_dollars(reserved))
        for key, (known, unknown, reserved) in counters.items()
    }


def _folded_and_not(begin: datetime, end: datetime) -> QuerySet[Any, dict[str, Any]]:
    """Return the sums by day and provider, of the hourly sums and of the attempts that are not in them.

    One statement, since between two a sweeper may fold.
    """
    rollups, attempts = _rows_from(begin)
    rollups, attempts = rollups.filter(hour__lt=end), attempts.filter(created_at__lt=end)
    folded = rollups.annotate(day=TruncDay("hour", tzinfo=UTC)).values("day", "provider")
    not_yet = attempts.annotate(day=TruncDay("created_at", tzinfo=UTC)).values("day", "provider")
    return not_yet.annotate(
        known=sum_in_ticks("cost"),
        unknown=Count("pk", filter=IS_UNKNOWN),
        reserved=sum_in_ticks("reserved_cost", IS_UNKNOWN),
    ).union(
        folded.annotate(
            known=sum_in_ticks("total_cost"), unknown=Sum("unknown_costs"), reserved=sum_in_ticks("reserved_cost")
        ),
        all=True,
    )


def _spent_since(since: datetime) -> dict[str, tuple[int, datetime]]:
    """Return for each provider what its attempts have cost since then, in ticks, and when the first of them began."""
    rollups, attempts = _rows_from(since)
    found: dict[str, tuple[int, datetime]] = {}
    sums = (
        attempts.values("provider").annotate(known=sum_in_ticks("cost"), began=Min("created_at")),
        rollups.values("provider").annotate(known=sum_in_ticks("total_cost"), began=Min("hour")),
    )
    for row in sums[0].union(sums[1], all=True):
        ticks, began = found.get(row["provider"], (0, row["began"]))
        found[row["provider"]] = ticks + int(row["known"]), min(began, row["began"])
    return found


def _rows_from(begin: datetime) -> tuple[QuerySet[AttemptRollup], QuerySet[Attempt]]:
    rollups = AttemptRollup.objects.order_by().filter(hour__gte=begin)
    attempts = found_by(NOT_FOLDED, Attempt.objects.order_by().filter(created_at__gte=begin))
    if current_purpose() == Purpose.SANDBOX:
        return rollups.none(), attempts.filter(purpose=Purpose.SANDBOX)
    return rollups, attempts.exclude(purpose=Purpose.SANDBOX)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _place_of(provider: str) -> int:
    places = list(PROVIDERS)
    return places.index(provider) if provider in places else len(places)


def _newest_first(key: tuple[date, str]) -> tuple[int, int, str]:
    day, provider = key
    return -day.toordinal(), _place_of(provider), provider

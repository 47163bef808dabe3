"""What is worth an alert about money: caps, unknown outcomes, margins, balances and prices. Nothing is told here.

What takes more than a moment is asked every few minutes, and its answer kept in between; a price is compared once a
day, in a thread, since providers are asked for theirs.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone

from aibot.alerts.condition import Condition, Remedy, routes_of
from providers.access import current_purpose
from providers.accounts.base import Unit
from providers.chain.candidates import provider_for
from providers.chain.model_audit import routes_to_audit
from providers.chain.price_proposals import Proposal, proposals_for
from providers.chain.spending import caps_of, reservation, spent_today
from providers.db import Constant, give_back_connection
from providers.models import Attempt, ProviderConfig
from providers.pricing import TOKEN_RATES
from providers.reconciliation.selectors import AccountState, account_states
from providers.registry import label_of
from providers.statistics.selectors import provider_stats
from providers.types import MAX_OUTPUT_TOKENS, Category, Operation, Prompt
from requests_app.margins import measured_margins

logger = logging.getLogger("aibot.alerts")


@dataclass(frozen=True, slots=True)
class Level:
    """From where on something is the case; once it is, it ends only below a lower level, so that it does not flap."""

    begins: Decimal
    ends: Decimal

    def holds(self, value: Decimal, *, is_open: bool) -> bool:
        """Return whether it is the case, where an alert of it is open or not."""
        return value >= (self.ends if is_open else self.begins)


MOST_OF_CAP = Level(Decimal("0.8"), Decimal("0.75"))  # of its sum
UNKNOWN_SHARE = Level(Decimal("0.2"), Decimal("0.1"))  # of the attempts
MIN_UNKNOWN = 5  # attempts; fewer say nothing
LOSS_SHARE = Level(Decimal(0), Decimal("-0.05"))  # of the income, which the cost is above
MIN_MEASURED = 20  # requests of an AI model; fewer say nothing
MARGIN_HOURS = 24
DAYS_LEFT, DAYS_LEFT_AGAIN = Decimal(3), Decimal(4)  # of a balance
FIRST_PRICE_CHECK_SECONDS = 600.0  # after the start: comparing takes half a second of a processor
PRICE_CHECK_SECONDS = 86_400.0


@dataclass(slots=True)
class Kept:
    """A question whose answer is kept for a while in this process."""

    ask: Callable[[Collection[str]], Iterator[Condition]]
    seconds: float
    answer: Sequence[Condition] = ()
    next_at: float = field(default=0.0)  # on time.monotonic()

    def conditions(self, open_keys: Collection[str]) -> Sequence[Condition]:
        """Return what is the case, or was when it was asked last."""
        if time.monotonic() >= self.next_at:
            self.answer = tuple(self.ask(open_keys))
            self.next_at = time.monotonic() + self.seconds
        return self.answer


def money_conditions(open_keys: Collection[str]) -> Iterator[Condition]:
    """Yield what is the case; `open_keys` are those of the alerts that are open."""
    yield from _caps(open_keys)
    for kept in KEPT:
        yield from kept.conditions(open_keys)
    yield from _prices()


@dataclass(frozen=True, slots=True)
class _Capped:
    """What a cap holds for."""

    key: str  # "" for the service
    who: str
    usd: Decimal
    attempts: Q
    routes: Sequence[ProviderConfig]
    where: str  # the operator finds it


def _capped() -> Iterator[_Capped]:
    total, of_providers = settings.DAILY_SPEND_CAP_USD, settings.PROVIDER_DAILY_CAPS_USD
    enabled = ProviderConfig.objects.filter(enabled=True)
    routes = list(enabled if total is not None or of_providers else enabled.filter(daily_cap_usd__isnull=False))
    if total is not None:
        yield _Capped("", "the service", total, Q(), routes, "DAILY_SPEND_CAP_USD")
    for slug, usd in of_providers.items():
        of_provider = [route for route in routes if route.provider == slug]
        yield _Capped(f":{slug}", label_of(slug), usd, Q(provider=slug), of_provider, "PROVIDER_DAILY_CAPS_USD")
    for route in routes:
        if route.daily_cap_usd is not None:
            own, who = caps_of(route)[0], f"{route.label} in {route.category}"
            key = f":{route.name}:{route.category}"
            yield _Capped(key, who, own.usd, own.attempts, [route], "its daily cap in Admin → Routes")


def _caps(open_keys: Collection[str]) -> Iterator[Condition]:
    for capped in _capped():
        spent = spent_today(capped.attempts)
        share = spent / capped.usd if capped.usd else Decimal(1)
        if not MOST_OF_CAP.holds(share, is_open=f"cap-80{capped.key}" in open_keys):
            continue
        end = f"The day ends at midnight UTC; {capped.where} is the cap."
        yield Condition(
            f"cap-80{capped.key}",
            f"Most of today's ${capped.usd} of {capped.who} is spent",
            f"What might exceed it is not asked any more. {end}",
        )
        if share >= 1 or not _buys_a_call(capped.usd - spent, capped.routes):
            yield Condition(
                f"cap-100{capped.key}",
                f"Today's ${capped.usd} of {capped.who} is spent",
                f"What is left buys no call any more, so none is made. {end}",
                60,  # what was reserved for calls under way comes back
            )


def _buys_a_call(left: Decimal, routes: Sequence[ProviderConfig]) -> bool:
    """Return whether the smallest prompt would fit on some of these routes, as far as their prices are known."""
    known = []
    for route in routes:
        provider = provider_for(route)
        if provider is not None and route.operation == Operation.GENERATE:
            tokens = route.max_output_tokens or MAX_OUTPUT_TOKENS
            prompt = Prompt(Category(route.category), "x", model=route.model, max_output_tokens=tokens)
            least = reservation(route, provider, prompt)
            known += [] if least is None else [least]
    return not known or min(known) <= left


def _unknown_outcomes(open_keys: Collection[str]) -> Iterator[Condition]:
    """Yield the providers of whose calls too many have an outcome that nobody knows, in this hour and the last one."""
    since = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    lost = Attempt.objects.order_by().filter(
        # As in the index of attempts that are not OK.
        ~Q(state=Constant("OK")) & ~Q(state=Constant("SENDING")),
        state__in=Attempt.PERHAPS_BILLED,
        created_at__gte=since,
        purpose=current_purpose(),
    )
    unknown = {row["provider"]: row["number"] for row in lost.values("provider").annotate(number=Count("pk"))}
    if not any(number >= MIN_UNKNOWN for number in unknown.values()):
        return
    made = Counter[str]()
    for stats in provider_stats(since=since):
        made[stats.provider] += stats.requests
    for provider, number in unknown.items():
        key, attempts = f"unknown:{provider}", max(made[provider], number)
        share = Decimal(number) / attempts
        if number >= MIN_UNKNOWN and UNKNOWN_SHARE.holds(share, is_open=key in open_keys):
            yield Condition(
                key,
                f"{share:.0%} of the calls to {label_of(provider)} have an unknown outcome",
                f"{number} of {attempts} of this hour and the last broke off, and may be billed. Lower the time-out of "
                "its routes, or switch them off.",
                remedy=Remedy.PAUSE,
                routes=routes_of(provider),
            )


def _losses(open_keys: Collection[str]) -> Iterator[Condition]:
    """Yield the AI models whose newest requests cost more than their credits bring."""
    if not settings.CREDIT_PRICE_USD:
        return
    for measured in measured_margins(hours=MARGIN_HOURS):
        if measured.requests < MIN_MEASURED or not measured.model.token_cost:
            continue
        key, over = f"margin:{measured.model.slug}", measured.cost - measured.income
        share = over / measured.income if measured.income else Decimal(over > 0)
        if over and LOSS_SHARE.holds(share, is_open=key in open_keys):
            yield Condition(
                key,
                f"{measured.model.name} costs more than its credits bring",
                f"Its last {measured.requests} requests (of {MARGIN_HOURS} h) cost ${measured.cost:.4f} and brought "
                f"${measured.income:.4f}. Raise its token_cost or its rates, or put a cheaper route first.",
            )


def _balances(open_keys: Collection[str]) -> Iterator[Condition]:
    """Yield the accounts that are empty or will be within days."""
    for state in account_states():
        key = f"balance:{state.provider}:{state.key_id[:8]}"
        if state.balance is not None and _is_near_end(state, is_open=key in open_keys):
            left = f"${state.balance:.2f}" if state.unit == Unit.USD else f"{state.balance:,.0f} {state.unit}"
            is_lasting = state.balance > 0 and state.empty_at
            end = f"empty on {state.empty_at:%Y-%m-%d %H:%M} UTC at what is spent lately" if is_lasting else "empty"
            yield Condition(
                key,
                f"The balance at {label_of(state.provider)} is near its end",
                f"{left} were left; {end}. Top up there. Admin → Reconciliation has all balances.",
            )


def _is_near_end(state: AccountState, *, is_open: bool) -> bool:
    if state.balance is not None and state.balance <= 0:
        return True
    if state.empty_at is None or state.lasts_until_refill:
        return False
    days = DAYS_LEFT_AGAIN if is_open else DAYS_LEFT
    return state.empty_at < timezone.now() + timedelta(days=float(days))


KEPT = [Kept(_unknown_outcomes, 60.0), Kept(_losses, 600.0), Kept(_balances, 300.0)]

_next_price_check = time.monotonic() + FIRST_PRICE_CHECK_SECONDS
_risen: Sequence[Proposal] = ()  # by the last check of this process


def _prices() -> Iterator[Condition]:
    """Yield the routes whose prices have risen, until somebody changes them."""
    global _next_price_check
    if time.monotonic() >= _next_price_check and not settings.SANDBOX_ACTIVE:
        _next_price_check = time.monotonic() + PRICE_CHECK_SECONDS
        threading.Thread(target=_check_prices, name="prices", daemon=True).start()
    if not _risen:
        return
    still = ProviderConfig.objects.filter(enabled=True, pk__in=[proposal.route.pk for proposal in _risen])
    prices = {route.pk: (route.prices, route.model) for route in still}
    for proposal in _risen:
        route = proposal.route
        if prices.get(route.pk) == (route.prices, route.model):
            yield Condition(
                f"price:{route.name}:{route.category}",
                f"{route.label} in {route.category} has become dearer",
                f"{proposal}. `manage.py prices --apply {route.name}` takes it over.",
                remedy=Remedy.PAUSE,
                routes=[route.pk],
            )


def _check_prices() -> None:
    global _risen
    try:
        _risen = [proposal for proposal in proposals_for(routes_to_audit(), now=timezone.now()) if is_dearer(proposal)]
    except Exception:
        logger.exception("The prices could not be compared; tomorrow they are again.")
    finally:
        give_back_connection()


def is_dearer(proposal: Proposal) -> bool:
    """Return whether some rate has risen that the route has a price for."""
    return any(
        Decimal(proposal.prices[name]) > Decimal(proposal.route.prices[name])
        for name in TOKEN_RATES
        if name in proposal.prices and name in proposal.route.prices
    )

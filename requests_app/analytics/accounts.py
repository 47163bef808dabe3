"""What one user was sold and given, has used and cost, and what they do now. Changes nothing.

It costs the same however many requests and movements of theirs are on record.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.db.models import OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from providers.access import current_purpose
from providers.statistics.sum_tables import in_dollars
from providers.statistics.sums import within_days
from requests_app.analytics.figures import UserFigures
from requests_app.analytics.periods import period_named
from requests_app.analytics.rollups import requests_fold
from requests_app.analytics.sums import NOT_OF_REQUESTS, account_sums
from requests_app.delivery_backend import UserRecord, get_delivery_backend
from requests_app.models import Account, LedgerEntry, Request

Kind = LedgerEntry.Kind

MAX_SHOWN = 10  # movements and requests each


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCredits:
    """Where the credits of an account have come from and gone to: sold + given - expired - used - held = balance.

    There is one balance: these are of the sandbox and of real calls together.
    """

    balance: int
    held: int  # for requests that have not ended
    sold: int  # less those whose payment was given back
    given: int  # as a welcome, by the operator, as gifts; less what the operator has taken back
    expired: int
    refunded: int  # given back after an answer
    used: int  # charged for answers, less what was given back

    @property
    def charged(self) -> int:
        """Credits that were charged for answers, those that were given back later included."""
        return self.used + self.refunded


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFigures:
    """All figures of an account's page."""

    credits: AccountCredits
    lately: UserFigures  # of the last 30 days
    in_all: UserFigures
    under_way: Sequence[Request]  # the newest that have not ended
    has_more_under_way: bool


def account_figures(account: Account) -> AccountFigures:
    """Return the figures of an account; those of its requests as in the analyses, see selectors.py."""
    since = period_named("30").first
    balance, refunded = _credits_of(account.pk, since)
    sums = account_sums(account.pk, step=since)
    lately = sums.get(1, Counter())
    under_way = unfinished_requests(account.pk)[: MAX_SHOWN + 1]
    return AccountFigures(
        credits=balance,
        lately=_figures(account, lately, refunded=refunded.lately),
        in_all=_figures(account, lately + sums.get(0, Counter()), refunded=refunded.in_all),
        under_way=under_way[:MAX_SHOWN],
        has_more_under_way=len(under_way) > MAX_SHOWN,
    )


def unfinished_requests(account_id: int) -> list[Request]:
    """Return the newest requests of an account that have not ended, one more than are shown."""
    unfinished = Request.objects.filter(user_id=account_id, completed_at__isnull=True)
    return list(_shown(unfinished.order_by("-created_at"))[: MAX_SHOWN + 1])


def newest_requests(account_id: int) -> list[Request]:
    """Return the newest requests of an account, without their texts."""
    return list(_shown(Request.objects.filter(user_id=account_id).order_by("-created_at"))[:MAX_SHOWN])


def newest_movements(account_id: int) -> list[LedgerEntry]:
    """Return the newest movements of an account's credits."""
    return list(LedgerEntry.objects.filter(account_id=account_id).order_by("-id")[:MAX_SHOWN])


def user_records(account_id: int) -> Sequence[UserRecord]:
    """Return what other apps have on record of an account's user."""
    return get_delivery_backend().user_records(account_id)


def _shown(requests: QuerySet[Request]) -> QuerySet[Request]:
    return requests.select_related("model").only("pk", "created_at", "status", "credits", "cost", "model__name")


@dataclass(frozen=True, slots=True)
class _Refunded:
    """Credits that were given back after an answer, of the sandbox while it answers, of real calls otherwise."""

    lately: int
    in_all: int


def _credits_of(account_id: int, since: date) -> tuple[AccountCredits, _Refunded]:
    """Return the credits of an account, and those given back, from a day on and in all.

    One statement, because it sees one moment of the database. Charges are not added up, of which there may be millions:
    they are what is missing from the balance.
    """
    entries = LedgerEntry.objects.order_by().filter(NOT_OF_REQUESTS, account_id=OuterRef("pk"))
    refunds = entries.filter(kind=Kind.REFUND)
    ours = refunds.filter(purpose=current_purpose())
    sold = entries.filter(Q(kind=Kind.TOPUP, is_paid=True) | Q(kind=Kind.PAYMENT_REFUND))
    unfinished = Request.objects.order_by().filter(user_id=OuterRef("pk"), completed_at__isnull=True)
    accounts = Account.objects.filter(pk=account_id).annotate(
        held=Coalesce(Subquery(unfinished.values("user_id").annotate(total=Sum("credits")).values("total")), 0),
        moved=_sum(entries),
        sold=_sum(sold),
        refunded=_sum(refunds),
        ours=_sum(ours),
        ours_lately=_sum(within_days(ours, since, None, requests_fold.cuts())),
        expired=_sum(entries.filter(kind=Kind.EXPIRE)),
    )
    row = accounts.values("balance", "held", "moved", "sold", "refunded", "ours", "ours_lately", "expired").get()
    sums = {name: int(number) for name, number in row.items()}
    found = AccountCredits(
        balance=sums["balance"],
        held=sums["held"],
        sold=sums["sold"],
        given=sums["moved"] - sums["sold"] - sums["refunded"] - sums["expired"],
        expired=-sums["expired"],
        refunded=sums["refunded"],
        used=sums["moved"] - sums["refunded"] - sums["held"] - sums["balance"],
    )
    return found, _Refunded(sums["ours_lately"], sums["ours"])


def _sum(entries: QuerySet[LedgerEntry]) -> Coalesce:
    return Coalesce(Subquery(entries.values("account_id").annotate(total=Sum("amount")).values("total")), 0)


def _figures(account: Account, sums: Counter[str], *, refunded: int) -> UserFigures:
    return UserFigures(
        account=account,
        requests=sums["requests"],
        completed=sums["completed"],
        credits_charged=sums["credits"],
        credits_refunded=refunded,
        cost=in_dollars(sums["cost"]),
        unknown_costs=sums["unknown_costs"],
    )

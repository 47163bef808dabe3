"""The sums of ended requests, and what is folded when: by day and AI model, time taken, user."""

from typing import Any

from django.db.models import (
    Aggregate,
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from providers.db import found_by
from providers.models import Attempt
from providers.statistics.folding import Fold
from providers.statistics.histograms import bucket_of
from providers.statistics.rollups import IS_UNKNOWN
from providers.statistics.sum_tables import DAYS, Row, SumsTable, in_dollars, sum_in_ticks
from providers.types import Operation, Purpose
from requests_app.models import AccountMonthRollup, AccountRollup, LedgerEntry, Request, RequestHistogram, RequestRollup

Status = Request.Status
IS_ANSWERED = Q(status=Status.COMPLETED)
NOT_FOLDED = Q(rolled_up=False, completed_at__isnull=False)  # ended requests, as their index has them

# What is counted of ended requests that are annotated with `depth` and `charged`, by the name of the sum.
SUMS: dict[str, Aggregate] = {
    "requests": Count("pk"),
    "completed": Count("pk", filter=IS_ANSWERED),
    "failed": Count("pk", filter=Q(status=Status.FAILED)),
    "cancelled": Count("pk", filter=Q(status=Status.CANCELLED)),
    "rejected": Count("pk", filter=Q(status=Status.REJECTED)),
    "by_first": Count("pk", filter=IS_ANSWERED & Q(depth__lte=1)),
    "by_second": Count("pk", filter=IS_ANSWERED & Q(depth=2)),
    "by_later": Count("pk", filter=IS_ANSWERED & Q(depth__gte=3)),
    "credits": Sum("charged", default=0),
}
# Those of a user, of requests that are annotated with `charged`, `cost_ticks` and `costs_unknown`.
USER_SUMS: dict[str, Aggregate] = {
    "requests": SUMS["requests"],
    "completed": SUMS["completed"],
    "credits": SUMS["credits"],
    "cost": Sum("cost_ticks", default=0),
    "unknown_costs": Sum("costs_unknown", default=0),
}


def fold_requests() -> int:
    """Add ended requests to the sums and mark them as folded, together; return how many. Idempotent."""
    return requests_fold.fold()


def ended_not_folded() -> QuerySet[Request]:
    """Return the requests that have ended and are not in the sums yet."""
    return found_by(NOT_FOLDED, Request.objects.order_by())


def with_facts(requests: QuerySet[Request]) -> QuerySet[Any]:
    """Annotate ended requests with what their row does not say.

    `depth` is how many routes were asked for the answer, `charged` the credits kept at the end.
    """
    attempts = Attempt.objects.order_by().filter(caller_key=OuterRef("pk"))
    calls = attempts.exclude(operation=Operation.TRANSCRIBE).values("caller_key").annotate(number=Count("pk"))
    captured = LedgerEntry.objects.filter(request=OuterRef("pk"), kind=LedgerEntry.Kind.CAPTURE)
    return requests.annotate(
        # Requests of an earlier release do not say it; their calls do.
        depth=Case(
            When(routes_asked__gt=0, then=F("routes_asked")),
            default=Coalesce(Subquery(calls.values("number")), Value(0)),
            output_field=IntegerField(),
        ),
        # A cancelled request is charged where a part of its answer was shown; then its CAPTURE says so.
        charged=Case(
            When(IS_ANSWERED | Q(Exists(captured), status=Status.CANCELLED), then=F("credits")),
            default=Value(0),
            output_field=IntegerField(),
        ),
    )


def with_costs(requests: QuerySet[Request]) -> QuerySet[Request]:
    """Annotate requests with what all their attempts have cost: `cost_ticks` known, `costs_unknown` attempts."""
    attempts = Attempt.objects.order_by().filter(caller_key=OuterRef("pk"), finished_at__isnull=False)
    each = attempts.values("caller_key")
    return requests.annotate(
        cost_ticks=Subquery(each.annotate(ticks=sum_in_ticks("cost")).values("ticks")),
        costs_unknown=Subquery(each.annotate(number=Count("pk", filter=IS_UNKNOWN)).values("number")),
    )


def timed(requests: QuerySet[Request]) -> QuerySet[Any]:
    """Return the answered requests whose time is known, each with its `bucket`."""
    return requests.filter(IS_ANSWERED, processing_ms__isnull=False).annotate(bucket=bucket_of("processing_ms"))


def _daily_sums_of_models(requests: QuerySet[Request]) -> list[Row]:
    days = with_facts(requests).annotate(provider=Coalesce("actual_provider", Value("")), route=F("actual_route"))
    group = ("day", "category", "model_id", "purpose", "provider", "route")
    return [_named(row) for row in days.values(*group).annotate(**_renamed(SUMS))]


def _daily_times(requests: QuerySet[Request]) -> list[Row]:
    return list(timed(requests).values("day", "category", "purpose", "bucket").annotate(number=Count("pk")))


def _daily_sums_of_users(requests: QuerySet[Request]) -> list[Row]:
    days = with_costs(with_facts(requests)).annotate(account_id=F("user_id"))
    rows = days.values("day", "account_id", "purpose").annotate(**_renamed(USER_SUMS))
    return [{**row, "cost": in_dollars(row["cost"])} for row in map(_named, rows)]


def _renamed(sums: dict[str, Aggregate]) -> dict[str, Aggregate]:
    # A sum must not be called like a field of the request.
    return {f"all_{name}": sum_ for name, sum_ in sums.items()}


def _named(row: Row) -> Row:
    return {name.removeprefix("all_"): value for name, value in row.items()}


class _RequestsFold(Fold):
    name = "requests"
    source = Request
    ended_at = "completed_at"
    batch_rows = 2_000
    tables = (
        SumsTable(
            RequestRollup,
            DAYS,
            called="AI models",
            key=("category", "model", "purpose", "provider", "route"),
            sums=tuple(SUMS),
            count=_daily_sums_of_models,
        ),
        SumsTable(
            RequestHistogram,
            DAYS,
            called="times",
            key=("category", "purpose", "bucket"),
            sums=("number",),
            count=_daily_times,
        ),
        SumsTable(
            AccountRollup,
            DAYS,
            called="users",
            key=("account", "purpose"),
            sums=tuple(USER_SUMS),
            count=_daily_sums_of_users,
            months=AccountMonthRollup,
        ),
    )

    def foldable(self) -> QuerySet[Any]:
        """Return those whose attempts are all folded, so that neither their number nor their cost changes any more.

        An attempt of unknown outcome is for an hour.
        """
        open_attempts = Attempt.objects.filter(caller_key=OuterRef("pk"), rolled_up=False)
        unsettled = open_attempts.filter(~Q(purpose=Purpose.SANDBOX) | Q(finished_at=None))
        return Request.objects.filter(NOT_FOLDED).filter(~Exists(unsettled))


requests_fold = _RequestsFold()

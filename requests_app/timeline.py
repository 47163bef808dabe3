"""The life of one request as operators read it: what happened in order, and why this route answered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from providers.chain.candidates import NO_KEY
from providers.models import Attempt
from providers.statistics.selectors import shown_usd
from providers.types import Operation, Purpose
from requests_app.delivery_backend import get_delivery_backend
from requests_app.models import LedgerEntry, Request, RequestEvent

Status = Request.Status


class Kind(StrEnum):
    """Of what an entry tells."""

    STATUS = "status"
    PASSED_BY = "passed by"
    ATTEMPT = "attempt"
    CREDITS = "credits"
    MESSAGE = "message"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to a request."""

    at: datetime
    kind: Kind
    words: str  # what happened
    facts: tuple[str, ...] = ()  # such as its duration and its cost
    actor: str = ""  # who did it, "" where that is no person and no process of ours
    reason: str = ""  # why, in the words of who did it or of the provider
    attempt: Attempt | None = None  # which has a page of its own


@dataclass(frozen=True, slots=True)
class Timeline:
    """A request's life."""

    entries: Sequence[TimelineEntry]  # the oldest first
    why: str  # why this route, in one sentence
    bill: str  # what its operator pays for it


def request_timeline(request: Request) -> Timeline:
    """Return what is on record about a request: five queries, however long its life was."""
    attempts = list(Attempt.objects.filter(caller_key=request.id).order_by("number"))
    entries = [
        *map(_of_event, RequestEvent.objects.filter(request_id=request.id).order_by("id")),
        *_of_skips(request, attempts),
        *map(_of_attempt, attempts),
        *map(_of_entry, LedgerEntry.objects.filter(request_id=request.id).order_by("id")),
        *_of_messages(request),
        *_of_operators(request),
    ]
    # Of the same moment, in the order above.
    entries.sort(key=lambda entry: entry.at)
    return Timeline(entries, why_this_route(request, attempts), bill_of(attempts))


def _of_event(event: RequestEvent) -> TimelineEntry:
    words = str(Status(event.to_status).label)
    facts = (f"{event.from_status or '–'} → {event.to_status}",)
    return TimelineEntry(event.created_at, Kind.STATUS, words, facts, event.actor, event.reason)


def _of_skips(request: Request, attempts: Sequence[Attempt]) -> Iterable[TimelineEntry]:
    # When is not on record. The routes are looked at just before the first call.
    at = attempts[0].created_at if attempts else request.completed_at or request.created_at
    for route, reason in _skips_of(request):
        yield TimelineEntry(at, Kind.PASSED_BY, f"{route} was passed by", reason=reason)


def _skips_of(request: Request) -> list[tuple[str, str]]:
    return [(skip.get("route", "a route"), skip.get("reason", "")) for skip in request.skipped]


def _of_attempt(attempt: Attempt) -> TimelineEntry:
    purpose = "" if attempt.operation == Operation.GENERATE else f", {attempt.get_operation_display()}"
    facts = [
        f"{attempt.get_provider_display()}, {attempt.model}{purpose}",
        f"took {seconds_of_ms(attempt.duration_ms)}" if attempt.duration_ms is not None else "",
        f"first words after {seconds_of_ms(attempt.first_token_ms)}" if attempt.first_token_ms is not None else "",
        f"HTTP {attempt.http_status}" if attempt.http_status else "",
        _cost_of(attempt),
    ]
    return TimelineEntry(
        attempt.created_at,
        Kind.ATTEMPT,
        f"{_name_of(attempt)}: {attempt.get_state_display()}",
        tuple(fact for fact in facts if fact),
        reason=": ".join(words for words in (attempt.error_class, attempt.error_text) if words),
        attempt=attempt,
    )


def _cost_of(attempt: Attempt) -> str:
    if attempt.cost is not None:
        return f"{shown_usd(attempt.cost)} ({attempt.cost_source})" if attempt.cost_source else shown_usd(attempt.cost)
    if not attempt.is_billed and attempt.state not in Attempt.LIVE:
        return ""
    most = "" if attempt.reserved_cost is None else f", at most {shown_usd(attempt.reserved_cost)}"
    return f"cost unknown{most}" if attempt.state == Attempt.State.OK else f"perhaps billed{most or ', cost unknown'}"


def _of_entry(entry: LedgerEntry) -> TimelineEntry:
    words = f"{entry.kind} {entry.amount:+,} credits" if entry.amount else f"{entry.kind}, nothing given back"
    facts = (str(entry.get_kind_display()),)
    return TimelineEntry(entry.created_at, Kind.CREDITS, words, facts, entry.actor, entry.reason)


def _of_messages(request: Request) -> Iterable[TimelineEntry]:
    for part in get_delivery_backend().history([request.id]):
        words = f"{part.what}: {part.outcome}"
        yield TimelineEntry(part.at, Kind.MESSAGE, words, (part.where,), reason=part.note)


def _of_operators(request: Request) -> Iterable[TimelineEntry]:
    about = ContentType.objects.get_for_model(Request)
    entries = LogEntry.objects.filter(content_type=about, object_id=request.id).select_related("user").order_by("pk")
    for entry in entries:
        words = entry.get_change_message()
        yield TimelineEntry(entry.action_time, Kind.OPERATOR, words, actor=f"admin:{entry.user.get_username()}")


def why_this_route(request: Request, attempts: Sequence[Attempt]) -> str:
    """Return one sentence: how many routes were asked for the answer, what each did, and which were passed by."""
    asked = [attempt for attempt in attempts if attempt.operation != Operation.TRANSCRIBE]
    names = {_name_of(attempt) for attempt in asked}
    skipped = {route: reason for route, reason in _skips_of(request) if route not in names}
    passed_by = {route: reason for route, reason in skipped.items() if reason != NO_KEY}
    unused = len(skipped) - len(passed_by)
    tail = f" ({unused} without a key)." if unused else "."
    skips = [f"{route} was passed by: {reason}" for route, reason in passed_by.items()]
    outcomes = [_outcome_of(attempt) for attempt in asked]
    number, total = len(names), len(names) + len(passed_by)
    if request.status == Status.COMPLETED and asked:
        return f"{_ordinal(number)} of {total} tried: {'; '.join([*outcomes[:-1], *skips, *outcomes[-1:]])}{tail}"
    if not total:
        return f"No route was tried{tail}"
    are = "was" if number == 1 else "were"
    tried = f"{number} of {total} {are} tried" if number else f"None of {total} was tried"
    so_far = " so far" if request.completed_at is None else ""
    return f"{tried}{so_far}: {'; '.join([*outcomes, *skips])}{tail}"


def _outcome_of(attempt: Attempt) -> str:
    name, reason = _name_of(attempt), attempt.error_text.rstrip(".") or attempt.error_class
    after = "" if attempt.duration_ms is None else f" after {seconds_of_ms(attempt.duration_ms)}"
    if attempt.state == Attempt.State.OK:
        return f"{name} answered{after.replace(' after', ' in')}"
    if attempt.state in Attempt.LIVE:
        return f"{name} is being asked"
    did = "failed" if attempt.state == Attempt.State.FAILED else "gave no answer that is known"
    return f"{name} {did}{after}" + (f" ({reason})" if reason else "")


def _name_of(attempt: Attempt) -> str:
    return attempt.route or attempt.provider  # attempts of the first release have no route


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 10 < number % 100 < 20 else ending}"


def seconds_of_ms(milliseconds: int) -> str:
    """Return a duration as a sentence says it."""
    return f"{milliseconds / 1000:.1f} s"


def bill_of(attempts: Sequence[Attempt]) -> str:
    """Say what a request has cost its operator: every attempt that is billed, not the answering one alone."""
    real = [attempt for attempt in attempts if attempt.purpose != Purpose.SANDBOX]
    if attempts and not real:
        return "Nothing is billed: the sandbox was asked."
    known = sum((attempt.cost for attempt in real if attempt.cost is not None), Decimal(0))
    # What is under way may be billed as well.
    unknown = [row.reserved_cost for row in real if row.cost is None and (row.is_billed or row.state in Attempt.LIVE)]
    bill = f"Billed in all: {shown_usd(known)}"
    if not unknown:
        return f"{bill}."
    limits = [limit for limit in unknown if limit is not None]
    most = f" of at most {shown_usd(sum(limits, Decimal(0)))}" if len(limits) == len(unknown) else ""
    return f"{bill}, and {len(unknown)} at an unknown cost{most}."

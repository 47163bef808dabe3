"""The checker: a pure function over the contents of the database, the providers' bill and the chats.

It knows the promise and none of the product's code; that is why the table of transitions stands here a second time. Run
it after the faults have ended and all work is done: while work is under way it raises false alarms.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TypeVar

from tests.proof.facts import AttemptFact, BillFact, DeliveryFact, EntryFact, Facts, MessageFact, RequestFact

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)

OPEN = {"PENDING", "PROCESSING"}
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
TRANSITIONS = {
    "": {"PENDING", "REJECTED"},
    "PENDING": {"PROCESSING", "FAILED", "CANCELLED", "QUARANTINED"},
    "PROCESSING": {"COMPLETED", "FAILED", "CANCELLED", "QUARANTINED"},
    "QUARANTINED": {"PROCESSING", "COMPLETED", "FAILED", "CANCELLED"},
}
ACCEPTED = re.compile(r"accepted as (\S+)")
RECOGNISED_CHARACTERS = 30  # at the start of an answer, even of one that is still streamed


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    rule: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


class Evidence:
    """The facts, grouped so that each rule finds its own."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.requests = {request.id: request for request in facts.requests}
        self.entries = _grouped(facts.ledger, lambda entry: entry.request_id)
        self.attempts = _grouped(facts.attempts, lambda attempt: attempt.request_id)
        self.deliveries = _grouped(facts.deliveries, lambda delivery: delivery.request_id)
        self.shown = {(message.chat_id, message.message_id): message for message in facts.messages}

    @cached_property
    def unclaimed(self) -> list[MessageFact]:
        """Messages that belong to no delivery: answers to commands, stray placeholders, and errors."""
        claimed = {(delivery.chat_id, delivery.message_id) for delivery in self.facts.deliveries}
        return [message for key, message in self.shown.items() if key not in claimed]

    @cached_property
    def stray_placeholders(self) -> list[MessageFact]:
        return [message for message in self.unclaimed if message.content == self.facts.placeholder]

    @cached_property
    def prompts(self) -> Mapping[str, "PromptGroup"]:
        """Requests, attempts and bills by the text of their prompt."""
        prompts: dict[str, PromptGroup] = defaultdict(PromptGroup)
        for request in self.facts.requests:
            prompt = prompts[_plain(request.prompt)]
            prompt.requests.append(request)
            prompt.attempts += [attempt for attempt in self.attempts[request.id] if not attempt.is_transcript]
            # What was asked to hear it is paid for once as well.
            if heard := [attempt for attempt in self.attempts[request.id] if attempt.is_transcript]:
                spoken = prompts[_plain(f"heard: {request.prompt}")]
                spoken.requests.append(request)
                spoken.attempts += heard
        for line in self.facts.bill:
            # A call that was cut off early carries no prompt and costs nothing; it is counted with its provider.
            if line.prompt or line.is_billed:
                prompts[_plain(line.prompt)].lines.append(line)
        return prompts


class PromptGroup:
    """Everything about one text. Where two requests share it, their calls are counted together."""

    def __init__(self) -> None:
        self.requests: list[RequestFact] = []
        self.attempts: list[AttemptFact] = []
        self.lines: list[BillFact] = []

    @property
    def billed(self) -> list[BillFact]:
        return [line for line in self.lines if line.is_billed]

    @property
    def second_payments(self) -> int:
        return max(0, len(self.billed) - len(self.requests))


def check(facts: Facts) -> list[Violation]:
    """Return everything in these facts that breaks the promise."""
    evidence = Evidence(facts)
    return [violation for rule in RULES for violation in rule(evidence)]


# --- Nothing is lost ---


def updates_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """Every acknowledged update is recorded, with one request or a reason why there is none."""
    rows = {update.update_id: update for update in evidence.facts.updates}
    keys = Counter(request.intake_key for request in evidence.facts.requests)
    for update_id in sorted(evidence.facts.acknowledged - rows.keys()):
        yield Violation("update lost", str(update_id), "acknowledged, and there is no row")
    for update in rows.values():
        made = keys[update.intake_key]
        if made > 1:
            yield Violation("update doubled", str(update.update_id), f"{made} requests")
        match = ACCEPTED.match(update.outcome)
        if match and (match[1] not in evidence.requests or not made):
            yield Violation("request lost", str(update.update_id), f"{update.outcome}, which does not exist")
    for key in keys.keys() - {update.intake_key for update in rows.values()}:
        if key.startswith("telegram:"):
            yield Violation("update lost", key, "it has a request, and no row")


def nothing_is_forgotten(evidence: Evidence) -> Iterator[Violation]:
    """Nothing unfinished waits longer than a lease and two sweeps, and no call stays open after its request."""
    max_idle_seconds = evidence.facts.max_idle_seconds
    for request in evidence.facts.requests:
        if request.status in OPEN and request.idle_seconds > max_idle_seconds:
            yield _idle("request forgotten", request.id, request.status, request.idle_seconds)
        if request.status not in OPEN | {"QUARANTINED"}:
            for attempt in evidence.attempts[request.id]:
                if not attempt.is_finished:
                    yield Violation("call left open", request.id, f"#{attempt.number} {attempt.state}")
    for update in evidence.facts.updates:
        if not update.outcome and update.idle_seconds > max_idle_seconds:
            yield _idle("update forgotten", str(update.update_id), "unhandled", update.idle_seconds)
    for delivery in evidence.facts.deliveries:
        if _is_unfinished(delivery, evidence) and delivery.idle_seconds > max_idle_seconds:
            yield _idle("delivery forgotten", _name(delivery), delivery.state, delivery.idle_seconds)


def _is_unfinished(delivery: DeliveryFact, evidence: Evidence) -> bool:
    """Return whether a worker should show it now. A placeholder waits for the end of its request."""
    if delivery.state in {"PLACING", "SENDING"}:
        return True
    return delivery.state == "PENDING" and evidence.requests[delivery.request_id].status not in OPEN | {"QUARANTINED"}


def _idle(rule: str, subject: str, state: str, seconds: float) -> Violation:
    return Violation(rule, subject, f"{state}, and untouched for {seconds:.0f} s")


def transitions_are_allowed(evidence: Evidence) -> Iterator[Violation]:
    """Each transition is in the table and recorded, and the record ends with the request's status."""
    for request in evidence.facts.requests:
        status = ""
        for event in request.events:
            if event.from_status != status:
                yield Violation(
                    "transition unrecorded", request.id, f"at {status or '–'}, then from {event.from_status}"
                )
            if event.to_status not in TRANSITIONS.get(event.from_status, set()):
                yield Violation("transition forbidden", request.id, f"{event.from_status or '–'} → {event.to_status}")
            status = event.to_status
        if status != request.status:
            yield Violation(
                "transition unrecorded", request.id, f"is {request.status}, the record says {status or '–'}"
            )


# --- Nothing is charged twice ---


def balances_add_up(evidence: Evidence) -> Iterator[Violation]:
    """A balance is the sum of its ledger and not below zero."""
    entries = _grouped(evidence.facts.ledger, lambda entry: entry.account_id)
    for account in evidence.facts.accounts:
        balance = 0
        for entry in entries[account.id]:
            balance += entry.amount
        if balance != account.balance:
            yield Violation("balance wrong", str(account.id), f"{account.balance}, and the ledger's sum is {balance}")
        if account.balance < 0:
            yield Violation("balance negative", str(account.id), str(account.balance))


def requests_are_settled_once(evidence: Evidence) -> Iterator[Violation]:
    """A finished request has one HOLD and one CAPTURE or RELEASE; a rejected one has nothing.

    An answer that could not be shown is refunded. Who cancels has read for nothing, or pays.
    """
    for request in evidence.facts.requests:
        entries = evidence.entries[request.id]
        kinds = sorted(entry.kind for entry in entries)
        if kinds != _expected_kinds(request, evidence):
            yield Violation("not settled once", request.id, f"{request.status} with {', '.join(kinds) or 'nothing'}")
        held = -sum(entry.amount for entry in entries if entry.kind == "HOLD")
        for entry in entries:
            if entry.account_id != request.account_id or entry.amount != _expected_amount(entry, request, held):
                yield Violation("wrong amount", request.id, f"{entry.kind} {entry.amount:+d} of {request.credits}")


def _expected_kinds(request: RequestFact, evidence: Evidence) -> list[str]:
    first = next((delivery for delivery in evidence.deliveries[request.id] if delivery.part == 0), None)
    if request.status == "REJECTED":
        return []
    if request.status == "COMPLETED":
        is_given_up = first is not None and first.state == "UNDELIVERABLE"
        is_waiting = first is not None and first.chat_id in evidence.facts.unreachable_chats
        return ["CAPTURE", "HOLD", "REFUND"] if is_given_up and not is_waiting else ["CAPTURE", "HOLD"]
    if request.status == "CANCELLED" and first is not None and first.is_read:
        return ["CAPTURE", "HOLD"]
    return ["HOLD", "RELEASE"] if request.status in ENDED else ["HOLD"]


def _expected_amount(entry: EntryFact, request: RequestFact, held: int) -> int:
    """A price by size holds the most that a request may cost; its end keeps what was used."""
    is_settled = request.status in {"COMPLETED", "CANCELLED"}
    rest = max(0, held - request.credits) if is_settled else 0
    hold = -(request.credits + rest)
    return {"HOLD": hold, "CAPTURE": rest, "RELEASE": request.credits, "REFUND": request.credits}.get(entry.kind, 0)


def captures_have_results(evidence: Evidence) -> Iterator[Violation]:
    """Credits are captured if and only if there is a result, its files included, and a call that brought it.

    Apart from what was read and then cancelled, which requests_are_settled_once() looks at.
    """
    for request in evidence.facts.requests:
        is_captured = any(entry.kind == "CAPTURE" for entry in evidence.entries[request.id])
        if request.status == "CANCELLED" and not request.has_output:
            continue
        if is_captured and not request.has_output:
            yield Violation("paid for nothing", request.id, "captured without a result")
        if request.has_output and not is_captured:
            yield Violation("result unpaid", request.id, f"{request.status} with a result")
        for name in request.missing_files:
            yield Violation("file lost", request.id, name)
        attempts = [attempt for attempt in evidence.attempts[request.id] if not attempt.is_transcript]
        answered = {attempt.provider for attempt in attempts if attempt.state == "OK"}
        if is_captured and request.provider not in answered:
            yield Violation("answer unexplained", request.id, f"by {request.provider}, without a recorded call")


def calls_have_attempts(evidence: Evidence) -> Iterator[Violation]:
    """Every call on a provider's bill has an attempt row, and jobs match one to one."""
    for words, prompt in evidence.prompts.items():
        if not prompt.requests:
            yield Violation("call without a request", words[:60], ", ".join(line.provider for line in prompt.lines))
            continue
        attempts = Counter(attempt.provider for attempt in prompt.attempts)
        for provider, calls in Counter(line.provider for line in prompt.lines).items():
            if calls > attempts[provider]:
                detail = f"{provider} billed or received {calls} calls, {attempts[provider]} are recorded"
                yield Violation("call without an attempt", prompt.requests[0].id, detail)
    in_all = Counter(attempt.provider for attempt in evidence.facts.attempts)
    for provider, calls in Counter(line.provider for line in evidence.facts.bill).items():
        if calls > in_all[provider]:
            yield Violation("call without an attempt", provider, f"{calls} calls received, {in_all[provider]} recorded")
    yield from _jobs_match(evidence)


def _jobs_match(evidence: Evidence) -> Iterator[Violation]:
    known = Counter((attempt.provider, attempt.job_id) for attempt in evidence.facts.attempts if attempt.job_id)
    billed = {(line.provider, line.job_id) for line in evidence.facts.bill if line.job_id}
    for (provider, job_id), times in known.items():
        if times > 1:
            yield Violation("job doubled", job_id, f"{times} attempts at {provider}")
        if (provider, job_id) not in billed:
            yield Violation("job invented", job_id, f"{provider} does not know it")
    for prompt in evidence.prompts.values():
        for provider in {line.provider for line in prompt.lines if line.job_id}:
            lost = {line.job_id for line in prompt.lines if line.provider == provider and line.job_id}
            lost -= {attempt.job_id for attempt in prompt.attempts if attempt.provider == provider}
            # Where the answer was cut off, or came at once, the attempt has no id; each of these accounts for one job.
            nameless = [a for a in prompt.attempts if a.provider == provider and not a.job_id]
            if prompt.requests and len(lost) > len(nameless):
                yield Violation("job unknown", prompt.requests[0].id, f"{provider}: {', '.join(sorted(lost))}")


def answers_belong_to_their_requests(evidence: Evidence) -> Iterator[Violation]:
    """An answer is that to its request's own prompt, and a job that of its attempt's request."""
    for request in evidence.facts.requests:
        quoted, prompt = _plain(request.answered_prompt), _plain(request.prompt)
        if not prompt.startswith(quoted):
            yield Violation("answer of another", request.id, f"answers {quoted[:60]!r} instead of {prompt[:60]!r}")
    jobs = {(line.provider, line.job_id): line.prompt for line in evidence.facts.bill if line.job_id and line.prompt}
    for attempt in evidence.facts.attempts:
        job = jobs.get((attempt.provider, attempt.job_id))
        request = evidence.requests[attempt.request_id]
        if job is not None and _plain(job) != _plain(request.prompt):
            yield Violation("answer of another", request.id, f"job {attempt.job_id} was ordered for {job[:60]!r}")


def costs_are_those_of_the_bill(evidence: Evidence) -> Iterator[Violation]:
    """What we recorded as the cost of a call is what it was billed at, and each other billed call is recorded as such.

    A call whose cost we do not know is one that answered, or one that is recorded as perhaps billed.
    """
    for prompt in evidence.prompts.values():
        for provider in {call.provider for call in (*prompt.billed, *prompt.attempts)} if prompt.requests else ():
            lines = [line for line in prompt.billed if line.provider == provider]
            billed = Counter(line.cost for line in lines if line.cost is not None)
            unpriced = len(lines) - billed.total()  # each of them may be any of our calls
            attempts = [attempt for attempt in prompt.attempts if attempt.provider == provider]
            known = Counter(attempt.cost for attempt in attempts if attempt.cost is not None)
            unknown = sum(a.cost is None and (a.was_unknown or a.state == "OK") for a in attempts)
            subject = f"{prompt.requests[0].id} at {provider}"
            invented = list((known - billed).elements())
            if len(invented) > unpriced:
                yield Violation("cost invented", subject, f"recorded as {invented}, and billed at no such sum")
            if (left := (billed - known).total() + max(0, unpriced - len(invented))) > unknown:
                yield Violation("cost unrecorded", subject, f"{left} billed calls beside {unknown} perhaps billed")


def answered_by_model(facts: Facts) -> Mapping[str, list[RequestFact]]:
    """Return the answered requests of each AI model."""
    return _grouped([row for row in facts.requests if row.status == "COMPLETED"], lambda request: request.model)


def answers_earn_their_cost(evidence: Evidence) -> Iterator[Violation]:
    """The answers of an AI model cost no more than their credits are sold for, all of them together."""
    price = evidence.facts.credit_price
    for model, requests in answered_by_model(evidence.facts).items():
        cost = sum((request.cost for request in requests if request.cost is not None), Decimal(0))
        income = price * sum(request.credits for request in requests)
        if price and cost > income:
            yield Violation("sold at a loss", model, f"{len(requests)} answers for ${income} cost ${cost}")


def second_payments_are_explained(evidence: Evidence) -> Iterator[Violation]:
    """A request is paid for once, and once more for each call whose outcome is recorded as unknown."""
    for prompt in evidence.prompts.values():
        unknown = sum(attempt.was_unknown for attempt in prompt.attempts)
        if prompt.requests and len(prompt.billed) > len(prompt.requests) + unknown:
            bills = ", ".join(line.provider for line in prompt.billed)
            yield Violation("paid twice", prompt.requests[0].id, f"bills of {bills} beside {unknown} unknown")


# --- Nothing is done twice ---


def commands_act_once(evidence: Evidence) -> Iterator[Violation]:
    """A command has one effect, however often its update is handled: one cancelled request, one new conversation."""
    cancelled = {update.target for update in evidence.facts.updates if update.command == "/cancel"}
    for request in evidence.facts.requests:
        is_by_user = any(event.to_status == "CANCELLED" and event.is_by_user for event in request.events)
        if is_by_user and request.id not in cancelled:
            yield Violation("command acted twice", request.id, "cancelled by a command that has chosen another request")
    asked = Counter(update.chat_id for update in evidence.facts.updates if update.command == "/new")
    for chat_id, begun in evidence.facts.conversations.items():
        if begun > asked[chat_id]:
            yield Violation("command acted twice", f"chat {chat_id}", f"{begun} conversations, asked {asked[chat_id]}x")


def files_are_uploaded_once(evidence: Evidence) -> Iterator[Violation]:
    """A file whose upload the Bot API has confirmed is not uploaded again, except by a process that took over."""
    shown = Counter(content for request in evidence.facts.requests for content in request.expected_messages.values())
    again = Counter(evidence.facts.confirmed_uploads) - shown
    if again.total() > evidence.facts.excused_uploads:
        detail = f"{again.total()} confirmed uploads too many, {evidence.facts.excused_uploads} interrupted processes"
        yield Violation("file uploaded twice", ", ".join(again), detail)


# --- Nothing is shown twice ---


def answers_are_shown_once(evidence: Evidence) -> Iterator[Violation]:
    """Each part of an ended request is in its chat once and complete; no other message there is a copy of it."""
    for request in evidence.facts.requests:
        if request.status not in ENDED:
            continue
        deliveries = {delivery.part: delivery for delivery in evidence.deliveries[request.id]}
        for part, content in request.expected_messages.items() if deliveries else ():
            delivery = deliveries.get(part)
            if delivery is None:
                yield Violation("part missing", request.id, f"there is no part {part}")
            elif delivery.chat_id not in evidence.facts.unreachable_chats:
                yield from _is_shown(delivery, content, evidence)
    yield from _copies(evidence)


def _is_shown(delivery: DeliveryFact, content: str, evidence: Evidence) -> Iterator[Violation]:
    if delivery.state == "UNDELIVERABLE":
        yield Violation("not shown", _name(delivery), "given up, although the chat is reachable")
    if delivery.state != "DELIVERED" or delivery.message_id is None:
        return  # still under way, or perhaps shown: other rules cover these
    message = evidence.shown.get((delivery.chat_id, delivery.message_id))
    if message is None:
        yield Violation("not shown", _name(delivery), f"message {delivery.message_id} is not in the chat")
    elif message.content != content:
        yield Violation("shown wrongly", _name(delivery), f"…{message.content[-60:]!r} instead of …{content[-60:]!r}")


def _copies(evidence: Evidence) -> Iterator[Violation]:
    """Find copies of answers that belong to no delivery, except those that a crashed sender may have sent."""
    answers: dict[int, set[str]] = defaultdict(set)
    excused: Counter[tuple[int, str]] = Counter()
    for delivery in evidence.facts.deliveries:
        answer = evidence.requests[delivery.request_id].expected_messages.get(delivery.part)
        if answer is not None:
            answers[delivery.chat_id].add(answer)
            excused[delivery.chat_id, answer] += delivery.state == "UNCERTAIN" and delivery.message_id is None
    for message in evidence.unclaimed:
        if message.content == evidence.facts.placeholder or not _is_copy(message.content, answers[message.chat_id]):
            continue
        if excused[message.chat_id, message.content] > 0:
            excused[message.chat_id, message.content] -= 1
            continue
        yield Violation(
            "shown twice", f"chat {message.chat_id}", f"message {message.message_id}: {message.content[:80]!r}"
        )


def _is_copy(content: str, answers: Iterable[str]) -> bool:
    return any(content[:RECOGNISED_CHARACTERS] == answer[:RECOGNISED_CHARACTERS] for answer in answers)


def placeholders_are_explained(evidence: Evidence) -> Iterator[Violation]:
    """A placeholder that belongs to no delivery is left only where a send was cut short."""
    strays = evidence.stray_placeholders
    if len(strays) > evidence.facts.excused_placeholders:
        chats = ", ".join(str(message.chat_id) for message in strays[:5])
        detail = f"{len(strays)} strays, {evidence.facts.excused_placeholders} sends cut short"
        yield Violation("placeholder left", f"chats {chats}", detail)


RULES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    updates_are_kept,
    nothing_is_forgotten,
    transitions_are_allowed,
    balances_add_up,
    requests_are_settled_once,
    captures_have_results,
    calls_have_attempts,
    answers_belong_to_their_requests,
    costs_are_those_of_the_bill,
    answers_earn_their_cost,
    second_payments_are_explained,
    commands_act_once,
    files_are_uploaded_once,
    answers_are_shown_once,
    placeholders_are_explained,
)


def _name(delivery: DeliveryFact) -> str:
    return f"{delivery.request_id} part {delivery.part}"


def _plain(words: str) -> str:
    return " ".join(words.split())


def _grouped(items: Iterable[T], key: Callable[[T], Key]) -> Mapping[Key, list[T]]:
    groups: dict[Key, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups

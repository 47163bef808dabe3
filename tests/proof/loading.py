"""Loading the facts: the ORM, the sandbox's bill and the fake Bot API's chats become plain values."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.files.storage import default_storage
from django.db.models.functions import Now

from providers.models import Attempt
from providers.sandbox.fake_files import words_in
from providers.size_estimates import is_audio
from providers.types import Operation
from requests_app.models import Account, LedgerEntry, Request, RequestEvent
from requests_app.selectors import question_of
from requests_app.services.refunds import credits_charged
from telegram_bot import texts
from telegram_bot.content.files import file_of
from telegram_bot.content.rendering import message_parts
from telegram_bot.delivery import backend
from telegram_bot.models import Delivery, TelegramChat, TelegramThread, TelegramUpdate
from tests.fakes.telegram import ChatMessage, FakeTelegram
from tests.proof.facts import (
    AccountFact,
    AttemptFact,
    BillFact,
    DeliveryFact,
    EntryFact,
    EventFact,
    Facts,
    MessageFact,
    RequestFact,
    UpdateFact,
)

QUOTED = re.compile(r"You wrote: “(.*)”\.", re.DOTALL)  # in the sandbox's answers
UNKNOWN = {Attempt.State.UNKNOWN, Attempt.State.ABANDONED, Attempt.State.EXPIRED}


def load_facts(
    *,
    bill: Iterable[Mapping[str, Any]],
    telegram: FakeTelegram,
    acknowledged: Iterable[int] = (),
    max_idle_seconds: float = 0.0,
    excused_placeholders: int = 0,
    excused_uploads: int = 0,
    credit_price: Decimal = Decimal(0),
) -> Facts:
    """Load everything as it is now; `bill` is what Bill.as_list() returns."""
    events = _events()
    return Facts(
        acknowledged=frozenset(acknowledged),
        updates=_updates(),
        accounts=tuple(AccountFact(row.pk, row.balance) for row in Account.objects.all()),
        ledger=tuple(
            EntryFact(row.account_id, row.request_id or "", row.kind, row.amount)
            for row in LedgerEntry.objects.order_by("id")
        ),
        requests=tuple(
            _request(row, events[row.id])
            for row in Request.objects.select_related("model").annotate(now=Now()).order_by("id")
        ),
        attempts=tuple(map(_attempt, Attempt.objects.order_by("caller_key", "number"))),
        deliveries=tuple(map(_delivery, Delivery.objects.select_related("request", "chat").annotate(now=Now()))),
        unreachable_chats=frozenset(
            TelegramChat.objects.filter(is_reachable=False).values_list("telegram_id", flat=True)
        ),
        conversations=_conversations(),
        bill=tuple(map(_bill, bill)),
        messages=tuple(
            MessageFact(chat.id, message.id, content_of(message))
            for chat in telegram.all_chats()
            for message in chat.messages
        ),
        credit_price=credit_price,
        placeholder=texts.PLACEHOLDER,
        max_idle_seconds=max_idle_seconds,
        excused_placeholders=excused_placeholders,
        uploads=len(telegram.uploads),
        confirmed_uploads=Counter(map(_content_of_file, telegram.confirmed_uploads)),
        excused_uploads=excused_uploads,
    )


def content_of(message: ChatMessage) -> str:
    return message.text if message.kind == "text" else _content_of_file(message.file)


def _content_of_file(content: bytes) -> str:
    return f"file {hashlib.sha256(content).hexdigest()}"


def _updates() -> tuple[UpdateFact, ...]:
    return tuple(
        UpdateFact(
            row.update_id,
            row.chat.telegram_id if row.chat else None,
            row.outcome if row.handled_at else "",
            _seconds_since(row, row.received_at, row.next_at, row.chat.lease_until if row.chat else None),
            row.pk,
            *_command(row),
        )
        for row in TelegramUpdate.objects.select_related("chat").annotate(now=Now())
    )


def _command(row: TelegramUpdate) -> tuple[str, str]:
    """Return the command of an update, and what it acts on."""
    text = str(row.raw.get("message", {}).get("text", ""))
    return (text.split()[0], row.target.partition("/")[0]) if text.startswith("/") else ("", "")


def _conversations() -> Mapping[int, int]:
    begun: Counter[int] = Counter()
    for telegram_id, number in TelegramThread.objects.values_list("chat__telegram_id", "conversation"):
        begun[telegram_id] += number - 1
    return begun


def _events() -> Mapping[str, list[EventFact]]:
    events: dict[str, list[EventFact]] = defaultdict(list)
    rows = RequestEvent.objects.order_by("id").values_list(
        "request_id", "from_status", "to_status", "actor", "request__user__key"
    )
    for request_id, from_status, to_status, actor, user in rows:
        events[request_id].append(EventFact(from_status, to_status, actor == user))
    return events


def _request(row: Request, events: list[EventFact]) -> RequestFact:
    names = [str(stored["name"]) for stored in row.output_media]
    return RequestFact(
        id=row.id,
        account_id=row.user_id,
        intake_key=row.intake_key,
        prompt=_prompt_of(row),
        status=row.status,
        credits=row.credits,
        provider=row.actual_provider or "",
        model=row.model.name,
        cost=row.cost,
        has_output=bool(row.output_text or row.output_media or row.output_url),
        answered_prompt=_quoted(row.output_text),
        missing_files=tuple(name for name in names if not _is_stored(name)),
        events=tuple(events),
        idle_seconds=_seconds_since(row, row.created_at, row.lease_until, row.next_at),
        expected_messages=_expected_messages(row) if row.completed_at else {},
    )


def _prompt_of(row: Request) -> str:
    """Return what was asked, in writing or aloud, heard or not: a provider may have answered with no words."""
    spoken = [str(stored["name"]) for stored in row.input_media if is_audio(stored["content_type"])]
    if not row.transcript and spoken and _is_stored(spoken[0]):
        with default_storage.open(spoken[0]) as file:
            return words_in(file.read())
    return question_of(row.input_text, row.transcript)


def _quoted(answer: str) -> str:
    """Return the beginning of the prompt that the sandbox answers, which it quotes."""
    match = QUOTED.search(answer)
    return match[1].removesuffix("…") if match else ""


def _is_stored(name: str) -> bool:
    return default_storage.exists(name) and default_storage.size(name) > 0


def _expected_messages(row: Request) -> Mapping[int, str]:
    """Return the expected content of each message of an ended request, in the product's own formatting."""
    file = file_of(row)
    if file:
        expected = {0: _content_of_file(file.read()) if _is_stored(file.name) else f"the lost file {file.name}"}
    elif row.status == Request.Status.COMPLETED:
        expected = dict(enumerate(part.text for part in message_parts(row.output_text)))
    else:
        charged = credits_charged(row.id) if row.status == Request.Status.CANCELLED else 0
        expected = {0: texts.failure(row, charged=charged)}
    is_late = row.completed_at is not None and row.completed_at - row.created_at > backend.NOTICE_AFTER
    if len(expected) == 1 and is_late and row.status != Request.Status.CANCELLED:
        is_answered = row.status == Request.Status.COMPLETED
        expected[Delivery.NOTICE_PART] = texts.NOTICE_READY if is_answered else texts.NOTICE_FAILED
    return expected


def _attempt(row: Attempt) -> AttemptFact:
    return AttemptFact(
        request_id=row.caller_key,
        number=row.number,
        provider=row.provider,
        state=row.state,
        job_id=row.job_id,
        # An answer that came after its attempt was recorded as unknown leaves the reason in the row.
        was_unknown=row.state in UNKNOWN or (row.state == Attempt.State.OK and bool(row.error_class)),
        cost=row.cost,
        is_finished=row.finished_at is not None,
        is_transcript=row.operation == Operation.TRANSCRIBE,
    )


def _bill(line: Mapping[str, Any]) -> BillFact:
    cost = None if line.get("cost") is None else Decimal(line["cost"])
    return BillFact(line["provider"], line["prompt"], line["billed"], line.get("job_id", ""), cost)


def _delivery(row: Delivery) -> DeliveryFact:
    moments = (row.created_at, row.next_at, row.request.completed_at)
    return DeliveryFact(
        request_id=row.request_id,
        part=row.part,
        state=row.state,
        chat_id=row.chat.telegram_id,
        message_id=row.message_id,
        idle_seconds=_seconds_since(row, *moments),
        is_read=row.shown_at is not None,
    )


def _seconds_since(row: Any, *moments: datetime | None) -> float:
    """Return how long ago the last of these moments was, by the database's clock."""
    return (row.now - max(moment for moment in moments if moment)).total_seconds()

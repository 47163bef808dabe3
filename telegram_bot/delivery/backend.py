"""The outlet: shows in the chat how a request grows and how it ended."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Greatest, Now

from providers.types import Category, OnText
from requests_app.delivery_backend import DeliveryBackend
from requests_app.models import Request
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.api.errors import BotApiError, CallRefused, EntitiesRefused, MessageGone, OutcomeUnsure, ThreadGone
from telegram_bot.content.files import MAX_BYTES, StoredFile, file_of
from telegram_bot.content.rendering import MessagePart, message_parts
from telegram_bot.delivery.retries import record_delivery_failure
from telegram_bot.delivery.streaming import StreamStatus, live_message_close, live_message_open
from telegram_bot.models import Delivery

logger = logging.getLogger("telegram_bot.delivery")

Status = Request.Status
State = Delivery.State

SENDING_SECONDS = 30  # after this a sender counts as lost; a call ends after client.CALL_SECONDS
SETTLING_SECONDS = 15  # after this a frame that got no confirmation cannot arrive any more
UNSETTLED = "unsettled frame"
NOTICE_AFTER = timedelta(seconds=20)  # an edit enqueued_now no bell; whoever waited this long looks elsewhere
UNENDED = (*Request.OPEN, Status.QUARANTINED)


class TelegramDeliveryBackend(DeliveryBackend):
    """Shows results in the chat that a request came from. Requests from elsewhere are not its business."""

    def on_partial(self, request_id: str) -> OnText | None:
        return live_message_open(request_id)

    def deliver(self, request_id: str) -> None:
        request_deliver(request_id=request_id)


def request_deliver(*, request_id: str) -> None:
    """Show how a request ended: edit its placeholder, then send the further parts, each a row of its own.

    Repeating it shows nothing twice. The edit is repeated each time, even where it was done: a frame of a worker
    that had lost the request may stand over the answer by now. Where the placeholder is still on its way, nothing
    happens; whoever places it comes here afterwards. Before the end of the request only its stream ends here.
    """
    # Before anything else: a stream that only waits for its placeholder would write over what others show in it.
    streamed = live_message_close(request_id)
    first = Delivery.objects.select_related("request").annotate(now=Now()).filter(request_id=request_id, part=0).first()
    if first is None:
        return
    if first.request.status in UNENDED or (first.next_at and first.next_at > first.now):
        if streamed is StreamStatus.UNSURE:
            _put_off(first)
        return
    if first.message_id is None or first.state in {State.SENDING, State.UNDELIVERABLE}:
        return
    pieces = _parts_for(first.request)
    # Noted before anything is shown: whoever dies in between leaves rows that the sweeper finds.
    further = _further(first, pieces)
    # A file never grows in the chat, so nothing can stand over it: once is enough.
    is_shown = first.state == State.DELIVERED and isinstance(pieces[0], StoredFile)
    if not is_shown and not _show_first(first, pieces[0], streamed):
        return
    for delivery in further:
        piece = _notice_for(first.request) if delivery.part == Delivery.NOTICE_PART else pieces[delivery.part]
        if not _send(delivery, piece, reply_to=first.message_id):
            return


def _parts_for(request: Request) -> Sequence[MessagePart | StoredFile]:
    if request.status != Status.COMPLETED:
        return [MessagePart(texts.failure(request))]
    file = file_of(request)
    if file:
        return [file if file.size <= MAX_BYTES else MessagePart(texts.TOO_LARGE)]
    return message_parts(request.output_text) or [MessagePart(texts.BLANK_ANSWER)]


def _notice_for(request: Request) -> MessagePart:
    return MessagePart(texts.READY if request.status == Status.COMPLETED else texts.NOT_READY)


def _show_first(first: Delivery, piece: MessagePart | StoredFile, streamed: StreamStatus) -> bool:
    """Edit the placeholder. Returns whether the further parts may follow."""
    if first.state == State.UNCERTAIN:
        return True
    try:
        _edit(first, piece)
    except MessageGone:
        # Its user has deleted the placeholder, which gets them one new message; or the answer, which they have seen.
        return first.state == State.DELIVERED or _send(first, piece, reply_to=first.reply_to)
    except BotApiError as fault:
        record_delivery_failure(delivery=first, fault=fault)
        return False
    rows = Delivery.objects.filter(pk=first.pk)
    if _may_be_overwritten(first, streamed):
        # Show the answer once more when no frame can arrive any more.
        rows.update(state=State.PENDING, next_at=_settled_at(), error=UNSETTLED)
    else:
        rows.update(state=State.DELIVERED, delivered_at=Coalesce("delivered_at", Now()), next_at=None, error="")
    return True


def _may_be_overwritten(first: Delivery, streamed: StreamStatus) -> bool:
    """Tell whether a frame may still arrive: one without a confirmation, or one of another process, which may die.

    A process that streams looks whether the request is open before each frame, so after a while none comes.
    """
    if streamed is StreamStatus.ELSEWHERE:
        is_streamed = first.request.category == Category.TEXT and first.request.started_at is not None
        return is_streamed and first.state != State.DELIVERED and first.error != UNSETTLED
    return streamed is StreamStatus.UNSURE


def _put_off(first: Delivery) -> None:
    """Have the answer wait until a frame that got no confirmation cannot arrive after it any more."""
    next_at = Greatest(Coalesce("next_at", _settled_at()), _settled_at())
    Delivery.objects.filter(pk=first.pk, state=State.PENDING).update(next_at=next_at)


def _settled_at() -> CombinedExpression:
    return Now() + timedelta(seconds=SETTLING_SECONDS)


def _edit(delivery: Delivery, piece: MessagePart | StoredFile) -> None:
    assert delivery.message_id is not None  # noqa: S101 — for the type checker; the caller has looked
    client = get_client()
    if isinstance(piece, StoredFile):
        try:
            client.edit_media(delivery.chat_id, delivery.message_id, piece)
        except CallRefused:
            client.edit_media(delivery.chat_id, delivery.message_id, piece.as_document)
        return
    try:
        client.edit(delivery.chat_id, delivery.message_id, piece)
    except EntitiesRefused:
        client.edit(delivery.chat_id, delivery.message_id, piece.plain)


def _further(first: Delivery, pieces: Sequence[MessagePart | StoredFile]) -> list[Delivery]:
    """Return the rows of the messages that follow the first, in order; they are written before any is sent."""
    parts = list(range(1, len(pieces)))
    if not parts and _is_late(first.request):
        parts = [Delivery.NOTICE_PART]
    if not parts:
        return []
    rows = Delivery.objects.filter(request_id=first.request_id, part__in=parts).order_by("part")
    if len(rows) < len(parts):
        Delivery.objects.bulk_create(
            [
                Delivery(
                    request_id=first.request_id,
                    part=part,
                    kind=Delivery.Kind.NOTICE if part == Delivery.NOTICE_PART else Delivery.Kind.RESULT,
                    state=State.PENDING,
                    chat_id=first.chat_id,
                    thread_id=first.thread_id,
                    reply_to=first.message_id,
                )
                for part in parts
            ],
            ignore_conflicts=True,
        )
    return list(rows.all())


def _is_late(request: Request) -> bool:
    """Tell whether the user needs a bell. One who cancelled is looking at the chat."""
    if request.status == Status.CANCELLED or request.completed_at is None:
        return False
    return request.completed_at - request.created_at > NOTICE_AFTER


def _send(delivery: Delivery, piece: MessagePart | StoredFile, *, reply_to: int | None) -> bool:
    """Send one message that is due and nobody else's. Returns whether the next part may follow.

    A send that got no confirmation may be in the chat, so it is not repeated: the row says so.
    """
    if delivery.state in {State.DELIVERED, State.UNCERTAIN, State.UNDELIVERABLE}:
        return True
    rows = Delivery.objects.filter(pk=delivery.pk)
    due = rows.filter(Q(next_at__isnull=True) | Q(next_at__lte=Now()), state=State.PENDING)
    if not due.update(state=State.SENDING, next_at=Now() + timedelta(seconds=SENDING_SECONDS), tries=F("tries") + 1):
        return False
    delivery.refresh_from_db()
    try:
        message_id = _send_as_it_goes(delivery, piece, reply_to)
    except OutcomeUnsure as fault:
        logger.warning("%s may not have arrived and is not sent again: %s", delivery, fault)
        rows.update(state=State.UNCERTAIN, error=str(fault)[:200], next_at=None)
        return True
    except BotApiError as fault:
        record_delivery_failure(delivery=delivery, fault=fault)
        return False
    rows.update(state=State.DELIVERED, message_id=message_id, delivered_at=Now(), next_at=None, error="")
    delivery.message_id = message_id
    return True


def _send_as_it_goes(delivery: Delivery, piece: MessagePart | StoredFile, reply_to: int | None) -> int:
    """Send with formatting and into the topic, or without what Telegram does not accept."""
    client = get_client()
    chat_id, thread_id = delivery.chat_id, delivery.thread_id
    if isinstance(piece, StoredFile):
        try:
            return client.send_media(chat_id, piece, thread_id=thread_id, reply_to=reply_to)
        except CallRefused:
            return client.send_media(chat_id, piece.as_document, thread_id=thread_id, reply_to=reply_to)
    try:
        return client.send(chat_id, piece, thread_id=thread_id, reply_to=reply_to)
    except EntitiesRefused:
        return client.send(chat_id, piece.plain, thread_id=thread_id, reply_to=reply_to)
    except ThreadGone:
        return client.send(chat_id, piece)

"""The delivery backend of the bot: shows in its chat how a request ended. Partial answers are in streaming.py."""

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
from telegram_bot.models import Delivery, DeliveryKind, DeliveryState

logger = logging.getLogger("telegram_bot.delivery")

Status = Request.Status
Content = MessagePart | StoredFile  # what one message shows

SENDING_SECONDS = 30  # after this a sender counts as lost; a call ends after client.CALL_SECONDS
SETTLING_SECONDS = 15  # after this an unconfirmed partial edit cannot arrive any more
UNSETTLED = "a partial edit may still arrive"
NOTICE_AFTER = timedelta(seconds=20)  # an edit notifies nobody; a user who waited this long may have left the chat
NOT_ENDED = (*Request.OPEN, Status.QUARANTINED)


class TelegramDeliveryBackend(DeliveryBackend):
    """Shows results in the chat that a request came from. Requests without a chat are ignored."""

    def on_partial(self, request_id: str) -> OnText | None:
        return live_message_open(request_id)

    def deliver(self, request_id: str) -> None:
        request_deliver(request_id=request_id)


def request_deliver(*, request_id: str) -> None:
    """Show how a request ended: edit its placeholder, then send the further parts, each a row of its own.

    Idempotent. The edit is repeated each time, even where it was done: a late partial edit of a worker that had lost
    the request may have replaced the answer. While the placeholder is being sent, nothing happens; its sender calls
    this afterwards. Before the end of the request this only stops the stream.
    """
    # Before anything else: a stream that waits for its placeholder would replace what others show in it.
    stream_status = live_message_close(request_id)
    first = Delivery.objects.select_related("request").annotate(now=Now()).filter(request_id=request_id, part=0).first()
    if first is None:
        return
    if first.request.status in NOT_ENDED or (first.next_at and first.next_at > first.now):
        if stream_status is StreamStatus.UNCONFIRMED:
            _postpone(first)
        return
    if first.message_id is None or first.state in {DeliveryState.SENDING, DeliveryState.UNDELIVERABLE}:
        return
    contents = _contents_of(first.request)
    # Written before anything is shown: a worker that dies in between leaves rows that the sweeper finds.
    further_deliveries = _further_deliveries(first, len(contents))
    # A file is never streamed, so no partial edit can replace it: once is enough.
    is_shown = first.state == DeliveryState.DELIVERED and isinstance(contents[0], StoredFile)
    if not is_shown and not _show_first(first, contents[0], stream_status):
        return
    for delivery in further_deliveries:
        content = _notice_for(first.request) if delivery.part == Delivery.NOTICE_PART else contents[delivery.part]
        if not _send(delivery, content, reply_to=first.message_id):
            return


def _contents_of(request: Request) -> Sequence[Content]:
    """Return what the request's messages show, one item per part."""
    if request.status != Status.COMPLETED:
        return [MessagePart(texts.failure(request))]
    file = file_of(request)
    if file:
        return [file if file.size <= MAX_BYTES else MessagePart(texts.FILE_TOO_LARGE)]
    return message_parts(request.output_text) or [MessagePart(texts.EMPTY_ANSWER)]


def _notice_for(request: Request) -> MessagePart:
    return MessagePart(texts.NOTICE_READY if request.status == Status.COMPLETED else texts.NOTICE_FAILED)


def _show_first(first: Delivery, content: Content, stream_status: StreamStatus) -> bool:
    """Edit the placeholder. Returns whether the further parts may follow."""
    if first.state == DeliveryState.UNCERTAIN:
        return True
    try:
        _edit(first, content)
    except MessageGone:
        # The user has deleted the message. A placeholder is followed by one new message; an answer was seen.
        return first.state == DeliveryState.DELIVERED or _send(first, content, reply_to=first.reply_to)
    except BotApiError as error:
        record_delivery_failure(delivery=first, error=error)
        return False
    rows = Delivery.objects.filter(pk=first.pk)
    if _may_be_overwritten(first, stream_status):
        # Show the answer again when no partial edit can arrive any more.
        rows.update(state=DeliveryState.PENDING, next_at=_settled_at(), error=UNSETTLED)
    else:
        rows.update(state=DeliveryState.DELIVERED, delivered_at=Coalesce("delivered_at", Now()), next_at=None, error="")
    return True


def _may_be_overwritten(first: Delivery, stream_status: StreamStatus) -> bool:
    """Return whether a partial edit may still arrive: an unconfirmed one, or one of another process.

    A streaming process checks before each partial edit that the request is open, so after SETTLING_SECONDS none comes.
    """
    if stream_status is StreamStatus.ELSEWHERE:
        is_streamed = first.request.category == Category.TEXT and first.request.started_at is not None
        return is_streamed and first.state != DeliveryState.DELIVERED and first.error != UNSETTLED
    return stream_status is StreamStatus.UNCONFIRMED


def _postpone(first: Delivery) -> None:
    """Have the answer wait until an unconfirmed partial edit cannot arrive after it any more."""
    next_at = Greatest(Coalesce("next_at", _settled_at()), _settled_at())
    Delivery.objects.filter(pk=first.pk, state=DeliveryState.PENDING).update(next_at=next_at)


def _settled_at() -> CombinedExpression:
    return Now() + timedelta(seconds=SETTLING_SECONDS)


def _edit(delivery: Delivery, content: Content) -> None:
    """Edit with formatting and as media, or without what Telegram refuses."""
    assert delivery.message_id is not None  # noqa: S101 — for the type checker; the caller has checked
    client = get_client()
    if isinstance(content, StoredFile):
        try:
            client.edit_media(delivery.chat_id, delivery.message_id, content)
        except CallRefused:
            client.edit_media(delivery.chat_id, delivery.message_id, content.as_document)
        return
    try:
        client.edit(delivery.chat_id, delivery.message_id, content)
    except EntitiesRefused:
        client.edit(delivery.chat_id, delivery.message_id, content.plain)


def _further_deliveries(first: Delivery, count: int) -> list[Delivery]:
    """Return the rows of the messages that follow the first, in order; missing ones are written.

    `count` is the number of parts, the first included.
    """
    parts = list(range(1, count))
    if not parts and _needs_notice(first.request):
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
                    kind=DeliveryKind.NOTICE if part == Delivery.NOTICE_PART else DeliveryKind.RESULT,
                    state=DeliveryState.PENDING,
                    chat_id=first.chat_id,
                    thread_id=first.thread_id,
                    reply_to=first.message_id,
                )
                for part in parts
            ],
            ignore_conflicts=True,
        )
    return list(rows.all())


def _needs_notice(request: Request) -> bool:
    """Return whether a message of its own should notify the user. One who cancelled is looking at the chat."""
    if request.status == Status.CANCELLED or request.completed_at is None:
        return False
    return request.completed_at - request.created_at > NOTICE_AFTER


def _send(delivery: Delivery, content: Content, *, reply_to: int | None) -> bool:
    """Claim and send one message, if it is due. Returns whether the next part may follow.

    A message whose sending was not confirmed may be in the chat, so it is marked as UNCERTAIN and not repeated.
    """
    if delivery.state in {DeliveryState.DELIVERED, DeliveryState.UNCERTAIN, DeliveryState.UNDELIVERABLE}:
        return True
    rows = Delivery.objects.filter(pk=delivery.pk)
    due = rows.filter(Q(next_at__isnull=True) | Q(next_at__lte=Now()), state=DeliveryState.PENDING)
    sender_lost_at = Now() + timedelta(seconds=SENDING_SECONDS)
    if not due.update(state=DeliveryState.SENDING, next_at=sender_lost_at, tries=F("tries") + 1):
        return False
    delivery.refresh_from_db()
    try:
        message_id = _send_content(delivery, content, reply_to)
    except OutcomeUnsure as error:
        logger.warning("%s may not have arrived and is not sent again: %s", delivery, error)
        rows.update(state=DeliveryState.UNCERTAIN, error=str(error)[:200], next_at=None)
        return True
    except BotApiError as error:
        record_delivery_failure(delivery=delivery, error=error)
        return False
    rows.update(state=DeliveryState.DELIVERED, message_id=message_id, delivered_at=Now(), next_at=None, error="")
    delivery.message_id = message_id
    return True


def _send_content(delivery: Delivery, content: Content, reply_to: int | None) -> int:
    """Send with formatting, as media and into the topic, or without what Telegram refuses."""
    client = get_client()
    chat_id, thread_id = delivery.chat_id, delivery.thread_id
    if isinstance(content, StoredFile):
        try:
            return client.send_media(chat_id, content, thread_id=thread_id, reply_to=reply_to)
        except CallRefused:
            return client.send_media(chat_id, content.as_document, thread_id=thread_id, reply_to=reply_to)
    try:
        return client.send(chat_id, content, thread_id=thread_id, reply_to=reply_to)
    except EntitiesRefused:
        return client.send(chat_id, content.plain, thread_id=thread_id, reply_to=reply_to)
    except ThreadGone:
        return client.send(chat_id, content)

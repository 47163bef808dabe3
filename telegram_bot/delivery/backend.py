"""The delivery backend of the bot: shows in its chat how a request ended. Partial answers are in streaming.py."""

import logging
import traceback
from collections.abc import Sequence
from datetime import timedelta

from django.db import DatabaseError
from django.db.models import Exists, F, OuterRef, Subquery
from django.db.models.functions import Coalesce, Greatest, Now

from providers.types import CUT, Category, OnText
from requests_app.delivery_backend import DeliveryBackend, DeliveryPart, UserRecord, version_of
from requests_app.dispatch import enqueue_on_commit
from requests_app.log_context import logs_about
from requests_app.models import LedgerEntry, Request
from requests_app.services.refunds import credits_charged
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.api.errors import BotApiError, MediaForbidden, MessageGone, ThreadGone
from telegram_bot.chats import HANDLE_TASK
from telegram_bot.content.files import MAX_BYTES, FileUnavailable, TextFile, file_of
from telegram_bot.content.rendering import MessagePart, message_parts
from telegram_bot.delivery.claims import (
    UNSETTLED,
    deliveries_drop_further,
    deliveries_reset,
    delivery_claim,
    delivery_give_up,
    delivery_record_shown,
    delivery_renew,
    settled_at,
)
from telegram_bot.delivery.ladder import Content, Step, step_perform, steps_for
from telegram_bot.delivery.placeholder import placeholder_adopt
from telegram_bot.delivery.retries import REFUSALS, record_delivery_bug, record_delivery_failure
from telegram_bot.delivery.streaming import StreamStatus, live_message_close, live_message_open
from telegram_bot.erasure import names_erase, updates_erase, user_records
from telegram_bot.models import Delivery, DeliveryKind, DeliveryMethod, DeliveryState, GivenUp, TelegramUser
from telegram_bot.turns import prompts_waiting, turns_release

logger = logging.getLogger("telegram_bot.delivery")

Status = Request.Status

NOTICE_AFTER = timedelta(seconds=20)  # an edit notifies nobody; a user who waited this long may have left the chat
MAX_PARTS = 4  # messages of one answer in a private chat; a longer one is its first part and a file
NOT_ENDED = (*Request.OPEN, Status.QUARANTINED)
ENDED_STATES = {DeliveryState.DELIVERED, DeliveryState.UNCERTAIN, DeliveryState.UNDELIVERABLE}
# Of a delivery: Telegram's id of the request's user, where prompts of theirs wait in its chat. Made once: to compose it
# takes longer than to execute it.
_WAITING = prompts_waiting(chat_id=OuterRef(OuterRef("chat_id")), sender_id=OuterRef("telegram_id"))
_USER = TelegramUser.objects.filter(Exists(_WAITING), account_id=OuterRef("request__user_id"))
WAITING_USER = Subquery(_USER.values("telegram_id"))


class TelegramDeliveryBackend(DeliveryBackend):
    """Shows results in the chat that a request came from. Requests without a chat are ignored."""

    def on_partial(self, request_id: str) -> OnText | None:
        return live_message_open(request_id)

    def bytes_shown(self, request_id: str) -> int | None:
        shown = Delivery.objects.filter(request_id=request_id, part=0, shown_at__isnull=False)
        return shown.values_list("shown_bytes", flat=True).first()

    def deliver(self, request_id: str) -> None:
        with logs_about(request_id):
            request_deliver(request_id=request_id)

    def history(self, request_ids: Sequence[str]) -> Sequence[DeliveryPart]:
        rows = Delivery.objects.filter(request_id__in=request_ids).select_related("chat")
        return [_part_of(row) for row in rows.order_by("request_id", "part")]

    def adopt(self, request_id: str, *, from_request_id: str) -> None:
        placeholder_adopt(request_id=request_id, from_request_id=from_request_id)

    def resend(self, request_id: str, *, seen: str) -> bool:
        def is_current() -> bool:
            return version_of(self.history([request_id])) == seen

        return deliveries_reset(request_id=request_id, is_current=is_current)

    def user_records(self, account_id: int) -> Sequence[UserRecord]:
        return user_records(account_id)

    def erase_messages(self, account_id: int) -> int:
        return updates_erase(account_id)

    def erase_names(self, account_id: int) -> int:
        return names_erase(account_id)


def _part_of(delivery: Delivery) -> DeliveryPart:
    is_notice = delivery.part == Delivery.NOTICE_PART
    reason = delivery.get_given_up_display() if delivery.given_up else ""
    return DeliveryPart(
        request_id=delivery.request_id,
        part=delivery.part,
        at=delivery.delivered_at or delivery.created_at,
        what="notice" if is_notice else f"message {delivery.part + 1}",
        outcome=delivery.get_state_display(),
        where=f"chat {delivery.chat}",
        note=": ".join(words for words in (reason, delivery.error) if words),
        version=delivery.fence,
    )


def request_deliver(*, request_id: str) -> None:
    """Show how a request ended: edit its placeholder, then send the further parts, each a row of its own.

    Idempotent, and safe to call from any number of workers: each message is claimed before it is sent or edited. The
    edit of a text is repeated each time, even where it was done: a late partial edit of a worker that had lost the
    request may have replaced the answer. While the placeholder is being sent, nothing happens; its sender calls this
    afterwards. Before the end of the request this only stops the stream.

    Each failure is recorded with a pause and, in the end, given up: then the chat says so and the credits go back.
    Whatever comes of it, prompts that wait for the end of the request are looked at.
    """
    # Before anything else: a stream that waits for its placeholder would replace what others show in it.
    stream_status = live_message_close(request_id)
    deliveries = Delivery.objects.select_related("request", "chat").annotate(now=Now(), waiting_user=WAITING_USER)
    first = deliveries.filter(request_id=request_id, part=0).first()
    if first is None:
        return
    try:
        _deliver(first, stream_status)
    except DatabaseError:
        raise  # nothing can be recorded now; what is claimed is due again when its claim has run out
    except Exception as error:  # noqa: BLE001 — a bug must not repeat at every sweep
        _log_bug(first, error)
        record_delivery_bug(request_id=request_id, error=error)
    if first.waiting_user and first.request.status not in NOT_ENDED:
        turns_release(chat_id=first.chat_id, sender_id=first.waiting_user)
        enqueue_on_commit(HANDLE_TASK, first.chat_id)


def _deliver(first: Delivery, stream_status: StreamStatus) -> None:
    request = first.request
    is_due = first.next_at is None or first.next_at <= first.now  # type: ignore[attr-defined]  # annotated
    if request.status in NOT_ENDED or not is_due:
        if stream_status is StreamStatus.UNCONFIRMED or (not is_due and _has_streamed(request, stream_status)):
            _postpone(first)
        return
    if first.state in {DeliveryState.PLACING, DeliveryState.SENDING}:
        return
    if first.state == DeliveryState.UNDELIVERABLE and not first.given_up:
        deliveries_drop_further(request_id=request.id)
        return
    contents = _contents_of(first)
    # Written before anything is shown: a worker that dies in between leaves rows that the sweeper finds.
    further_deliveries = _further_deliveries(first, 1 if isinstance(contents, GivenUp) else len(contents))
    if not _is_final(first, contents) and not _show_first(first, contents, stream_status):
        return
    for delivery in further_deliveries:
        if delivery.state in ENDED_STATES:
            continue
        is_notice = delivery.part == Delivery.NOTICE_PART
        content = _notice_for(first) if is_notice else _content_of(delivery, contents)
        if not _show(delivery, content, reply_to=first.message_id):
            return


def _has_streamed(request: Request, stream_status: StreamStatus) -> bool:
    """Return whether this process has made partial edits of the request's message."""
    return request.category == Category.TEXT and stream_status is StreamStatus.SETTLED and bool(request.completed_at)


def _contents_of(first: Delivery) -> Sequence[Content] | GivenUp:
    """Return what the request's messages show, one item per part, or why there is nothing to show."""
    request = first.request
    if first.given_up:
        return [_words_for(first)]
    if request.status != Status.COMPLETED:
        charged = credits_charged(request.id) if request.status == Status.CANCELLED else 0
        return [MessagePart(texts.failure(request, charged=charged))]
    file = file_of(request)
    if file:
        return [file] if file.size <= MAX_BYTES else GivenUp.TOO_LARGE
    try:
        parts: list[Content] = [*message_parts(request.output_text)]
        # In a private chat, where files are always allowed, nobody reads a book in messages.
        if len(parts) > MAX_PARTS and first.chat.telegram_id > 0 and not _has_parts_beyond(first, MAX_PARTS):
            whole = TextFile.of(request.output_text, name="answer.md")
            parts = [parts[0], MessagePart(texts.WHOLE_ANSWER_IN_FILE), whole]
        # A message of its own, for the answer may have been cut inside of a block of code.
        note = [MessagePart(texts.answer_cut(request))] if request.finish_reason == CUT else []
        return [*parts, *note] if parts else GivenUp.EMPTY
    except Exception as error:  # noqa: BLE001 — whatever a model wrote, its user has paid for it
        _log_bug(first, error)
        return [TextFile.of(request.output_text)]


def _has_parts_beyond(first: Delivery, number: int) -> bool:
    """Return whether its answer has begun to be shown in more messages, as the release before has shown all."""
    further = Delivery.objects.filter(request_id=first.request_id, part__gte=number)
    return further.exclude(part=Delivery.NOTICE_PART).exists()


def _content_of(delivery: Delivery, contents: Sequence[Content] | GivenUp) -> Content:
    """Return what a further part shows. One that was given up says so in its place."""
    if delivery.given_up or isinstance(contents, GivenUp) or delivery.part >= len(contents):
        return MessagePart(texts.PART_NOT_SHOWN)
    return contents[delivery.part]


def _words_for(delivery: Delivery) -> MessagePart:
    """Return what is shown in place of a message that was given up."""
    if delivery.part:
        return MessagePart(texts.PART_NOT_SHOWN)
    refunds = LedgerEntry.objects.filter(request=delivery.request_id, kind=LedgerEntry.Kind.REFUND)
    refunded = refunds.values_list("amount", flat=True).first() or 0
    return MessagePart(texts.not_shown(delivery.given_up, refunded))


def _notice_for(first: Delivery) -> MessagePart:
    is_answered = first.request.status == Status.COMPLETED and not first.given_up
    return MessagePart(texts.NOTICE_READY if is_answered else texts.NOTICE_FAILED)


def _is_final(first: Delivery, contents: Sequence[Content] | GivenUp) -> bool:
    """Return whether the first message needs no further edit: no partial edit can replace what it shows."""
    if first.state in {DeliveryState.UNCERTAIN, DeliveryState.UNDELIVERABLE}:
        return True
    is_text = not isinstance(contents, GivenUp) and isinstance(contents[0], MessagePart)
    return first.state == DeliveryState.DELIVERED and (not is_text or first.method >= DeliveryMethod.SEND)


def _show_first(first: Delivery, contents: Sequence[Content] | GivenUp, stream_status: StreamStatus) -> bool:
    """Edit the placeholder, or send what takes its place. Returns whether the further parts may follow."""
    if isinstance(contents, GivenUp):
        if not delivery_claim(delivery=first, step=None):
            return False
        if not delivery_give_up(delivery=first, reason=contents, error=contents.label):
            return False
        return _show_words(first, reply_to=first.reply_to)
    is_settled = not _may_be_overwritten(first, stream_status)
    return _show(first, contents[0], reply_to=first.reply_to, is_settled=is_settled)


def _may_be_overwritten(first: Delivery, stream_status: StreamStatus) -> bool:
    """Return whether a partial edit may still arrive: an unconfirmed one, or one of another process.

    A streaming process checks before each partial edit that the request is open, so after SETTLING_SECONDS none comes.
    """
    if stream_status is StreamStatus.UNCONFIRMED:
        return True
    request = first.request
    # A request that was claimed once was streamed by one process: this one, or else another.
    streams_elsewhere = request.fence > 1 if stream_status is StreamStatus.SETTLED else request.started_at is not None
    may_arrive = streams_elsewhere and request.category == Category.TEXT
    return may_arrive and first.state != DeliveryState.DELIVERED and first.error != UNSETTLED


def _postpone(first: Delivery) -> None:
    """Have the answer shown, or shown again, once a partial edit of this process cannot arrive after it any more.

    This overtakes a worker that edits it at this moment, so what that one records does not count as the end.
    """
    next_at = Greatest(Coalesce("next_at", settled_at()), settled_at())
    pending = Delivery.objects.filter(pk=first.pk, state=DeliveryState.PENDING)
    pending.update(next_at=next_at, fence=F("fence") + 1)


def _further_deliveries(first: Delivery, count: int) -> list[Delivery]:
    """Return the rows of the messages that follow the first, in order; missing ones are written.

    `count` is the number of parts, the first included.
    """
    parts = list(range(1, count))
    if not parts and _needs_notice(first.request):
        parts = [Delivery.NOTICE_PART]
    if not parts:
        return []
    rows = Delivery.objects.filter(request_id=first.request_id, part__in=parts).select_related("chat").order_by("part")
    if len(rows) < len(parts):
        Delivery.objects.bulk_create(
            [
                Delivery(
                    request_id=first.request_id,
                    part=part,
                    kind=DeliveryKind.NOTICE if part == Delivery.NOTICE_PART else DeliveryKind.RESULT,
                    state=DeliveryState.PENDING,
                    chat=first.chat,
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


def _show(delivery: Delivery, content: Content, *, reply_to: int | None, is_settled: bool = True) -> bool:
    """Claim a message and show it in the best way that Telegram takes. Returns whether the next one may follow."""
    steps = steps_for(delivery, content)
    if not delivery_claim(delivery=delivery, step=steps[0] if steps else None):
        return False
    return _climb_down(delivery, steps, reply_to=reply_to, is_settled=is_settled)


def _show_words(delivery: Delivery, *, reply_to: int | None) -> bool:
    """Show the words that take the place of a claimed message."""
    steps = steps_for(delivery, _words_for(delivery))
    return delivery_renew(delivery=delivery, step=steps[0]) and _climb_down(delivery, steps, reply_to=reply_to)


def _climb_down(delivery: Delivery, steps: list[Step], *, reply_to: int | None, is_settled: bool = True) -> bool:
    """Try one step after the other, claimed for the first one, down to the words that say that nothing works.

    Returns whether the next message may follow.
    """
    refusal: Exception | None = None
    placeholder_id = delivery.message_id if delivery.part == 0 else None
    while steps:
        step = steps[0]
        try:
            shown = step_perform(step, delivery, reply_to=reply_to)
        except REFUSALS as error:
            refusal = error
            # What Telegram says of the words in the answer's place may quote anything, and helps nobody.
            reason = type(error).__name__ if delivery.given_up else error
            logger.info("%s is refused as %s: %s", delivery, step.method.name, reason)
            is_in_thread = delivery.thread_id is not None or reply_to is not None
            if isinstance(error, ThreadGone) and is_in_thread and not step.is_edit:
                delivery.thread_id = reply_to = None  # the same once more, to the chat as a whole
            else:
                steps = _steps_after(error, steps)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 — recorded with a pause and an end, whatever it is
            return _record_failure(delivery, error, reply_to=reply_to)
        else:
            delivery_record_shown(
                delivery=delivery,
                shown=shown,
                is_settled=is_settled or not step.is_edit,
                refusal=str(refusal) if refusal else "",
            )
            if not step.is_edit and not isinstance(refusal, MessageGone):
                _remove_placeholder(delivery, placeholder_id)
            return True
        if delivery.delivered_at and not (steps and steps[0].is_edit):
            break  # it was shown, and perhaps deleted by its user: it does not come back
        if steps and not delivery_renew(delivery=delivery, step=steps[0]):
            return False
    reason = GivenUp.FORBIDDEN if isinstance(refusal, MediaForbidden) else GivenUp.REFUSED
    if delivery_give_up(delivery=delivery, reason=reason, error=str(refusal)):
        return _show_words(delivery, reply_to=reply_to)
    return delivery.delivered_at is not None or bool(delivery.given_up)


def _record_failure(delivery: Delivery, error: Exception, *, reply_to: int | None) -> bool:
    """Record a failure that is no refusal. Returns whether the next message may follow."""
    if not isinstance(error, BotApiError | FileUnavailable):
        _log_bug(delivery, error)
    if record_delivery_failure(delivery=delivery, error=error):
        return _show_words(delivery, reply_to=reply_to)
    if delivery.state != DeliveryState.UNCERTAIN:
        return False
    _remove_placeholder(delivery, delivery.message_id if delivery.part == 0 else None)
    return True


def _steps_after(error: Exception, steps: list[Step]) -> list[Step]:
    """Return what is left to try after this refusal of the first step."""
    if isinstance(error, MessageGone):
        return [step for step in steps[1:] if not step.is_edit]
    with_bytes = steps[0].with_bytes
    return [with_bytes, *steps[1:]] if with_bytes else steps[1:]


def _remove_placeholder(delivery: Delivery, message_id: int | None) -> None:
    """Delete the placeholder that a new message has replaced, so that it does not look as if an answer were to come."""
    if message_id is not None:
        try:
            get_client().delete(delivery.chat.telegram_id, message_id)
        except BotApiError as error:
            logger.info("A stray placeholder remains in a chat: %s", error)


def _log_bug(delivery: Delivery, error: Exception) -> None:
    # The stack without the message, which may quote what a user wrote.
    stack = "".join(traceback.format_tb(error.__traceback__))
    logger.error("The delivery of %s failed with %s:\n%s", delivery, type(error).__name__, stack)

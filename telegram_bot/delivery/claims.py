"""Claims on deliveries: who may send or edit a message now, for how long, and what came of it.

A claim is a conditional UPDATE whose row count is checked. It outlives the longest call that it covers, so a row that
is due again has nobody at work on it, and what an overtaken claimer writes is refused by the fencing token.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, F, Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Greatest, Now

from providers.db import Lazily, give_back_connection
from requests_app.models import Request
from requests_app.services.refunds import request_refund
from telegram_bot.api import client
from telegram_bot.content.files import StoredFile
from telegram_bot.delivery.ladder import Shown, Step
from telegram_bot.models import Delivery, DeliveryKind, DeliveryMethod, DeliveryState, GivenUp

logger = logging.getLogger("telegram_bot.delivery")

MARGIN_SECONDS = 20.0  # beyond a call's own deadline: for a free connection, and for a busy process
STORAGE_SECONDS = 100.0  # for reading a file: a bucket is tried three times
SETTLING_SECONDS = 15  # after this an unconfirmed partial edit cannot arrive any more
UNSETTLED = "a partial edit may still arrive"


def delivery_claim(*, delivery: Delivery, step: Step | None) -> bool:
    """Claim a due message for its first step. Returns False where it is not due or another worker was faster.

    A message that is shown already may be claimed to be edited once more; it is pending until that is done.
    """
    states = [DeliveryState.PENDING, *([DeliveryState.DELIVERED] if delivery.part == 0 else [])]
    due = _owned(delivery).filter(Q(next_at__isnull=True) | Q(next_at__lte=Now()), state__in=states)
    if step is None or step.is_edit:
        due = due.filter(Lazily())  # a repeated edit shows nothing twice
    if not due.update(fence=F("fence") + 1, tries=F("tries") + 1, **_values(delivery, step)):
        return False
    delivery.fence += 1
    delivery.tries += 1
    return True


def delivery_renew(*, delivery: Delivery, step: Step) -> bool:
    """Extend the claim for a further step of the ladder. Returns False where it was overtaken."""
    claimed = _owned(delivery).filter(state__in=[DeliveryState.PENDING, DeliveryState.SENDING])
    return bool(claimed.update(**_values(delivery, step)))


def _values(delivery: Delivery, step: Step | None) -> dict[str, object]:
    """Return the columns of a claim. An edit may be repeated where its worker died; a new message is uncertain then."""
    delivery.state = DeliveryState.PENDING if step is None or step.is_edit else DeliveryState.SENDING
    delivery.method = step.method if step else delivery.method
    seconds = client.CALL_SECONDS + MARGIN_SECONDS
    if step and isinstance(step.content, StoredFile):
        seconds = client.UPLOAD_SECONDS + STORAGE_SECONDS + MARGIN_SECONDS
    return {
        "state": delivery.state,
        "method": delivery.method,
        "thread_id": delivery.thread_id,
        "next_at": Now() + timedelta(seconds=seconds),
    }


def delivery_record_shown(*, delivery: Delivery, shown: Shown, is_settled: bool, refusal: str = "") -> None:
    """Record that the message shows its content, or the words in its place, and why no better step of the ladder did.

    Where a partial edit may still arrive (not `is_settled`), it is due once more after SETTLING_SECONDS.
    """
    values: dict[str, object] = {"message_id": shown.message_id, "tries": 0}
    if delivery.given_up:
        values |= {"state": DeliveryState.UNDELIVERABLE, "next_at": None}
    elif is_settled:
        values |= {"state": DeliveryState.DELIVERED, "next_at": None, "error": refusal[:200]}
    else:
        values |= {"state": DeliveryState.PENDING, "next_at": settled_at(), "error": UNSETTLED}
    if not delivery.given_up:
        values["delivered_at"] = Coalesce("delivered_at", Now())
    rows = _owned(delivery)
    if delivery.state == DeliveryState.PENDING:
        rows = rows.filter(Lazily())  # an edit
    upload = {"file_id": shown.file_id, "file_kind": shown.file_kind} if 0 < len(shown.file_id) <= MAX_FILE_ID else {}
    if not rows.update(**values, **upload) and upload:
        Delivery.objects.filter(pk=delivery.pk).update(**upload)  # so that its successor uploads nothing
    delivery.message_id = shown.message_id
    delivery.state = DeliveryState(str(values["state"]))


def delivery_give_up(*, delivery: Delivery, reason: GivenUp, error: str) -> bool:
    """Stop trying to show a message. Returns whether its claimer must show the words that say so in its place.

    The credits of an answer of which nothing is shown go back in the same transaction. Where the words cannot be
    shown either, and for a notice, this is the end. A message that was shown and should be edited once more just stays.
    Returns False where the claim was overtaken, too.
    """
    if delivery.delivered_at:
        logger.warning("%s was shown and cannot be shown again: %s", delivery, error)
        _owned(delivery).update(state=DeliveryState.DELIVERED, error=error[:200], next_at=None)
        return False
    if delivery.given_up:
        # The row keeps the error of the answer: that of the words would hide it, and may quote anything.
        logger.error("%s: the words that say so in its place are refused, too", delivery)
        _owned(delivery).update(state=DeliveryState.UNDELIVERABLE, next_at=None)
        return False
    logger.error("%s is undeliverable (%s): %s", delivery, reason, error)
    if delivery.part == Delivery.NOTICE_PART:
        _owned(delivery).update(state=DeliveryState.UNDELIVERABLE, error=error[:200], next_at=None)
        return False
    method = DeliveryMethod.EDIT if delivery.message_id else DeliveryMethod.SEND
    with transaction.atomic():
        if not _owned(delivery).update(
            state=DeliveryState.PENDING, given_up=reason, method=method, tries=0, error=error[:200]
        ):
            return False
        if delivery.part == 0:
            deliveries_drop_further(request_id=delivery.request_id)
            request_refund(request_id=delivery.request_id, actor="system", reason=f"not shown: {reason.label}")
    delivery.given_up, delivery.method, delivery.state, delivery.tries = reason, method, DeliveryState.PENDING, 0
    return True


class Placeholder(NamedTuple):
    """What a stream needs to know of the message in which it shows an answer."""

    chat_id: int  # Telegram's
    message_id: int | None  # None until it is sent
    is_open: bool  # the request is open, and the message will still show its answer


def placeholder_find(request_id: str) -> Placeholder | None:
    """Return the placeholder of a request, None where it has none. Holds no connection afterwards."""
    columns = ("chat__telegram_id", "message_id", "state", "request__status")
    try:
        row = Delivery.objects.filter(request_id=request_id, part=0).values_list(*columns).first()
    finally:
        give_back_connection()
    if row is None:
        return None
    chat_id, message_id, state, status = row
    # A placeholder that Telegram refuses is not sent again; the answer will be a message of its own.
    is_coming = message_id is not None or state == DeliveryState.PLACING
    return Placeholder(chat_id, message_id, is_coming and status in Request.OPEN)


def delivery_note_shown(request_id: str, message_id: int, size: int) -> bool:
    """Note that a partial answer of so many bytes is about to be shown: what a request costs that is cancelled later.

    Returns False, with nothing noted, where the request has ended or that message is not its placeholder: then the
    partial answer must not be sent. Idempotent. Holds no connection afterwards.
    """
    try:
        # Under the lock of the request's row, as request_cancel() decides what the request costs under it.
        with transaction.atomic():
            still_open = Request.objects.filter(id=request_id, status__in=Request.OPEN).select_for_update(no_key=True)
            placeholder = Delivery.objects.filter(
                Lazily(in_transaction=True), request_id__in=still_open.values("id"), part=0, message_id=message_id
            )
            # The next route's answer may be shorter than what was shown of the one before.
            shown_bytes = Greatest("shown_bytes", size)
            return placeholder.update(shown_at=Coalesce("shown_at", Now()), shown_bytes=shown_bytes) > 0
    finally:
        give_back_connection()


def delivery_note_refused(request_id: str, message_id: int, size: int) -> None:
    """Take back a note of so many bytes, none of which were shown. Idempotent. Holds no connection afterwards."""
    try:
        rows = Delivery.objects.filter(request_id=request_id, part=0, message_id=message_id, shown_bytes=size)
        rows.update(shown_at=None, shown_bytes=0)
    finally:
        give_back_connection()


def deliveries_drop_further(*, request_id: str) -> None:
    """Give up the parts after the first where that is given up or undeliverable: they are useless without it.

    The first is looked at in the same statement, since its chat may have come back a moment ago.
    """
    not_shown = ~Q(given_up="") | Q(state=DeliveryState.UNDELIVERABLE)
    first = Delivery.objects.filter(not_shown, request_id=request_id, part=0)
    waiting = Delivery.objects.filter(Exists(first), request_id=request_id, part__gt=0, state=DeliveryState.PENDING)
    waiting.update(state=DeliveryState.UNDELIVERABLE, error="the first part is undeliverable", next_at=None)


def deliveries_reset(*, request_id: str, is_current: Callable[[], bool]) -> bool:
    """Make the parts of an answer due again, as new messages: those that are not confirmed as shown, else all.

    Words that stand in place of the answer are removed with the first part. `is_current` is asked under the lock of
    the rows. Returns False, with nothing changed, where it says no, where there is no part, or one is under way. Call
    inside a transaction.
    """
    rows = Delivery.objects.filter(request_id=request_id, kind=DeliveryKind.RESULT)
    states = dict(rows.select_for_update(no_key=True).values_list("part", "state"))
    if not states or not set(states.values()).isdisjoint(Delivery.UNFINISHED) or not is_current():
        return False
    not_shown = [part for part, state in states.items() if state != DeliveryState.DELIVERED]
    again = rows.filter(part__in=not_shown or states)
    due: dict[str, Any] = {
        "state": DeliveryState.PENDING,
        "method": DeliveryMethod.SEND,
        "error": "",
        "tries": 0,
        "next_at": Now(),
        "delivered_at": None,
        "fence": F("fence") + 1,
    }
    # The message of a shown answer stays in the chat.
    again.filter(given_up="").update(message_id=None, **due)
    again.exclude(given_up="").update(given_up="", **due)
    return True


def settled_at() -> CombinedExpression:
    """Return the time from which on no partial edit can arrive any more."""
    return Now() + timedelta(seconds=SETTLING_SECONDS)


def _owned(delivery: Delivery) -> QuerySet[Delivery]:
    """Return a query for the row that is empty once another worker has claimed it."""
    return Delivery.objects.filter(pk=delivery.pk, fence=delivery.fence)


MAX_FILE_ID = 255  # characters that the column takes; a longer one is not kept

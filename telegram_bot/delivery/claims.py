"""Claims on deliveries: who may send or edit a message now, for how long, and what came of it.

A claim is a conditional UPDATE whose row count is checked. It outlives the longest call that it covers, so a row that
is due again has nobody at work on it, and what an overtaken claimer writes is refused by the fencing token.
"""

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Now

from requests_app.services.refunds import request_refund
from telegram_bot.api import client
from telegram_bot.content.files import StoredFile
from telegram_bot.delivery.ladder import Shown, Step
from telegram_bot.models import Delivery, DeliveryMethod, DeliveryState, GivenUp

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
    upload = {"file_id": shown.file_id, "file_kind": shown.file_kind} if 0 < len(shown.file_id) <= MAX_FILE_ID else {}
    if not _owned(delivery).update(**values, **upload) and upload:
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


def deliveries_drop_further(*, request_id: str) -> None:
    """Give up the parts after the first: they are useless without it."""
    waiting = Delivery.objects.filter(request_id=request_id, part__gt=0, state=DeliveryState.PENDING)
    waiting.update(state=DeliveryState.UNDELIVERABLE, error="the first part is undeliverable", next_at=None)


def settled_at() -> CombinedExpression:
    """Return the time from which on no partial edit can arrive any more."""
    return Now() + timedelta(seconds=SETTLING_SECONDS)


def _owned(delivery: Delivery) -> QuerySet[Delivery]:
    """Return a query for the row that is empty once another worker has claimed it."""
    return Delivery.objects.filter(pk=delivery.pk, fence=delivery.fence)


MAX_FILE_ID = 255  # characters that the column takes; a longer one is not kept

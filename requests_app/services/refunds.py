"""Refunds: credits of an answer that was charged, given back once. Those of a request that failed are released."""

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.db.models import F, Sum

from requests_app.models import Account, LedgerEntry, Request

Kind = LedgerEntry.Kind


def credits_charged(request_id: str) -> int:
    """Return the credits that a request has cost its user so far, those still held included."""
    return charges_of([request_id]).get(request_id, 0)


def charges_of(request_ids: Iterable[str]) -> dict[str, int]:
    """Return those of several requests; one without an entry in the ledger is left out."""
    entries = LedgerEntry.objects.filter(request__in=request_ids).order_by()
    return {row["request"]: -row["total"] for row in entries.values("request").annotate(total=Sum("amount"))}


def request_refund(*, request_id: str, actor: str, reason: str) -> bool:
    """Give back what the request's answer has cost. Returns False where nothing was charged, or was given back before.

    Idempotent by the constraint one_refund_per_request, so two callers at once give back once. The amount is what was
    held less what the capture gave back: never more than was charged.
    """
    if not LedgerEntry.objects.filter(request=request_id, kind=Kind.CAPTURE).exists():
        return False
    amount = credits_charged(request_id)
    if amount <= 0:
        return False
    account_id, model_id, purpose = Request.objects.values_list("user_id", "model_id", "purpose").get(id=request_id)
    try:
        with transaction.atomic():
            LedgerEntry.objects.create(
                account_id=account_id,
                request_id=request_id,
                kind=Kind.REFUND,
                amount=amount,
                actor=actor[:64],
                reason=reason[:200],
                model_id=model_id,
                purpose=purpose,
            )
            Account.objects.filter(id=account_id).update(balance=F("balance") + amount)
    except IntegrityError:
        if LedgerEntry.objects.filter(request=request_id, kind=Kind.REFUND).exists():
            return False
        raise
    return True

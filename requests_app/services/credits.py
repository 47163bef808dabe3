"""The ledger's movements after acceptance: capture, release, top-up, taking back.

The hold is in statements.request_insert().
"""

from django.db import IntegrityError, transaction
from django.db.models import F

from providers.access import current_purpose
from requests_app.errors import InsufficientCredits
from requests_app.models import Account, LedgerEntry, Request

Kind = LedgerEntry.Kind


def credits_capture(*, request: Request, charged: int | None = None, reason: str = "") -> None:
    """Charge so many of the credits held, or all of them, and give back the rest in the same entry.

    Call inside the transaction that ends the request; request_complete() does it by itself.
    """
    rest = 0 if charged is None else request.credits - charged
    if rest:
        Account.objects.filter(id=request.user_id).update(balance=F("balance") + rest)
    _add_entry(request, Kind.CAPTURE, rest, reason)


def credits_release(*, request: Request, reason: str) -> None:
    """Give back what was held. Call inside the transaction that ends the request without an answer."""
    Account.objects.filter(id=request.user_id).update(balance=F("balance") + request.credits)
    _add_entry(request, Kind.RELEASE, request.credits, reason)


def _add_entry(request: Request, kind: Kind, amount: int, reason: str = "") -> None:
    LedgerEntry.objects.create(
        account_id=request.user_id,
        request=request,
        kind=kind,
        amount=amount,
        actor="system",
        reason=reason[:200],
        purpose=request.purpose,
    )


def credits_top_up(
    *, account_id: int, amount: int, actor: str, reason: str = "", external_ref: str = "", is_paid: bool = False
) -> LedgerEntry | None:
    """Add credits (`amount` > 0) that are given or, where `is_paid`, sold.

    Idempotent: None where `external_ref` was booked before.
    """
    return _book(
        Kind.TOPUP,
        amount,
        account_id=account_id,
        actor=actor,
        reason=reason,
        external_ref=external_ref,
        is_paid=is_paid,
    )


def credits_take_back(
    *, account_id: int, amount: int, actor: str, reason: str, external_ref: str = ""
) -> LedgerEntry | None:
    """Take back credits (`amount` > 0). Idempotent as above. Raises InsufficientCredits, with nothing written."""
    return _book(Kind.ADJUST, -amount, account_id=account_id, actor=actor, reason=reason, external_ref=external_ref)


def _book(
    kind: Kind, amount: int, *, account_id: int, actor: str, reason: str, external_ref: str, is_paid: bool = False
) -> LedgerEntry | None:
    accounts = Account.objects.filter(id=account_id)
    try:
        with transaction.atomic():
            entry = LedgerEntry.objects.create(
                account_id=account_id,
                kind=kind,
                amount=amount,
                actor=actor,
                reason=reason[:200],
                external_ref=external_ref,
                is_paid=is_paid,
                purpose=current_purpose(),
            )
            if amount > 0:
                accounts.update(balance=F("balance") + amount)
            elif not accounts.filter(balance__gte=-amount).update(balance=F("balance") + amount):
                raise InsufficientCredits(f"The account has fewer than {-amount:,} credits left.")
    except IntegrityError:
        if external_ref and LedgerEntry.objects.filter(kind=kind, external_ref=external_ref).exists():
            return None
        raise
    return entry

"""Accounts: created on first use, topped up, blocked. How their credits move is in services.credits."""

from django.conf import settings

from requests_app.models import Account, LedgerEntry
from requests_app.services.credits import credits_take_back, credits_top_up


def account_ensure(*, key: str, name: str = "") -> Account:
    """Return the account of this key; a new one is created and given settings.WELCOME_CREDITS, exactly once."""
    account, _ = Account.objects.get_or_create(key=key, defaults={"name": name[:128]})
    # Repeated while the ledger is empty, so that a crash between the two rows costs nobody the welcome credits.
    if settings.WELCOME_CREDITS and not account.ledger.exists():
        credits_top_up(
            account_id=account.pk,
            amount=settings.WELCOME_CREDITS,
            actor="system",
            reason="Welcome",
            external_ref=f"welcome:{key}",
        )
        account.refresh_from_db()
    return account


def account_top_up(
    *, account_id: int, amount: int, actor: str, reason: str = "", external_ref: str = "", is_paid: bool = False
) -> LedgerEntry | None:
    """Add credits that an operator gives or, where `is_paid`, that were bought; see credits_top_up()."""
    return credits_top_up(
        account_id=account_id, amount=amount, actor=actor, reason=reason, external_ref=external_ref, is_paid=is_paid
    )


def account_take_back(*, account_id: int, amount: int, actor: str, reason: str, external_ref: str = "") -> bool:
    """Take back credits that were given by mistake (`amount` > 0), as an ADJUST in the ledger.

    Idempotent: False where `external_ref` was booked before. Raises InsufficientCredits, with nothing written, where
    fewer are left: what is held for open requests cannot be taken back.
    """
    entry = credits_take_back(
        account_id=account_id, amount=amount, actor=actor[:64], reason=reason, external_ref=external_ref
    )
    return entry is not None


def account_set_blocked(*, account_id: int, is_blocked: bool) -> bool:
    """Block or unblock an account. Requests that it has open are still answered. Returns False where it was so."""
    return Account.objects.filter(id=account_id, is_blocked=not is_blocked).update(is_blocked=is_blocked) > 0

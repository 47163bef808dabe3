"""What operators do to accounts: the table of operations, each a service. Credits are booked by the account's form."""

from collections.abc import Sequence

from requests_app.admin.operations import Decision, Operation, Target
from requests_app.models import Account
from requests_app.services.accounts import account_set_blocked
from requests_app.services.erasure import account_erase


def _block(decision: Decision) -> str:
    return "Blocked" if account_set_blocked(account_id=int(decision.row_id), is_blocked=True) else ""


def _unblock(decision: Decision) -> str:
    return "Unblocked" if account_set_blocked(account_id=int(decision.row_id), is_blocked=False) else ""


def _erase(decision: Decision) -> str:
    is_erased = account_erase(account_id=int(decision.row_id), actor=decision.actor, reason=decision.reason)
    return "Erased" if is_erased else ""


def _plain(rows: Sequence[Account]) -> list[Target]:
    return [Target(row, f"{row.balance:,} credits") for row in rows]


ACCOUNT_OPERATIONS = [
    Operation(
        name="block",
        label="Block",
        description="Block: accept no further requests",
        consequences="No further request is accepted; those under way are still answered. Credits stay as they are.",
        permission="change",
        done="blocked",
        applies=lambda row: not row.is_blocked,
        targets=_plain,
        run=_block,
    ),
    Operation(
        name="unblock",
        label="Unblock",
        description="Unblock: accept requests again",
        consequences="Requests are accepted again.",
        permission="change",
        done="unblocked",
        applies=lambda row: row.is_blocked,
        targets=_plain,
        run=_unblock,
    ),
    Operation(
        name="erase",
        label="Erase",
        description="Erase: what users wrote and received, and their names, for ever",
        consequences="For ever go: prompts, answers, their files and transcripts, the messages as Telegram sent them, "
        "names and usernames. Requests under way are cancelled, and prompts that wait are dropped. The user's id, the "
        "balance, the ledger and all sums stay; the user may write again, with this balance, and is then known by name "
        "again. Neither Telegram's chat nor backups are touched, nor messages of others that quote the user: those go "
        "within a week.",
        permission="erase",
        done="erased; in the others nothing was left to erase, or not everything could be",
        applies=lambda _: True,
        targets=_plain,
        run=_erase,
    ),
]

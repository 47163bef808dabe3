"""What the bot has on record of an account's user, and how it is erased. Requests are erased by requests_app."""

from collections.abc import Sequence

from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Now
from django.urls import reverse

from requests_app.delivery_backend import UserRecord
from telegram_bot.models import TelegramChat, TelegramUpdate, TelegramUser

BATCH_ROWS = 500
ERASED_OUTCOME = "erased"  # of an update that was not handled yet


def user_records(account_id: int) -> Sequence[UserRecord]:
    """Return the user of this account and their private chat, as far as there are any. Changes nothing."""
    records = []
    for user in TelegramUser.objects.filter(account_id=account_id):
        names = [user.name, f"@{user.username}" if user.username else "", str(user.telegram_id)]
        records.append(_record("Telegram user", " · ".join(filter(None, names)), user))
        chats = TelegramChat.objects.filter(telegram_id=user.telegram_id, bot_id=user.bot_id)
        for chat in chats:
            reach = "" if chat.is_reachable else ", cannot be reached"
            records.append(_record("private chat", f"{chat.telegram_id}{reach}", chat))
    return records


def _record(what: str, name: str, row: TelegramUser | TelegramChat) -> UserRecord:
    return UserRecord(what, name, reverse(f"admin:telegram_bot_{row._meta.model_name}_change", args=[row.pk]))


def updates_erase(account_id: int) -> int:
    """Empty the updates that this account's user has sent, in whatever chat; return how many. Idempotent.

    Their rows stay for their week, since Telegram may repeat one. One that waits to be handled is not handled any more.
    They are looked for in one reading of the week's updates: an index for this would be written with each update.
    """
    users = TelegramUser.objects.filter(account_id=account_id).values_list("bot_id", "telegram_id")
    erased = 0
    for bot_id, telegram_id in users:
        sent = TelegramUpdate.objects.filter(~Q(raw={}), bot_id=bot_id, sender_id=telegram_id).order_by()
        keys = list(sent.values_list("pk", flat=True))
        for begin in range(0, len(keys), BATCH_ROWS):
            batch = TelegramUpdate.objects.filter(pk__in=keys[begin : begin + BATCH_ROWS])
            erased += batch.update(
                raw={},
                outcome=Case(When(handled_at=None, then=Value(ERASED_OUTCOME)), default=F("outcome")),
                handled_at=Coalesce("handled_at", Now()),
                next_at=None,
            )
    return erased


def names_erase(account_id: int) -> int:
    """Erase the names and the language of this account's user; return how many rows. Idempotent.

    Their id stays: with it they find their balance again. Chats have no titles here.
    """
    named = TelegramUser.objects.filter(account_id=account_id).exclude(name="", username="", language="")
    return named.update(name="", username="", language="")

"""The compound statement of a chat's queue for PostgreSQL, with its twin in the ORM for SQLite.

Both leave the same rows and return the same (tests/telegram_bot/test_queue_statement.py).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from providers.db import LAZY, is_postgresql
from requests_app.models import Account, AIModel
from telegram_bot.models import TelegramChat, TelegramThread, TelegramUpdate, TelegramUser
from telegram_bot.selectors import HELD_BACK, model_for
from telegram_bot.turns import waiting_before


@dataclass(frozen=True, slots=True)
class Ended:
    """How an update ended."""

    update_pk: int  # of its row
    outcome: str  # what was done, or why nothing was


@dataclass(frozen=True, slots=True)
class Known:
    """What is on record of the sender and the place of a claimed update; None where there is nothing yet."""

    user: TelegramUser | None = None  # with the account
    chat: TelegramChat | None = None
    thread: TelegramThread | None = None
    model: AIModel | None = None  # the one that answers in this chat
    is_behind: bool = False  # an earlier prompt of the sender waits for its turn


@dataclass(frozen=True, slots=True)
class Claim:
    """One look at the queue of a chat."""

    update: TelegramUpdate | None  # the one that is claimed, its try counted
    known: Known = Known()
    is_held: bool = False  # another worker owns the chat


# What a message contains whose handling needs a download, or may need that of the message that it replies to.
FILES = ("photo", "voice", "audio", "document", "reply_to_message", "external_reply")


def update_claim(
    *,
    chat_id: int,
    holder: UUID,
    lease_seconds: float,
    download_seconds: float,
    is_owner: bool = False,
    ended: Ended | None = None,
) -> Claim:
    """Record how an update ended, and claim the chat's oldest one, if it is due, with the chat's lease.

    What is held back is passed by until it is due.

    The lease is taken or extended by `lease_seconds`, and by `download_seconds` more where the update brings a file; it
    is released where no update is due. Of any number of workers one owns the chat. Idempotent for its holder.

    A lock on the chat's row keeps a newcomer out. Its owner (`is_owner`) waits, or nobody would release the chat.
    """
    if is_postgresql():
        return _claim_compound(chat_id, holder, lease_seconds, download_seconds, is_owner, ended)
    with transaction.atomic():
        if ended is not None:
            TelegramUpdate.objects.filter(pk=ended.update_pk).update(
                handled_at=Now(), outcome=ended.outcome, next_at=None
            )
        rows = TelegramChat.objects.filter(pk=chat_id)
        mine = rows.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()) | Q(holder=holder))
        chat = mine.select_related("model").first()
        if chat is None:
            return Claim(None, is_held=rows.exists())
        unhandled = TelegramUpdate.objects.filter(~HELD_BACK, chat_id=chat_id, handled_at__isnull=True)
        update = unhandled.annotate(now=Now()).order_by("received_at", "update_id").first()
        if update is None or (update.next_at and update.next_at > update.now):
            mine.filter(holder=holder).update(lease_until=None, is_wanted=False)
            return Claim(None)
        has_file = not set(FILES).isdisjoint(update.raw.get("message") or {})
        seconds = lease_seconds + (download_seconds if has_file else 0)
        mine.update(holder=holder, lease_until=Now() + timedelta(seconds=seconds), is_wanted=False)
        TelegramUpdate.objects.filter(pk=update.pk).update(tries=F("tries") + 1)
        update.tries += 1
        user = (
            TelegramUser.objects.select_related("account")
            .filter(telegram_id=update.sender_id or 0, bot_id=update.bot_id)
            .first()
        )
        thread = TelegramThread.objects.filter(chat_id=chat_id, thread_id=update.thread_id or 0).first()
        return Claim(update, Known(user, chat, thread, model_for(chat), waiting_before(update).exists()))


def chat_want(*, chat_id: int) -> bool:
    """Have the owner of a chat look once more before it lets go of it. Returns False where nobody owns it.

    For a worker that was woken for an update which the owner's look may be too early to see.
    """
    owned = TelegramChat.objects.filter(pk=chat_id, lease_until__gte=Now())
    return owned.update(is_wanted=True) > 0


def _claim_compound(
    chat_id: int, holder: UUID, lease_seconds: float, download_seconds: float, is_owner: bool, ended: Ended | None
) -> Claim:
    params: dict[str, Any] = {
        "chat": chat_id,
        "holder": holder,
        "ended": ended.update_pk if ended else None,
        "outcome": ended.outcome if ended else "",
        "lease": timedelta(seconds=lease_seconds),
        "download": timedelta(seconds=download_seconds),
        "files": list(FILES),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM.format(skip_locked="" if is_owner else "SKIP LOCKED"), params)
        is_mine, is_known, is_wanted, is_behind, _, *values = cursor.fetchone()
    if not is_mine:
        return Claim(None, is_held=is_known)
    update, chat, user, account, thread, model = _instances(values)
    if update is None:
        if not is_wanted:
            return Claim(None)
        return _claim_compound(chat_id, holder, lease_seconds, download_seconds, is_owner, ended)
    if user is not None:
        user.account = account
    return Claim(update, Known(user, chat, thread, model, is_behind))


# In the order in which the statement returns their columns.
_MODELS: dict[str, type[models.Model]] = {
    "claimed": TelegramUpdate,
    "chat": TelegramChat,
    "sender": TelegramUser,
    "account": Account,
    "thread": TelegramThread,
    "model": AIModel,
}
_COLUMNS = ", ".join(
    f"{alias}.{field.column}" for alias, model in _MODELS.items() for field in model._meta.concrete_fields
)


_ANY = models.Value(None)  # a JSONField decodes what comes out of it as it does a column


def _instances(values: list[Any]) -> list[Any]:
    """Return one instance per model out of a row of all their columns; None where its columns are NULL."""
    instances: list[Any] = []
    position = 0
    for model in _MODELS.values():
        fields = model._meta.concrete_fields
        columns = values[position : position + len(fields)]
        position += len(fields)
        if columns[fields.index(model._meta.pk)] is None:
            instances.append(None)
            continue
        decoded = [
            field.from_db_value(value, _ANY, connection) if isinstance(field, models.JSONField) else value
            for field, value in zip(fields, columns, strict=True)
        ]
        instances.append(model.from_db(connection.alias, [field.attname for field in fields], decoded))
    return instances


_CLAIM = f"""
    WITH ended AS (
        UPDATE telegram_bot_telegramupdate SET handled_at = STATEMENT_TIMESTAMP(), outcome = %(outcome)s, next_at = NULL
        WHERE id = %(ended)s
    ), chat AS (
        SELECT * FROM telegram_bot_telegramchat
        WHERE id = %(chat)s
            AND (lease_until IS NULL OR lease_until < STATEMENT_TIMESTAMP() OR holder = %(holder)s)
        FOR NO KEY UPDATE {{skip_locked}}
    ), oldest AS (
        SELECT waiting.id, waiting.next_at FROM telegram_bot_telegramupdate AS waiting, chat
        WHERE waiting.chat_id = chat.id AND waiting.handled_at IS NULL
            AND waiting.id IS DISTINCT FROM %(ended)s
            AND (waiting.held_at IS NULL OR waiting.next_at IS NULL OR waiting.next_at <= STATEMENT_TIMESTAMP())
        ORDER BY waiting.received_at, waiting.update_id LIMIT 1
    ), claimed AS (
        UPDATE telegram_bot_telegramupdate SET tries = tries + 1 FROM oldest
        WHERE telegram_bot_telegramupdate.id = oldest.id AND handled_at IS NULL
            AND (oldest.next_at IS NULL OR oldest.next_at <= STATEMENT_TIMESTAMP())
        RETURNING telegram_bot_telegramupdate.*
    ), leased AS (
        UPDATE telegram_bot_telegramchat SET holder = %(holder)s, is_wanted = FALSE,
            lease_until = CASE
                WHEN claimed.id IS NOT NULL THEN STATEMENT_TIMESTAMP() + %(lease)s
                    + CASE WHEN claimed.raw->'message' ?| %(files)s THEN %(download)s ELSE INTERVAL '0' END
                WHEN chat.is_wanted THEN chat.lease_until
            END
        FROM chat LEFT JOIN claimed ON TRUE
        WHERE telegram_bot_telegramchat.id = chat.id
            AND (claimed.id IS NOT NULL OR chat.holder = %(holder)s)
    )
    SELECT EXISTS (SELECT 1 FROM chat),
        EXISTS (SELECT 1 FROM telegram_bot_telegramchat WHERE id = %(chat)s),
        COALESCE(chat.is_wanted AND chat.holder = %(holder)s, FALSE),
        EXISTS (
            SELECT 1 FROM telegram_bot_telegramupdate AS earlier
            WHERE earlier.chat_id = claimed.chat_id AND earlier.handled_at IS NULL AND earlier.held_at IS NOT NULL
                AND earlier.sender_id = claimed.sender_id
                AND COALESCE(earlier.thread_id, 0) = COALESCE(claimed.thread_id, 0)
                AND (earlier.received_at, earlier.update_id) < (claimed.received_at, claimed.update_id)
                AND earlier.id IS DISTINCT FROM %(ended)s
        ),
        {LAZY},
        {_COLUMNS}
    FROM (SELECT 1) AS always
        LEFT JOIN chat ON TRUE
        LEFT JOIN claimed ON TRUE
        LEFT JOIN telegram_bot_telegramuser AS sender
            ON sender.telegram_id = claimed.sender_id AND sender.bot_id = claimed.bot_id
        LEFT JOIN requests_app_account AS account ON account.id = sender.account_id
        LEFT JOIN telegram_bot_telegramthread AS thread
            ON thread.chat_id = chat.id AND thread.thread_id = COALESCE(claimed.thread_id, 0)
        LEFT JOIN LATERAL (
            SELECT * FROM ai_models WHERE enabled
            ORDER BY id = chat.model_id DESC NULLS LAST, position, name LIMIT 1
        ) AS model ON claimed.id IS NOT NULL
"""  # noqa: S608 — no value is interpolated

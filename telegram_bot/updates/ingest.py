"""Ingestion: each update is stored once, unchanged, and a worker is woken. The webhook and the poller share this."""

import json
import logging
from enum import Enum
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from providers.transport.json_fields import load_json
from requests_app.dispatch import enqueue_on_commit
from telegram_bot import bots
from telegram_bot.chats import HANDLE_TASK, chat_ensure
from telegram_bot.models import TelegramUpdate

logger = logging.getLogger("telegram_bot.updates.ingest")

# The kinds that Telegram is asked for. Others may arrive nevertheless, for a while after a change.
ALLOWED_UPDATES = ("message", "callback_query", "my_chat_member")
MAX_ID = 2**63 - 1
MAX_KNOWN_CHATS = 50_000  # whose keys a process remembers


class UpdateMalformed(Exception):
    """This is not an update that can be stored."""


class IngestResult(Enum):
    """What became of an update that arrived."""

    ACCEPTED = "accepted"
    DUPLICATE = "stored already"
    IGNORED = "ignored"
    MALFORMED = "malformed"


def update_parse(body: bytes) -> Any:
    """Return a body's JSON. Raises UpdateMalformed."""
    try:
        return load_json(body, parse_constant=_refuse)
    except ValueError as error:
        raise UpdateMalformed("The body is not JSON") from error


def update_ingest(raw: Any) -> IngestResult:
    """Store an update unchanged and enqueue its chat on commit. Idempotent by the update's id.

    What cannot be handled is logged, without its content, and dropped: refusing it would make Telegram send it again,
    and hold back its chat, for a day. Raises DatabaseError where nothing could be written.
    """
    try:
        update = _row_for(raw)
    except UpdateMalformed as error:
        logger.warning("An update was dropped: %s.", error)
        return IngestResult.MALFORMED
    try:
        _insert(update)
    except IntegrityError:
        if TelegramUpdate.objects.filter(update_id=update.update_id, bot_id=update.bot_id).exists():
            return IngestResult.DUPLICATE
        # The row of the chat, or of the bot, was deleted since this process has seen it.
        forget_known_rows()
        update = _row_for(raw)
        _insert(update)
    return IngestResult.IGNORED if update.chat_id is None else IngestResult.ACCEPTED


def _insert(update: TelegramUpdate) -> None:
    with transaction.atomic():
        update.save(force_insert=True)
        if update.chat_id is not None:
            enqueue_on_commit(HANDLE_TASK, update.chat_id)


def forget_known_rows() -> None:
    """Read the rows of bots and chats anew when they are next needed."""
    _known_chats.clear()
    bots.forget()


_known_chats: dict[tuple[int, int], int] = {}  # keys of rows by their bot's key and Telegram's id


def _chat_key(telegram_id: int) -> int:
    """Return the key of a chat's row; it is written on first use, and remembered."""
    known = bots.current_bot_id(), telegram_id
    if known not in _known_chats:
        if len(_known_chats) >= MAX_KNOWN_CHATS:
            _known_chats.clear()
        _known_chats[known] = chat_ensure(telegram_id=telegram_id).pk
    return _known_chats[known]


def _row_for(raw: Any) -> TelegramUpdate:
    if not isinstance(raw, dict):
        raise UpdateMalformed("it is not an object")
    update_id: Any = raw.get("update_id")
    if not _is_id(update_id):
        raise UpdateMalformed("it has no update_id")
    if not _is_storable(raw):
        raise UpdateMalformed(f"update {update_id} contains characters or numbers that cannot be stored")
    kind, content = next(((key, value) for key, value in raw.items() if isinstance(value, dict)), ("unknown", {}))
    telegram_id = _chat_id(content)
    update = TelegramUpdate(
        bot_id=bots.current_bot_id(),
        update_id=update_id,
        kind=kind[:40],
        raw=raw,
        chat_id=None if telegram_id is None else _chat_key(telegram_id),
        sender_id=_id_at(content, "from", "id"),
        thread_id=_topic(content),
    )
    if update.chat_id is None:
        update.handled_at, update.outcome = Now(), "ignored: belongs to no chat"
    return update


def _chat_id(content: dict[str, Any]) -> int | None:
    """Return Telegram's id of the update's chat; a pressed button has it in its message."""
    chat_id = _id_at(content, "chat", "id")
    return _id_at(content, "message", "chat", "id") if chat_id is None else chat_id


def _topic(content: dict[str, Any]) -> int | None:
    """Return the topic of a message, or of the message whose button was pressed, as context.topic_of() does."""
    message = content if "chat" in content else content.get("message")
    is_in_topic = isinstance(message, dict) and message.get("is_topic_message") is True
    return _id_at(message, "message_thread_id") if is_in_topic else None


def _id_at(value: Any, *path: str) -> int | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return int(value) if _is_id(value) else None


def _is_id(value: Any) -> bool:
    return type(value) is int and abs(value) <= MAX_ID


def _is_storable(raw: dict[str, Any]) -> bool:
    """Return whether both databases can store this: no NUL, no lone surrogates, no infinite numbers."""
    try:
        text = json.dumps(raw, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return False
    # A NUL is encoded as \u0000; a text that contains these six characters has one more backslash.
    return "\\u0000" not in text.replace("\\\\", "")


def _refuse(constant: str) -> None:
    raise ValueError(constant)

"""Whose turn it is: prompts that wait as updates, with those of their parts that came. Nothing is sent here."""

from typing import Any

from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Now

from providers.db import update_unlocked
from telegram_bot.models import TelegramUpdate


def prompts_waiting(*, chat_id: Any, sender_id: Any) -> QuerySet[TelegramUpdate]:
    """Return the prompts of a user in a chat that are held back, oldest first. Both may be expressions."""
    return _unhandled(chat_id=chat_id, sender_id=sender_id).filter(held_at__isnull=False)


def waiting_before(update: TelegramUpdate) -> QuerySet[TelegramUpdate]:
    """Return the prompts that this update's sender has sent before it, in the same topic, and that still wait."""
    received_at = _received_at(update)
    is_earlier = Q(received_at__lt=received_at) | Q(received_at=received_at, update_id__lt=update.update_id)
    return _in_topic_of(update).filter(is_earlier, held_at__isnull=False)


def unhandled_after(update: TelegramUpdate) -> QuerySet[TelegramUpdate]:
    """Return the updates that this one's sender has sent after it, in the same topic, and that are not handled."""
    received_at = _received_at(update)
    is_later = Q(received_at__gt=received_at) | Q(received_at=received_at, update_id__gt=update.update_id)
    return _in_topic_of(update).filter(is_later)


def _received_at(update: TelegramUpdate) -> Subquery:
    # Compared in the database: SQLite keeps fewer digits of a moment than Python writes.
    return Subquery(TelegramUpdate.objects.filter(pk=update.pk).values("received_at"))


def _in_topic_of(update: TelegramUpdate) -> QuerySet[TelegramUpdate]:
    theirs = _unhandled(chat_id=update.chat_id, sender_id=update.sender_id)
    return theirs.alias(topic=Coalesce("thread_id", Value(0))).filter(topic=update.thread_id or 0)


def _unhandled(*, chat_id: Any, sender_id: Any) -> QuerySet[TelegramUpdate]:
    unhandled = TelegramUpdate.objects.filter(chat_id=chat_id, sender_id=sender_id, handled_at__isnull=True)
    return unhandled.order_by("received_at", "update_id")


def turns_release(*, chat_id: int, sender_id: int | None, after: int | None = None) -> None:
    """Have the next prompt of a user in each topic of a chat looked at now. Idempotent.

    Whether its turn has come is seen then, so this may be called too often. One that somebody holds a lock on is being
    looked at, and one that is to be tried again later waits for that. `after` is the row of one that waits no more,
    which is not written yet.
    """
    first: dict[int | None, tuple[int, int]] = {}
    waiting = prompts_waiting(chat_id=chat_id, sender_id=sender_id)
    for pk, thread_id, tries in waiting.values_list("pk", "thread_id", "tries"):
        if pk != after:
            first.setdefault(thread_id, (pk, tries))
    due = TelegramUpdate.objects.filter(pk__in=[pk for pk, tries in first.values() if not tries], handled_at=None)
    update_unlocked(due, next_at=Now())

"""Whose turn it is: prompts that wait as updates, each for the answers to those before it. Nothing is sent here."""

from typing import Any

from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from telegram_bot.models import HeldFor, TelegramUpdate


def prompts_waiting(*, chat_id: Any) -> QuerySet[TelegramUpdate]:
    """Return the prompts of a chat that wait for their turn, oldest first. `chat_id` may be an expression."""
    waiting = TelegramUpdate.objects.filter(chat_id=chat_id, handled_at__isnull=True, held_for=HeldFor.TURN)
    return waiting.order_by("received_at", "update_id")


def waiting_before(update: TelegramUpdate) -> QuerySet[TelegramUpdate]:
    """Return the prompts that this update's sender has sent before it, in the same topic, and that still wait."""
    # Compared in the database: SQLite keeps fewer digits of a moment than Python writes.
    received_at = Subquery(TelegramUpdate.objects.filter(pk=update.pk).values("received_at"))
    is_earlier = Q(received_at__lt=received_at) | Q(received_at=received_at, update_id__lt=update.update_id)
    topic = Coalesce("thread_id", Value(0))
    theirs = prompts_waiting(chat_id=update.chat_id).filter(is_earlier, sender_id=update.sender_id)
    return theirs.alias(topic=topic).filter(topic=update.thread_id or 0)


def turns_release(*, chat_id: int, after: int | None = None) -> int:
    """Have the next prompt of each sender in each topic of a chat looked at now; return how many there are. Idempotent.

    Whether its turn has come is seen then, so this may be called too often. `after` is the row of one that waits no
    more, which is not written yet.
    """
    first: dict[tuple[int | None, int | None], int] = {}
    waiting = prompts_waiting(chat_id=chat_id).exclude(pk__in=[] if after is None else [after])
    for pk, sender_id, thread_id in waiting.values_list("pk", "sender_id", "thread_id"):
        first.setdefault((sender_id, thread_id), pk)
    return TelegramUpdate.objects.filter(pk__in=first.values(), handled_at=None).update(next_at=None)

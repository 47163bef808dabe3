"""Messages that belong together: a text that its sender's app has cut into several, and the pictures of an album.

They come as an update each. The first one waits a moment for the others and takes them along, in private chats: in a
group the others are not meant for the bot.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from telegram_bot.handlers.context import HandlerContext, Part
from telegram_bot.models import HeldFor, TelegramUpdate
from telegram_bot.turns import unhandled_after

PAUSE_SECONDS = 1.5  # after the newest part, for which the next one is waited for
MAX_SECONDS_APART = 2  # of Telegram's own times, which no delay of ours changes
FULL_UNITS = 4096  # of UTF-16, in which Telegram counts: longer texts are cut by apps,
LEAST_UNITS = 2048  # between two words or lines in the second half of a part, or else anywhere
ABOUT_OTHERS = frozenset({"reply_to_message", "external_reply", "quote", "forward_origin", "via_bot"})


def parts_collect(context: HandlerContext) -> HandlerContext | None:
    """Return the prompt with its further parts; None where it was held back because some may be missing. Idempotent.

    The parts are still to be taken, together with what comes of the prompt: see parts_take().
    """
    may_follow = context.album_id or _may_go_on(context.text)
    if context.chat.telegram_id < 0 or not may_follow or (context.reference and context.reference.is_forwarded):
        return context
    parts = list(_album(context) if context.album_id else _text(context))
    newest = parts[-1].update_pk if parts else context.update_pk
    if (context.album_id or not parts or _may_go_on(parts[-1].text)) and _is_fresh(newest):
        context.hold_back(seconds=PAUSE_SECONDS, held_for=HeldFor.PARTS)
        return None
    texts = _joined([context.text, *(part.text for part in parts)], cut_anywhere=not context.album_id)
    return replace(context, text=texts, parts=tuple(parts))


def parts_take(context: HandlerContext) -> None:
    """Note that the prompt's further parts are handled with it."""
    if context.parts:
        rows = TelegramUpdate.objects.filter(pk__in=[part.update_pk for part in context.parts], handled_at=None)
        rows.update(handled_at=Now(), outcome=f"a part of what row {context.update_pk} asks", next_at=None)


def _text(context: HandlerContext) -> Iterator[Part]:
    sent_at, text, place = context.sent_at, context.text, context.place
    for row in _later(context):
        if row.target not in ("", place):
            return  # a command that is handled already came in between
        message: dict[str, Any] = row.raw["message"]
        is_text = "text" in message and not ABOUT_OTHERS & message.keys()
        if not (is_text and _may_go_on(text) and message["date"] - sent_at <= MAX_SECONDS_APART):
            return
        if any(mark["type"] == "bot_command" and not mark["offset"] for mark in message.get("entities", [])):
            return
        sent_at, text = message["date"], message["text"]
        yield Part(row.pk, text)


def _album(context: HandlerContext) -> Iterator[Part]:
    for row in _later(context):
        message: dict[str, Any] = row.raw["message"]
        if message.get("media_group_id") == context.album_id and message.get("photo"):
            yield Part(row.pk, message.get("caption", ""), message["photo"][-1]["file_id"])


def _later(context: HandlerContext) -> QuerySet[TelegramUpdate]:
    """Return the messages that the user has sent to the same topic after the prompt, and that are not handled yet."""
    return unhandled_after(TelegramUpdate.objects.get(pk=context.update_pk)).filter(kind="message")


def _may_go_on(text: str) -> bool:
    return _units(text) >= LEAST_UNITS


def _is_fresh(update_pk: int) -> bool:
    since = Now() - timedelta(seconds=PAUSE_SECONDS)
    return TelegramUpdate.objects.filter(pk=update_pk, received_at__gt=since).exists()


def _joined(texts: Iterable[str], *, cut_anywhere: bool) -> str:
    """Join texts by the line break at which they were cut; a full one may have been cut within a word."""
    joined, is_within = "", True
    for text in texts:
        joined += text if is_within or not text else f"\n{text}"
        is_within = not joined or (cut_anywhere and _units(text) >= FULL_UNITS)
    return joined


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2

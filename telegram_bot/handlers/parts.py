"""Messages that belong together: a text that its sender's app has cut into several, and the pictures of an album.

They come as an update each. In a private chat the one that comes first waits a moment for the others and takes them
along: in a group the others are not meant for the bot. The short end of a text that overtakes its beginning on the way
is a prompt of its own, and so is one that comes after its beginning was cancelled.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import telegram
from django.db.models.functions import Now

from telegram_bot.content.parsing import update_read
from telegram_bot.content.rendering import MAX_UNITS, units_of
from telegram_bot.handlers.context import HandlerContext, Part
from telegram_bot.models import HeldFor, TelegramUpdate
from telegram_bot.turns import unhandled_after

PAUSE_SECONDS = 1.5  # after the newest part, for which the next one is waited for
MAX_SECONDS_APART = 2  # of Telegram's own times, which no delay of ours changes
# Apps cut a text of more than MAX_UNITS between two words or lines in the second half of a part, or else anywhere.
LEAST_UNITS = MAX_UNITS // 2
COMMAND = telegram.MessageEntity.BOT_COMMAND


def parts_collect(context: HandlerContext) -> HandlerContext | None:
    """Return the prompt with its further parts; None where it was held back because some may be missing.

    They are handled with this, whatever comes of the prompt: when it is handled again it has the same.
    """
    is_forwarded = context.reference is not None and context.reference.is_forwarded
    is_whole = context.units < LEAST_UNITS or is_forwarded
    if context.chat.telegram_id < 0 or (is_whole and not context.album_id):
        return context
    noted = TelegramUpdate.objects.filter(part_of=context.update_pk)
    parts = [_part(row, message) for row in noted if (message := _message(row))]
    if not parts and not context.is_accepted:
        parts = list(_album(context) if context.album_id else _rest(context))
        newest = parts[-1] if parts else None
        may_follow = context.album_id or newest is None or newest.units >= LEAST_UNITS
        if may_follow and _is_fresh(newest.update_pk if newest else context.update_pk):
            context.hold_back(seconds=PAUSE_SECONDS, held_for=HeldFor.PARTS)
            return None
        _take(parts, context.update_pk)
    return _with_parts(context, parts)


def may_belong(context: HandlerContext, earlier: TelegramUpdate) -> bool:
    """Return whether a message may be a further part of what an earlier update brought, or belong to its parts."""
    message = _message(earlier)
    if message is None:
        return False
    if context.album_id:
        return message.media_group_id == context.album_id
    return units_of(message.text or "") >= LEAST_UNITS


def _with_parts(context: HandlerContext, parts: Sequence[Part]) -> HandlerContext:
    head = Part(context.update_pk, context.message_id, context.text, context.units, context.image_file_id)
    whole = sorted([head, *parts], key=lambda part: part.message_id)
    text = _joined(whole, cut_anywhere=not context.album_id)
    reference = context.reference
    if reference and reference.is_forwarded:
        reference = replace(reference, text=text)
    return replace(context, text=text, reference=reference, parts=tuple(whole))


def _take(parts: Iterable[Part], head_pk: int) -> None:
    rows = TelegramUpdate.objects.filter(pk__in=[part.update_pk for part in parts], handled_at=None)
    rows.update(part_of=head_pk, handled_at=Now(), outcome=f"a part of what row {head_pk} asks", next_at=None)


def _rest(context: HandlerContext) -> Iterator[Part]:
    """Yield the parts that follow a text: each but the last is long, and none stands for itself."""
    sent_at, units = context.sent_at, context.units
    for row in unhandled_after(TelegramUpdate.objects.get(pk=context.update_pk)):
        if row.target not in ("", context.place):
            return  # a command that is handled already came in between
        message = _message(row)
        if message is None or message.text is None or units < LEAST_UNITS or _stands_for_itself(message):
            return
        part, gap = _part(row, message), int(message.date.timestamp()) - sent_at
        if gap > MAX_SECONDS_APART:
            return
        sent_at, units = sent_at + gap, part.units
        yield part


def _album(context: HandlerContext) -> Iterator[Part]:
    for row in unhandled_after(TelegramUpdate.objects.get(pk=context.update_pk)):
        message = _message(row)
        if message and message.media_group_id == context.album_id and message.photo:
            yield _part(row, message)


def _stands_for_itself(message: telegram.Message) -> bool:
    is_command = any(mark.type == COMMAND and not mark.offset for mark in message.entities)
    is_about = message.reply_to_message or message.external_reply or message.forward_origin or message.via_bot
    return is_command or bool(is_about)


def _message(row: TelegramUpdate) -> telegram.Message | None:
    """Return the message of an update; None where it has none that can be read."""
    update = update_read(row.raw)
    return update.message if update else None


def _part(row: TelegramUpdate, message: telegram.Message) -> Part:
    text = message.text or message.caption or ""
    image = message.photo[-1].file_id if message.photo else ""
    return Part(row.pk, message.message_id, text, units_of(message.text or ""), image)


def _is_fresh(update_pk: int) -> bool:
    since = Now() - timedelta(seconds=PAUSE_SECONDS)
    return TelegramUpdate.objects.filter(pk=update_pk, received_at__gt=since).exists()


def _joined(parts: Iterable[Part], *, cut_anywhere: bool) -> str:
    """Join texts by the line break at which they were cut; a full one may have been cut within a word."""
    joined, is_within = "", True
    for part in parts:
        joined += part.text if is_within or not part.text else f"\n{part.text}"
        is_within = not joined or (cut_anywhere and part.units >= MAX_UNITS)
    return joined

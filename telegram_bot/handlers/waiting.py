"""Prompts whose turn has not come: they wait as updates, and are accepted, priced and held when it has.

A text waits for the answers before it in its conversation, which it is to know; every prompt waits while its user has
as many requests open as one may. The end of a request has the next one looked at (turns_release()); where that is lost,
it is looked at every few seconds.
"""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from requests_app.selectors import requests_under_way, text_under_way
from telegram_bot import texts
from telegram_bot.api.errors import BotApiError
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.models import HeldFor, TelegramThread, TelegramUpdate
from telegram_bot.turns import prompts_waiting, turns_release

logger = logging.getLogger("telegram_bot.handlers.waiting")

MAX_WAITING = 20  # prompts of one user in one chat
LOOK_SECONDS = 10.0  # between two looks at the first in line,
LOOK_BEHIND_SECONDS = 60.0  # and at the others
LONG_SECONDS = 8.0  # for which nobody wonders where the answer is
NOTICE_SECONDS = 60.0  # between two notices of a kind to one topic, or to a chat without topics


def must_wait(context: HandlerContext) -> bool:
    """Return whether a prompt's turn has certainly not come. Asked before its files are downloaded.

    Whether it has is seen when it is accepted, so of one that did not wait yet nothing more is read.
    """
    return context.is_behind or (context.was_waiting and not _is_turn(context))


def prompt_wait(context: HandlerContext) -> str:
    """Have a prompt wait for its turn, and return "", or leave it out where too many wait, and say why. Idempotent.

    Its chat is told of prompts that wait for a while, and of those that are left out, now and then.
    """
    if context.was_waiting and _has_waited_long(context):
        _tell(context, "waiting_told_at", texts.waiting(_number_waiting(context)))
    if not context.was_waiting and _number_waiting(context) >= MAX_WAITING:
        _tell(context, "left_out_told_at", texts.LEFT_OUT)
        return "refused: too many wait"
    context.hold_back(
        seconds=LOOK_BEHIND_SECONDS if context.is_behind else LOOK_SECONDS,
        held_for=HeldFor.TURN,
        target=str(context.conversation_number),
    )
    if not context.is_behind and _is_turn(context):
        turns_release(chat_id=context.chat.pk)  # what it waits for has ended before others could see it wait
    return ""


def _is_turn(context: HandlerContext) -> bool:
    account_id, thread = context.user.account_id, context.thread
    if text_under_way(account_id, thread.key_of(context.conversation_number)).exists():
        return False
    return requests_under_way(account_id).count() < settings.MAX_OPEN_REQUESTS


def _has_waited_long(context: HandlerContext) -> bool:
    since = Now() - timedelta(seconds=LONG_SECONDS)
    return TelegramUpdate.objects.filter(pk=context.update_pk, held_at__lte=since).exists()


def _number_waiting(context: HandlerContext) -> int:
    return prompts_waiting(chat_id=context.chat.pk).filter(sender_id=context.user.telegram_id).count()


def _tell(context: HandlerContext, told_at: str, text: str) -> None:
    """Send a notice, unless this topic had one of its kind lately. Where it cannot be sent now there is none."""
    due = Q((told_at, None)) | Q((f"{told_at}__lt", Now() - timedelta(seconds=NOTICE_SECONDS)))
    if TelegramThread.objects.filter(due, pk=context.thread.pk).update(**{told_at: Now()}):
        try:
            context.answer(text)
        except BotApiError as error:
            logger.info("A chat could not be told that its prompts wait: %s", error)

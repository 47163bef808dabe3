"""Prompts whose turn has not come: they wait as updates, and are accepted, priced and held when it has.

A text waits for the answers before it in its conversation, which it is to know; every prompt waits while its user has
as many requests open as one may. The end of a request has the next one looked at (turns_release()). It is looked at
every few seconds anyway, for where that is lost, or what ends is in another chat, or waits for an operator.
"""

import logging
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from requests_app.errors import ConversationBusy, RequestRefused
from requests_app.selectors import requests_under_way, text_under_way
from telegram_bot import texts
from telegram_bot.api.errors import BotApiError, NotReached, SlowDown
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.handlers.parts import may_belong
from telegram_bot.models import HeldFor, TelegramUpdate, TelegramUser
from telegram_bot.turns import prompts_waiting, turns_release

logger = logging.getLogger("telegram_bot.handlers.waiting")

MAX_WAITING = 20  # prompts of one user in one chat
LOOK_SECONDS = 10.0  # between two looks at the first in line,
LOOK_BEHIND_SECONDS = 60.0  # and at the others
LONG_SECONDS = 8.0  # for which nobody wonders where the answer is
NOTICE_SECONDS = 60.0  # between two notices of a kind to one user


def must_wait(context: HandlerContext) -> bool:
    """Return whether a prompt's turn has certainly not come. Asked before its files are downloaded.

    Whether it has is seen when it is accepted, so of one that was not held back nothing more is read.
    """
    if not context.held_for:
        return context.is_behind
    if context.is_accepted:
        return False  # and its worker died
    return context.is_behind or not _is_turn(context, context.held_for)


def prompt_wait(context: HandlerContext, why: RequestRefused | None = None) -> str:
    """Have a prompt wait for its turn, and return "", or leave it out where too many wait, and say why. Idempotent.

    `why` is the refusal to accept it, if that was tried. Its user is told of prompts that wait for a while, and of
    those that are left out, now and then. Raises SlowDown or NotReached where of one that is left out nothing can be
    said now.
    """
    if not context.held_for and _is_one_too_many(context):
        _tell(context, "left_out_told_at", texts.LEFT_OUT)
        return "refused: too many wait"
    if context.held_for and _has_waited_long(context):
        with suppress(SlowDown, NotReached):
            _tell(context, "waiting_told_at", texts.waiting(_waiting(context).count()))
    waits_for_text = isinstance(why, ConversationBusy) or (why is None and context.held_for == HeldFor.TURN)
    held_for = HeldFor.TURN if waits_for_text else HeldFor.PLACE
    context.hold_back(seconds=LOOK_BEHIND_SECONDS if context.is_behind else LOOK_SECONDS, held_for=held_for)
    if why and _is_turn(context, held_for):
        # What it waits for has ended before others could see it wait.
        turns_release(chat_id=context.chat.pk, sender_id=context.user.telegram_id)
    return ""


def _is_turn(context: HandlerContext, held_for: str) -> bool:
    """Return whether what the prompt waited for is over. What it waits for next is seen when it is accepted."""
    account_id = context.user.account_id
    if held_for == HeldFor.TURN and text_under_way(account_id, context.conversation_key).exists():
        return False
    return requests_under_way(account_id).count() < settings.MAX_OPEN_REQUESTS


def _is_one_too_many(context: HandlerContext) -> bool:
    number = _waiting(context).count()
    if number < MAX_WAITING:
        return False
    # What may belong to the last one is no prompt of its own, within reason.
    newest = _waiting(context).last()
    return number >= 2 * MAX_WAITING or newest is None or not may_belong(context, newest)


def _has_waited_long(context: HandlerContext) -> bool:
    since = Now() - timedelta(seconds=LONG_SECONDS)
    return TelegramUpdate.objects.filter(pk=context.update_pk, held_at__lte=since).exists()


def _waiting(context: HandlerContext) -> QuerySet[TelegramUpdate]:
    return prompts_waiting(chat_id=context.chat.pk, sender_id=context.user.telegram_id)


def _tell(context: HandlerContext, told_at: str, text: str) -> None:
    """Send a notice, unless this user had one of its kind lately. Raises SlowDown or NotReached, to be told later."""
    users = TelegramUser.objects.filter(pk=context.user.pk)
    due = Q((told_at, None)) | Q((f"{told_at}__lt", Now() - timedelta(seconds=NOTICE_SECONDS)))
    if users.filter(due).update(**{told_at: Now()}):
        try:
            context.answer(text)
        except (SlowDown, NotReached):
            users.update(**{told_at: None})
            raise
        except BotApiError as error:
            logger.info("A user could not be told that prompts wait: %s", error)

"""The /cancel command."""

from django.db.models.functions import Now

from requests_app.models import Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.refunds import credits_charged
from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.models import TelegramUpdate
from telegram_bot.selectors import newest_open_request
from telegram_bot.turns import waiting_before


def cancel(context: HandlerContext) -> str:
    """/cancel – cancel this user's newest open request in this topic with what waits there, and say what it has cost.

    Idempotent: a repeat answers for the same request.
    """
    waiting = waiting_before(TelegramUpdate.objects.get(pk=context.update_pk))
    request_id, _, dropped = context.choose(lambda: _found(context, waiting.count())).partition("/")
    # First, since the end of the request lets them go.
    waiting.update(handled_at=Now(), outcome="cancelled while it waited", next_at=None)
    if request_id:
        request_cancel(request_id=request_id, actor=context.user.account.key)
    words = texts.dropped(int(dropped or 0))
    if not Request.objects.filter(id=request_id, status=Request.Status.CANCELLED).exists():
        context.answer(words or texts.NOTHING_TO_CANCEL)
        return f"dropped {dropped} that waited" if words else "nothing to cancel"
    # The placeholder will say so too; this answers the command.
    context.answer(" ".join(filter(None, [texts.cancelled(credits_charged(request_id)), words])))
    return f"cancelled {request_id}"


def _found(context: HandlerContext, waiting: int) -> str:
    request_id = newest_open_request(account=context.user.account, thread=context.thread)
    return f"{request_id}/{waiting}" if request_id or waiting else ""

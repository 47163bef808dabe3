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
    """/cancel – cancel this user's newest open request in this chat with what waits for it, and say what it has cost.

    Idempotent: a repeat answers for the same request.
    """
    request_id = context.choose(lambda: newest_open_request(account=context.user.account, chat_id=context.chat.pk))
    if request_id:
        request_cancel(request_id=request_id, actor=context.user.account.key)
    dropped = _drop_waiting(context)
    if not Request.objects.filter(id=request_id, status=Request.Status.CANCELLED).exists():
        context.answer(texts.dropped(dropped) or texts.NOTHING_TO_CANCEL)
        return f"dropped {dropped} that waited" if dropped else "nothing to cancel"
    # The placeholder will say so too; this answers the command.
    context.answer(" ".join(filter(None, [texts.cancelled(credits_charged(request_id)), texts.dropped(dropped)])))
    return f"cancelled {request_id}"


def _drop_waiting(context: HandlerContext) -> int:
    """Drop the prompts that this user has sent here before, and that wait for their turn; return how many."""
    command = TelegramUpdate.objects.get(pk=context.update_pk)
    return waiting_before(command).update(handled_at=Now(), outcome="cancelled while it waited", next_at=None)

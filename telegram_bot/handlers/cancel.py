"""The /cancel command."""

from requests_app.models import Request
from requests_app.services.cancellation import request_cancel
from requests_app.services.refunds import credits_charged
from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.selectors import newest_open_request


def cancel(context: HandlerContext) -> str:
    """/cancel – cancel this user's newest open request in this chat, and say what it has cost.

    Idempotent: a repeat answers for the same request.
    """
    request_id = context.choose(lambda: newest_open_request(account=context.user.account, chat_id=context.chat.pk))
    if request_id:
        request_cancel(request_id=request_id, actor=context.user.account.key)
    if not Request.objects.filter(id=request_id, status=Request.Status.CANCELLED).exists():
        context.answer(texts.NOTHING_TO_CANCEL)
        return "nothing to cancel"
    # The placeholder will say so too; this answers the command.
    context.answer(texts.cancelled(credits_charged(request_id)))
    return f"cancelled {request_id}"

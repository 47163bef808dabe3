"""The /cancel command."""

from requests_app.services.cancellation import request_cancel
from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.selectors import newest_open_request


def cancel(context: HandlerContext) -> str:
    """/cancel – cancel this user's newest open request in this chat, which releases its credits."""
    request = newest_open_request(account=context.user.account, chat_id=context.chat.chat_id)
    if request is None or not request_cancel(request_id=request.id, actor=context.user.account.key):
        context.answer(texts.NOTHING_TO_CANCEL)
        return "nothing to cancel"
    # The placeholder will say so too; this answers the command.
    context.answer(texts.CANCELLED)
    return f"cancelled {request.id}"

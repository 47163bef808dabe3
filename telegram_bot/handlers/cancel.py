"""/cancel."""

from requests_app.services.cancellation import request_cancel
from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.selectors import newest_open_request


def cancel(context: HandlerContext) -> str:
    """/cancel – stop what this user asked for last in this chat, and give the credits back."""
    request = newest_open_request(account=context.user.account, chat_id=context.chat.chat_id)
    if request is None or not request_cancel(request_id=request.id, actor=context.user.account.key):
        context.answer(texts.NOTHING_TO_CANCEL)
        return "nothing to cancel"
    # The placeholder says so too; this is the answer to the command.
    context.answer(texts.CANCELLING)
    return f"cancelled {request.id}"

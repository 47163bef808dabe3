"""/cancel."""

from requests_app.services.cancellation import request_cancel
from telegram_bot import texts
from telegram_bot.handlers.context import Incoming
from telegram_bot.selectors import newest_open_request


def cancel(incoming: Incoming) -> str:
    """/cancel – stop what this user asked for last in this chat, and give the credits back."""
    request = newest_open_request(account=incoming.user.account, chat_id=incoming.chat.chat_id)
    if request is None or not request_cancel(request_id=request.id, actor=incoming.user.account.key):
        incoming.answer(texts.NOTHING_TO_CANCEL)
        return "nothing to cancel"
    # The placeholder says so too; this is the answer to the command.
    incoming.answer(texts.CANCELLING)
    return f"cancelled {request.id}"

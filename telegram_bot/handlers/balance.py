"""What a user has left."""

from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext


def balance(context: HandlerContext) -> str:
    """/balance – say how many credits there are."""
    context.answer(texts.balance_line(context.user.account.balance))
    return "told the balance"

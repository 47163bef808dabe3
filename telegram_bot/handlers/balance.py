"""The /balance command."""

from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext


def balance(context: HandlerContext) -> str:
    """/balance – tell the user how many credits they have."""
    context.answer(texts.balance_text(context.user.account.balance))
    return "told the balance"

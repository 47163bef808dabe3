"""What a user has left."""

from telegram_bot import texts
from telegram_bot.handlers.context import Incoming


def balance(incoming: Incoming) -> str:
    """/balance – say how many credits there are."""
    incoming.answer(texts.balance_line(incoming.user.account.balance))
    return "told the balance"

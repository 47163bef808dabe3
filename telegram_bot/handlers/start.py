"""The first words, and the help."""

from requests_app.selectors import offered_models
from telegram_bot import texts
from telegram_bot.handlers.context import Incoming
from telegram_bot.keyboards import model_keyboard
from telegram_bot.selectors import model_for


def start(incoming: Incoming) -> str:
    """/start – greet, and show who can answer."""
    user = incoming.user
    models = offered_models()
    keyboard = model_keyboard(models, user_id=user.user_id, chosen=model_for(incoming.chat)) if models else None
    incoming.answer(texts.greeting(user.name, user.account.balance, models), keyboard)
    return "greeted"


def help(incoming: Incoming) -> str:  # noqa: A001 — the command's name
    """/help – say what the bot can do."""
    incoming.answer(texts.HELP)
    return "helped"

"""The /start and /help commands."""

from requests_app.selectors import offered_models
from telegram_bot import texts
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.keyboards import model_keyboard
from telegram_bot.operator import operator_claim
from telegram_bot.selectors import model_for


def start(context: HandlerContext) -> str:
    """/start – greet the user and show the AI models. By the operator's link: send the alerts to this chat."""
    if operator_claim(chat=context.chat, start_parameter=context.text):
        context.answer(texts.OPERATOR_CLAIMED)
        return "became the operator's chat"
    user = context.user
    models = offered_models()
    keyboard = model_keyboard(models, user_id=user.telegram_id, chosen=model_for(context.chat)) if models else None
    context.answer(texts.greeting(user.name, user.account.balance, models), keyboard)
    return "greeted"


def help(context: HandlerContext) -> str:  # noqa: A001 — the command's name
    """/help – tell the user what the bot can do."""
    context.answer(texts.HELP)
    return "helped"

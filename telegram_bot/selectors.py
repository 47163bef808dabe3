"""Questions about labels and chats that change nothing."""

from providers.types import Category
from requests_app.models import AIModel
from requests_app.selectors import offered_models
from telegram_bot.models import TelegramChat

SHOWN_CATEGORIES = frozenset({Category.TEXT})  # what the chat can show so far


def shown_models() -> list[AIModel]:
    """Return the labels that users may pick now."""
    return [model for model in offered_models() if model.category in SHOWN_CATEGORIES]


def model_for(chat: TelegramChat) -> AIModel | None:
    """Return the label that answers in this chat: the chosen one while it is offered, else the first."""
    models = shown_models()
    return chat.model if chat.model in models else next(iter(models), None)

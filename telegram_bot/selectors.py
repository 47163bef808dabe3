"""Questions about labels and chats that change nothing."""

from providers.types import Category
from requests_app.models import Account, AIModel, Request
from requests_app.selectors import offered_models
from telegram_bot.models import TelegramChat


def model_for(chat: TelegramChat) -> AIModel | None:
    """Return the label that answers in this chat: the chosen one while it is offered, else the first."""
    models = offered_models()
    return chat.model if chat.model in models else next(iter(models), None)


def text_model_for(chat: TelegramChat) -> AIModel | None:
    """Return the label that answers questions about pictures here: the chosen one, or the first that writes text."""
    chosen = model_for(chat)
    if chosen and chosen.category == Category.TEXT:
        return chosen
    return next((model for model in offered_models() if model.category == Category.TEXT), None)


def newest_open_request(*, account: Account, chat_id: int) -> Request | None:
    """Return what this user asked for last in this chat and still waits for."""
    open_here = Request.objects.filter(user=account, status__in=Request.OPEN, deliveries__chat_id=chat_id)
    return open_here.order_by("-created_at").first()

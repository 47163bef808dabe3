"""Questions about labels and chats that change nothing."""

from providers.types import Category
from requests_app.models import Account, AIModel, Request
from telegram_bot.models import TelegramChat


def model_for(chat: TelegramChat) -> AIModel | None:
    """Return the label that answers in this chat: the chosen one while it is switched on, else the first."""
    if chat.model and chat.model.enabled:
        return chat.model
    return AIModel.objects.filter(enabled=True).first()


def text_model_for(chat: TelegramChat) -> AIModel | None:
    """Return the label that looks and listens here: the chosen one where it writes text, else the first that does."""
    chosen = model_for(chat)
    if chosen and chosen.category == Category.TEXT:
        return chosen
    return AIModel.objects.filter(enabled=True, category=Category.TEXT).first()


def newest_open_request(*, account: Account, chat_id: int) -> Request | None:
    """Return what this user asked for last in this chat and still waits for."""
    open_here = Request.objects.filter(user=account, status__in=Request.OPEN, deliveries__chat_id=chat_id)
    return open_here.order_by("-created_at").first()

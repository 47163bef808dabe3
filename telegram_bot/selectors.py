"""Queries about the AI models and requests of a chat that change nothing."""

from providers.types import Category
from requests_app.models import Account, AIModel, Request
from telegram_bot.models import TelegramChat


def model_for(chat: TelegramChat) -> AIModel | None:
    """Return the AI model that answers in this chat: the chosen one while it is enabled, else the first."""
    if chat.model and chat.model.enabled:
        return chat.model
    return AIModel.objects.filter(enabled=True).first()


def text_model_for(chosen: AIModel | None) -> AIModel | None:
    """Return the AI model that takes images and audio: the one that answers if it writes text, else the first such."""
    if chosen and chosen.category == Category.TEXT:
        return chosen
    return AIModel.objects.filter(enabled=True, category=Category.TEXT).first()


def newest_open_request(*, account: Account, chat_id: int) -> str:
    """Return the id of this user's newest open request in this chat, "" where there is none."""
    open_requests = Request.objects.filter(user=account, status__in=Request.OPEN, deliveries__chat_id=chat_id)
    return open_requests.order_by("-created_at").values_list("id", flat=True).first() or ""

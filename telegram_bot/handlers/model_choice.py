"""The /model command and its buttons: the choice of a chat's AI model."""

from requests_app.models import AIModel
from requests_app.selectors import offered_models
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.content.rendering import MessagePart
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.keyboards import model_keyboard
from telegram_bot.models import TelegramChat


def model_menu(context: HandlerContext) -> str:
    """/model – show the AI models as buttons."""
    models = offered_models()
    if not models:
        context.answer(texts.NO_MODEL_AVAILABLE)
        return "no model available"
    keyboard = model_keyboard(models, user_id=context.user.telegram_id, chosen=context.model)
    context.answer(texts.CHOOSE_MODEL, keyboard)
    return "showed the models"


def model_choose(context: HandlerContext) -> str:
    """A model's button – store the choice and confirm it in place of the menu. Idempotent."""
    client = get_client()
    press = context.press
    if press is None or press.user_id != context.user.telegram_id:
        client.answer_button(context.callback_id, texts.NOT_YOUR_BUTTON)
        return "refused: another user's button"
    model_id = context.choose(lambda: next((str(m.pk) for m in offered_models() if m.pk == press.target_id), ""))
    model = AIModel.objects.filter(pk=model_id).first() if model_id else None
    if model is None:
        client.answer_button(context.callback_id, texts.MODEL_UNAVAILABLE)
        return "refused: that model is not offered"
    TelegramChat.objects.filter(pk=context.chat.pk).update(model=model)
    context.acknowledge()
    client.edit(context.chat.telegram_id, context.message_id, MessagePart(texts.model_chosen(model)))
    return f"chose {model.slug}"

"""Handlers of everything that no other handler takes."""

from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.handlers.context import HandlerContext


def unsupported(context: HandlerContext) -> str:
    """A sticker, a video, a game – tell the user what can be read."""
    context.answer(texts.UNSUPPORTED)
    return "refused: not a text"


def unknown_command(context: HandlerContext) -> str:
    """An unknown command – point to /help."""
    context.answer(texts.UNKNOWN_COMMAND)
    return "refused: unknown command"


def unknown_button(context: HandlerContext) -> str:
    """A button of an older version – acknowledge it, so that it stops spinning."""
    get_client().answer_button(context.callback_id, texts.BUTTON_EXPIRED)
    return "refused: unknown button"

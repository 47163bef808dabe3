"""What the bot cannot do yet, and what it does not know."""

from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.handlers.context import HandlerContext


def unsupported(context: HandlerContext) -> str:
    """A picture, a recording, a file – say that they cannot be read yet."""
    context.answer(texts.UNSUPPORTED)
    return "refused: not a text"


def unknown_command(context: HandlerContext) -> str:
    """A command that nobody knows – say where to find those that exist."""
    context.answer(texts.UNKNOWN_COMMAND)
    return "refused: unknown command"


def unknown_button(context: HandlerContext) -> str:
    """A button that nobody knows any more – stop its waiting sign."""
    get_client().answer_button(context.callback_id, texts.OLD_BUTTON)
    return "refused: unknown button"

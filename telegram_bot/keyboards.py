"""Inline keyboards and the callback data of their buttons.

Callback data comes back from the user's app, which may send anything: it contains ids, and whoever reads them checks
that they exist and belong to the user who pressed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from providers.models import ProviderConfig
from requests_app.models import AIModel
from telegram_bot import texts

CHOOSE_MODEL = "model"
PAUSE_ROUTE, RESUME_ROUTE = "pause", "resume"  # in the operator's chat
ANYBODY = 0  # whoever is in the chat; there the handler asks which chat it is


@dataclass(frozen=True, slots=True)
class ButtonPress:
    """The parsed callback data of a pressed button."""

    action: str  # CHOOSE_MODEL, PAUSE_ROUTE, RESUME_ROUTE
    user_id: int  # whose menu it is
    target_id: int  # the key of the model or the route


def model_keyboard(models: Sequence[AIModel], *, user_id: int, chosen: AIModel | None = None) -> InlineKeyboardMarkup:
    """Return a keyboard with a button for each AI model; only this user may press them."""
    return InlineKeyboardMarkup.from_column(
        [
            InlineKeyboardButton(
                texts.model_button(model, is_chosen=model == chosen),
                callback_data=f"{CHOOSE_MODEL}:{user_id}:{model.pk}",  # at most 64 bytes
            )
            for model in models
        ]
    )


def route_keyboard(action: str, routes: Iterable[ProviderConfig]) -> InlineKeyboardMarkup:
    """Return a keyboard with a button for each route that pauses or resumes it."""
    return InlineKeyboardMarkup.from_column(
        [
            InlineKeyboardButton(
                texts.ROUTE_BUTTONS[action].format(route=texts.route_name(route)),
                callback_data=f"{action}:{ANYBODY}:{route.pk}",
            )
            for route in routes
        ]
    )


def parse_press(data: str | None) -> ButtonPress | None:
    """Return the parsed callback data, or None where it is not of one of our buttons."""
    action, _, rest = (data or "").partition(":")
    user_id, _, target_id = rest.partition(":")
    if not (_is_id(user_id) and _is_id(target_id)):
        return None
    return ButtonPress(action, int(user_id), int(target_id))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18

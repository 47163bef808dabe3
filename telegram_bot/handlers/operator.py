"""The buttons below alerts in the operator's chat."""

from providers.models import ProviderConfig
from providers.routes.pauses import route_pause, route_resume
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.keyboards import PAUSE_ROUTE, RESUME_ROUTE, route_keyboard
from telegram_bot.operator import is_operators

REASON = "a button below an alert"
PAUSED, RESUMED, WAS_NOT_PAUSED = "paused", "resumed", "was not paused"
SAID = {
    PAUSED: texts.ROUTE_PAUSED,
    RESUMED: texts.ROUTE_RESUMED,
    WAS_NOT_PAUSED: texts.ROUTE_WAS_NOT_PAUSED,
}


def route_button(context: HandlerContext) -> str:
    """A route's button – pause it for an hour, or resume it, and say so. The chat is who may, not the sender.

    Handled again it says what was done, and does nothing more.
    """
    press = context.press
    if press is None or not is_operators(context.chat):
        get_client().answer_button(context.callback_id, texts.NOT_THE_OPERATORS)
        return "refused: not the operator's chat"
    route = ProviderConfig.objects.filter(pk=press.target_id).first()
    if route is None:
        get_client().answer_button(context.callback_id, texts.BUTTON_EXPIRED)
        return "refused: that route is gone"
    name = texts.route_name(route)
    done = context.choose(lambda: _do(press.action, route, actor=f"telegram:{context.user.telegram_id}"))
    context.acknowledge()
    resume = route_keyboard(RESUME_ROUTE, [route]) if done == PAUSED else None
    context.answer(SAID[done].format(route=name), resume)
    return f"{name}: {done}"


def _do(action: str, route: ProviderConfig, *, actor: str) -> str:
    if action == PAUSE_ROUTE:
        route_pause(route_id=route.pk, actor=actor, reason=REASON)
        return PAUSED
    return RESUMED if route_resume(route_id=route.pk, actor=actor, reason=REASON) else WAS_NOT_PAUSED

"""The buttons below alerts in the operator's chat."""

from providers.models import ProviderConfig
from providers.routes.pauses import route_pause, route_resume
from telegram_bot import texts
from telegram_bot.api.client import get_client
from telegram_bot.handlers.context import HandlerContext
from telegram_bot.keyboards import PAUSE_ROUTE, RESUME_ROUTE, route_keyboard
from telegram_bot.operator import is_operators

REASON = "a button below an alert"


def route_button(context: HandlerContext) -> str:
    """A route's button – pause it for an hour, or resume it, and say so. The chat is who may, not the sender.

    Handled again, a pause begins anew.
    """
    press = context.press
    if press is None or not is_operators(context.chat):
        get_client().answer_button(context.callback_id, texts.NOT_THE_OPERATORS)
        return "refused: not the operator's chat"
    route = ProviderConfig.objects.filter(pk=press.target_id).first()
    if route is None:
        get_client().answer_button(context.callback_id, texts.BUTTON_EXPIRED)
        return "refused: that route is gone"
    actor, name = f"telegram:{context.user.telegram_id}", texts.route_name(route)
    if press.action == PAUSE_ROUTE:
        route_pause(route_id=route.pk, actor=actor, reason=REASON)
        context.acknowledge()
        context.answer(texts.ROUTE_PAUSED.format(route=name), route_keyboard(RESUME_ROUTE, [route]))
        return f"paused {name}"
    was_paused = route_resume(route_id=route.pk, actor=actor, reason=REASON)
    context.acknowledge()
    context.answer((texts.ROUTE_RESUMED if was_paused else texts.ROUTE_WAS_NOT_PAUSED).format(route=name))
    return f"resumed {name}" if was_paused else f"{name} was not paused"

"""Questions about requests and labels that change nothing."""

from providers.fallback import can_serve
from providers.types import Category, Turn
from requests_app.models import AIModel, Request

MOST_EARLIER_REQUESTS = 10
MOST_HISTORY_CHARACTERS = 16_000


def offered_models() -> list[AIModel]:
    """Return the labels that some provider can serve now, in the order in which users see them."""
    models = list(AIModel.objects.filter(enabled=True))
    served = {category for category in {model.category for model in models} if can_serve(Category(category))}
    return [model for model in models if model.category in served]


def history_of(request: Request) -> tuple[Turn, ...]:
    """Return the earlier turns of the request's conversation, oldest first, as far as they fit."""
    if not request.conversation:
        return ()
    earlier = Request.objects.filter(
        user_id=request.user_id,
        conversation=request.conversation,
        category=request.category,
        status=Request.Status.COMPLETED,
        created_at__lt=request.created_at,
    ).order_by("-created_at")
    turns: list[Turn] = []
    room = MOST_HISTORY_CHARACTERS
    for question, answer in earlier.values_list("input_text", "output_text")[:MOST_EARLIER_REQUESTS]:
        room -= len(question) + len(answer)
        if room < 0:
            break
        turns[:0] = [Turn("user", question), Turn("assistant", answer)]
    return tuple(turns)
